//! What `fuse_get_context` tells: who asks for the operation that this thread
//! runs.
//!
//! Each thread has one context, filled in before an operation's callbacks run.
//! Its `private_data` is that of the layer whose operation runs (see
//! [`super::layer`]). The address stays the same for as long as the thread lives;
//! the contents are those of the last operation.
#![allow(unsafe_code)] // the thread's own cell is handed to C

use super::Fuse;
use crate::abi::high::Context;
use crate::session::request::Request;
use libc::{c_void, mode_t};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

/// The context of an operation that no process asks for.
const NOBODY: Context = Context {
    fuse: ptr::null_mut(),
    uid: 0,
    gid: 0,
    pid: 0,
    private_data: ptr::null_mut(),
    umask: 0,
};

struct Slot {
    context: UnsafeCell<Context>,
    /// The request of the operation that runs; NULL outside of one.
    request: Cell<*const Request>,
    /// Whether the thread has ever run an operation.
    used: Cell<bool>,
}

thread_local! {
    static SLOT: Slot = const {
        Slot {
            context: UnsafeCell::new(NOBODY),
            request: Cell::new(ptr::null()),
            used: Cell::new(false),
        }
    };
}

/// An operation on this thread: until dropped, the context is that of its request.
pub struct Operation {
    before: *const Request,
}

impl Operation {
    /// Begins one, for `request` of `fuse`.
    pub fn begin(fuse: &Fuse, request: &Request) -> Self {
        let ctx = request.ctx();
        SLOT.with(|slot| {
            // SAFETY: the thread's own; C reads it in callbacks only.
            let context = unsafe { &mut *slot.context.get() };
            context.fuse = fuse.as_c();
            context.uid = ctx.uid;
            context.gid = ctx.gid;
            context.pid = ctx.pid;
            context.umask = ctx.umask as mode_t;
            slot.used.set(true);
            Self { before: slot.request.replace(request) }
        })
    }
}

impl Operation {
    /// One that nobody has asked for, on behalf of `fuse`.
    pub fn of_the_library(fuse: &Fuse) -> Self {
        SLOT.with(|slot| {
            // SAFETY: as in `begin`.
            let context = unsafe { &mut *slot.context.get() };
            *context = Context { fuse: fuse.as_c(), private_data: context.private_data, ..NOBODY };
            slot.used.set(true);
            Self { before: slot.request.replace(ptr::null()) }
        })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        SLOT.with(|slot| slot.request.set(self.before));
    }
}

/// The thread's context; NULL if it never ran an operation.
pub fn current() -> *mut Context {
    SLOT.with(|slot| if slot.used.get() { slot.context.get() } else { ptr::null_mut() })
}

/// The request of the operation that this thread runs.
pub fn request() -> *const Request {
    SLOT.with(|slot| slot.request.get())
}

/// Whether the client of the operation that this thread runs was interrupted.
pub fn is_interrupted() -> bool {
    // SAFETY: NULL, or the request of an operation of this thread.
    unsafe { request().as_ref() }.is_some_and(Request::is_interrupted)
}

/// A layer's operation on this thread: until dropped, `private_data` is the
/// layer's, and then again that of the layer above. The uppermost one's stays, as
/// programs are used to.
pub struct Private {
    before: *mut c_void,
}

impl Private {
    /// Begins one.
    pub fn set(data: *mut c_void) -> Self {
        SLOT.with(|slot| {
            slot.used.set(true);
            // SAFETY: as in `begin`.
            let context = unsafe { &mut *slot.context.get() };
            Self { before: std::mem::replace(&mut context.private_data, data) }
        })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if !self.before.is_null() {
            // SAFETY: as in `begin`.
            SLOT.with(|slot| unsafe { (*slot.context.get()).private_data = self.before });
        }
    }
}
