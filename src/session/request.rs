//! A request in the hands of the filesystem: what `fuse_req_t` points to.
//!
//! # Ownership
//! A request lives in a *slot*: on `/dev/fuse` a box of the worker that read it,
//! on a ring the entry it arrived in. The thread that received it owns the slot
//! while its callback runs; any thread may answer. Two parties thus give the
//! slot up, and [`Request::state`] says which one is last:
//!
//! | state | who set it | meaning |
//! |---|---|---|
//! | `HANDLING` | the receiving thread | the callback runs, no answer so far |
//! | `ANSWERED` | the answering thread | answered; the callback has not returned |
//! | `PARKED` | the receiving thread | the callback returned without an answer |
//! | `TAKEN` | whoever recycles the slot | the slot is on its way back |
//!
//! The party that finds the other one's mark recycles the slot. The state carries
//! a [`Turn`], so that a receiving thread whose slot was taken while its callback
//! went on does not mistake the slot's next request for its own. After a
//! `fuse_reply_*` the filesystem must not touch the request; neither does the
//! library on its behalf.
#![allow(unsafe_code)] // the request is shared with C by pointer

use super::secctx::SecurityContexts;
use super::Session;
use crate::abi::kernel::{InHeader, Opcode};
use crate::abi::public::{Ctx, InterruptFunc, Req};
use crate::sys::kernel_order;
use crate::transport::Route;
use parking_lot::{Mutex, MutexGuard, ReentrantMutex};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Values of [`Request::state`], below the turn.
mod state {
    pub const HANDLING: u64 = 0;
    pub const ANSWERED: u64 = 1;
    pub const PARKED: u64 = 2;
    pub const TAKEN: u64 = 3;
    pub const MASK: u64 = 3;
}

/// One use of a slot, from [`Request::begin`] until the slot is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(u64);

/// A turn that other threads can read.
#[derive(Default)]
pub struct SharedTurn(AtomicU64);

impl SharedTurn {
    /// Shows `turn`.
    pub fn set(&self, Turn(turn): Turn) {
        self.0.store(turn, Ordering::Release);
    }

    /// The turn shown last.
    pub fn get(&self) -> Turn {
        Turn(self.0.load(Ordering::Acquire))
    }
}

/// What the filesystem wants to be called when the request is interrupted.
#[derive(Clone, Copy)]
struct InterruptHook {
    func: InterruptFunc,
    data: *mut c_void,
}

/// One request. The plain fields are written by the receiving thread before the
/// callback runs, and only read until the slot is recycled.
#[repr(C)]
pub struct Request {
    /// The kernel's number of the request; 0 while the slot is free.
    unique: AtomicU64,
    state: AtomicU64,
    has_hook: AtomicBool,
    /// An ioctl of a caller whose addresses do not fit into ours.
    pub(super) wide_ioctl: AtomicBool,
    /// The number of the request that was interrupted: equal to `unique` if it
    /// is this one (a late mark for the slot's previous request is harmless).
    interrupted: AtomicU64,
    hook: ReentrantMutex<Cell<Option<InterruptHook>>>,
    session: *const Session,
    route: Route,
    ctx: Ctx,
    opcode: u32,
    nodeid: u64,
    /// The thread that runs the callback.
    handler: u64,
    /// What a security module wants a new file's label to be.
    security: Mutex<Option<Box<SecurityContexts>>>,
}

// SAFETY: the raw pointers are the session (shared, outlives every request) and
// the hook's data (only passed back to the filesystem); everything that changes
// while shared is atomic or under the lock.
unsafe impl Send for Request {}
// SAFETY: as above.
unsafe impl Sync for Request {}

/// A number for the calling thread that no other living thread has.
pub fn current_thread() -> u64 {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark) as u64)
}

impl Request {
    /// An empty slot.
    pub fn empty() -> Self {
        Self {
            unique: AtomicU64::new(0),
            state: AtomicU64::new(state::TAKEN),
            has_hook: AtomicBool::new(false),
            wide_ioctl: AtomicBool::new(false),
            interrupted: AtomicU64::new(0),
            hook: ReentrantMutex::new(Cell::new(None)),
            session: std::ptr::null(),
            route: Route::None,
            ctx: Ctx::default(),
            opcode: 0,
            nodeid: 0,
            handler: 0,
            security: Mutex::new(None),
        }
    }

    /// Puts a received request into the slot, which the calling thread owns.
    pub fn begin(&mut self, session: &Session, route: Route, header: &InHeader) -> Turn {
        kernel_order::after_receiving();
        self.session = session;
        self.route = route;
        self.ctx = Ctx { uid: header.uid, gid: header.gid, pid: header.pid as i32, umask: 0 };
        self.opcode = header.opcode;
        *self.security.get_mut() = None;
        self.nodeid = header.nodeid;
        self.handler = current_thread();
        let turn = (self.state.load(Ordering::Relaxed) | state::MASK) + 1;
        self.state.store(turn | state::HANDLING, Ordering::Relaxed);
        self.unique.store(header.unique, Ordering::Release);
        session.interrupts.note_arrival(self);
        Turn(turn)
    }

    /// Creation requests carry the caller's umask.
    pub fn set_umask(&mut self, umask: u32) {
        self.ctx.umask = umask;
    }

    /// Creation requests may carry security contexts.
    pub fn set_security_contexts(&mut self, contexts: Option<SecurityContexts>) {
        *self.security.get_mut() = contexts.map(Box::new);
    }

    /// The security contexts; what they lend lives until the answer.
    pub fn security_contexts(&self) -> MutexGuard<'_, Option<Box<SecurityContexts>>> {
        self.security.lock()
    }

    /// The pointer that C gets.
    pub fn as_c(&self) -> Req {
        std::ptr::from_ref(self).cast_mut()
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends the callback's part in `turn`: true if the answer is not there yet,
    /// so that the slot now belongs to whoever answers.
    pub fn park(&self, Turn(turn): Turn) -> bool {
        self.state.load(Ordering::Acquire) == turn | state::HANDLING
            && self.change(turn | state::HANDLING, turn | state::PARKED)
    }

    /// Marks the request answered: true if its callback has returned already,
    /// so that the caller must recycle the slot. Otherwise the slot belongs to
    /// the receiving thread again, and `self` may be reused at any moment.
    pub fn finish(&self) -> bool {
        if self.has_hook.load(Ordering::Acquire) {
            // Waits for a hook that runs in another thread right now, as the
            // filesystem may free the hook's data once it has answered.
            self.hook.lock().set(None);
            self.has_hook.store(false, Ordering::Relaxed);
        }
        self.unique.store(0, Ordering::Relaxed);
        let turn = self.state.load(Ordering::Relaxed) & !state::MASK;
        // ANSWERED means that the callback still runs: nobody but the caller
        // may take the slot of one that has returned.
        !self.change(turn | state::HANDLING, turn | state::ANSWERED)
            && self.change(turn | state::PARKED, turn | state::TAKEN)
    }

    /// Takes the slot if it was answered in `turn`: true for exactly one of those
    /// who try.
    pub fn take_answered(&self, Turn(turn): Turn) -> bool {
        self.change(turn | state::ANSWERED, turn | state::TAKEN)
    }

    /// The session this request belongs to.
    pub fn session(&self) -> &Session {
        // SAFETY: set by `begin`; a session outlives its requests.
        unsafe { &*self.session }
    }

    /// Whether the callback returned without an answer, and none came since.
    pub fn is_parked(&self) -> bool {
        self.state.load(Ordering::Acquire) & state::MASK == state::PARKED
    }

    /// How the request arrived, and so how the answer travels.
    pub fn route(&self) -> Route {
        self.route
    }

    /// The kernel's number of the request.
    pub fn unique(&self) -> u64 {
        self.unique.load(Ordering::Acquire)
    }

    /// The operation asked for; `None` if this library does not know it.
    pub fn opcode(&self) -> Option<Opcode> {
        Opcode::from_wire(self.opcode)
    }

    /// The raw opcode.
    pub fn opcode_raw(&self) -> u32 {
        self.opcode
    }

    /// The node the operation is about.
    pub fn nodeid(&self) -> u64 {
        self.nodeid
    }

    /// Who asked.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Whether the calling thread is the one whose callback handles this
    /// request, so that the receive buffer is still this request's.
    pub fn in_handler(&self) -> bool {
        self.handler == current_thread()
            && self.state.load(Ordering::Acquire) & state::MASK == state::HANDLING
    }

    /// Marks request number `unique` interrupted if this slot holds it, and
    /// runs its hook. False if it is not here (any more).
    pub fn interrupt(&self, unique: u64) -> bool {
        if self.unique.load(Ordering::Acquire) != unique {
            return false;
        }
        let hook = self.hook.lock();
        if self.unique.load(Ordering::Acquire) != unique {
            return false;
        }
        self.interrupted.store(unique, Ordering::Release);
        if let Some(InterruptHook { func, data }) = hook.get() {
            // SAFETY: the filesystem's own function and data; the lock keeps
            // the request from being recycled by an answer of another thread.
            unsafe { func(self.as_c(), data) };
        }
        true
    }

    /// Marks a request whose interrupt came before it.
    pub fn interrupted_before_arrival(&self) {
        self.interrupted.store(self.unique(), Ordering::Release);
    }

    /// Whether the client gave up waiting.
    pub fn is_interrupted(&self) -> bool {
        let unique = self.unique();
        unique != 0 && self.interrupted.load(Ordering::Acquire) == unique
    }

    /// Sets what to call on an interrupt (`None`: nothing); calls it at once if
    /// the request is interrupted already.
    ///
    /// # Safety
    /// `func` may be called with this request and `data`, from any thread, until
    /// the request is answered.
    pub unsafe fn set_interrupt_hook(&self, func: Option<InterruptFunc>, data: *mut c_void) {
        let hook = self.hook.lock();
        hook.set(func.map(|func| InterruptHook { func, data }));
        self.has_hook.store(func.is_some(), Ordering::Release);
        if let (Some(func), true) = (func, self.is_interrupted()) {
            // SAFETY: the caller's promise.
            unsafe { func(self.as_c(), data) };
        }
    }
}
