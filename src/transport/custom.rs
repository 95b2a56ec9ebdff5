//! The transport of `fuse_session_custom_io`: the program's own functions
//! carry the messages, with its own idea of a descriptor.
#![allow(unsafe_code)] // calls the program's functions

use crate::errno::{Errno, Result};
use crate::session::Session;
use std::io::IoSlice;
use std::os::fd::RawFd;

/// Sends one message.
pub fn writev(session: &Session, fd: RawFd, iov: &[IoSlice<'_>]) -> Result<()> {
    let writev = session.custom_io().and_then(|io| io.writev).ok_or(Errno(libc::EINVAL))?;
    // SAFETY: IoSlice is guaranteed to be laid out like iovec; the function is
    // the program's, called with what its prototype promises.
    let n = unsafe { writev(fd, iov.as_ptr().cast(), iov.len() as i32, session.userdata()) };
    if n < 0 {
        return Err(Errno::last());
    }
    Ok(())
}

/// Receives one message.
///
/// # Safety
/// `buffer` has room for `len` bytes.
pub unsafe fn read(session: &Session, fd: RawFd, buffer: *mut u8, len: usize) -> Result<usize> {
    let read = session.custom_io().and_then(|io| io.read).ok_or(Errno(libc::EINVAL))?;
    // SAFETY: the caller's promise; the function is the program's.
    let n = unsafe { read(fd, buffer.cast(), len, session.userdata()) };
    usize::try_from(n).map_err(|_| Errno::last())
}
