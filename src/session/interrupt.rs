//! FUSE_INTERRUPT: finding the request that a client gave up on.
//!
//! Interrupts are rare and requests are not, so nothing is kept per request but
//! its number: an interrupt searches all slots. One that comes before its
//! request (both are on their way at the same time, over different
//! descriptors) is remembered, and found by [`Interrupts::note_arrival`].

use super::request::Request;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Interrupts that wait for their request, at most; older ones are dropped:
/// theirs was most likely answered before the interrupt was read.
const REMEMBERED: usize = 128;
/// And for how long.
const PATIENCE: Duration = Duration::from_secs(1);

/// The session's early interrupts.
#[derive(Default)]
pub struct Interrupts {
    early: Mutex<VecDeque<(u64, Instant)>>,
    count: AtomicUsize,
}

impl Interrupts {
    /// Remembers the interrupt of request `unique`.
    pub fn remember(&self, unique: u64) {
        let mut early = self.early.lock();
        if early.len() == REMEMBERED {
            early.pop_front();
        }
        early.push_back((unique, Instant::now()));
        self.count.store(early.len(), Ordering::SeqCst);
    }

    /// Called with every request that arrives; cheap while nothing is remembered.
    pub fn note_arrival(&self, request: &Request) {
        if self.count.load(Ordering::Acquire) != 0 && self.forget(request.unique()) {
            request.interrupted_before_arrival();
        }
    }

    /// Forgets the interrupt of `unique`; whether there was one.
    pub fn forget(&self, unique: u64) -> bool {
        let mut early = self.early.lock();
        early.retain(|(_, since)| since.elapsed() < PATIENCE);
        let at = early.iter().position(|&(other, _)| other == unique);
        if let Some(at) = at {
            early.remove(at);
        }
        self.count.store(early.len(), Ordering::Release);
        at.is_some()
    }
}
