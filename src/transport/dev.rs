//! The `/dev/fuse` transport: slots, receiving, and writing answers.
//!
//! Every worker owns one receive buffer, allocated once, and one slot. A slot
//! whose request is parked (its callback returned without an answer) stays
//! behind, and the worker takes another from [`Slots`]; whoever answers puts
//! the old one back. Slots are freed with the session, never before.
#![allow(unsafe_code)] // slots and buffers are shared with C by pointer

use super::Route;
use crate::abi::kernel::{InHeader, Opcode};
use crate::abi::public::Req;
use crate::errno::{Errno, Result};
use crate::session::decode::fixed_len;
use crate::session::dispatch::dispatch;
use crate::session::page::{Cell, Counters, Page};
use crate::session::request::{Request, Turn};
use crate::session::Session;
use crate::sys::ticks::Moment;
use parking_lot::Mutex;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;
use zerocopy::FromBytes;

/// Where the answer of a READ may be built in the receive buffer: behind any
/// request without bulk data.
const ANSWER_OFFSET: usize = 4096;

/// The place of one `/dev/fuse` request.
#[repr(C)]
pub struct Slot {
    request: Request,
    /// The receiving worker's buffer, while its callback runs.
    buffer: *mut u8,
    buffer_len: usize,
    message_len: usize,
    /// Of this slot and others.
    counters: Counters,
}

// SAFETY: the buffer pointer is used by the handler thread only.
unsafe impl Send for Slot {}

/// All slots of a session.
pub struct Slots {
    page: Arc<Page>,
    // Boxed: C holds pointers to them.
    #[allow(clippy::vec_box)]
    all: Mutex<Vec<Box<Slot>>>,
    free: Mutex<Vec<OwnedSlot>>,
    /// One more that is free, or NULL: for loops that take one for each message.
    last: AtomicPtr<Slot>,
}

/// The right to put a request into a slot, which lives as long as its session.
pub struct OwnedSlot(NonNull<Slot>);
// SAFETY: whoever has the value is alone with the slot.
unsafe impl Send for OwnedSlot {}

impl OwnedSlot {
    fn counters(&self) -> &Cell {
        // SAFETY: slots live as long as the session; counters are shared.
        unsafe { &self.0.as_ref().counters }
    }

    /// Whether the request of `turn` is parked now, so that the slot is not the
    /// caller's any more.
    fn park(&self, turn: Turn) -> bool {
        // SAFETY: as above; the request is shared.
        let parked = unsafe { self.0.as_ref() }.request.park(turn);
        if parked {
            self.counters().parked();
        }
        parked
    }
}

impl Slots {
    /// None yet; they will count on `page`.
    pub fn new(page: Arc<Page>) -> Self {
        Self { page, all: Mutex::default(), free: Mutex::default(), last: AtomicPtr::default() }
    }

    /// A free slot, owned by the caller.
    pub fn take(&self) -> OwnedSlot {
        if let Some(slot) = NonNull::new(self.last.swap(ptr::null_mut(), Ordering::Acquire)) {
            return OwnedSlot(slot);
        }
        if let Some(slot) = self.free.lock().pop() {
            return slot;
        }
        let mut all = self.all.lock();
        let mut slot = Box::new(Slot {
            request: Request::empty(),
            buffer: ptr::null_mut(),
            buffer_len: 0,
            message_len: 0,
            counters: self.page.of_slot(all.len()),
        });
        let owned = OwnedSlot(NonNull::from(slot.as_mut()));
        all.push(slot);
        owned
    }

    /// Gives a slot back.
    pub fn put_back(&self, slot: OwnedSlot) {
        let none = ptr::null_mut();
        let slot_ptr = slot.0.as_ptr();
        let put = self.last.compare_exchange(none, slot_ptr, Ordering::Release, Ordering::Relaxed);
        if put.is_err() {
            self.free.lock().push(slot);
        }
    }

    /// Gives the slot of a request back that was parked and is answered.
    pub fn recycle(&self, request: Req) {
        if let Some(slot) = NonNull::new(request.cast()) {
            let slot = OwnedSlot(slot);
            slot.counters().unparked();
            self.put_back(slot);
        }
    }

    /// Calls `f` on every request until it returns true.
    pub fn any(&self, mut f: impl FnMut(&Request) -> bool) -> bool {
        // Collected first: `f` may call into the filesystem, which may answer.
        let all: Vec<*const Slot> =
            self.all.lock().iter().map(|slot| ptr::from_ref(slot.as_ref())).collect();
        // SAFETY: slots live as long as the session; requests are shared.
        all.into_iter().any(|slot| f(unsafe { &(*slot).request }))
    }
}

/// Room for the answer in the receive buffer of the request's handler.
pub fn answer_room(req: &Request) -> Option<(*mut u8, usize)> {
    // SAFETY: a Dev or Custom request is the first field of its slot, and the
    // caller is its handler, which owns the buffer.
    let slot = unsafe { &*req.as_c().cast::<Slot>() };
    if slot.buffer.is_null() || slot.message_len > ANSWER_OFFSET {
        return None;
    }
    let room = slot.buffer_len.checked_sub(ANSWER_OFFSET)?;
    // SAFETY: within the buffer.
    Some((unsafe { slot.buffer.add(ANSWER_OFFSET) }, room))
}

/// Counts an answer of that many bytes to `req`, which came from here.
pub fn count_answer(req: &Request, bytes: u32) {
    // SAFETY: a Dev or Custom request is the first field of its slot, whose counters
    // are shared.
    let counters = unsafe { &(*req.as_c().cast::<Slot>()).counters };
    match req.in_handler() {
        true => counters.answered(bytes),
        false => counters.answered_elsewhere(bytes),
    }
}

/// Writes one message.
pub fn writev(fd: RawFd, iov: &[IoSlice<'_>]) -> Result<()> {
    crate::sys::fd::writev(fd, iov).map(|_| ())
}

/// What became of a read.
pub enum Received {
    /// A message of that many bytes.
    Message(usize),
    /// Nothing: interrupted by a signal, or the request vanished; look around
    /// and read again.
    Again,
    /// The filesystem is unmounted, or the connection aborted.
    Unmounted,
}

/// Reads one message from `fd`.
pub fn receive(session: &Session, fd: RawFd, buffer: &mut [u8]) -> Result<Received> {
    let result = if session.custom_io().is_some() {
        // SAFETY: the buffer's own pointer and length.
        unsafe { super::custom::read(session, fd, buffer.as_mut_ptr(), buffer.len()) }
    } else {
        crate::sys::fd::read(fd, buffer)
    };
    let unmounted = || {
        session.page().end();
        Ok(Received::Unmounted)
    };
    match result {
        Ok(0) => unmounted(),
        Ok(n) if n < size_of::<InHeader>() => {
            crate::log_error!("short read on fuse device: {n} bytes");
            Err(Errno(libc::EIO))
        }
        Ok(n) => Ok(Received::Message(n)),
        Err(Errno(libc::EINTR | libc::ENOENT)) => Ok(Received::Again),
        // ECONNABORTED: it was aborted while this read had a request already.
        Err(Errno(libc::ENODEV | libc::ECONNABORTED)) => unmounted(),
        // Another thread has unmounted, and closed the descriptor with it.
        Err(Errno(libc::EBADF)) if session.fd() < 0 => Ok(Received::Unmounted),
        Err(errno) => Err(errno),
    }
}

/// The opcode of a received message.
pub fn opcode_of(message: &[u8]) -> Option<Opcode> {
    InHeader::read_from_prefix(message)
        .ok()
        .and_then(|(header, _)| Opcode::from_wire(header.opcode))
}

/// Serves one message with `slot`, which the caller owns; returns the slot to
/// use next (another one if the request was parked).
pub fn serve(
    session: &Session,
    fd: RawFd,
    buffer: &mut [u8],
    len: usize,
    mut slot: OwnedSlot,
) -> OwnedSlot {
    // SAFETY: owned.
    let slot_ref = unsafe { slot.0.as_mut() };
    slot_ref.buffer = buffer.as_mut_ptr();
    slot_ref.buffer_len = buffer.len();
    slot_ref.message_len = len;
    serve_message(session, fd, &buffer[..len], slot)
}

/// As [`serve`], for a message in memory that is not the library's (the
/// program's own loop).
pub fn serve_foreign(session: &Session, fd: RawFd, message: &[u8]) {
    let mut slot = session.slots.take();
    // SAFETY: owned.
    unsafe { slot.0.as_mut() }.buffer = ptr::null_mut();
    let next = serve_message(session, fd, message, slot);
    session.slots.put_back(next);
}

/// Runs `f` with a request of its own, which has no answer on the wire but may
/// be ended later, as any other.
pub fn with_slot(session: &Session, header: &InHeader, f: impl FnOnce(&Request)) {
    let mut slot = session.slots.take();
    // SAFETY: owned.
    let turn = unsafe { slot.0.as_mut() }.request.begin(session, Route::None, header);
    // SAFETY: from here on the request is shared.
    let request = unsafe { &slot.0.as_ref().request };
    f(request);
    if !slot.park(turn) {
        request.take_answered(turn);
        session.slots.put_back(slot);
    }
}

fn serve_message(session: &Session, fd: RawFd, message: &[u8], mut slot: OwnedSlot) -> OwnedSlot {
    let Ok((header, body)) = InHeader::read_from_prefix(message) else {
        return slot;
    };
    let route = if session.custom_io().is_some() { Route::Custom(fd) } else { Route::Dev(fd) };
    // SAFETY: owned.
    let turn = unsafe { slot.0.as_mut() }.request.begin(session, route, &header);
    slot.counters().requests.fetch_add(1, Ordering::Relaxed);
    slot.counters().received(message.len() as u32);
    // SAFETY: from here on the request is shared.
    let request = unsafe { &slot.0.as_ref().request };
    let opcode = Opcode::from_wire(header.opcode);
    let cut = opcode.map_or(0, |opcode| fixed_len(opcode, session.dialect()));
    let began = Moment::now();
    if header.len as usize == message.len() && cut <= body.len() {
        let (fixed, rest) = body.split_at(cut);
        dispatch(request, &header, fixed, rest);
    } else {
        crate::log_error!(
            "malformed request {}: opcode {}, header says {} bytes, {} received",
            header.unique,
            header.opcode,
            header.len,
            message.len()
        );
        let _ = super::answer_error(request, libc::EIO);
    }
    slot.counters().served(began);
    if slot.park(turn) {
        session.slots.take()
    } else {
        request.take_answered(turn);
        slot
    }
}
