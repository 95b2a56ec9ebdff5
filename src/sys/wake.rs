//! Waking a thread out of a blocking read of `/dev/fuse`.
//!
//! A signal with an empty handler does it: read returns EINTR. The signal is a
//! real-time one that nobody else in the process uses, sent to our own threads
//! only. As it may come just before the read starts, it is repeated until the
//! thread has seen what it is told: by a timer ([`Alarm`]) where the waker
//! cannot wait (it may be a signal handler), by the waker otherwise.

use crate::errno::{Errno, Result};
use once_cell::sync::OnceCell;

extern "C" fn nothing(_signal: i32) {}

/// A real-time signal that nobody in the process has a handler for, which gets
/// `handler` with the flags `flags` of sigaction(2).
pub(super) fn claim_signal(handler: extern "C" fn(i32), flags: i32) -> Result<i32> {
    for signal in (libc::SIGRTMIN()..libc::SIGRTMAX()).rev() {
        // SAFETY: an all-zero sigaction is valid; both are ours.
        let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: only asks for the disposition.
        unsafe { libc::sigaction(signal, std::ptr::null(), &mut old) };
        if old.sa_sigaction != libc::SIG_DFL {
            continue;
        }
        // SAFETY: as above; what the handler does is its own affair.
        let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
        new.sa_sigaction = handler as usize;
        new.sa_flags = flags;
        // SAFETY: valid pointers.
        if unsafe { libc::sigaction(signal, &new, std::ptr::null_mut()) } == 0 {
            return Ok(signal);
        }
    }
    Err(Errno(libc::EBUSY))
}

/// Lets `signal` through to the calling thread.
pub(super) fn unblock(signal: i32) {
    // SAFETY: plain data, valid pointers.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}

/// Sends `signal` to thread `tid` of this process.
pub(super) fn send(signal: i32, tid: i32) {
    // SAFETY: no memory involved; a thread that is gone gives ESRCH.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
}

/// The signal, with its handler installed on first use.
fn signal() -> Result<i32> {
    static SIGNAL: OnceCell<i32> = OnceCell::new();
    SIGNAL.get_or_try_init(|| claim_signal(nothing, 0)).copied()
}

/// Lets the wake-up signal through to the calling thread.
pub fn allow_wakeups() -> Result<()> {
    signal().map(unblock)
}

/// Sends the wake-up signal to thread `tid` of this process, once.
pub fn wake(tid: i32) {
    if let Ok(signal) = signal() {
        send(signal, tid);
    }
}

/// A timer that keeps waking one thread once it is set off.
#[derive(Debug)]
pub struct Alarm {
    timer: libc::timer_t,
}

// SAFETY: a timer id is a number to the kernel.
unsafe impl Send for Alarm {}
// SAFETY: as above.
unsafe impl Sync for Alarm {}

impl Alarm {
    /// An alarm for the calling thread, which will not be left in a read.
    pub fn for_this_thread() -> Result<Self> {
        allow_wakeups()?;
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: an all-zero sigevent is valid.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal()?;
        event.sigev_notify_thread_id = crate::sys::thread::gettid();
        // SAFETY: both pointers are valid.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) } != 0 {
            return Err(Errno::last());
        }
        Ok(Self { timer })
    }

    /// Wakes the thread now, and every millisecond until the alarm is dropped.
    /// Async-signal-safe.
    pub fn ring(&self) {
        self.set(1_000_000);
    }

    /// Stops waking.
    pub fn silence(&self) {
        self.set(0);
    }

    fn set(&self, nanos: libc::c_long) {
        let time = super::timespec(0, nanos);
        let first = super::timespec(0, nanos.min(1));
        let spec = libc::itimerspec { it_interval: time, it_value: first };
        // SAFETY: the timer lives as long as `self`; `spec` is valid.
        unsafe { libc::timer_settime(self.timer, 0, &spec, std::ptr::null_mut()) };
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: created by us, deleted once.
        unsafe { libc::timer_delete(self.timer) };
    }
}

/// Rings the alarm behind a pointer that a session published; null: none.
/// Async-signal-safe.
///
/// # Safety
/// The alarm is not dropped meanwhile.
pub unsafe fn ring_alarm(alarm: *const Alarm) {
    // SAFETY: the caller's promise.
    if let Some(alarm) = unsafe { alarm.as_ref() } {
        alarm.ring();
    }
}
