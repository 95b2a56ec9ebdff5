//! How requests come in and answers go out.
//!
//! The transport belongs to a *request*, not to a session: INIT, FORGET,
//! INTERRUPT and notifications travel over `/dev/fuse` even while the rings
//! run. [`Route`] sits in each request, and the few ways of answering match on
//! it here, in one file.
//!
//! # The contract every transport keeps
//! * A received message is put into a slot ([`Request::begin`]) and dispatched
//!   on the thread that received it; names and data that a callback gets stay
//!   valid until the callback returns, also after it has answered.
//! * An answer may come from any thread, at any time until the session is
//!   destroyed; it is complete when the function returns: the caller may change
//!   or close what it answered with.
//! * Exactly one answer per request; it consumes the request, also on failure.
#![allow(unsafe_code)] // answers are written to and from memory that C and the kernel own

pub mod custom;
pub mod dev;
pub mod ring;
pub mod splice;

use crate::abi::kernel::OutHeader;
use crate::abi::public::{Buf, Bufvec};
use crate::errno::{Errno, Result};
use crate::session::request::Request;
use crate::sys::kernel_order;
use std::io::IoSlice;
use std::os::fd::RawFd;
use zerocopy::IntoBytes;

/// How a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// An empty slot.
    None,
    /// Read from this `/dev/fuse` descriptor; the answer must go to the same one.
    Dev(RawFd),
    /// Read through the functions of `fuse_session_custom_io`.
    Custom(RawFd),
    /// In a ring entry, of which the request is the first field.
    Ring,
}

/// Keeps the session while the answer is given, if need be.
fn keep_session(req: &Request) -> Option<impl Drop + '_> {
    (!req.in_handler()).then(|| req.session().answer_elsewhere())
}

/// Answers with success and the bytes of `parts`, one after the other.
pub fn answer(req: &Request, parts: &[IoSlice<'_>]) -> Result<()> {
    let _session = keep_session(req);
    kernel_order::before_handing_over();
    let result = match req.route() {
        Route::Ring => return ring::answer(req, parts),
        Route::Dev(_) | Route::Custom(_) => write_answer(req, 0, parts),
        Route::None => Err(Errno(libc::EINVAL)),
    };
    finish(req);
    result
}

/// The answer that `req` is about to get tells the kernel of the regular file `nodeid`.
pub fn note_file(req: &Request, nodeid: u64) {
    if let Route::Ring = req.route() {
        ring::note_file(req, nodeid);
    }
}

/// Answers with `error` (positive; 0 is success without data).
pub fn answer_error(req: &Request, error: i32) -> Result<()> {
    let _session = keep_session(req);
    kernel_order::before_handing_over();
    let result = match req.route() {
        Route::Ring => return ring::answer_error(req, error),
        Route::Dev(_) | Route::Custom(_) => write_answer(req, -error, &[]),
        Route::None => Err(Errno(libc::EINVAL)),
    };
    finish(req);
    result
}

/// Ends a request that gets no answer (FORGET, NOTIFY_REPLY, an INTERRUPT).
/// A ring entry goes back to the kernel all the same.
pub fn no_answer(req: &Request) {
    let _session = keep_session(req);
    kernel_order::before_handing_over();
    match req.route() {
        Route::Ring => {
            let _ = ring::answer_error(req, 0);
        }
        _ => finish(req),
    }
}

/// Answers with the data of `bufv`, whose position is advanced.
///
/// # Safety
/// `bufv` is a valid `struct fuse_bufvec` with the stride of the layout in force.
pub unsafe fn answer_bufvec(req: &Request, bufv: *mut Bufvec, flags: libc::c_uint) -> Result<()> {
    // SAFETY: the caller's promise.
    if let Some(data) = unsafe { crate::buf::take_single(bufv) } {
        return answer(req, &[IoSlice::new(data)]);
    }
    if let Route::Dev(fd) | Route::Custom(fd) = req.route() {
        // SAFETY: the caller's promise.
        if unsafe { splice::is_ordered(req.session(), bufv, flags) } {
            // SAFETY: the caller's promise.
            return unsafe { answer_spliced(req, fd, bufv, flags) };
        }
    }
    // SAFETY: the caller's promise.
    let size = unsafe { crate::buf::remaining(bufv) };
    // The bytes are read before this returns: straight into the payload of a
    // ring entry, or into memory that the answer is written from.
    let copy_into = |memory: *mut u8| {
        let mut into = Bufvec { count: 1, idx: 0, off: 0, buf: [Buf::memory(memory.cast(), size)] };
        // SAFETY: `memory` has room for `size` bytes; `bufv` as promised.
        unsafe { crate::buf::copy(&mut into, bufv, flags) }
    };
    let send = |memory: *mut u8| match copy_into(memory) {
        // SAFETY: `copy_into` filled that many bytes.
        Ok(n) => answer(req, &[IoSlice::new(unsafe { std::slice::from_raw_parts(memory, n) })]),
        Err(errno) => answer_error(req, errno.0),
    };
    match answer_room(req) {
        Some((memory, room)) if room >= size => send(memory),
        _ => {
            let mut memory: Vec<u8> = Vec::new();
            if memory.try_reserve_exact(size).is_err() {
                return answer_error(req, libc::ENOMEM);
            }
            send(memory.as_mut_ptr())
        }
    }
}

/// Memory in which the answer's data can be built, so that it need not be copied:
/// a ring entry's payload, or what is left of the receive buffer of the thread
/// that handles the request. It is the caller's until the answer.
pub fn answer_room(req: &Request) -> Option<(*mut u8, usize)> {
    match req.route() {
        Route::Ring => Some(ring::payload(req)),
        Route::Dev(_) | Route::Custom(_) if req.in_handler() => dev::answer_room(req),
        _ => None,
    }
}

/// As [`answer_bufvec`], by splice where that can be done.
///
/// # Safety
/// As [`answer_bufvec`].
unsafe fn answer_spliced(req: &Request, fd: RawFd, bufv: *mut Bufvec, flags: u32) -> Result<()> {
    let _session = keep_session(req);
    // SAFETY: the caller's promise.
    let size = unsafe { crate::buf::remaining(bufv) };
    let len = size + size_of::<OutHeader>();
    let header = OutHeader { len: len as u32, error: 0, unique: req.unique() };
    let session = req.session();
    if !session.is_connected() {
        return answer_error(req, libc::EIO);
    }
    // SAFETY: the caller's promise.
    match unsafe { splice::send(session, fd, header.as_bytes(), bufv, size, flags) } {
        splice::Outcome::Read(Ok(data)) => answer(req, &[IoSlice::new(&data)]),
        splice::Outcome::Read(Err(errno)) => answer_error(req, errno.0),
        splice::Outcome::Sent(result) => {
            session.trace_answer(req, header);
            dev::count_answer(req, header.len);
            if let Err(Errno(libc::ENOENT)) | Ok(()) = result {
                finish(req);
            } else {
                report_failure(req, result);
                // The data is gone, its client may still wait.
                let _ = answer_error(req, libc::EIO);
            }
            result
        }
    }
}

/// Writes header and parts to where the request came from.
fn write_answer(req: &Request, error: i32, parts: &[IoSlice<'_>]) -> Result<()> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>() + size_of::<OutHeader>();
    let header = OutHeader { len: len as u32, error, unique: req.unique() };
    send_message(req, &header, parts)
}

fn send_message(req: &Request, header: &OutHeader, parts: &[IoSlice<'_>]) -> Result<()> {
    let session = req.session();
    session.trace_answer(req, *header);
    dev::count_answer(req, header.len);
    let mut few = [IoSlice::new(&[]); 4];
    let many: Vec<IoSlice<'_>>;
    let iov = if parts.len() < few.len() {
        few[0] = IoSlice::new(header.as_bytes());
        few[1..=parts.len()].copy_from_slice(parts);
        &few[..=parts.len()]
    } else {
        many =
            std::iter::once(IoSlice::new(header.as_bytes())).chain(parts.iter().copied()).collect();
        &many[..]
    };
    let result = match req.route() {
        // Unmounted: the number may be another file's.
        Route::Custom(_) | Route::Dev(_) if !session.is_connected() => Err(Errno(libc::EBADF)),
        Route::Custom(fd) => custom::writev(session, fd, iov),
        Route::Dev(fd) => dev::writev(fd, iov),
        _ => Err(Errno(libc::EINVAL)),
    };
    report_failure(req, result);
    result
}

fn report_failure(req: &Request, result: Result<()>) {
    match result {
        // The request was interrupted or aborted: its client is gone.
        Err(Errno(libc::ENOENT)) => {}
        Err(errno) if !req.session().exited() => crate::log_error!(
            "writing device: answer to request {} (opcode {}): {errno}",
            req.unique(),
            req.opcode_raw()
        ),
        _ => {}
    }
}

/// Gives up an answered request of `/dev/fuse`.
fn finish(req: &Request) {
    let session = req.session();
    let slot = req.as_c();
    if req.finish() {
        session.slots.recycle(slot);
    }
}
