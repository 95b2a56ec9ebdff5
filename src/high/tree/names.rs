//! What names lead to: a table of (directory, name), and how names change. See
//! the [contract](super).

use super::nodes::{shard, ByName, Nodes, Pin, Remember};
use super::slab::{Slot, NAMED, REMEMBERED};
use super::table::Table;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering::{Relaxed, Release};

impl Nodes {
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
        node.is(NAMED) && node.parent.load(Relaxed) == parent && self.slab.is_named(slot, name)
    }

    /// Calls `f` with the node `name` in `parent`, if there is one, while that is
    /// so.
    pub(super) fn with_child<T>(
        &self,
        parent: Slot,
        name: &[u8],
        f: impl FnOnce(Slot) -> T,
    ) -> Option<T> {
        let hash = self.hash(parent, name);
        let names = self.names[shard(hash)].0.lock();
        self.named(&names, hash, parent, name).map(f)
    }

    /// The node `name` in `parent`, if there is one.
    pub(super) fn pin_child(&self, parent: Slot, name: &[u8]) -> Option<Pin<'_>> {
        self.with_child(parent, name, |slot| Pin::new(self, slot))
    }

    /// The node `name` in `parent`, made if there is none; looked up once more.
    pub(super) fn lookup_in(&self, parent: Slot, name: &[u8]) -> Slot {
        let hash = self.hash(parent, name);
        let shard = &self.names[shard(hash)].0;
        let known = |names: &Table| {
            let slot = self.named(names, hash, parent, name)?;
            self.count_lookup(slot);
            Some(slot)
        };
        if let Some(slot) = known(&shard.lock()) {
            return slot;
        }
        let slot = self.create(parent, hash, name);
        let names = shard.lock();
        if let Some(known) = known(&names) {
            // Another thread was faster.
            drop(names);
            self.forget_new(slot);
            return known;
        }
        names.insert(&ByName(&self.slab), slot);
        if self.remember == Remember::Forever {
            self.slab.node(slot).set(REMEMBERED);
            self.refer(slot);
        }
        slot
    }

    fn unname_in(&self, names: &Table, slot: Slot) {
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
        let hash = self.hash(parent, name);
        let names = self.names[shard(hash)].0.lock();
        let Some(slot) = self.named(&names, hash, parent, name) else { return };
        self.refer(slot);
        self.unname_in(&names, slot);
        drop(names);
        self.no_more_remembered(slot);
        self.unrefer(slot);
    }

    /// The same for a node whose exclusive path lock the caller has.
    pub(super) fn unname_node(&self, slot: Slot) {
        let node = self.slab.node(slot);
        let hash = node.name_hash.load(Relaxed);
        let names = self.names[shard(hash)].0.lock();
        if node.is(NAMED) {
            self.unname_in(&names, slot);
            drop(names);
            self.no_more_remembered(slot);
        }
    }

    /// The locks of two shards of names, in their order.
    fn two_shards<T>(&self, a: u32, b: u32, f: impl FnOnce(&Table, &Table) -> T) -> T {
        let (a, b) = (shard(a), shard(b));
        let low = self.names[a.min(b)].0.lock();
        if a == b {
            return f(&low, &low);
        }
        let high = self.names[a.max(b)].0.lock();
        if a < b {
            f(&low, &high)
        } else {
            f(&high, &low)
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
        self.become_parent(parent);
        let replaced = self.two_shards(old, new, |from, to| {
            let taken = self.named(to, new, parent, name);
            if only_if_free && taken.is_some() {
                return Err(());
            }
            // It stays valid after we let go of the shard.
            let taken = taken.map(|slot| Pin::new(self, slot));
            if node.is(NAMED) {
                from.remove(&ByName(&self.slab), slot);
            }
            if let Some(taken) = &taken {
                self.unname_in(to, taken.slot());
            }
            if parent != old_parent {
                self.refer(parent);
                node.parent.store(parent, Relaxed);
            }
            self.slab.set_name(slot, name);
            node.name_hash.store(new, Release);
            if !node.is(NAMED) {
                node.set(NAMED);
            }
            to.insert(&ByName(&self.slab), slot);
            Ok(taken)
        });
        let Ok(replaced) = replaced else { return false };
        if let Some(replaced) = replaced {
            self.no_more_remembered(replaced.slot());
        }
        if parent != old_parent {
            self.unrefer(old_parent);
        }
        true
    }

    /// Two nodes, whose exclusive path locks the caller has, swap their names.
    pub(super) fn exchange_nodes(&self, a: Slot, b: Slot) {
        let (one, two) = (self.slab.node(a), self.slab.node(b));
        let (hash_a, hash_b) = (one.name_hash.load(Relaxed), two.name_hash.load(Relaxed));
        let name_a = self.slab.name(a);
        let name_b = self.slab.name(b);
        self.two_shards(hash_a, hash_b, |of_a, of_b| {
            let links = ByName(&self.slab);
            let named = (one.is(NAMED), two.is(NAMED));
            if named.0 {
                of_a.remove(&links, a);
            }
            if named.1 {
                of_b.remove(&links, b);
            }
            let parent = one.parent.swap(two.parent.load(Relaxed), Relaxed);
            two.parent.store(parent, Relaxed);
            self.slab.set_name(a, &name_b);
            self.slab.set_name(b, &name_a);
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
                of_b.insert(&links, a);
            }
        });
    }
}
