//! Errands: a thread of the library's does something for others although it is in
//! the filesystem's code, which may go on for long.
//!
//! A signal does it, a real-time one that nobody else in the process uses, whose
//! handler runs a function of the thread's own. The system call that the thread
//! waited in goes on afterwards (SA_RESTART), but for those that end with EINTR
//! whenever a signal comes (signal(7) has the list: epoll_wait, poll, nanosleep and
//! some more). So it is for rare occasions.

use super::wake::{claim_signal, send, unblock};
use crate::errno::{Errno, Result};
use once_cell::sync::OnceCell;
use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{compiler_fence, AtomicBool, Ordering};

thread_local! {
    /// What this thread does when it is sent on an errand.
    static ERRAND: Cell<Option<*const dyn Fn()>> = const { Cell::new(None) };
}

extern "C" fn run(_signal: i32) {
    let before = Errno::last();
    if let Some(errand) = ERRAND.get() {
        // SAFETY: `on_errand` keeps it alive while it is named here, and its caller
        // promises that it may run at any point.
        unsafe { (*errand)() };
    }
    super::set_errno(before);
}

fn signal() -> Result<i32> {
    static SIGNAL: OnceCell<i32> = OnceCell::new();
    SIGNAL.get_or_try_init(|| claim_signal(run, libc::SA_RESTART)).copied()
}

/// Whether threads can be sent on errands at all.
pub fn are_possible() -> bool {
    signal().is_ok()
}

/// Runs `body`; when the thread is sent on its errand meanwhile, it runs `errand` as
/// well. None comes where they are not possible.
///
/// # Safety
/// `errand` is async-signal-safe: it does not allocate, takes no lock, and touches
/// nothing of which `body` might be in the middle, but by a [`Desk`].
pub unsafe fn on_errand<R>(errand: &dyn Fn(), body: impl FnOnce() -> R) -> R {
    /// Ends the errand's time, however `body` ends.
    struct Until;
    impl Drop for Until {
        fn drop(&mut self) {
            ERRAND.set(None);
        }
    }
    // SAFETY: only the lifetime changes; `Until` ends the use in time.
    let errand: *const (dyn Fn() + 'static) = unsafe { std::mem::transmute(errand) };
    ERRAND.set(Some(errand));
    let _until = Until;
    signal().into_iter().for_each(unblock);
    body()
}

/// Sends thread `tid` of this process on its errand, if it has one.
pub fn send_on_errand(tid: i32) {
    if let Ok(signal) = signal() {
        send(signal, tid);
    }
}

/// What a thread and its errand share: whoever comes second gets nothing.
pub struct Desk<T> {
    is_in_use: AtomicBool,
    value: UnsafeCell<T>,
}

/// The right to use what is on a [`Desk`].
pub struct AtDesk<'a, T>(&'a Desk<T>);

impl<T> Desk<T> {
    /// With `value` on it. A desk stays in its thread.
    pub fn new(value: T) -> Self {
        Self { is_in_use: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// What is on the desk, unless it is in use already. Async-signal-safe.
    pub fn try_use(&self) -> Option<AtDesk<'_, T>> {
        // Only one thread comes here, in a signal handler or not: it is enough that
        // the compiler keeps the order.
        if self.is_in_use.load(Ordering::Relaxed) {
            return None;
        }
        self.is_in_use.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Some(AtDesk(self))
    }

    /// What is on the desk.
    ///
    /// # Panics
    /// If it is in use already.
    pub fn take_place(&self) -> AtDesk<'_, T> {
        self.try_use().expect("one use at a time")
    }
}

impl<T> Deref for AtDesk<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: there is one `AtDesk` at a time (UnsafeCell makes the desk !Sync).
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for AtDesk<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for AtDesk<'_, T> {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.0.is_in_use.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::thread::gettid;
    use std::time::{Duration, Instant};

    #[test]
    fn a_thread_that_sleeps_does_its_errand_and_sleeps_on() {
        let desk = Desk::new(0);
        let errand = || {
            if let Some(mut count) = desk.try_use() {
                *count += 1;
            }
        };
        let start = Instant::now();
        let tid = gettid();
        let sender = std::thread::spawn(move || {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(5));
                send_on_errand(tid);
            }
        });
        // SAFETY: the errand adds to a number on a desk.
        unsafe {
            on_errand(&errand, || {
                while *desk.take_place() < 3 {
                    assert!(start.elapsed() < Duration::from_secs(20));
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        sender.join().expect("the sender");
        send_on_errand(tid);
        assert_eq!(*desk.take_place(), 3);
    }

    #[test]
    fn what_is_in_use_is_not_to_be_had() {
        let desk = Desk::new(1);
        let used = desk.take_place();
        assert!(desk.try_use().is_none());
        drop(used);
        assert!(desk.try_use().is_some());
    }
}
