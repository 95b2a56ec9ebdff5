//! `fuse_daemonize.h`: going to the background before mounting.

use crate::daemonize::early;
use crate::errno::Errno;
use libc::{c_int, c_uint};

/// Goes to the background, as far as `flags` do not forbid it: 0 in the child, or
/// a negative errno.
#[no_mangle]
pub extern "C" fn fuse_daemonize_early_start(flags: c_uint) -> c_int {
    early::start(flags).map_or_else(Errno::to_c, |()| 0)
}

/// The waiting parent ends with 0. Without one nothing happens.
#[no_mangle]
pub extern "C" fn fuse_daemonize_early_success() {
    early::success();
}

/// The waiting parent ends with `err`. Without an active start this process does.
#[no_mangle]
pub extern "C" fn fuse_daemonize_early_fail(err: c_int) {
    early::fail(err);
}

/// Whether a start waits for its report.
#[no_mangle]
pub extern "C" fn fuse_daemonize_early_is_active() -> bool {
    early::is_active()
}
