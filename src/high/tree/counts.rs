//! What counts for a node: lookups, opens, and how long it is remembered. See the
//! [contract](super).

use super::nodes::{ById, Counts, Entry, LockedIds, Nodes, Remember, ROOT_ID};
use super::posix::LockList;
use super::slab::{CachedStat, Slot, HIDDEN, NAMED, QUEUED, REMEMBERED, ROOT};
use super::NodeError;
use std::cmp::Reverse;
use std::sync::atomic::fence;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::time::{Duration, Instant};

impl Nodes {
    // Lookup counts.

    /// The node `name` in directory `parent`, made if there is none; looked up
    /// once more.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Entry, NodeError> {
        let parent = self.pin(parent)?;
        Ok(self.entry(self.lookup_in(parent.slot(), name)))
    }

    /// "." of a directory, or any known node: looked up once more.
    pub fn lookup_self(&self, id: u64) -> Result<Entry, NodeError> {
        let pin = self.pin(id)?;
        self.count_lookup(pin.slot());
        Ok(self.entry(pin.slot()))
    }

    /// The inode number of `name` in directory `parent` if it has one; counts
    /// nothing.
    pub fn find(&self, parent: u64, name: &[u8]) -> Option<u64> {
        let parent = self.pin(parent).ok()?;
        self.pin_child(parent.slot(), name).map(|child| self.id(child.slot()))
    }

    /// The inode number of the directory that `id` is in (the root's: itself).
    pub fn parent(&self, id: u64) -> Result<u64, NodeError> {
        let pin = self.pin(id)?;
        if pin.slot() == ROOT {
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
        let Some(short) = u32::try_from(id).ok().filter(|_| id != ROOT_ID) else { return };
        let mut ids = self.ids_of(short);
        // Nothing goes while we have the lock.
        let Some(slot) = self.slot_of(&ids, short) else { return };
        let (node, account) = (self.slab.node(slot), self.slab.account(slot));
        let remembers = matches!(self.remember, Remember::Seconds(_));
        if remembers {
            account.forgotten.store(self.seconds(Instant::now()), Relaxed);
        }
        let less = |lookups: u64| Some(lookups.saturating_sub(count));
        let before =
            account.lookups.fetch_update(AcqRel, Acquire, less).unwrap_or_else(|same| same);
        if before == 0 || before > count {
            return;
        }
        if remembers {
            if node.is(NAMED) && !node.set(REMEMBERED) {
                self.refer(slot);
            }
            if node.is(REMEMBERED) && !node.set(QUEUED) {
                ids.forgotten.push(Reverse((account.forgotten.load(Relaxed), short)));
            }
        }
        if node.hold.unrefer() {
            self.reap_locked(ids, slot, short);
        }
    }

    /// Lets go what was forgotten more than `remember` seconds before `now`.
    /// To be called every [`Nodes::prune_interval`].
    pub fn prune(&self, now: Instant) {
        let Remember::Seconds(patience) = self.remember else { return };
        let now = self.seconds(now);
        for shard in &self.ids {
            loop {
                let due = {
                    let mut ids = shard.lock();
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
    fn prune_some(&self, ids: &mut LockedIds<'_>, now: u32, patience: u32) -> Vec<Slot> {
        let mut due = Vec::new();
        while due.len() < 64 {
            match ids.forgotten.peek() {
                Some(Reverse((since, _))) if now.saturating_sub(*since) >= patience => {}
                _ => break,
            }
            let Some(Reverse((_, id))) = ids.forgotten.pop() else { break };
            let Some(slot) = self.slot_of(ids, id) else { continue };
            let (node, account) = (self.slab.node(slot), self.slab.account(slot));
            let since = account.forgotten.load(Relaxed);
            if account.lookups.load(Acquire) != 0 {
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

    /// One open more of a node that the caller has a reference to.
    pub(super) fn count_open(&self, slot: Slot) {
        self.refer(slot);
        self.slab.account(slot).open_count.fetch_add(1, AcqRel);
    }

    /// One open less of a node that the caller has a reference to; whether it was the
    /// last.
    pub(super) fn count_release(&self, slot: Slot) -> bool {
        let less = |opens: u32| opens.checked_sub(1);
        let opens = &self.slab.account(slot).open_count;
        let Ok(before) = opens.fetch_update(AcqRel, Acquire, less) else { return false };
        self.unrefer(slot);
        before == 1
    }

    /// Counts an open.
    pub fn open(&self, id: u64) -> Result<(), NodeError> {
        let pin = self.pin(id)?;
        self.count_open(pin.slot());
        Ok(())
    }

    /// Takes an open back; whether it was the last of a file that was hidden,
    /// which is to be removed now. Of this and a look at the count after the
    /// hiding, one at least finds out.
    pub fn release(&self, id: u64) -> Result<bool, NodeError> {
        let pin = self.pin(id)?;
        if !self.count_release(pin.slot()) {
            return Ok(false);
        }
        // Whoever hides it does so first and then looks at the count.
        fence(SeqCst);
        Ok(pin.node().is(HIDDEN))
    }

    /// How often it is open.
    pub fn open_count(&self, id: u64) -> u32 {
        self.pin(id).map_or(0, |pin| pin.account().open_count.load(Acquire))
    }

    /// Whether it was renamed to a hidden name.
    pub fn is_hidden(&self, id: u64) -> bool {
        self.pin(id).is_ok_and(|pin| pin.node().is(HIDDEN))
    }

    /// All hidden files that still have their hidden name, for the end.
    pub fn hidden(&self) -> Vec<u64> {
        let mut found = Vec::new();
        self.for_each(|slot| {
            let node = self.slab.node(slot);
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
        f: impl FnOnce(&mut LockList) -> T,
    ) -> Result<T, NodeError> {
        let pin = self.pin(id)?;
        Ok(self.slab.with_aside(pin.slot(), |aside| f(&mut aside.locks)))
    }

    /// Records what the file system says of `id`: a change of time or size ends
    /// what the kernel may keep.
    pub fn update_stat(&self, id: u64, mtime: (i64, i64), size: i64, now: Instant) {
        let Ok(pin) = self.pin(id) else { return };
        self.slab.with_aside(pin.slot(), |aside| {
            let unchanged = aside
                .stat
                .is_some_and(|old| old.unchanged && (old.mtime, old.size) == (mtime, size));
            aside.stat = Some(CachedStat { mtime, size, at: now, unchanged });
        });
    }

    /// What was recorded.
    pub fn stat(&self, id: u64) -> Option<CachedStat> {
        let pin = self.pin(id).ok()?;
        self.slab.if_aside(pin.slot(), |aside| aside.stat).flatten()
    }

    /// At an open: whether the kernel may keep its pages, because nothing has
    /// changed since the last open; from now on it has not.
    pub fn keep_cache(&self, id: u64) -> bool {
        let Ok(pin) = self.pin(id) else { return false };
        self.slab
            .if_aside(pin.slot(), |aside| {
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
        self.pin(id).map(|pin| self.entry(pin.slot()).generation)
    }

    /// How many nodes there are, the root not counted. Cheap.
    pub fn count(&self) -> u64 {
        self.ids.iter().map(|shard| shard.lock().table.len() as u64).sum()
    }

    /// Counts everything; looks at all nodes.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.for_each(|slot| {
            let account = self.slab.account(slot);
            counts.nodes += 1;
            counts.named += u64::from(self.slab.node(slot).is(NAMED));
            counts.lookups += account.lookups.load(Acquire);
            counts.opens += u64::from(account.open_count.load(Acquire));
        });
        counts
    }

    fn for_each(&self, mut visit: impl FnMut(Slot)) {
        for shard in &self.ids {
            shard.lock().table.for_each(&ById(&self.slab), &mut visit);
        }
    }
}
