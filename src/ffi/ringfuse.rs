//! `ringfuse.h`: what this library tells about itself.

use crate::session::stats::Stats;
use crate::session::Session;
use libc::{c_char, c_int};

/// This library's own version.
#[no_mangle]
pub extern "C" fn ringfuse_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// # Safety
/// `se` is a session; `stats->size` tells how many bytes may be written there.
#[no_mangle]
pub unsafe extern "C" fn ringfuse_session_stats(se: *const Session, stats: *mut Stats) -> c_int {
    // SAFETY: the caller's promise.
    let Some((session, room)) =
        (unsafe { se.as_ref() }).zip(unsafe { stats.as_ref() }.map(|stats| stats.size))
    else {
        return -libc::EINVAL;
    };
    if room < size_of::<usize>() {
        return -libc::EINVAL;
    }
    let now = Stats { size: room, ..session.stats() };
    // SAFETY: no more than the caller's size, nor than ours.
    unsafe {
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(&now).cast::<u8>(),
            stats.cast::<u8>(),
            room.min(size_of::<Stats>()),
        );
    }
    0
}

/// # Safety
/// `se` is a session; the text lives as long.
#[no_mangle]
pub unsafe extern "C" fn ringfuse_session_reason(se: *const Session) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { (*se).reason() }.as_ptr()
}
