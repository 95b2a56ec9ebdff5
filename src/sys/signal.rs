//! Signal dispositions, and what a handler of failures needs.

use crate::errno::{Errno, Result};
use std::ffi::{c_char, c_int, CStr};

/// A signal handler; what it calls must be safe to call from one.
pub type Handler = extern "C" fn(signal: c_int);

fn change(signal: c_int, new: Option<&libc::sigaction>) -> Result<libc::sigaction> {
    // SAFETY: all zero is a valid `sigaction`: the default, nothing masked.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `new` is NULL or valid, `old` has room.
    match unsafe { libc::sigaction(signal, new, &mut old) } {
        0 => Ok(old),
        _ => Err(Errno::last()),
    }
}

fn set(signal: c_int, handler: libc::sighandler_t) -> Result<()> {
    // SAFETY: as in `change`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // No SA_RESTART: a loop that waits for a request must notice.
    change(signal, Some(&action)).map(drop)
}

/// Lets `handler` handle `signal`, unless something else than the default does.
pub fn handle_if_default(signal: c_int, handler: Handler) -> Result<()> {
    if change(signal, None)?.sa_sigaction == libc::SIG_DFL {
        set(signal, handler as libc::sighandler_t)?;
    }
    Ok(())
}

/// Gives `signal` its default meaning back if `handler` handles it.
pub fn restore_default(signal: c_int, handler: Handler) -> Result<()> {
    if change(signal, None)?.sa_sigaction == handler as libc::sighandler_t {
        set(signal, libc::SIG_DFL)?;
    }
    Ok(())
}

/// The C library's name of a signal, such as "Segmentation fault".
pub fn name(signal: c_int) -> String {
    // SAFETY: any number is fine.
    let name: *const c_char = unsafe { libc::strsignal(signal) };
    match name.is_null() {
        true => format!("signal {signal}"),
        // SAFETY: a C string that lives until the thread's next call.
        false => unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
    }
}

/// Runs `action` and puts `errno` back, which a handler must not change.
pub fn keeping_errno(action: impl FnOnce()) {
    // SAFETY: the location is the calling thread's own, valid while it runs.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        action();
        *errno = saved;
    }
}

/// Ends the process by SIGALRM after `seconds`, unless it ends before.
pub fn end_within(seconds: u32) {
    let _ = set(libc::SIGALRM, libc::SIG_DFL);
    // SAFETY: plain data on the stack; the mask only loses SIGALRM.
    unsafe {
        let mut alarm: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut alarm);
        libc::sigaddset(&mut alarm, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &alarm, std::ptr::null_mut());
        libc::alarm(seconds);
    }
}

/// The calls that led here, one line each, innermost first; empty where the C
/// library cannot tell. The first call in a process loads a library, so a
/// handler's owner calls it once in advance.
#[cfg(target_env = "gnu")]
pub fn backtrace() -> Vec<String> {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    let mut frames = [std::ptr::null_mut(); 64];
    // SAFETY: room for that many frames.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), frames.len() as c_int) };
    // Through a pipe, which neither blocks nor allocates in the C library.
    let Ok((input, output)) = super::process::pipe(libc::O_NONBLOCK) else { return Vec::new() };
    // SAFETY: `count` frames were filled in; the descriptor is open.
    unsafe { libc::backtrace_symbols_fd(frames.as_ptr(), count, output.as_raw_fd()) };
    drop(output);
    let mut text = Vec::new();
    let _ = std::fs::File::from(input).read_to_end(&mut text);
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

/// Only glibc tells.
#[cfg(not(target_env = "gnu"))]
pub fn backtrace() -> Vec<String> {
    Vec::new()
}

extern "C" fn nothing(_signal: c_int) {}

/// Gives `signal` a handler that does nothing, so that it only interrupts system
/// calls, unless the program has one.
pub fn install_empty(signal: c_int) {
    let _ = handle_if_default(signal, nothing);
}

/// Sends `signal` to a thread of this process that has not ended.
pub fn send_to_thread(thread: libc::pthread_t, signal: c_int) {
    // SAFETY: the caller's promise; nothing happens to a bad signal number.
    unsafe { libc::pthread_kill(thread, signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_is_put_back() {
        // SAFETY: there is no such descriptor.
        unsafe { libc::close(-1) };
        keeping_errno(|| {
            let _ = super::super::process::chdir(c"/no/such/directory");
            assert_eq!(Errno::last(), Errno(libc::ENOENT));
        });
        assert_eq!(Errno::last(), Errno(libc::EBADF));
    }
}
