//! Walks: operations that have locked the last component of their path only, and
//! rely on nobody moving a directory above it meanwhile. A walk costs the same
//! however deep the path is, and writes to no node that others use.
//!
//! Who wants a directory that has nodes below it for himself stops the walks:
//! from then on, until he lets it go, operations lock every component of their
//! paths, and for each walk under way this is done in its place
//! ([`super::nodes::Nodes::stop_walks`]). An operation that ends sees that and
//! lets go what was locked for it.
//!
//! A record is of the operation that has begun the walk, until it ends it. The
//! count of those who move changes upwards under the queue's lock only.
//!
//! **Why none is missed.** A walk is written down first and then looks whether
//! somebody moves; who moves says so first and then reads what is written. Both
//! sequentially consistent, so one of them sees the other.

use super::slab::{Slot, NONE};
use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

/// More walks than that at a time: the others lock all components.
const RECORDS: usize = 256;
/// How many records a thread tries.
const TRIES: usize = 4;
/// Its components have been locked in its place.
const STOPPED: u64 = 1 << 32;
const FREE: u64 = NONE as u64;

/// The last component of a walk, on a cache line of its own.
#[repr(align(64))]
struct Record(AtomicU64);

/// A walk under way.
#[must_use]
pub struct Walk(usize);

/// All walks of a table.
pub struct Walks {
    records: Box<[Record]>,
    /// Records from here on were never used.
    used: AtomicUsize,
    /// Those who hold, or wait for, a directory that has nodes below it.
    moving: AtomicU32,
}

impl Default for Walks {
    fn default() -> Walks {
        Walks {
            records: (0..RECORDS).map(|_| Record(AtomicU64::new(FREE))).collect(),
            used: AtomicUsize::new(0),
            moving: AtomicU32::new(0),
        }
    }
}

/// Where this thread's records begin.
fn own() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            // Two each, for operations with two paths.
            let first = THREADS.fetch_add(2, Relaxed);
            own.set(Some(first));
            first
        })
    })
}

impl Walks {
    /// Begins a walk from `base`, which the caller has locked; `None` if it has to
    /// lock everything above it too.
    pub fn begin(&self, base: Slot) -> Option<Walk> {
        if self.moving.load(Relaxed) != 0 {
            return None;
        }
        let own = own();
        let at = (0..TRIES).map(|next| (own + next) % RECORDS).find(|&at| {
            let record = &self.records[at].0;
            if record.load(Relaxed) != FREE {
                return false;
            }
            if at >= self.used.load(Relaxed) {
                self.used.fetch_max(at + 1, SeqCst);
            }
            record.compare_exchange(FREE, base.into(), SeqCst, Relaxed).is_ok()
        })?;
        let walk = Walk(at);
        if self.moving.load(SeqCst) == 0 {
            return Some(walk);
        }
        match self.end(&walk, base) {
            true => None,
            // All was locked for it in the meantime.
            false => Some(walk),
        }
    }

    /// Ends the walk from `base`; false if it was stopped: then the caller has to
    /// let go what is above `base`, and to say [`Walks::free`].
    pub fn end(&self, walk: &Walk, base: Slot) -> bool {
        self.records[walk.0].0.compare_exchange(base.into(), FREE, SeqCst, Acquire).is_ok()
    }

    /// Gives the record of a stopped walk back.
    pub fn free(&self, walk: Walk) {
        self.records[walk.0].0.store(FREE, SeqCst);
    }

    /// One more who moves. Calls `stopped` with the base of each walk that was
    /// under way. The caller has the queue's lock.
    pub fn stop(&self, mut stopped: impl FnMut(Slot)) {
        if self.moving.fetch_add(1, SeqCst) != 0 {
            return;
        }
        for Record(record) in &self.records[..self.used.load(SeqCst)] {
            let base = record.load(SeqCst);
            if base != FREE
                && base & STOPPED == 0
                && record.compare_exchange(base, base | STOPPED, SeqCst, Relaxed).is_ok()
            {
                stopped(base as Slot);
            }
        }
    }

    /// One more who moves, while another does anyway.
    pub fn stop_more(&self) {
        self.moving.fetch_add(1, SeqCst);
    }

    /// How many move.
    pub fn moving(&self) -> usize {
        self.moving.load(SeqCst) as usize
    }

    /// One less who moves; he has let go what he held.
    pub fn resume(&self) {
        self.moving.fetch_sub(1, SeqCst);
    }
}
