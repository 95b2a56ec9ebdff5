//! Signal handlers.

use crate::errno::Result;
use crate::session::Session;
use crate::signals;
use std::ffi::c_int;

fn status(result: Result<()>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

/// Lets HUP, INT and TERM end `session`: 0 or -1.
///
/// # Safety
/// `session` lives until [`fuse_remove_signal_handlers`].
#[no_mangle]
pub unsafe extern "C" fn fuse_set_signal_handlers(session: *mut Session) -> c_int {
    status(signals::set(session))
}

/// Lets failures such as SIGSEGV log a backtrace: 0 or -1.
///
/// # Safety
/// As [`fuse_set_signal_handlers`].
#[no_mangle]
pub unsafe extern "C" fn fuse_set_fail_signal_handlers(session: *mut Session) -> c_int {
    status(signals::set_for_failures(session))
}

/// Restores what the two functions above changed.
///
/// # Safety
/// `session` was given to one of them.
#[no_mangle]
pub unsafe extern "C" fn fuse_remove_signal_handlers(session: *const Session) {
    signals::remove(session);
}
