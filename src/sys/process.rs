//! The process itself: forking, its session, directory, descriptors and output.

use crate::errno::{Errno, Result};
use std::ffi::{c_char, c_int, CStr};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

fn check(result: c_int) -> Result<c_int> {
    match result {
        -1 => Err(Errno::last()),
        result => Ok(result),
    }
}

/// Which side of a fork one is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The process that called, and the number of the new one.
    Parent(libc::pid_t),
    /// The new process, in which only the calling thread goes on.
    Child,
}

/// Splits the process in two. The caller must have no other threads that hold
/// locks the child needs.
pub fn fork() -> Result<Side> {
    // SAFETY: the child gets copies of everything; see above for locks.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Side::Child),
        child => Ok(Side::Parent(child)),
    }
}

/// Waits until `report` is readable or at its end, or process `child` of ours
/// has ended, whichever comes first. Others may hold the far end of `report` too.
pub fn wait_for_report(report: RawFd, child: libc::pid_t) {
    // SAFETY: plain numbers.
    let ended = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) } as RawFd;
    // A kernel before 5.3 has none: a negative descriptor is not looked at.
    let mut both = [report, ended].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: two valid structures.
    while unsafe { libc::poll(both.as_mut_ptr(), 2, -1) } < 0 && Errno::last().0 == libc::EINTR {}
    if ended >= 0 {
        // SAFETY: opened above, known to nobody else.
        unsafe { libc::close(ended) };
    }
}

/// Ends the process as `exit(3)` does, with exit handlers.
pub fn exit(status: c_int) -> ! {
    // SAFETY: does not return.
    unsafe { libc::exit(status) }
}

/// Ends the process at once, without exit handlers and buffered output.
pub fn exit_now(status: c_int) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// Ends the process with SIGABRT, whatever handles that signal now.
pub fn abort() -> ! {
    // SAFETY: both take plain numbers; `abort` does not return.
    unsafe {
        libc::signal(libc::SIGABRT, libc::SIG_DFL);
        libc::abort()
    }
}

/// Makes the process the leader of a session without a terminal.
pub fn setsid() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Makes `directory` the working directory.
pub fn chdir(directory: &CStr) -> Result<()> {
    // SAFETY: a C string.
    check(unsafe { libc::chdir(directory.as_ptr()) }).map(drop)
}

/// A pipe, closed on exec: the end to read, the end to write. Both are numbered
/// above the standard descriptors, even if one of those is closed.
pub fn pipe(flags: c_int) -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), flags | libc::O_CLOEXEC) })?;
    // SAFETY: both are new and nobody else's.
    let [input, output] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((above_standard(input)?, above_standard(output)?))
}

/// Points standard input, output and error to `/dev/null`.
pub fn silence_standard_descriptors() -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let null = above_standard(null.into())?;
    for fd in 0..=2 {
        // SAFETY: plain numbers; whatever 0 to 2 were is closed.
        check(unsafe { libc::dup2(null.as_raw_fd(), fd) })?;
    }
    Ok(())
}

fn above_standard(fd: OwnedFd) -> Result<OwnedFd> {
    match fd.as_raw_fd() {
        // A duplicate never gets one of these numbers.
        0..=2 => Ok(fd.try_clone()?),
        _ => Ok(fd),
    }
}

/// Writes `text` to the C library's standard output, behind what the program
/// has printed there but not flushed yet.
pub fn print(text: &CStr) {
    // SAFETY: both are C strings, and the format takes one.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

/// Writes what the C library has buffered.
pub fn flush() {
    // SAFETY: NULL means all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// The path without links and dots, as a malloc'ed string that the caller frees.
pub fn realpath(path: &CStr) -> Result<*mut c_char> {
    // SAFETY: a C string; NULL asks for memory.
    owned(unsafe { libc::realpath(path.as_ptr(), std::ptr::null_mut()) })
}

/// A malloc'ed copy that the caller frees.
pub fn strdup(text: &CStr) -> Result<*mut c_char> {
    // SAFETY: a C string.
    owned(unsafe { libc::strdup(text.as_ptr()) })
}

fn owned(text: *mut c_char) -> Result<*mut c_char> {
    match text.is_null() {
        true => Err(Errno::last()),
        false => Ok(text),
    }
}
