//! Several entries on one ring, for queues whose requests come in batches.
//!
//! A thread with one entry enters the kernel once for each request, and each answer
//! wakes a client, which may take the CPU from it. With [`MANY`] entries a thread
//! serves all that came and commits the answers together, which serves deep queues
//! and many clients up to twice as fast (`docs/performance.md`). But it breaks the
//! engine's rule: the kernel may put a request into an entry of a thread that runs a
//! callback. So it is for
//!
//! * queues where at least every second request comes while others are there, or as soon
//!   as the one before it has been answered;
//! * filesystems whose callbacks have proved short: none has lasted during the last
//!   [`PROOF`] requests, twice as many after each time that one did after all;
//! * loops that do not bound the number of callbacks.
//!
//! One thread of such a queue, the *collector*, gets more entries; others pass theirs on
//! to it with the next answer, and become spares.
//!
//! RINGFUSE_BATCH=no forbids it, =yes takes the proof as given whenever no callback
//! lasts, a number is that of requests to be the first proof.
//!
//! # When a callback lasts all the same
//! The keeper sees it within some looks ([`super::watch`]), and what waits behind it: of
//! what the kernel has put off for the thread it says so ([`crate::sys::put_off`]), and
//! rings the keeper's bell, should that sleep. As often as something does, the keeper
//! sends the thread on an [errand](crate::sys::errand): in a signal handler, the thread
//! commits what it has answered, and gives all requests that have come to its entries to
//! the keeper, which finds other threads for them ([`Engine::clear_desk`]). No thread gets
//! more entries from then on, until there is proof again, and those that have several
//! pass them on, with the next answers, to threads that have none: what remains is what
//! there would be without batches.

use super::entry::Entry;
use super::sqe::Token;
use super::uring::{Completion, Ring};
use super::worker::Worker;
use super::{Engine, Queue};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

/// Entries of a thread whose queue's requests come in batches.
const MANY: u32 = 16;
/// Requests without a callback that lasted that are a proof, the first time.
const PROOF: u64 = 100_000;
/// Requests of a queue that tell something, and how often in a row they must say the
/// same.
const SOME: u64 = 64;
const TIMES: u8 = 4;
/// Completions that an errand can keep for the loop.
const KEPT: usize = 64;

/// What is known about the filesystem's callbacks.
pub struct Batching {
    forbidden: bool,
    /// Requests that had come when one lasted the last time, and those that are wanted
    /// since then. The keeper's.
    quiet_since: AtomicU64,
    proof: AtomicU64,
    /// Threads may have several entries.
    is_on: AtomicBool,
}

impl Batching {
    /// Nothing is known but what the environment says.
    pub fn new() -> Self {
        let word = std::env::var("RINGFUSE_BATCH").unwrap_or_default();
        let proof = if word == "yes" { 0 } else { word.parse().unwrap_or(PROOF) };
        Self {
            forbidden: word == "no",
            quiet_since: AtomicU64::new(0),
            proof: AtomicU64::new(proof),
            is_on: AtomicBool::new(false),
        }
    }
}

/// What the keeper remembers of one queue.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    delivered: u64,
    chained: u64,
    times: u8,
}

/// What a handler thread works at, and its errands clear.
pub struct Work {
    pub ring: Ring,
    /// Delivered to this thread, and not served yet.
    pub waiting: VecDeque<&'static Entry>,
    /// Seen on the ring by an errand, and left to the loop.
    pub kept: VecDeque<Completion>,
    /// The thread's entries: in its callback, in `waiting`, answered and not committed, or
    /// available on its ring.
    pub entries: usize,
    /// Answered, and not given to the kernel.
    pub answered: usize,
}

impl Work {
    /// A thread without an entry.
    pub fn new(ring: Ring) -> Self {
        Self {
            ring,
            waiting: VecDeque::with_capacity(KEPT),
            kept: VecDeque::with_capacity(KEPT),
            entries: 0,
            answered: 0,
        }
    }

    /// Lets the keeper know what waits behind the callback of `worker`, this thread's.
    pub fn tell(&mut self, worker: &Worker) {
        let behind = self.entries.saturating_sub(1) as u32;
        let mut held = (self.waiting.len() + self.answered) as u32;
        if behind > 0 && self.ring.has_next() {
            // Brought along by answers that were committed between callbacks.
            held += 1;
        }
        // These two lines of memory are others' as well.
        for (told, now) in [(&worker.behind, behind), (&worker.held, held)] {
            if told.load(Ordering::Relaxed) != now {
                told.store(now, Ordering::Relaxed);
            }
        }
    }

    /// The next thing that happened.
    pub fn next(&mut self) -> Option<Completion> {
        self.kept.pop_front().or_else(|| self.ring.next())
    }
}

impl Queue {
    /// Its entries, without those of parked requests.
    pub fn usable_entries(&self) -> usize {
        let all = self.counters.entries.load(Ordering::Relaxed);
        all.saturating_sub(self.counters.waiting()) as usize
    }

    /// Whether `worker` is the queue's collector, or becomes it as there is none.
    pub fn collects(&self, worker: &Arc<Worker>) -> bool {
        Arc::ptr_eq(self.collector.lock().get_or_insert_with(|| worker.clone()), worker)
    }

    /// `worker` serves the queue no more.
    pub fn collects_no_more(&self, worker: &Arc<Worker>) {
        let mut collector = self.collector.lock();
        if collector.as_ref().is_some_and(|collector| Arc::ptr_eq(collector, worker)) {
            *collector = None;
        }
    }

    /// The ring of the collector, if that is another thread than `worker` and has room
    /// for another entry.
    pub fn ring_of_collector(&self, worker: &Arc<Worker>) -> Option<RawFd> {
        let collector = self.collector.lock();
        let collector = collector.as_ref().filter(|other| !Arc::ptr_eq(other, worker))?;
        let has_room = collector.behind.load(Ordering::Relaxed) + 1 < MANY;
        Some(collector.ring_fd.load(Ordering::SeqCst)).filter(|&ring| has_room && ring >= 0)
    }
}

impl Engine {
    /// Whether threads may have several entries.
    pub(super) fn is_batching(&self) -> bool {
        self.batching.is_on.load(Ordering::Relaxed)
    }

    /// How many entries a thread that serves `queue` may have.
    pub(super) fn entries_allowed(&self, queue: u16) -> usize {
        self.queues[queue as usize].batch.load(Ordering::Relaxed).max(1) as usize
    }

    /// Lets the threads of each queue have several entries or not; called with every
    /// look of the keeper. `lasts`: a callback does.
    pub(super) fn look_at_batches(&self, seen: &mut Vec<Seen>, lasts: bool) {
        let batching = &self.batching;
        let delivered = self.delivered();
        let quiet = delivered - batching.quiet_since.load(Ordering::Relaxed);
        let proof = batching.proof.load(Ordering::Relaxed);
        if lasts || self.gate.is_bounded() {
            if lasts && quiet >= proof {
                batching.proof.store(2 * proof, Ordering::Relaxed);
            }
            batching.quiet_since.store(delivered, Ordering::Relaxed);
            if batching.is_on.swap(false, Ordering::Relaxed) {
                for queue in &self.queues {
                    queue.batch.store(1, Ordering::Relaxed);
                    *queue.collector.lock() = None;
                }
            }
            return;
        }
        if batching.forbidden || quiet < proof {
            return;
        }
        seen.resize(self.queues.len(), Seen::default());
        for (seen, queue) in seen.iter_mut().zip(&self.queues) {
            let (delivered, chained) = (
                queue.counters.requests.load(Ordering::Relaxed),
                queue.chained.load(Ordering::Relaxed),
            );
            let (moved, more) = (delivered - seen.delivered, chained - seen.chained);
            if moved < SOME {
                continue;
            }
            (seen.delivered, seen.chained) = (delivered, chained);
            seen.times = if 2 * more < moved { 0 } else { seen.times.saturating_add(1) };
            if seen.times >= TIMES && queue.batch.load(Ordering::Relaxed) < MANY {
                queue.batch.store(MANY, Ordering::Relaxed);
                batching.is_on.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What the thread of `worker` does on an errand, during a callback that lasts:
    /// nothing is left behind it. Async-signal-safe.
    pub(super) fn clear_desk(&self, worker: &Worker, work: &mut Work) {
        // Also runs what the kernel has put off until this thread comes by.
        let _ = work.ring.submit();
        work.answered = 0;
        let mut cleared = 0;
        while work.kept.len() < work.kept.capacity() {
            let Some(completion) = work.ring.next() else {
                break;
            };
            match completion {
                Completion { token: Token::Entry(entry), result: 0 } => {
                    let entry = Entry::from_pointer(entry);
                    self.taken(entry);
                    self.clear(entry);
                    cleared += 1;
                }
                // Others' that have not become this thread's yet.
                Completion { token: Token::Adopt(entry), .. } => {
                    self.pass_on(Entry::from_pointer(entry));
                }
                Completion { token: Token::HandedOver(entry), .. } => {
                    self.clear(Entry::from_pointer(entry));
                }
                // What else there may be takes locks or memory.
                other => work.kept.push_back(other),
            }
        }
        while let Some(entry) = work.waiting.pop_front() {
            self.clear(entry);
            cleared += 1;
        }
        work.entries -= cleared;
        work.tell(worker);
    }

    /// Gives the request in `entry` to the keeper, for another thread.
    fn clear(&self, entry: &Entry) {
        if self.cleared.push(entry) {
            self.bell.signal();
        }
    }

    /// Passes an answered entry of the calling thread's to the keeper, for a thread that
    /// has none.
    pub(super) fn pass_on(&self, entry: &Entry) {
        if self.passed_on.push(entry) {
            self.bell.signal();
        }
    }
}
