//! When callbacks may run: not while the loop is over, and with an explicit
//! `max_threads` no more than that many at a time.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a thread does right now, for the keeper to see. Written by its thread.
#[repr(align(128))]
#[derive(Default)]
pub struct Activity(AtomicU64);

impl Activity {
    /// A callback starts. Ordered before everything that follows, so that
    /// whoever closes the gate sees either the callback or an open gate.
    pub fn enter(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// The callback has returned.
    pub fn leave(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Changes with every callback; odd while one runs.
    pub fn sequence(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Whether a callback runs.
    pub fn is_busy(&self) -> bool {
        self.sequence() % 2 == 1
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The loop has returned: requests wait for another loop.
    Paused,
    /// The engine ends.
    Stopped,
}

/// Opens and closes; counts.
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    is_open: std::sync::atomic::AtomicBool,
    permits: Option<Permits>,
}

impl Gate {
    /// An open gate for at most `max` callbacks at a time.
    pub fn new(max: Option<u32>) -> Self {
        Self {
            state: Mutex::new(State::Open),
            changed: Condvar::new(),
            is_open: std::sync::atomic::AtomicBool::new(true),
            permits: max.map(|max| Permits { free: Mutex::new(max), returned: Condvar::new() }),
        }
    }

    fn set(&self, state: State) {
        let mut current = self.state.lock();
        if *current != State::Stopped {
            *current = state;
            self.is_open.store(state == State::Open, Ordering::SeqCst);
        }
        self.changed.notify_all();
    }

    /// No callback starts from now on.
    pub fn pause(&self) {
        self.set(State::Paused);
    }

    /// Callbacks start again.
    pub fn open(&self) {
        self.set(State::Open);
    }

    /// No callback will ever start again; those who wait are sent away.
    pub fn stop(&self) {
        self.set(State::Stopped);
    }

    /// Waits for the gate to be open and marks `activity` busy; false if the
    /// engine ends instead.
    pub fn pass(&self, activity: &Activity) -> bool {
        loop {
            activity.enter();
            if self.is_open.load(Ordering::SeqCst) {
                return true;
            }
            activity.leave();
            let mut state = self.state.lock();
            while *state == State::Paused {
                self.changed.wait(&mut state);
            }
            if *state == State::Stopped {
                return false;
            }
        }
    }

    /// Waits until fewer callbacks than allowed run, and counts as one until
    /// dropped.
    pub fn permit(&self) -> Option<Permit<'_>> {
        self.permits.as_ref().map(Permits::take)
    }
}

struct Permits {
    free: Mutex<u32>,
    returned: Condvar,
}

impl Permits {
    fn take(&self) -> Permit<'_> {
        let mut free = self.free.lock();
        while *free == 0 {
            self.returned.wait(&mut free);
        }
        *free -= 1;
        Permit(self)
    }
}

/// The right to run a callback.
pub struct Permit<'a>(&'a Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.returned.notify_one();
    }
}
