//! `ringfuse.h`: what this library tells about itself.

use crate::session::page::QueueStats;
use crate::session::stats::Stats;
use crate::session::Session;
use libc::{c_char, c_int, c_uint};

/// This library's own version.
#[no_mangle]
pub extern "C" fn ringfuse_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// # Safety
/// `se` is a session; `stats->size` tells how many bytes may be written there.
#[no_mangle]
pub unsafe extern "C" fn ringfuse_session_stats(se: *const Session, stats: *mut Stats) -> c_int {
    // SAFETY: the caller's promise; `size` is the first field.
    unsafe { tell(se, stats, |session, size| Some(Stats { size, ..session.stats() })) }
}

/// # Safety
/// `se` is a session; `stats->size` tells how many bytes may be written there.
#[no_mangle]
pub unsafe extern "C" fn ringfuse_session_queue_stats(
    se: *const Session,
    queue: c_uint,
    stats: *mut QueueStats,
) -> c_int {
    let now = |session: &Session, size| Some(QueueStats { size, ..session.queue_stats(queue)? });
    // SAFETY: the caller's promise; `size` is the first field.
    unsafe { tell(se, stats, now) }
}

/// Fills `to` by `now`, which is told the size that the caller knows.
///
/// # Safety
/// `se` is a session or NULL; `to` is NULL or points to a size, and to as many bytes.
unsafe fn tell<T>(
    se: *const Session,
    to: *mut T,
    now: impl FnOnce(&Session, usize) -> Option<T>,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(session) = (unsafe { se.as_ref() }).filter(|_| !to.is_null()) else {
        return -libc::EINVAL;
    };
    // SAFETY: as above.
    let room = unsafe { to.cast::<usize>().read() };
    if room < size_of::<usize>() {
        return -libc::EINVAL;
    }
    let Some(now) = now(session, room) else {
        return -libc::ENOENT;
    };
    // SAFETY: no more than the caller's size, nor than ours.
    unsafe {
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(&now).cast::<u8>(),
            to.cast::<u8>(),
            room.min(size_of::<T>()),
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
