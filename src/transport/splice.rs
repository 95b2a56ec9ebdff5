//! Messages whose data the kernel moves from descriptors to the device, because
//! the filesystem ordered it (`FUSE_BUF_FORCE_SPLICE`).
//!
//! The header and the data go through a pipe of the calling thread. The header
//! tells how long the message is, so nothing is sent before all of the data is
//! in the pipe. Whatever stands against that (no pipe, one that is too small, a
//! source that cannot be spliced, ends early or fails) leads back to copying:
//! what is in the pipe already is taken out again, and the rest is read. So no
//! byte of a source is lost or read twice, and an answer is the same as that of
//! a copy. Nothing waits for room: the pipe does not block.
//!
//! A pipe is empty between messages; one that is not is closed.
#![allow(unsafe_code)] // the program's vectors

use super::custom;
use crate::abi::public::{
    Buf, Bufvec, BUF_FORCE_SPLICE, BUF_NO_SPLICE, BUF_SPLICE_MOVE, BUF_SPLICE_NONBLOCK,
};
use crate::buf;
use crate::errno::{Errno, Result};
use crate::session::Session;
use crate::sys::page_size;
use crate::sys::pipe::Pipe;
use std::cell::Cell;
use std::os::fd::RawFd;

thread_local! {
    /// Taken out while it is used: the functions of `fuse_session_custom_io`
    /// may answer another request.
    static PIPE: Cell<Option<Pipe>> = const { Cell::new(None) };
}

/// What became of a message.
pub enum Outcome {
    /// It went to the device, which took it or not.
    Sent(Result<()>),
    /// It is still to be sent: this is all that the vector gave, or its error.
    Read(Result<Vec<u8>>),
}

/// Whether `flags` order splice, there are descriptors in `bufv`, and the session
/// has a way to take a message from a pipe.
///
/// # Safety
/// `bufv` is a valid `struct fuse_bufvec`.
pub unsafe fn is_ordered(session: &Session, bufv: *const Bufvec, flags: u32) -> bool {
    flags & (BUF_FORCE_SPLICE | BUF_NO_SPLICE) == BUF_FORCE_SPLICE
        && session.custom_io().is_none_or(|io| io.splice_send.is_some())
        // SAFETY: the caller's promise.
        && unsafe { buf::has_descriptors(bufv) }
}

/// Sends `head`, which announces `size` bytes of data, and those of `bufv`, which
/// is read from its position on.
///
/// # Safety
/// `bufv` is a valid `struct fuse_bufvec` that has up to `size` bytes.
pub unsafe fn send(
    session: &Session,
    fd: RawFd,
    head: &[u8],
    bufv: *mut Bufvec,
    size: usize,
    flags: u32,
) -> Outcome {
    let mut data = Vec::new();
    if data.try_reserve_exact(size).is_err() {
        return Outcome::Read(Err(Errno(libc::ENOMEM)));
    }
    // SAFETY: the caller's promise.
    let pages = unsafe { buf::pages(bufv, page_size()) } + 1;
    let pipe = PIPE.take().filter(Pipe::is_ours).or_else(|| Pipe::new().ok());
    if let Some(pipe) = pipe.filter(|pipe| pipe.reserve(pages) && pipe.write_all(head).is_ok()) {
        // SAFETY: the caller's promise; the pipe is a descriptor of ours.
        let (len, end) = unsafe { fill(&pipe, bufv, size, flags) };
        if len == size {
            match to_device(session, fd, &pipe, head.len() + size, flags) {
                // Refused before anything was taken: the data can still be copied.
                Err(_) if pipe.used() == Ok(head.len() + size) => {}
                sent => {
                    PIPE.set((pipe.used() == Ok(0)).then_some(pipe));
                    return Outcome::Sent(sent);
                }
            }
        }
        if let Err(errno) = take_back(&pipe, head.len(), len, &mut data) {
            return Outcome::Read(Err(errno));
        }
        PIPE.set(Some(pipe));
        match end {
            End::Here(Some(errno)) if len == 0 => return Outcome::Read(Err(errno)),
            End::Here(_) => return Outcome::Read(Ok(data)),
            End::GoOn => {}
        }
    }
    // SAFETY: `data` has room for `size` bytes; the caller's promise.
    Outcome::Read(unsafe { read_rest(&mut data, bufv, size, flags) }.map(|()| data))
}

/// Why a pipe got no more.
enum End {
    /// A copy would have ended here, too.
    Here(Option<Errno>),
    /// Perhaps only splicing did: the rest may be read.
    GoOn,
}

/// Moves data into the pipe: how much, and what to make of it if it is too little.
///
/// # Safety
/// As [`send`].
unsafe fn fill(pipe: &Pipe, bufv: *mut Bufvec, size: usize, flags: u32) -> (usize, End) {
    let mut into = Bufvec { count: 1, idx: 0, off: 0, buf: [Buf::descriptor(pipe.input(), size)] };
    // SAFETY: the caller's promise.
    let copied = unsafe { buf::copy_part(&mut into, bufv, flags) };
    // A stream may have no more for now: reading on could wait where a copy would
    // not. A file that gave too little is at its end, or the pipe is full.
    let waits = flags & BUF_SPLICE_NONBLOCK == 0;
    // SAFETY: the caller's promise.
    let ends = unsafe { buf::stream_at(bufv) }.is_some_and(|stream| match copied.failed {
        None => !(stream.retries && waits),
        Some(errno) => errno == Errno(libc::EAGAIN) && !waits,
    });
    (copied.bytes, if ends { End::Here(copied.failed) } else { End::GoOn })
}

/// Moves the message, all of `len` bytes, from the pipe to the device.
fn to_device(session: &Session, fd: RawFd, pipe: &Pipe, len: usize, flags: u32) -> Result<()> {
    let how = if flags & BUF_SPLICE_MOVE != 0 { libc::SPLICE_F_MOVE } else { 0 };
    let mut done = 0;
    while done < len {
        let moved = match session.custom_io() {
            Some(_) => custom::splice_send(session, pipe.output(), fd, len - done, how)?,
            None => pipe.splice_to(fd, len - done, how)?,
        };
        if moved == 0 {
            return Err(Errno(libc::EIO));
        }
        done += moved;
    }
    Ok(())
}

/// Empties the pipe: the `len` bytes behind the head go to `data`.
fn take_back(pipe: &Pipe, head: usize, len: usize, data: &mut Vec<u8>) -> Result<()> {
    let mut head = vec![0; head];
    pipe.read_exact(&mut head)?;
    data.resize(len, 0);
    pipe.read_exact(data)
}

/// Appends what the vector has left, up to `size` bytes in all. An error counts
/// only if there is nothing at all.
///
/// # Safety
/// `data` has room for `size` bytes; the rest as [`send`].
unsafe fn read_rest(data: &mut Vec<u8>, bufv: *mut Bufvec, size: usize, flags: u32) -> Result<()> {
    let len = data.len();
    let room = data.spare_capacity_mut().as_mut_ptr().cast();
    let mut into = Bufvec { count: 1, idx: 0, off: 0, buf: [Buf::memory(room, size - len)] };
    // SAFETY: the caller's promise.
    match unsafe { buf::copy(&mut into, bufv, flags) } {
        // SAFETY: `copied` bytes behind the first `len` were written.
        Ok(copied) => unsafe { data.set_len(len + copied) },
        Err(errno) if len == 0 => return Err(errno),
        Err(_) => {}
    }
    Ok(())
}
