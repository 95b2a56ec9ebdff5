//! A ring entry: the memory that the kernel and a handler pass back and forth.
//!
//! # Who owns it
//! | state | owner | how it leaves |
//! |---|---|---|
//! | new, or being registered | the thread that registers it | its REGISTER is submitted |
//! | available | the kernel | a completion on the ring of the thread that submitted its last SQE |
//! | delivered | the thread that saw the completion, or to which that one handed it over | the callback returns |
//! | answered in the callback | the same thread; the keeper, if the callback goes on | COMMIT |
//! | parked (returned without an answer) | whoever answers; then the keeper | COMMIT |
//!
//! While the kernel owns an entry nobody here touches its header or payload.
//! The entry's last SQE must come from a thread that stays: if that thread ends,
//! the kernel can never use the entry again. Entries are freed with the engine,
//! after all rings.
//!
//! # Layout
//! The request is the first field, so `fuse_req_t` is the entry's address. The
//! first [`HEAD`] bytes of the map hold this structure, and behind it room for
//! the names of a request: a callback may look at a name after it has answered,
//! when the answer has long been written over the payload.
#![allow(unsafe_code)] // memory shared with the kernel and C

use super::Engine;
use crate::abi::kernel::{InHeader, Opcode, OutHeader, UringReqHeader};
use crate::errno::{Errno, Result};
use crate::session::request::{Request, Turn};
use crate::sys::memory::{give_back, Map};
use memoffset::offset_of;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The longest answer to a WRITE.
const LATE: usize = 16;
/// Bytes of its payload's memory that an idle entry keeps.
const KEPT: usize = 16 * 1024;
/// Bytes of an entry's map before the payload.
pub const HEAD: usize = 16 * 1024;

/// A ring entry; see the module's text for who may touch it.
#[repr(C)]
pub struct Entry {
    pub(super) request: Request,
    header: UringReqHeader,
    iovec: [libc::iovec; 2],
    payload: *mut u8,
    payload_len: usize,
    queue: u16,
    commit_id: u64,
    engine: *const Engine,
    /// The io_uring on which the entry is available: its descriptor, or -1. Set and
    /// cleared by the thread whose ring it is.
    holder: AtomicI32,
    /// Bytes of the payload that have been touched since they were given back.
    touched: AtomicUsize,
    /// The next one in the list of answered entries that wait for the keeper.
    pub(super) next: AtomicPtr<Entry>,
    /// Size of the map, to unmap it.
    map_len: usize,
    /// A short answer to a WRITE, which must not be written over the data while
    /// the callback may still look at that: it is put in place by the commit.
    late: [u8; LATE],
    late_len: usize,
}

const _: () = assert!(offset_of!(Entry, request) == 0);
const _: () = assert!(size_of::<Entry>() < HEAD / 2);

// SAFETY: any one thread at a time uses what is not atomic; the module's text
// says which.
unsafe impl Send for Entry {}
// SAFETY: as above; what several threads see at once is atomic or the request.
unsafe impl Sync for Entry {}

/// Owns an entry's memory.
pub struct EntryBox(NonNull<Entry>);

// SAFETY: an entry may be used by any one thread at a time; the box only frees it.
unsafe impl Send for EntryBox {}
// SAFETY: shared access goes to atomics and the request, which is Sync.
unsafe impl Sync for EntryBox {}

impl EntryBox {
    /// Reserves an entry for `queue`, whose CPU is on NUMA node `node` if there are
    /// several; only the first page is touched.
    pub fn new(engine: &Engine, queue: u16, node: Option<u16>, payload_len: usize) -> Result<Self> {
        let map = Map::reserve_by_page(HEAD + payload_len)?;
        // Threads that are not bound touch it from anywhere.
        node.into_iter().for_each(|node| map.prefer_node(node));
        let (start, map_len) = map.into_raw();
        let pointer = start.cast::<Entry>();
        // SAFETY: the map is at least HEAD bytes, zeroed, page-aligned and ours.
        unsafe {
            let payload = start.as_ptr().add(HEAD);
            pointer.as_ptr().write(Entry {
                request: Request::empty(),
                header: UringReqHeader::new_zeroed(),
                iovec: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2],
                payload,
                payload_len,
                queue,
                commit_id: 0,
                engine,
                holder: AtomicI32::new(-1),
                touched: AtomicUsize::new(0),
                next: AtomicPtr::new(std::ptr::null_mut()),
                map_len,
                late: [0; LATE],
                late_len: 0,
            });
            let header = std::ptr::addr_of_mut!((*pointer.as_ptr()).header);
            (*pointer.as_ptr()).iovec = [
                libc::iovec { iov_base: header.cast(), iov_len: size_of::<UringReqHeader>() },
                libc::iovec { iov_base: payload.cast(), iov_len: payload_len },
            ];
        }
        Ok(Self(pointer))
    }

    /// The entry.
    pub fn entry(&self) -> &'static Entry {
        // SAFETY: freed with the engine only, after every thread that uses
        // entries has ended.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for EntryBox {
    fn drop(&mut self) {
        // SAFETY: made by `new`; nobody uses it any more (see the module's text).
        unsafe {
            let map_len = self.0.as_ref().map_len;
            std::ptr::drop_in_place(self.0.as_ptr());
            drop(Map::from_raw(self.0.cast(), map_len));
        }
    }
}

impl Entry {
    /// The entry at `pointer`, which came back from the kernel or another thread.
    pub fn from_pointer(pointer: NonNull<Entry>) -> &'static Self {
        // SAFETY: tokens are only made from living entries, and those outlive
        // every ring.
        unsafe { pointer.as_ref() }
    }

    /// The entry that holds `req`.
    pub fn of(req: &Request) -> &'static Self {
        // SAFETY: the caller saw Route::Ring: the request is an entry's first field.
        unsafe { &*req.as_c().cast::<Self>() }
    }

    /// For a token.
    pub fn pointer(&self) -> NonNull<Self> {
        NonNull::from(self)
    }

    /// The kernel's queue that the entry belongs to.
    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// The engine that made the entry.
    pub fn engine(&self) -> &Engine {
        // SAFETY: the engine frees its entries, so it is still there.
        unsafe { &*self.engine }
    }

    /// What REGISTER points to.
    pub fn iovec_address(&self) -> u64 {
        self.iovec.as_ptr() as u64
    }

    /// What a COMMIT names the request by.
    pub fn commit_id(&self) -> u64 {
        self.commit_id
    }

    /// The payload area.
    pub fn payload(&self) -> (*mut u8, usize) {
        (self.payload, self.payload_len)
    }

    /// The entry becomes available on the io_uring `ring`, or leaves it (-1).
    pub fn set_holder(&self, ring: RawFd) {
        self.holder.store(ring, Ordering::Relaxed);
    }

    /// The io_uring on which the entry is available.
    pub fn holder(&self) -> RawFd {
        self.holder.load(Ordering::Relaxed)
    }

    fn touch(&self, bytes: usize) {
        if bytes > self.touched.load(Ordering::Relaxed) {
            self.touched.store(bytes.min(self.payload_len), Ordering::Relaxed);
            if self.is_warm() {
                self.engine().memory.warmed();
            }
        }
    }

    /// Whether the payload has more memory than an idle entry may keep.
    pub fn is_warm(&self) -> bool {
        self.touched.load(Ordering::Relaxed) > KEPT
    }

    /// Gives the payload's memory back. For the thread on whose ring the entry is
    /// available, which has submitted all that it had and seen all completions: the
    /// kernel reads and writes payloads in that thread only, when it enters the ring.
    pub fn cool(&self) {
        if self.touched.swap(0, Ordering::Relaxed) > 0 {
            // SAFETY: pages of our own map; neither the kernel nor anybody here is
            // using them, and what they hold means nothing any more.
            unsafe { give_back(self.payload, self.payload_len) };
        }
    }

    /// Takes a delivered request in: its header. Called by the owner, once per
    /// delivery.
    pub fn receive(&self) -> InHeader {
        self.touch(self.header.ent.payload_sz as usize);
        // SAFETY: delivered, so this thread owns the entry.
        let this = unsafe { &mut *self.pointer().as_ptr() };
        this.commit_id = this.header.ent.commit_id;
        InHeader::read_from_prefix(&this.header.in_out)
            .map_or_else(|_| InHeader::new_zeroed(), |(header, _)| header)
    }

    /// Puts the received request into its slot.
    pub fn begin(&self, header: &InHeader) -> Turn {
        // SAFETY: as in `receive`.
        let request = unsafe { &mut *std::ptr::addr_of_mut!((*self.pointer().as_ptr()).request) };
        request.begin(self.engine().session(), super::super::Route::Ring, header)
    }

    /// The request's fixed argument: all bytes that its opcode may have.
    pub fn op_in(&self) -> &[u8] {
        &self.header.op_in
    }

    /// What follows the fixed argument. Names are moved to where the answer
    /// does not overwrite them; bulk data stays in the payload.
    pub fn rest(&self, opcode: Option<Opcode>) -> &[u8] {
        let len = (self.header.ent.payload_sz as usize).min(self.payload_len);
        let room = HEAD - size_of::<Self>();
        let start = if len > room || opcode == Some(Opcode::Write) {
            self.payload
        } else {
            // SAFETY: within the map: the structure and `room` make HEAD bytes.
            unsafe {
                let names = self.pointer().as_ptr().cast::<u8>().add(size_of::<Self>());
                std::ptr::copy_nonoverlapping(self.payload, names, len);
                names
            }
        };
        // SAFETY: `len` bytes are there either way; a reader in a callback may
        // see the answer in them, as the module's text says of bulk data.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Writes the answer into the entry. With an error there is no data.
    pub fn set_answer(&self, error: i32, parts: &[IoSlice<'_>]) -> Result<()> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > self.payload_len {
            return Err(Errno(libc::EINVAL));
        }
        self.touch(total);
        let inside = |part: &IoSlice<'_>| {
            let at = part.as_ptr() as usize;
            let payload = self.payload as usize;
            at < payload + self.payload_len && payload < at + part.len()
        };
        if self.request.opcode() == Some(Opcode::Write) && total <= LATE {
            // SAFETY: an unanswered request's entry belongs to who answers it.
            let this = unsafe { &mut *self.pointer().as_ptr() };
            let bytes = parts.iter().flat_map(|part| part.iter());
            this.late.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            this.late_len = total;
        } else if parts.len() > 1 && parts.iter().any(inside) {
            // A part could be overwritten before its turn.
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.copy_answer(&[IoSlice::new(&all)]);
        } else {
            self.copy_answer(parts);
        }
        let out = OutHeader {
            len: (size_of::<OutHeader>() + total) as u32,
            error: -error,
            unique: self.request.unique(),
        };
        // SAFETY: an unanswered request's entry belongs to who answers it.
        let this = unsafe { &mut *self.pointer().as_ptr() };
        this.header.in_out[..size_of::<OutHeader>()].copy_from_slice(out.as_bytes());
        this.header.ent.payload_sz = total as u32;
        Ok(())
    }

    fn copy_answer(&self, parts: &[IoSlice<'_>]) {
        let mut at = self.payload;
        for part in parts {
            if part.as_ptr() != at {
                // SAFETY: the total fits (checked by the caller); the part may
                // overlap the payload (an answer built in place).
                unsafe { std::ptr::copy(part.as_ptr(), at, part.len()) };
            }
            // SAFETY: as above.
            at = unsafe { at.add(part.len()) };
        }
    }

    /// The answer's header, for the log.
    pub fn answer(&self) -> OutHeader {
        OutHeader::read_from_prefix(&self.header.in_out)
            .map_or_else(|_| OutHeader::new_zeroed(), |(header, _)| header)
    }

    /// Makes the answer what the kernel will see. The caller commits next.
    pub fn prepare_commit(&self) {
        // SAFETY: whoever commits the entry owns it.
        let this = unsafe { &mut *self.pointer().as_ptr() };
        let late = std::mem::take(&mut this.late_len);
        // SAFETY: the payload is larger than any late answer.
        unsafe { std::ptr::copy_nonoverlapping(this.late.as_ptr(), this.payload, late) };
    }
}
