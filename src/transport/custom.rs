//! The transport of `fuse_session_custom_io`: the program's own functions
//! carry the messages, with its own idea of a descriptor.
#![allow(unsafe_code)] // calls the program's functions

use crate::errno::{Errno, Result};
use crate::session::Session;
use std::io::IoSlice;
use std::os::fd::RawFd;

/// Sends one message. What the function leaves over, as writev(2) may on a
/// stream, goes into a further call.
pub fn writev(session: &Session, fd: RawFd, iov: &[IoSlice<'_>]) -> Result<()> {
    let len: usize = iov.iter().map(|part| part.len()).sum();
    let mut sent = writev_once(session, fd, iov)?;
    if sent >= len {
        return Ok(());
    }
    let mut parts = iov.to_vec();
    let mut rest = &mut parts[..];
    // 0 for a whole message is how a careless function says that all went well.
    while sent != 0 {
        IoSlice::advance_slices(&mut rest, sent);
        if rest.is_empty() {
            break;
        }
        sent = writev_once(session, fd, rest)?;
    }
    Ok(())
}

fn writev_once(session: &Session, fd: RawFd, iov: &[IoSlice<'_>]) -> Result<usize> {
    let writev = session.custom_io().and_then(|io| io.writev).ok_or(Errno(libc::EINVAL))?;
    loop {
        // SAFETY: IoSlice is guaranteed to be laid out like iovec; the function is
        // the program's, called with what its prototype promises.
        let n = unsafe { writev(fd, iov.as_ptr().cast(), iov.len() as i32, session.userdata()) };
        match usize::try_from(n).map_err(|_| last_error()) {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

/// Sends up to `len` bytes from the pipe `from`. The session has this function.
pub fn splice_send(
    session: &Session,
    from: RawFd,
    fd: RawFd,
    len: usize,
    flags: u32,
) -> Result<usize> {
    let send = session.custom_io().and_then(|io| io.splice_send).ok_or(Errno(libc::EINVAL))?;
    let null = std::ptr::null_mut();
    // SAFETY: no offsets; the function is the program's.
    let n = unsafe { send(from, null, fd, null, len, flags, session.userdata()) };
    usize::try_from(n).map_err(|_| last_error())
}

/// What a function of the program that failed left in errno.
fn last_error() -> Errno {
    match Errno::last() {
        Errno(0) => Errno(libc::EIO),
        errno => errno,
    }
}

/// Receives one message.
///
/// # Safety
/// `buffer` has room for `len` bytes.
pub unsafe fn read(session: &Session, fd: RawFd, buffer: *mut u8, len: usize) -> Result<usize> {
    let read = session.custom_io().and_then(|io| io.read).ok_or(Errno(libc::EINVAL))?;
    // SAFETY: the caller's promise; the function is the program's.
    let n = unsafe { read(fd, buffer.cast(), len, session.userdata()) };
    usize::try_from(n).map_err(|_| last_error())
}
