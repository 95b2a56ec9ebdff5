//! For programs with a loop of their own: one message at a time, received with
//! `fuse_session_receive_buf` and served with `fuse_session_process_buf`.
//!
//! Any number of threads may do both, each with a buffer of its own; a child
//! after a fork, too. Nothing is kept between the calls but what the session
//! keeps anyway. A thread may be cancelled while it receives, so nothing that
//! needs to be undone is alive around that read.
#![allow(unsafe_code)] // the program's buffers

use super::Session;
use crate::abi::public::{layout, Buf, Layout, BUF_IS_FD};
use crate::errno::{Errno, Result};
use crate::transport::dev::{self, Received};

/// Receives one message into `buf`, whose memory is allocated with malloc if it
/// has none yet (the program frees it). Returns its size; 0 if the session is
/// over.
///
/// # Safety
/// `buf` is a `struct fuse_buf` of the layout in force; memory that it has came
/// from an earlier call.
pub unsafe fn receive(session: &Session, buf: *mut Buf) -> Result<usize> {
    if session.exited() {
        return Ok(0);
    }
    if session.has_engine() {
        // INIT came in a loop of the library's, and requests arrive on its rings.
        crate::log_error!(
            "fuse: fuse_session_receive_buf() cannot take over a session from the library's loop \
             while rings serve it; RINGFUSE_TRANSPORT=dev in the environment keeps them off"
        );
        return Err(Errno(libc::EOPNOTSUPP));
    }
    let size = session.buffer_size();
    // SAFETY: the caller's promise; fields one by one, as an older program's
    // structure ends before `mem_size`.
    let memory = unsafe {
        if (*buf).mem.is_null() {
            let memory = libc::malloc(size);
            if memory.is_null() {
                return Err(Errno(libc::ENOMEM));
            }
            (*buf).mem = memory;
            if layout() == Layout::V317 {
                (*buf).mem_size = size;
            }
        }
        std::slice::from_raw_parts_mut((*buf).mem.cast::<u8>(), size)
    };
    let received = dev::receive(session, session.fd(), memory);
    let len = match received {
        Ok(Received::Message(len)) => len,
        Ok(Received::Again) => return Err(Errno(libc::EINTR)),
        Ok(Received::Unmounted) => {
            session.exit();
            0
        }
        Err(errno) => return Err(errno),
    };
    // SAFETY: as above.
    unsafe {
        (*buf).size = len;
        (*buf).flags = 0;
    }
    Ok(len)
}

/// Serves one message. The buffer stays the program's.
///
/// # Safety
/// `buf` is a `struct fuse_buf` with a message, as [`receive`] left it, or with
/// a pipe that holds one.
pub unsafe fn process(session: &Session, buf: *const Buf) {
    // SAFETY: the caller's promise.
    let (flags, memory, size, fd) = unsafe { ((*buf).flags, (*buf).mem, (*buf).size, (*buf).fd) };
    if flags & BUF_IS_FD == 0 {
        // SAFETY: the caller's promise.
        let message = unsafe { crate::sys::memory::bytes(memory, size) };
        return dev::serve_foreign(session, session.fd(), message);
    }
    let mut message = vec![0; size];
    let mut at = 0;
    while at < size {
        match crate::sys::fd::read(fd, &mut message[at..]) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => {
                crate::log_error!(
                    "fuse: reading a request of {size} bytes from its pipe failed: {errno}"
                );
                return;
            }
        }
    }
    dev::serve_foreign(session, session.fd(), &message[..at]);
}
