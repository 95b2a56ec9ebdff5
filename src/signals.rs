//! Signals that end a filesystem.
//!
//! HUP, INT and TERM make the session exit whose handlers were set last; PIPE
//! is only kept from killing the process. A signal for which the program has a
//! handler of its own, or which it ignores, is left alone. The session must not
//! be freed before [`remove`] was called with it.
#![allow(unsafe_code)] // a handler finds the session through a pointer

use crate::errno::Result;
use crate::session::Session;
use crate::sys::{process, signal};
use crate::{log_error, log_warning};
use std::ffi::c_int;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The session that signals end, or NULL.
static SESSION: AtomicPtr<Session> = AtomicPtr::new(std::ptr::null_mut());

const HANDLED: [(c_int, signal::Handler); 4] =
    [(libc::SIGHUP, exit), (libc::SIGINT, exit), (libc::SIGTERM, exit), (libc::SIGPIPE, nothing)];

const FAILURES: [c_int; 6] =
    [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV];

extern "C" fn exit(signal: c_int) {
    signal::keeping_errno(|| {
        // SAFETY: NULL, or a session that lives until `remove`, see above.
        if let Some(session) = unsafe { SESSION.load(Ordering::Acquire).as_ref() } {
            session.exit_by_signal(signal);
        }
    });
}

extern "C" fn nothing(_signal: c_int) {}

/// Says where it happened and ends the process. Logging allocates, which may
/// not be possible any more where memory is what failed: hence the time limit.
extern "C" fn fail(signal: c_int) {
    signal::end_within(10);
    log_error!("fuse: the filesystem failed with signal {signal} ({})", signal::name(signal));
    for line in signal::backtrace() {
        log_error!("  {line}");
    }
    process::abort();
}

/// Lets HUP, INT and TERM end `session`.
pub fn set(session: *mut Session) -> Result<()> {
    SESSION.store(session, Ordering::Release);
    HANDLED.iter().try_for_each(|&(number, handler)| install(number, handler))
}

/// Lets failures (SIGSEGV and the like) log a backtrace before they end the
/// process with SIGABRT.
pub fn set_for_failures(session: *mut Session) -> Result<()> {
    SESSION.store(session, Ordering::Release);
    drop(signal::backtrace()); // loads now what it needs, see there
    FAILURES.iter().try_for_each(|&number| install(number, fail))
}

/// Gives the signals back that still are the library's.
pub fn remove(session: *const Session) {
    let current = SESSION.swap(std::ptr::null_mut(), Ordering::AcqRel);
    if !std::ptr::eq(current, session) {
        log_warning!("fuse: fuse_remove_signal_handlers() was called for an unknown session");
    }
    let failures = FAILURES.iter().map(|&number| (number, fail as signal::Handler));
    for (number, handler) in HANDLED.into_iter().chain(failures) {
        if let Err(errno) = signal::restore_default(number, handler) {
            log_error!("fuse: cannot restore signal {number}: {errno}");
        }
    }
}

fn install(number: c_int, handler: signal::Handler) -> Result<()> {
    signal::handle_if_default(number, handler).inspect_err(|errno| {
        log_error!("fuse: cannot set the handler of signal {number}: {errno}");
    })
}
