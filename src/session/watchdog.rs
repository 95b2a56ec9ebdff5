//! The teardown watchdog: ends a process whose filesystem was taken away and
//! that does not manage to end by itself, because a callback hangs.
//!
//! Its thread waits until the kernel has ended the connection (unmounted, or
//! aborted), asks the session to exit, and after some seconds more runs the
//! program's function, or ends the process with status 1.
//!
//! The thread only looks at the session's descriptor, it has no share of it: a
//! descriptor that stays open would keep the connection alive. So who closes the
//! descriptor ends the watch first ([`Session::free_descriptor_of_watchdog`]); a
//! countdown that has begun goes on until [`Watchdog::stop`].
#![allow(unsafe_code)] // the program's function and data

use super::Session;
use crate::abi::public::TimeoutFunc;
use crate::errno::{Errno, Result};
use crate::sys::fd::{self, EventFd};
use crate::sys::process;
use crate::sys::thread::{gettid, spawn, SignalMask, Thread};
use crate::{log_error, log_warning};
use parking_lot::{Condvar, Mutex};
use std::ffi::c_void;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What to do when the time is over.
pub struct Alarm {
    func: Option<TimeoutFunc>,
    data: *mut c_void,
}
// SAFETY: the program's pointer, only passed back to its function.
unsafe impl Send for Alarm {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The thread looks at the session's descriptor.
    Watching,
    /// The connection has ended; the time runs.
    Counting,
    /// The thread has nothing more to do.
    Over,
}

/// A running watchdog.
pub struct Watchdog {
    phase: Mutex<Phase>,
    changed: Condvar,
    /// Readable once the thread is to end.
    end: EventFd,
    stopped: AtomicBool,
    tid: AtomicI32,
    thread: Mutex<Option<Thread>>,
}

impl Session {
    /// Starts the watchdog: `seconds` after the connection has ended `func` is
    /// called with `data` (`None`: the process ends). One per session at a time.
    ///
    /// # Safety
    /// `func` may be called with `data`, on a thread of the library, until the
    /// watchdog is stopped.
    pub unsafe fn start_watchdog(
        self: &Arc<Self>,
        seconds: u32,
        func: Option<TimeoutFunc>,
        data: *mut c_void,
    ) -> Result<Arc<Watchdog>> {
        let device = self.fd();
        if device < 0 || self.custom_io().is_some() {
            log_error!("fuse: the teardown watchdog needs a mounted session");
            return Err(Errno(libc::EBADF));
        }
        let mut current = self.watchdog.lock();
        if current.upgrade().is_some_and(|old| !old.stopped.load(Ordering::SeqCst)) {
            log_error!("fuse: the session has a teardown watchdog already");
            return Err(Errno(libc::EBUSY));
        }
        let dog = Arc::new(Watchdog {
            phase: Mutex::new(Phase::Watching),
            changed: Condvar::new(),
            end: EventFd::new()?,
            stopped: AtomicBool::new(false),
            tid: AtomicI32::new(0),
            thread: Mutex::new(None),
        });
        let (its_dog, session) = (dog.clone(), Arc::downgrade(self));
        let alarm = Alarm { func, data };
        let time = Duration::from_secs(seconds.into());
        let thread = spawn(c"fuse_watchdog", SignalMask::All, move || {
            its_dog.run(&session, device, time, alarm);
        })
        .inspect_err(|errno| log_error!("fuse: cannot start the teardown watchdog: {errno}"))?;
        *dog.thread.lock() = Some(thread);
        *current = Arc::downgrade(&dog);
        Ok(dog)
    }

    /// After this no watchdog looks at the session's descriptor.
    pub(super) fn free_descriptor_of_watchdog(&self) {
        let Some(dog) = self.watchdog.lock().upgrade() else {
            return;
        };
        let mut phase = dog.phase.lock();
        while *phase == Phase::Watching && dog.tid.load(Ordering::SeqCst) != gettid() {
            dog.end.signal();
            dog.changed.wait(&mut phase);
        }
    }
}

impl Watchdog {
    fn run(&self, session: &Weak<Session>, device: RawFd, time: Duration, alarm: Alarm) {
        self.tid.store(gettid(), Ordering::SeqCst);
        let ended = fd::wait_error_or(device, self.end.as_raw_fd()) == device;
        self.enter(if ended { Phase::Counting } else { Phase::Over });
        if !ended {
            return;
        }
        if let Some(session) = session.upgrade() {
            session.exit();
        }
        let mut phase = self.phase.lock();
        let running = |_: &mut Phase| !self.stopped.load(Ordering::SeqCst);
        let timed_out = self.changed.wait_while_for(&mut phase, running, time).timed_out();
        drop(phase);
        if timed_out {
            bark(time, alarm);
        }
        self.enter(Phase::Over);
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock() = phase;
        self.changed.notify_all();
    }

    /// Ends the watch. When this returns the program's function does not run and
    /// will not, unless it is what calls this.
    pub fn stop(&self) {
        let phase = self.phase.lock();
        self.stopped.store(true, Ordering::SeqCst);
        self.changed.notify_all();
        drop(phase);
        self.end.signal();
        let thread = self.thread.lock().take();
        match thread {
            Some(thread) if self.tid.load(Ordering::SeqCst) != gettid() => thread.join(),
            Some(thread) => thread.detach(),
            None => {}
        }
    }
}

fn bark(time: Duration, Alarm { func, data }: Alarm) {
    let seconds = time.as_secs();
    match func {
        Some(func) => {
            log_warning!("fuse: the filesystem is gone for {seconds} s and its loop has not ended");
            // SAFETY: promised to `start_watchdog`.
            unsafe { func(data) };
        }
        None => {
            log_error!(
                "fuse: the filesystem is gone for {seconds} s and its loop has not ended: \
                 this process is ended"
            );
            // Not exit(3): an exit handler may wait for the thread that hangs.
            process::exit_now(1);
        }
    }
}
