//! When callbacks may run: not while the loop is over, and with an explicit
//! `max_threads` no more than that many at a time.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    is_open: AtomicBool,
    permits: Permits,
    /// Whether `permits` is to be asked at all.
    bounded: AtomicBool,
}

impl Gate {
    /// An open gate for at most `max` callbacks at a time.
    pub fn new(max: Option<u32>) -> Self {
        Self {
            state: Mutex::new(State::Open),
            changed: Condvar::new(),
            is_open: AtomicBool::new(true),
            permits: Permits {
                turns: Mutex::new(Turns { max, out: 0, next: 0, serving: 0 }),
                changed: Condvar::new(),
            },
            bounded: AtomicBool::new(max.is_some()),
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

    /// Waits for the gate to be open, after `before_waiting` if it is not, and marks
    /// `activity` busy; false if the engine ends instead.
    pub fn pass(&self, activity: &Activity, before_waiting: impl Fn()) -> bool {
        loop {
            activity.enter();
            if self.is_open.load(Ordering::SeqCst) {
                return true;
            }
            activity.leave();
            before_waiting();
            let mut state = self.state.lock();
            while *state == State::Paused {
                self.changed.wait(&mut state);
            }
            if *state == State::Stopped {
                return false;
            }
        }
    }

    /// Bounds the number of callbacks that start from now on; none may run.
    pub fn bound(&self, max: Option<u32>) {
        self.permits.turns.lock().max = max;
        self.bounded.store(max.is_some(), Ordering::SeqCst);
    }

    /// Waits until fewer callbacks than allowed run, after `before_waiting`, and counts
    /// as one until dropped. `None`: there is no bound.
    pub fn permit(&self, before_waiting: impl Fn()) -> Option<Permit<'_>> {
        if !self.is_bounded() {
            return None;
        }
        before_waiting();
        self.permits.take()
    }

    /// Whether there is a bound.
    pub fn is_bounded(&self) -> bool {
        self.bounded.load(Ordering::Relaxed)
    }

    /// Whether another callback could run.
    pub fn has_room(&self) -> bool {
        let turns = self.permits.turns.lock();
        turns.max.is_none_or(|max| turns.out < max)
    }
}

/// Numbered turns: who asked first is served first.
struct Permits {
    turns: Mutex<Turns>,
    changed: Condvar,
}

struct Turns {
    /// How many may be out at a time.
    max: Option<u32>,
    out: u32,
    /// The next number to be drawn, and the next to be served.
    next: u64,
    serving: u64,
}

impl Permits {
    fn take(&self) -> Option<Permit<'_>> {
        let mut turns = self.turns.lock();
        turns.max?;
        let mine = turns.next;
        turns.next += 1;
        while turns.serving != mine || turns.max.is_some_and(|max| turns.out >= max) {
            self.changed.wait(&mut turns);
        }
        turns.serving += 1;
        turns.out += 1;
        if turns.serving != turns.next {
            self.changed.notify_all();
        }
        Some(Permit(self))
    }
}

/// The right to run a callback.
pub struct Permit<'a>(&'a Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.turns.lock();
        turns.out -= 1;
        if turns.serving != turns.next {
            self.0.changed.notify_all();
        }
    }
}
