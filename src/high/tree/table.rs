//! A hash table whose entries are linked through the nodes themselves.
//!
//! It knows nothing but 32-bit hashes and slots of the [slab](super::slab): the
//! links live in the nodes, and whoever searches compares. It grows by linear
//! hashing: an insertion splits at most two buckets and a removal joins at most
//! four pairs, so no operation ever pays for a rehash. Buckets come in segments
//! that never move, and stay until the table is dropped.
//!
//! A table has no lock of its own; its owner has, and takes it for everything but
//! [`Table::guess`]. All fields are atomics for that one's sake, and a slot is
//! written with Release order wherever a guess may read it.

use super::slab::{Slot, NONE};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::OnceLock;
use zerocopy::FromZeros;

/// Buckets of the first segment; each further one has twice as many as the one
/// before.
const FIRST: usize = 128;
/// Enough for 2^30 entries.
const SEGMENTS: usize = 24;

/// Buckets per entry, at least: few searches come by an entry they do not want,
/// which most likely is in no cache.
const LOAD: usize = 2;

/// How far a guess goes.
const GUESSES: usize = 16;

/// Where the table finds an entry's link and hash.
pub trait Links {
    /// The next entry of the same bucket.
    fn next(&self, slot: Slot) -> Slot;
    /// Sets it.
    fn set_next(&self, slot: Slot, next: Slot);
    /// The hash that the entry was inserted with.
    fn hash(&self, slot: Slot) -> u32;
}

/// The buckets.
pub struct Table {
    segments: [OnceLock<Box<[AtomicU32]>>; SEGMENTS],
    buckets: AtomicUsize,
    entries: AtomicUsize,
}

impl Default for Table {
    fn default() -> Table {
        let table = Table {
            segments: Default::default(),
            buckets: AtomicUsize::new(FIRST),
            entries: AtomicUsize::new(0),
        };
        table.require(0);
        table
    }
}

/// Which segment a bucket is in, and where in it.
fn place(bucket: usize) -> (usize, usize) {
    let at = bucket + FIRST;
    let number = (at.ilog2() - FIRST.ilog2()) as usize;
    (number, at - (FIRST << number))
}

/// The bucket of `hash` among so many.
fn bucket(hash: u32, buckets: usize) -> usize {
    let span = buckets.next_power_of_two();
    let bucket = hash as usize & (span - 1);
    if bucket < buckets {
        bucket
    } else {
        bucket - span / 2
    }
}

impl Table {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// The first entry with `hash` that `wanted` accepts.
    #[inline]
    pub fn find(
        &self,
        links: &impl Links,
        hash: u32,
        mut wanted: impl FnMut(Slot) -> bool,
    ) -> Option<Slot> {
        let mut at = self.head_of(hash).load(Relaxed);
        while at != NONE {
            if links.hash(at) == hash && wanted(at) {
                return Some(at);
            }
            at = links.next(at);
        }
        None
    }

    /// An entry with `hash`, for somebody without the lock: it may have gone, or
    /// become another, and that there is none does not mean a thing.
    #[inline]
    pub fn guess(&self, links: &impl Links, hash: u32) -> Option<Slot> {
        let mut at = self.head_of(hash).load(Acquire);
        for _ in 0..GUESSES {
            if at == NONE || links.hash(at) == hash {
                break;
            }
            at = links.next(at);
        }
        (at != NONE).then_some(at)
    }

    /// Adds `slot`, whose hash is set.
    pub fn insert(&self, links: &impl Links, slot: Slot) {
        self.push(links, slot);
        let entries = self.len() + 1;
        self.entries.store(entries, Relaxed);
        for _ in 0..LOAD {
            if entries * LOAD > self.buckets() {
                self.split(links);
            }
        }
    }

    /// Takes `slot` out; whether it was there.
    pub fn remove(&self, links: &impl Links, slot: Slot) -> bool {
        let head = self.head_of(links.hash(slot));
        let mut at = head.load(Relaxed);
        if at == slot {
            head.store(links.next(slot), Release);
        } else {
            while at != NONE && links.next(at) != slot {
                at = links.next(at);
            }
            if at == NONE {
                return false;
            }
            links.set_next(at, links.next(slot));
        }
        let entries = self.len() - 1;
        self.entries.store(entries, Relaxed);
        for _ in 0..LOAD * 2 {
            if entries * LOAD * 2 < self.buckets() && self.buckets() > FIRST {
                self.join(links);
            }
        }
        true
    }

    /// Calls `visit` with every entry.
    pub fn for_each(&self, links: &impl Links, mut visit: impl FnMut(Slot)) {
        for bucket in 0..self.buckets() {
            let mut at = self.head(bucket).load(Relaxed);
            while at != NONE {
                visit(at);
                at = links.next(at);
            }
        }
    }

    fn buckets(&self) -> usize {
        self.buckets.load(Acquire)
    }

    /// Makes the segment that `bucket` is in.
    fn require(&self, bucket: usize) {
        let (number, _) = place(bucket);
        self.segments[number].get_or_init(|| {
            <[AtomicU32]>::new_box_zeroed_with_elems(FIRST << number)
                .expect("the table of nodes needs memory")
        });
    }

    #[inline]
    fn head(&self, bucket: usize) -> &AtomicU32 {
        let (number, at) = place(bucket);
        &self.segments[number].get().expect("buckets have segments")[at]
    }

    #[inline]
    fn head_of(&self, hash: u32) -> &AtomicU32 {
        self.head(bucket(hash, self.buckets()))
    }

    fn push(&self, links: &impl Links, slot: Slot) {
        let head = self.head_of(links.hash(slot));
        links.set_next(slot, head.load(Relaxed));
        head.store(slot, Release);
    }

    fn push_all(&self, links: &impl Links, mut chain: Slot) {
        while chain != NONE {
            let next = links.next(chain);
            self.push(links, chain);
            chain = next;
        }
    }

    /// One more bucket, with what its elder sibling held for it.
    fn split(&self, links: &impl Links) {
        let young = self.buckets();
        self.require(young);
        self.buckets.store(young + 1, Release);
        let elder = self.head(young - (young + 1).next_power_of_two() / 2);
        let chain = elder.load(Relaxed);
        elder.store(NONE, Relaxed);
        self.push_all(links, chain);
    }

    /// One bucket less; its entries go to its elder sibling.
    fn join(&self, links: &impl Links) {
        let last = self.buckets() - 1;
        let head = self.head(last);
        let chain = head.load(Relaxed);
        head.store(NONE, Relaxed);
        self.buckets.store(last, Release);
        self.push_all(links, chain);
    }
}
