//! `struct fuse_loop_config`: how many threads a multi-threaded loop may have.
//!
//! Made and freed by the program; the loop copies what it needs when it starts.

use crate::abi::public::{LoopConfig, LoopConfigV1};
use crate::log_error;
use std::ffi::c_uint;

/// A larger number of idle threads is taken for a mistake.
const MOST_IDLE_THREADS: c_uint = 100_000;

/// Keeps up to `threads` idle threads alive; `UINT_MAX`: all of them, and any
/// other number that cannot be meant is refused with a log line.
pub fn set_idle_threads(config: &mut LoopConfig, threads: c_uint) {
    match threads {
        0..=MOST_IDLE_THREADS => config.max_idle_threads = threads as i32,
        c_uint::MAX => {}
        _ => log_error!(
            "fuse: max_idle_threads={threads} is ignored: the largest number is {MOST_IDLE_THREADS}"
        ),
    }
}

/// Takes over what an 8-byte configuration says. It has no word for the largest
/// number of threads, which therefore stays as it is.
pub fn convert(config: &mut LoopConfig, old: &LoopConfigV1) {
    set_idle_threads(config, old.max_idle_threads);
    config.clone_fd = old.clone_fd;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_keeps_the_ten_threads() {
        let mut config = LoopConfig::default();
        convert(&mut config, &LoopConfigV1 { clone_fd: 1, max_idle_threads: c_uint::MAX });
        assert_eq!((config.clone_fd, config.max_idle_threads, config.max_threads), (1, -1, 10));
        convert(&mut config, &LoopConfigV1 { clone_fd: 0, max_idle_threads: 3 });
        assert_eq!((config.clone_fd, config.max_idle_threads, config.max_threads), (0, 3, 10));
    }
}
