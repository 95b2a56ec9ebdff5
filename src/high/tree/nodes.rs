//! The node table: inode numbers, names, counts. See the [contract](super).

use super::locks::Queue;
use super::slab::{CachedStat, Node, Slab, Slot};
use super::slab::{HIDDEN, NAMED, NONE, QUEUED, REMEMBERED, ROOT};
use super::table::{Links, Table};
use super::NodeError;
use parking_lot::{Mutex, MutexGuard};
use std::cmp::Reverse;
use std::collections::hash_map::RandomState;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{fence, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

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

/// One part of a table, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Shard<T>(Mutex<T>);

/// A shard of the inode numbers, with the free slots that its nodes left.
struct Ids {
    table: Table,
    free: Slot,
    /// (when it was forgotten, inode number); each node at most once.
    forgotten: BinaryHeap<Reverse<(u32, u32)>>,
}

impl Default for Ids {
    fn default() -> Ids {
        Ids { table: Table::default(), free: NONE, forgotten: BinaryHeap::new() }
    }
}

struct ById<'a>(&'a Slab);
struct ByName<'a>(&'a Slab);

impl Links for ById<'_> {
    fn next(&self, slot: Slot) -> Slot {
        self.0.node(slot).next_by_id.load(Relaxed)
    }
    fn set_next(&self, slot: Slot, next: Slot) {
        self.0.node(slot).next_by_id.store(next, Relaxed);
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

fn shard(hash: u32) -> usize {
    (hash >> (32 - SHARD_BITS)) as usize
}

/// The node table of one file system.
pub struct Nodes {
    pub(super) slab: Slab,
    pub(super) queue: Mutex<Queue>,
    ids: Box<[Shard<Ids>]>,
    names: Box<[Shard<Table>]>,
    hasher: RandomState,
    next_id: AtomicU64,
    hidden_names: AtomicU32,
    remember: Remember,
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

    fn node(&self) -> &'a Node {
        self.nodes.slab.node(self.slot)
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
            ids: (0..shards).map(|_| Shard::default()).collect(),
            names: (0..shards).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
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

    // Lookup counts.

    /// The node `name` in directory `parent`, made if there is none; looked up
    /// once more.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Entry, NodeError> {
        let parent = self.pin(parent)?;
        Ok(self.lookup_in(parent.slot, name))
    }

    /// "." of a directory, or any known node: looked up once more.
    pub fn lookup_self(&self, id: u64) -> Result<Entry, NodeError> {
        let pin = self.pin(id)?;
        self.count_lookup(pin.slot);
        Ok(self.entry(pin.slot))
    }

    /// The inode number of `name` in directory `parent` if it has one; counts
    /// nothing.
    pub fn find(&self, parent: u64, name: &[u8]) -> Option<u64> {
        let parent = self.pin(parent).ok()?;
        self.pin_child(parent.slot, name).map(|child| self.entry(child.slot).id)
    }

    /// The inode number of the directory that `id` is in (the root's: itself).
    pub fn parent(&self, id: u64) -> Result<u64, NodeError> {
        let pin = self.pin(id)?;
        if pin.slot == ROOT {
            return Ok(ROOT_ID);
        }
        // Its parent may change and go while we look, but not under its lock.
        let held = self.lock(super::Target::node(id))?;
        Ok(held.parent_id())
    }

    /// Takes back `count` lookups of `id`; at 0 the node goes, unless something
    /// else keeps it. More than there are count as all of them, and an unknown
    /// number is ignored.
    pub fn forget(&self, id: u64, count: u64) {
        let Ok(pin) = self.pin(id) else { return };
        if pin.slot == ROOT {
            return;
        }
        let node = pin.node();
        if matches!(self.remember, Remember::Seconds(_)) {
            node.forgotten.store(self.seconds(Instant::now()), Relaxed);
        }
        let less = |lookups: u64| Some(lookups.saturating_sub(count));
        let before = node.lookups.fetch_update(AcqRel, Acquire, less).unwrap_or_else(|same| same);
        if before == 0 || before > count {
            return;
        }
        if matches!(self.remember, Remember::Seconds(_)) {
            let mut ids = self.ids_of(id as u32);
            if node.is(NAMED) && !node.set(REMEMBERED) {
                self.refer(pin.slot);
            }
            if node.is(REMEMBERED) && !node.set(QUEUED) {
                ids.forgotten.push(Reverse((node.forgotten.load(Relaxed), id as u32)));
            }
        }
        self.unrefer(pin.slot);
    }

    /// Lets go what was forgotten more than `remember` seconds before `now`.
    /// To be called every [`Nodes::prune_interval`].
    pub fn prune(&self, now: Instant) {
        let Remember::Seconds(patience) = self.remember else { return };
        let now = self.seconds(now);
        for shard in &self.ids {
            loop {
                let due = {
                    let mut ids = shard.0.lock();
                    self.prune_some(&mut ids, now, patience)
                };
                if due.is_empty() {
                    break;
                }
                due.into_iter().for_each(|slot| self.unrefer(slot));
            }
        }
    }

    /// Up to 64 of a shard, so that its lock is held for a short time; their
    /// references are the caller's now.
    fn prune_some(&self, ids: &mut Ids, now: u32, patience: u32) -> Vec<Slot> {
        let mut due = Vec::new();
        while due.len() < 64 {
            match ids.forgotten.peek() {
                Some(Reverse((since, _))) if now.saturating_sub(*since) >= patience => {}
                _ => break,
            }
            let Some(Reverse((_, id))) = ids.forgotten.pop() else { break };
            let Some(slot) = self.slot_of(ids, id) else { continue };
            let node = self.slab.node(slot);
            let since = node.forgotten.load(Relaxed);
            if node.lookups.load(Acquire) != 0 {
                node.clear(QUEUED);
            } else if now.saturating_sub(since) < patience {
                ids.forgotten.push(Reverse((since, id)));
            } else {
                node.clear(QUEUED);
                if node.clear(REMEMBERED) {
                    due.push(slot);
                }
            }
        }
        due
    }

    /// How often to prune: a tenth of the time, at least a minute, at most an
    /// hour; never if nothing is remembered for a limited time.
    pub fn prune_interval(&self) -> Option<Duration> {
        match self.remember {
            Remember::Seconds(n) => Some(Duration::from_secs(u64::from(n / 10).clamp(60, 3600))),
            _ => None,
        }
    }

    // Open files.

    /// Counts an open.
    pub fn open(&self, id: u64) -> Result<(), NodeError> {
        let pin = self.pin(id)?;
        self.refer(pin.slot);
        pin.node().open_count.fetch_add(1, AcqRel);
        Ok(())
    }

    /// Takes an open back; whether it was the last of a file that was hidden,
    /// which is to be removed now. Of this and a look at the count after the
    /// hiding, one at least finds out.
    pub fn release(&self, id: u64) -> Result<bool, NodeError> {
        let pin = self.pin(id)?;
        let node = pin.node();
        let less = |opens: u32| opens.checked_sub(1);
        let Ok(before) = node.open_count.fetch_update(AcqRel, Acquire, less) else {
            return Ok(false);
        };
        self.unrefer(pin.slot);
        // Whoever hides it does so first and then looks at the count.
        fence(SeqCst);
        Ok(before == 1 && node.is(HIDDEN))
    }

    /// How often it is open.
    pub fn open_count(&self, id: u64) -> u32 {
        self.pin(id).map_or(0, |pin| pin.node().open_count.load(Acquire))
    }

    /// Whether it was renamed to a hidden name.
    pub fn is_hidden(&self, id: u64) -> bool {
        self.pin(id).is_ok_and(|pin| pin.node().is(HIDDEN))
    }

    /// All hidden files that still have their hidden name, for the end.
    pub fn hidden(&self) -> Vec<u64> {
        let mut found = Vec::new();
        self.for_each(|node| {
            if node.is(HIDDEN) && node.is(NAMED) {
                found.push(u64::from(node.id.load(Relaxed)));
            }
        });
        found
    }

    /// A name to hide node `id` under that the table does not know; whether the
    /// file system knows it is the caller's to check.
    pub fn hidden_name(&self, parent: u64, id: u64) -> Vec<u8> {
        loop {
            let count = self.hidden_names.fetch_add(1, Relaxed).wrapping_add(1);
            let name = format!(".fuse_hidden{:08x}{count:08x}", id as u32).into_bytes();
            if self.find(parent, &name).is_none() {
                return name;
            }
        }
    }

    // What auto_cache and locks keep with a node.

    /// Calls `f` with the file's recorded POSIX locks; they live with the node.
    pub fn with_locks<T>(
        &self,
        id: u64,
        f: impl FnOnce(&mut super::posix::LockList) -> T,
    ) -> Result<T, NodeError> {
        Ok(self.pin(id)?.node().with_aside(|aside| f(&mut aside.locks)))
    }

    /// Records what the file system says of `id`: a change of time or size ends
    /// what the kernel may keep.
    pub fn update_stat(&self, id: u64, mtime: (i64, i64), size: i64, now: Instant) {
        let Ok(pin) = self.pin(id) else { return };
        pin.node().with_aside(|aside| {
            let unchanged = aside
                .stat
                .is_some_and(|old| old.unchanged && (old.mtime, old.size) == (mtime, size));
            aside.stat = Some(CachedStat { mtime, size, at: now, unchanged });
        });
    }

    /// What was recorded.
    pub fn stat(&self, id: u64) -> Option<CachedStat> {
        self.pin(id).ok()?.node().if_aside(|aside| aside.stat).flatten()
    }

    /// At an open: whether the kernel may keep its pages, because nothing has
    /// changed since the last open; from now on it has not.
    pub fn keep_cache(&self, id: u64) -> bool {
        let Ok(pin) = self.pin(id) else { return false };
        pin.node()
            .if_aside(|aside| {
                let stat = aside.stat.as_mut()?;
                Some(std::mem::replace(&mut stat.unchanged, true))
            })
            .flatten()
            .unwrap_or(false)
    }

    // The table as a whole.

    /// Whether the number is in use.
    pub fn contains(&self, id: u64) -> bool {
        self.pin(id).is_ok()
    }

    /// The node's generation.
    pub fn generation(&self, id: u64) -> Result<u64, NodeError> {
        self.pin(id).map(|pin| self.entry(pin.slot).generation)
    }

    /// How many nodes there are, the root not counted. Cheap.
    pub fn count(&self) -> u64 {
        self.ids.iter().map(|shard| shard.0.lock().table.len() as u64).sum()
    }

    /// Counts everything; looks at all nodes.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.for_each(|node| {
            counts.nodes += 1;
            counts.named += u64::from(node.is(NAMED));
            counts.lookups += node.lookups.load(Acquire);
            counts.opens += u64::from(node.open_count.load(Acquire));
        });
        counts
    }

    fn for_each(&self, mut visit: impl FnMut(&Node)) {
        for shard in &self.ids {
            shard.0.lock().table.for_each(&ById(&self.slab), |slot| visit(self.slab.node(slot)));
        }
    }

    // References. Only a thread that has one, or that finds the node under the
    // lock of one of its shards, makes another.

    fn ids_of(&self, id: u32) -> MutexGuard<'_, Ids> {
        self.ids[shard(mix(id))].0.lock()
    }

    fn slot_of(&self, ids: &Ids, id: u32) -> Option<Slot> {
        ids.table.find(&ById(&self.slab), mix(id), |_| true)
    }

    /// The node `id`, kept for as long as the pin lives.
    pub fn pin(&self, id: u64) -> Result<Pin<'_>, NodeError> {
        if id == ROOT_ID {
            return Ok(Pin { nodes: self, slot: ROOT });
        }
        let short = u32::try_from(id).map_err(|_| NodeError::Unknown(id))?;
        let ids = self.ids_of(short);
        let slot = self.slot_of(&ids, short).ok_or(NodeError::Unknown(id))?;
        Ok(Pin::new(self, slot))
    }

    pub(super) fn refer(&self, slot: Slot) {
        if slot != ROOT {
            self.slab.node(slot).refs.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn unrefer(&self, slot: Slot) {
        if slot == ROOT {
            return;
        }
        let node = self.slab.node(slot);
        // After the decrement the slot may be another node's.
        let id = node.id.load(Relaxed);
        if node.refs.fetch_sub(1, AcqRel) == 1 {
            self.reap(slot, id);
        }
    }

    /// Frees the node if nothing has referred to it again, and then its parent
    /// if it was the last that did.
    fn reap(&self, mut slot: Slot, mut id: u32) {
        loop {
            let node = self.slab.node(slot);
            let mut ids = self.ids_of(id);
            if self.slot_of(&ids, id) != Some(slot) || !self.take_out(slot) {
                return;
            }
            ids.table.remove(&ById(&self.slab), slot);
            let parent = node.parent.swap(NONE, Relaxed);
            node.reset();
            node.next_by_id.store(ids.free, Relaxed);
            ids.free = slot;
            drop(ids);
            if parent == NONE || parent == ROOT {
                return;
            }
            let above = self.slab.node(parent);
            (slot, id) = (parent, above.id.load(Relaxed));
            if above.refs.fetch_sub(1, AcqRel) != 1 {
                return;
            }
        }
    }

    /// Takes a node without references out of the names; false if it has one.
    /// The caller has the lock of its shard of ids, so it is found by name only.
    fn take_out(&self, slot: Slot) -> bool {
        let node = self.slab.node(slot);
        loop {
            let hash = node.name_hash.load(Acquire);
            let mut names = self.names[shard(hash)].0.lock();
            if node.refs.load(Acquire) != 0 {
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

    fn count_lookup(&self, slot: Slot) {
        let node = self.slab.node(slot);
        if slot == ROOT {
            return;
        }
        node.refs.fetch_add(1, Relaxed);
        if node.lookups.fetch_add(1, AcqRel) != 0 {
            node.refs.fetch_sub(1, AcqRel);
        }
    }

    pub(super) fn entry(&self, slot: Slot) -> Entry {
        let node = self.slab.node(slot);
        Entry { id: node.id.load(Relaxed).into(), generation: node.generation.load(Relaxed).into() }
    }

    fn seconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.start).as_secs().try_into().unwrap_or(u32::MAX)
    }

    // Names.

    pub(super) fn hash(&self, parent: Slot, name: &[u8]) -> u32 {
        self.hasher.hash_one((parent, name)) as u32
    }

    /// The caller has the lock of the shard of `hash`.
    fn named(&self, names: &Table, hash: u32, parent: Slot, name: &[u8]) -> Option<Slot> {
        names.find(&ByName(&self.slab), hash, |slot| self.is_at(slot, parent, name))
    }

    /// Whether the node is `name` in `parent`. The caller has a path lock on it
    /// or the lock of its shard of names.
    pub(super) fn is_at(&self, slot: Slot, parent: Slot, name: &[u8]) -> bool {
        let node = self.slab.node(slot);
        node.is(NAMED) && node.parent.load(Relaxed) == parent && node.is_named(name)
    }

    /// The node `name` in `parent`, if there is one.
    pub(super) fn pin_child(&self, parent: Slot, name: &[u8]) -> Option<Pin<'_>> {
        let hash = self.hash(parent, name);
        let names = self.names[shard(hash)].0.lock();
        self.named(&names, hash, parent, name).map(|slot| Pin::new(self, slot))
    }

    pub(super) fn lookup_in(&self, parent: Slot, name: &[u8]) -> Entry {
        let hash = self.hash(parent, name);
        let shard = &self.names[shard(hash)].0;
        let known = |names: &Table| {
            let slot = self.named(names, hash, parent, name)?;
            self.count_lookup(slot);
            Some(self.entry(slot))
        };
        if let Some(entry) = known(&shard.lock()) {
            return entry;
        }
        let slot = self.create(parent, hash, name);
        let mut names = shard.lock();
        if let Some(entry) = known(&names) {
            // Another thread was faster.
            drop(names);
            self.forget_new(slot);
            return entry;
        }
        let node = self.slab.node(slot);
        node.set(NAMED);
        names.insert(&ByName(&self.slab), slot);
        if self.remember == Remember::Forever {
            node.set(REMEMBERED);
            self.refer(slot);
        }
        self.entry(slot)
    }

    /// A node, looked up once, that is not in the table of names yet.
    fn create(&self, parent: Slot, hash: u32, name: &[u8]) -> Slot {
        loop {
            let number = self.next_id.fetch_add(1, Relaxed);
            let id = number as u32;
            if id <= ROOT_ID as u32 || id == u32::MAX {
                continue;
            }
            let mut ids = self.ids_of(id);
            if self.slot_of(&ids, id).is_some() {
                continue;
            }
            let slot = match ids.free {
                NONE => self.slab.add(),
                slot => {
                    ids.free = self.slab.node(slot).next_by_id.load(Relaxed);
                    slot
                }
            };
            let node = self.slab.node(slot);
            node.id.store(id, Relaxed);
            node.generation.store((number >> 32) as u32, Relaxed);
            node.parent.store(parent, Relaxed);
            node.name_hash.store(hash, Relaxed);
            node.set_name(name);
            node.lookups.store(1, Relaxed);
            node.refs.store(1, Release);
            self.refer(parent);
            ids.table.insert(&ById(&self.slab), slot);
            return slot;
        }
    }

    fn forget_new(&self, slot: Slot) {
        self.slab.node(slot).lookups.store(0, Relaxed);
        self.unrefer(slot);
    }

    /// What is at a name now; for a name that is about to be another node's.
    fn unname_at(&self, names: &mut Table, hash: u32, at: Slot, name: &[u8]) -> Option<Slot> {
        let slot = self.named(names, hash, at, name)?;
        self.unname_in(names, slot);
        Some(slot)
    }

    fn unname_in(&self, names: &mut Table, slot: Slot) {
        names.remove(&ByName(&self.slab), slot);
        self.slab.node(slot).clear(NAMED);
    }

    /// A node that lost its name is not remembered any longer.
    fn no_more_remembered(&self, slot: Slot) {
        if self.slab.node(slot).clear(REMEMBERED) {
            self.unrefer(slot);
        }
    }

    /// Takes the name `name` in `parent` out of the table. Its node stays while
    /// something refers to it.
    pub(super) fn unname(&self, parent: Slot, name: &[u8]) {
        let Some(pin) = self.pin_child(parent, name) else { return };
        let hash = self.hash(parent, name);
        let gone = self.unname_at(&mut self.names[shard(hash)].0.lock(), hash, parent, name);
        if let Some(slot) = gone {
            self.no_more_remembered(slot);
        }
        drop(pin);
    }

    /// The same for a node whose exclusive path lock the caller has.
    pub(super) fn unname_node(&self, slot: Slot) {
        let node = self.slab.node(slot);
        let hash = node.name_hash.load(Relaxed);
        let mut names = self.names[shard(hash)].0.lock();
        if node.is(NAMED) {
            self.unname_in(&mut names, slot);
            drop(names);
            self.no_more_remembered(slot);
        }
    }

    /// The locks of two shards of names, in their order.
    fn two_shards<T>(
        &self,
        a: u32,
        b: u32,
        f: impl FnOnce(&mut Table, Option<&mut Table>) -> T,
    ) -> T {
        let (a, b) = (shard(a), shard(b));
        if a == b {
            return f(&mut self.names[a].0.lock(), None);
        }
        let mut low = self.names[a.min(b)].0.lock();
        let mut high = self.names[a.max(b)].0.lock();
        if a < b {
            f(&mut low, Some(&mut high))
        } else {
            f(&mut high, Some(&mut low))
        }
    }

    /// Gives the node, whose exclusive path lock the caller has, the name `name`
    /// in `parent`, which is pinned; whatever had the name loses it. With
    /// `only_if_free`: nothing happens if the name is taken, and false.
    pub(super) fn rename_node(
        &self,
        slot: Slot,
        parent: Slot,
        name: &[u8],
        only_if_free: bool,
    ) -> bool {
        let node = self.slab.node(slot);
        if self.is_at(slot, parent, name) {
            return true;
        }
        let (old, new) = (node.name_hash.load(Relaxed), self.hash(parent, name));
        let old_parent = node.parent.load(Relaxed);
        let replaced = self.two_shards(old, new, |from, to| {
            let taken = self.named(to.as_deref().unwrap_or(from), new, parent, name);
            if only_if_free && taken.is_some() {
                return Err(());
            }
            // It stays valid after we let go of the shard.
            let taken = taken.map(|slot| Pin::new(self, slot));
            if node.is(NAMED) {
                from.remove(&ByName(&self.slab), slot);
            }
            let to = to.unwrap_or(from);
            if let Some(taken) = &taken {
                self.unname_in(to, taken.slot);
            }
            self.refer(parent);
            node.parent.store(parent, Relaxed);
            node.set_name(name);
            node.name_hash.store(new, Release);
            node.set(NAMED);
            to.insert(&ByName(&self.slab), slot);
            Ok(taken)
        });
        let Ok(replaced) = replaced else { return false };
        if let Some(replaced) = replaced {
            self.no_more_remembered(replaced.slot);
        }
        self.unrefer(old_parent);
        true
    }

    /// Two nodes, whose exclusive path locks the caller has, swap their names.
    pub(super) fn exchange_nodes(&self, a: Slot, b: Slot) {
        let (one, two) = (self.slab.node(a), self.slab.node(b));
        let (hash_a, hash_b) = (one.name_hash.load(Relaxed), two.name_hash.load(Relaxed));
        let (mut name_a, mut name_b) = (Vec::new(), Vec::new());
        one.append_name(&mut name_a);
        two.append_name(&mut name_b);
        self.two_shards(hash_a, hash_b, |of_a, mut of_b| {
            let links = ByName(&self.slab);
            let named = (one.is(NAMED), two.is(NAMED));
            if named.0 {
                of_a.remove(&links, a);
            }
            if named.1 {
                of_b.as_deref_mut().unwrap_or(of_a).remove(&links, b);
            }
            let parent = one.parent.swap(two.parent.load(Relaxed), Relaxed);
            two.parent.store(parent, Relaxed);
            one.set_name(&name_b);
            two.set_name(&name_a);
            one.name_hash.store(hash_b, Release);
            two.name_hash.store(hash_a, Release);
            one.clear(NAMED);
            two.clear(NAMED);
            if named.0 {
                two.set(NAMED);
                of_a.insert(&links, b);
            }
            if named.1 {
                one.set(NAMED);
                of_b.unwrap_or(of_a).insert(&links, a);
            }
        });
    }
}
