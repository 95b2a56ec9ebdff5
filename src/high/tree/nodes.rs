//! The node table: inode numbers, references, and where nodes come from and go.
//! See the [contract](super). [`super::counts`] has what counts, [`super::names`]
//! what has names.

use super::locks::Chain;
use super::queue::Queue;
use super::slab::{Account, Node, Slab, Slot};
use super::slab::{NAMED, NONE, ROOT};
use super::table::{Links, Table};
use super::walks::Walks;
use super::NodeError;
use foldhash::quality::RandomState;
use parking_lot::{Mutex, MutexGuard};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Instant;

/// The root's inode number.
pub const ROOT_ID: u64 = 1;

/// What becomes of a node that the kernel has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remember {
    /// It goes at once.
    No,
    /// It stays for so many seconds at least (`remember=N`).
    Seconds(u32),
    /// It stays as long as it has a name (`noforget`).
    Forever,
}

/// What the kernel is told of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The inode number.
    pub id: u64,
    /// Grows when inode numbers are used again.
    pub generation: u64,
}

/// What the table holds, the root not counted; for tests and debugging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes.
    pub nodes: u64,
    /// Nodes that a name leads to.
    pub named: u64,
    /// The sum of all lookup counts.
    pub lookups: u64,
    /// The sum of all open counts.
    pub opens: u64,
}

const SHARD_BITS: u32 = 6;

/// A shard of the names, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Names(pub(super) Mutex<Table>);

/// A shard of the inode numbers, likewise.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct IdShard {
    table: Table,
    ids: Mutex<Ids>,
}

/// What a shard's lock is for, besides changes of its table.
#[derive(Default)]
pub(super) struct Ids {
    /// The free slots that its nodes left.
    free: Slot,
    /// (when it was forgotten, inode number); each node at most once.
    pub(super) forgotten: BinaryHeap<Reverse<(u32, u32)>>,
}

/// A shard whose lock this thread has.
pub(super) struct LockedIds<'a> {
    pub(super) table: &'a Table,
    ids: MutexGuard<'a, Ids>,
}

impl IdShard {
    pub(super) fn lock(&self) -> LockedIds<'_> {
        LockedIds { table: &self.table, ids: self.ids.lock() }
    }
}

impl Deref for LockedIds<'_> {
    type Target = Ids;

    fn deref(&self) -> &Ids {
        &self.ids
    }
}

impl DerefMut for LockedIds<'_> {
    fn deref_mut(&mut self) -> &mut Ids {
        &mut self.ids
    }
}

pub(super) struct ById<'a>(pub(super) &'a Slab);
pub(super) struct ByName<'a>(pub(super) &'a Slab);

/// Followed by guesses too: who reads a link has to see the chunk of where it leads.
impl Links for ById<'_> {
    fn next(&self, slot: Slot) -> Slot {
        self.0.node(slot).next_by_id.load(Acquire)
    }
    fn set_next(&self, slot: Slot, next: Slot) {
        self.0.node(slot).next_by_id.store(next, Release);
    }
    fn hash(&self, slot: Slot) -> u32 {
        mix(self.0.node(slot).id.load(Relaxed))
    }
}

impl Links for ByName<'_> {
    fn next(&self, slot: Slot) -> Slot {
        self.0.node(slot).next_by_name.load(Relaxed)
    }
    fn set_next(&self, slot: Slot, next: Slot) {
        self.0.node(slot).next_by_name.store(next, Relaxed);
    }
    fn hash(&self, slot: Slot) -> u32 {
        self.0.node(slot).name_hash.load(Relaxed)
    }
}

/// Spreads inode numbers: which of them live on may follow a pattern. One to
/// one, so two numbers never have the same hash.
fn mix(id: u32) -> u32 {
    let id = (id ^ id >> 16).wrapping_mul(0x7feb_352d);
    let id = (id ^ id >> 15).wrapping_mul(0x846c_a68b);
    id ^ id >> 16
}

pub(super) fn shard(hash: u32) -> usize {
    (hash >> (32 - SHARD_BITS)) as usize
}

/// The node table of one file system.
pub struct Nodes {
    pub(super) slab: Slab,
    pub(super) queue: Mutex<Queue>,
    pub(super) walks: Walks,
    pub(super) ids: Box<[IdShard]>,
    pub(super) names: Box<[Names]>,
    pub(super) hasher: RandomState,
    next_id: AtomicU64,
    pub(super) hidden_names: AtomicU32,
    pub(super) remember: Remember,
    start: Instant,
}

/// A reference to a node for the time of an operation: it stays, whatever is
/// forgotten meanwhile.
pub struct Pin<'a> {
    nodes: &'a Nodes,
    slot: Slot,
}

impl<'a> Pin<'a> {
    pub(super) fn new(nodes: &'a Nodes, slot: Slot) -> Pin<'a> {
        nodes.refer(slot);
        Pin { nodes, slot }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    pub(super) fn node(&self) -> &'a Node {
        self.nodes.slab.node(self.slot)
    }

    pub(super) fn account(&self) -> &'a Account {
        self.nodes.slab.account(self.slot)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.nodes.unrefer(self.slot);
    }
}

impl Nodes {
    /// A table that holds the root.
    pub fn new(remember: Remember) -> Nodes {
        let slab = Slab::default();
        let root = slab.add();
        assert_eq!(root, ROOT);
        slab.node(root).id.store(ROOT_ID as u32, Relaxed);
        slab.node(root).parent.store(NONE, Relaxed);
        let shards = 1 << SHARD_BITS;
        Nodes {
            slab,
            queue: Mutex::default(),
            walks: Walks::default(),
            ids: (0..shards).map(|_| Default::default()).collect(),
            names: (0..shards).map(|_| Default::default()).collect(),
            hasher: RandomState::default(),
            next_id: AtomicU64::new(ROOT_ID + 1),
            hidden_names: AtomicU32::new(0),
            remember,
            start: Instant::now(),
        }
    }

    /// The next new node gets this number if it is free, else one after it. For
    /// tests: nobody counts to 2^32.
    pub fn count_on_from(&self, generation: u32, id: u32) {
        self.next_id.store(u64::from(generation) << 32 | u64::from(id), Relaxed);
    }

    // References. Only a thread that has one, or that finds the node under the
    // lock of one of its shards, makes another.

    pub(super) fn ids_of(&self, id: u32) -> LockedIds<'_> {
        self.ids[shard(mix(id))].lock()
    }

    pub(super) fn slot_of(&self, ids: &LockedIds<'_>, id: u32) -> Option<Slot> {
        ids.table.find(&ById(&self.slab), mix(id), |_| true)
    }

    /// The node `id`, kept for as long as the pin lives.
    pub fn pin(&self, id: u64) -> Result<Pin<'_>, NodeError> {
        self.refer_to(id, false).map(|(slot, _)| Pin { nodes: self, slot })
    }

    /// A reference to the node `id`, and with it, if it is wanted and nobody holds or
    /// wants it against that, its path lock to share; whether that is held.
    pub(super) fn refer_to(&self, id: u64, share: bool) -> Result<(Slot, bool), NodeError> {
        if id == ROOT_ID {
            return Ok((ROOT, false));
        }
        let short = u32::try_from(id).map_err(|_| NodeError::Unknown(id))?;
        let hash = mix(short);
        let shard = &self.ids[shard(hash)];
        if let Some(slot) = shard.table.guess(&ById(&self.slab), hash) {
            let node = self.slab.node(slot);
            if let Some(shared) = node.hold.pin(share) {
                // With a reference it stays what it is.
                if node.id.load(Relaxed) == short {
                    return Ok((slot, shared));
                }
                self.let_go(Chain::new(slot, shared), Some(slot));
            }
        }
        let ids = shard.lock();
        let slot = self.slot_of(&ids, short).ok_or(NodeError::Unknown(id))?;
        let hold = &self.slab.node(slot).hold;
        // Without references it is about to go, unless somebody refers to it again.
        Ok((
            slot,
            hold.pin(share).unwrap_or_else(|| {
                hold.refer();
                false
            }),
        ))
    }

    pub(super) fn refer(&self, slot: Slot) {
        if slot != ROOT {
            self.slab.node(slot).hold.refer();
        }
    }

    pub(super) fn unrefer(&self, slot: Slot) {
        if slot == ROOT {
            return;
        }
        let node = self.slab.node(slot);
        // After the decrement the slot may be another node's.
        let id = node.id.load(Relaxed);
        if node.hold.unrefer() {
            self.reap(slot, id);
        }
    }

    /// Frees the node if nothing has referred to it again, and then its parent
    /// if it was the last that did.
    pub(super) fn reap(&self, slot: Slot, id: u32) {
        self.reap_locked(self.ids_of(id), slot, id);
    }

    /// The same with the lock of the node's shard of ids.
    pub(super) fn reap_locked<'a>(&'a self, mut ids: LockedIds<'a>, mut slot: Slot, mut id: u32) {
        loop {
            let node = self.slab.node(slot);
            // Freed slots have no number.
            if node.id.load(Relaxed) != id || !self.take_out(slot) {
                return;
            }
            ids.table.remove(&ById(&self.slab), slot);
            let parent = node.parent.swap(NONE, Relaxed);
            self.slab.reset(slot);
            node.id.store(0, Relaxed);
            node.next_by_id.store(ids.free, Release);
            ids.free = slot;
            drop(ids);
            if parent == ROOT {
                return;
            }
            let above = self.slab.node(parent);
            (slot, id) = (parent, above.id.load(Relaxed));
            if !above.hold.unrefer() {
                return;
            }
            ids = self.ids_of(id);
        }
    }

    /// Takes a node without references out of the names; false if it has one.
    /// The caller has the lock of its shard of ids, so it is found by name only.
    fn take_out(&self, slot: Slot) -> bool {
        let node = self.slab.node(slot);
        if node.hold.is_unreferred() && !node.is(NAMED) {
            // Nobody finds it any more.
            return true;
        }
        loop {
            let hash = node.name_hash.load(Acquire);
            let names = self.names[shard(hash)].0.lock();
            if !node.hold.is_unreferred() {
                return false;
            }
            if node.name_hash.load(Acquire) == hash {
                if node.is(NAMED) {
                    names.remove(&ByName(&self.slab), slot);
                }
                return true;
            }
        }
    }

    /// One lookup more. The caller has a reference, or the lock of its shard of
    /// names.
    pub(super) fn count_lookup(&self, slot: Slot) {
        if slot != ROOT && self.slab.account(slot).lookups.fetch_add(1, AcqRel) == 0 {
            self.refer(slot);
        }
    }

    pub(super) fn id(&self, slot: Slot) -> u64 {
        self.slab.node(slot).id.load(Relaxed).into()
    }

    pub(super) fn entry(&self, slot: Slot) -> Entry {
        Entry {
            id: self.id(slot),
            generation: self.slab.account(slot).generation.load(Relaxed).into(),
        }
    }

    pub(super) fn seconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.start).as_secs().try_into().unwrap_or(u32::MAX)
    }

    /// A node, looked up once, that the caller will put into the table of names.
    pub(super) fn create(&self, parent: Slot, hash: u32, name: &[u8]) -> Slot {
        self.become_parent(parent);
        loop {
            let number = self.next_id.fetch_add(1, Relaxed);
            let id = number as u32;
            if id <= ROOT_ID as u32 || id == u32::MAX {
                continue;
            }
            let mut ids = self.ids_of(id);
            // Numbers are used again only when the counter has come round.
            if number >> 32 != 0 && self.slot_of(&ids, id).is_some() {
                continue;
            }
            let slot = match ids.free {
                NONE => self.slab.add(),
                slot => {
                    ids.free = self.slab.node(slot).next_by_id.load(Relaxed);
                    slot
                }
            };
            let (node, account) = (self.slab.node(slot), self.slab.account(slot));
            node.id.store(id, Relaxed);
            account.generation.store((number >> 32) as u32, Relaxed);
            account.lookups.store(1, Relaxed);
            node.parent.store(parent, Relaxed);
            node.name_hash.store(hash, Relaxed);
            self.slab.set_name(slot, name);
            node.begin();
            self.refer(parent);
            ids.table.insert(&ById(&self.slab), slot);
            return slot;
        }
    }

    /// A node that gets the first one below it. If somebody holds it alone, he
    /// does not know that he moves more than this one: he is counted in his place.
    pub(super) fn become_parent(&self, slot: Slot) {
        if slot == ROOT || self.slab.node(slot).hold.try_become_parent() {
            return;
        }
        let queue = self.queue.lock();
        if self.slab.node(slot).hold.become_parent() {
            self.stop_walks(&queue);
        }
    }

    pub(super) fn forget_new(&self, slot: Slot) {
        self.slab.account(slot).lookups.store(0, Relaxed);
        self.slab.node(slot).clear(NAMED);
        self.unrefer(slot);
    }
}
