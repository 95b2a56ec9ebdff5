//! Signals to operations whose client is killed or interrupted (the setting
//! `intr`).
//!
//! While the layer's callback runs, an interrupt of its request sends the signal
//! `intr_signal` to its thread, again and again until the callback has returned:
//! a signal that comes between two blocking calls would be lost.
#![allow(unsafe_code)] // a hook with a pointer to this thread's stack

use super::Op;
use crate::abi::public::Req;
use crate::session::request::Request;
use crate::sys::signal;
use parking_lot::{Condvar, Mutex};
use std::ffi::c_void;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::time::Duration;

/// Between two signals.
const AGAIN: Duration = Duration::from_millis(100);

struct Target {
    thread: libc::pthread_t,
    signal: i32,
    over: Mutex<bool>,
    changed: Condvar,
    _pinned: PhantomPinned,
}

/// A callback that signals may interrupt, until dropped.
pub struct Interruptible<'a>(Option<(&'a Request, Pin<Box<Target>>)>);

impl<'a> Interruptible<'a> {
    /// Begins, if the settings want it.
    pub fn begin(op: &Op<'a>) -> Self {
        let config = op.config();
        if config.intr == 0 {
            return Self(None);
        }
        let target = Box::pin(Target {
            // SAFETY: no memory involved.
            thread: unsafe { libc::pthread_self() },
            signal: config.intr_signal,
            over: Mutex::new(false),
            changed: Condvar::new(),
            _pinned: PhantomPinned,
        });
        let data = std::ptr::from_ref(&*target).cast_mut().cast();
        // SAFETY: the target lives until `drop` has taken the hook back, which
        // waits for a hook that runs.
        unsafe { op.req.set_interrupt_hook(Some(interrupted), data) };
        Self(Some((op.req, target)))
    }
}

impl Drop for Interruptible<'_> {
    fn drop(&mut self) {
        if let Some((req, target)) = self.0.take() {
            *target.over.lock() = true;
            target.changed.notify_all();
            // SAFETY: no hook.
            unsafe { req.set_interrupt_hook(None, std::ptr::null_mut()) };
        }
    }
}

unsafe extern "C" fn interrupted(_req: Req, data: *mut c_void) {
    // SAFETY: see `begin`.
    let target = unsafe { &*data.cast::<Target>() };
    // SAFETY: no memory involved.
    let itself = unsafe { libc::pthread_equal(target.thread, libc::pthread_self()) != 0 };
    let mut over = target.over.lock();
    while !*over {
        signal::send_to_thread(target.thread, target.signal);
        if itself {
            // The interrupt came before the callback: nobody else to wait for.
            break;
        }
        target.changed.wait_for(&mut over, AGAIN);
    }
}
