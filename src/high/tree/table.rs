//! A hash table whose entries are linked through the nodes themselves.
//!
//! It knows nothing but 32-bit hashes and slots of the [slab](super::slab): the
//! links live in the nodes, and whoever searches compares. It grows by linear
//! hashing: an insertion splits at most one bucket and a removal joins at most
//! two, so no operation ever pays for a rehash. Buckets come in segments that
//! never move. A table has no lock of its own; its owner has.

use super::slab::{Slot, NONE};

/// Buckets of one segment; also the least number of buckets.
const SEGMENT: usize = 128;

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
    segments: Vec<Box<[Slot]>>,
    buckets: usize,
    entries: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table { segments: vec![Box::from([NONE; SEGMENT])], buckets: SEGMENT, entries: 0 }
    }
}

impl Table {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The first entry with `hash` that `wanted` accepts.
    pub fn find(
        &self,
        links: &impl Links,
        hash: u32,
        mut wanted: impl FnMut(Slot) -> bool,
    ) -> Option<Slot> {
        let mut at = self.head(self.bucket(hash));
        while at != NONE {
            if links.hash(at) == hash && wanted(at) {
                return Some(at);
            }
            at = links.next(at);
        }
        None
    }

    /// Adds `slot`, whose hash is set.
    pub fn insert(&mut self, links: &impl Links, slot: Slot) {
        self.push(links, slot);
        self.entries += 1;
        if self.entries > self.buckets {
            self.split(links);
        }
    }

    /// Takes `slot` out; whether it was there.
    pub fn remove(&mut self, links: &impl Links, slot: Slot) -> bool {
        let bucket = self.bucket(links.hash(slot));
        let mut at = self.head(bucket);
        if at == slot {
            *self.head_mut(bucket) = links.next(slot);
        } else {
            while at != NONE && links.next(at) != slot {
                at = links.next(at);
            }
            if at == NONE {
                return false;
            }
            links.set_next(at, links.next(slot));
        }
        self.entries -= 1;
        for _ in 0..2 {
            if self.entries * 2 < self.buckets && self.buckets > SEGMENT {
                self.join(links);
            }
        }
        true
    }

    /// Calls `visit` with every entry.
    pub fn for_each(&self, links: &impl Links, mut visit: impl FnMut(Slot)) {
        for bucket in 0..self.buckets {
            let mut at = self.head(bucket);
            while at != NONE {
                visit(at);
                at = links.next(at);
            }
        }
    }

    fn bucket(&self, hash: u32) -> usize {
        let span = self.buckets.next_power_of_two();
        let bucket = hash as usize & (span - 1);
        if bucket < self.buckets {
            bucket
        } else {
            bucket - span / 2
        }
    }

    fn head(&self, bucket: usize) -> Slot {
        self.segments[bucket / SEGMENT][bucket % SEGMENT]
    }

    fn head_mut(&mut self, bucket: usize) -> &mut Slot {
        &mut self.segments[bucket / SEGMENT][bucket % SEGMENT]
    }

    fn push(&mut self, links: &impl Links, slot: Slot) {
        let head = self.head_mut(self.bucket(links.hash(slot)));
        links.set_next(slot, std::mem::replace(head, slot));
    }

    fn push_all(&mut self, links: &impl Links, mut chain: Slot) {
        while chain != NONE {
            let next = links.next(chain);
            self.push(links, chain);
            chain = next;
        }
    }

    /// One more bucket, with what its elder sibling held for it.
    fn split(&mut self, links: &impl Links) {
        if self.buckets == self.segments.len() * SEGMENT {
            self.segments.push(Box::from([NONE; SEGMENT]));
        }
        self.buckets += 1;
        let young = self.buckets - 1;
        let elder = young - self.buckets.next_power_of_two() / 2;
        let chain = std::mem::replace(self.head_mut(elder), NONE);
        self.push_all(links, chain);
    }

    /// One bucket less; its entries go to its elder sibling.
    fn join(&mut self, links: &impl Links) {
        let chain = std::mem::replace(self.head_mut(self.buckets - 1), NONE);
        self.buckets -= 1;
        // One empty segment stays, so that a table on the edge allocates nothing.
        if self.buckets + 2 * SEGMENT <= self.segments.len() * SEGMENT {
            self.segments.pop();
        }
        self.push_all(links, chain);
    }
}
