//! The nodes themselves: fixed-size records in chunks that never move, named by
//! a 32-bit slot number.
//!
//! All fields are atomics, so that a node can be read while others change; what
//! makes a *set* of fields consistent is the lock that the field's comment
//! names. A slot means its node only for a thread that has a reference
//! ([`Node::refs`]) or holds a lock under which the node cannot go. Chunks are
//! never given back before the slab is dropped; freed slots are used again.

use super::posix::LockList;
use parking_lot::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::OnceLock;
use std::time::Instant;

/// A node's place in the slab.
pub type Slot = u32;
/// No node.
pub const NONE: Slot = u32::MAX;
/// The root's place. It is never locked, counted or freed.
pub const ROOT: Slot = 0;

/// It is in the table of names.
pub const NAMED: u32 = 1;
/// Its file was renamed to a hidden name because it was removed while open.
pub const HIDDEN: u32 = 2;
/// It has a reference because `remember` keeps it.
pub const REMEMBERED: u32 = 4;
/// The queue of forgotten nodes has an entry for it.
pub const QUEUED: u32 = 8;

/// Longer names are kept aside.
const INLINE_NAME: usize = 32;
const WORD: usize = 8;

/// One node: 104 bytes and, for what few nodes have, [`Aside`].
#[derive(Default)]
pub struct Node {
    /// The path lock; see [`super::locks`].
    pub lock: AtomicU32,
    /// What keeps it: looked up (one for all lookups), each child, each open,
    /// each pin of a running operation, being remembered. At 0 it goes.
    pub refs: AtomicU32,
    /// The directory it is or, without a name, was in; a reference to it.
    /// Changes under the exclusive path lock.
    pub parent: AtomicU32,
    /// Of (parent, name); changes together with them, under its shard's lock.
    pub name_hash: AtomicU32,
    /// Under the lock of its shard of ids. Of a free slot: the next free one.
    pub next_by_id: AtomicU32,
    /// Under the lock of its shard of names.
    pub next_by_name: AtomicU32,
    /// The inode number; constant while it lives.
    pub id: AtomicU32,
    /// Constant while it lives.
    pub generation: AtomicU32,
    /// `NAMED` etc.
    pub flags: AtomicU32,
    /// How often the file is open.
    pub open_count: AtomicU32,
    /// The kernel's lookup count.
    pub lookups: AtomicU64,
    /// When it was forgotten, in seconds of the table's clock.
    pub forgotten: AtomicU32,
    name_len: AtomicU32,
    name: [AtomicU64; INLINE_NAME / WORD],
    aside: Mutex<Option<Box<Aside>>>,
}

/// What few nodes have.
#[derive(Default)]
pub struct Aside {
    long_name: Box<[u8]>,
    /// The file's POSIX locks as the library has recorded them.
    pub locks: LockList,
    /// For auto_cache.
    pub stat: Option<CachedStat>,
}

/// What auto_cache knows of a file.
#[derive(Clone, Copy)]
pub struct CachedStat {
    /// Modification time: seconds, nanoseconds.
    pub mtime: (i64, i64),
    /// Size in bytes.
    pub size: i64,
    /// When the file system said so.
    pub at: Instant,
    /// Whether neither has changed since the last open.
    pub unchanged: bool,
}

impl Node {
    /// Whether flag `flag` is set.
    pub fn is(&self, flag: u32) -> bool {
        self.flags.load(Acquire) & flag != 0
    }

    /// Sets `flag`; whether it was set before.
    pub fn set(&self, flag: u32) -> bool {
        self.flags.fetch_or(flag, Release) & flag != 0
    }

    /// Clears `flag`; whether it was set before.
    pub fn clear(&self, flag: u32) -> bool {
        self.flags.fetch_and(!flag, Release) & flag != 0
    }

    /// Sets the name. The caller has the node's exclusive path lock, or nobody
    /// else knows the node; names in the table also need their shard's lock.
    pub fn set_name(&self, name: &[u8]) {
        let old = self.name_len.swap(name.len() as u32, Relaxed) as usize;
        if name.len() > INLINE_NAME {
            self.with_aside(|aside| aside.long_name = name.into());
            return;
        }
        if old > INLINE_NAME {
            self.with_aside(|aside| aside.long_name = Box::default());
        }
        for (word, bytes) in self.name.iter().zip(name.chunks(WORD)) {
            let mut full = [0; WORD];
            full[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(full), Relaxed);
        }
    }

    /// Appends the name to `to`. The caller has a path lock on the node or the
    /// lock of its shard of names.
    pub fn append_name(&self, to: &mut Vec<u8>) {
        let len = self.name_len.load(Relaxed) as usize;
        if len > INLINE_NAME {
            return self.with_aside(|aside| to.extend_from_slice(&aside.long_name));
        }
        let end = to.len() + len;
        for word in &self.name[..len.div_ceil(WORD)] {
            to.extend_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        to.truncate(end);
    }

    /// Whether it is called `name`; locks as for [`Node::append_name`].
    pub fn is_named(&self, name: &[u8]) -> bool {
        if self.name_len.load(Relaxed) as usize != name.len() {
            return false;
        }
        if name.len() > INLINE_NAME {
            return self.with_aside(|aside| *aside.long_name == *name);
        }
        self.name
            .iter()
            .zip(name.chunks(WORD))
            .all(|(word, bytes)| word.load(Relaxed).to_ne_bytes()[..bytes.len()] == *bytes)
    }

    /// Calls `f` with what is kept aside, made if there is none.
    pub fn with_aside<T>(&self, f: impl FnOnce(&mut Aside) -> T) -> T {
        f(self.aside.lock().get_or_insert_default())
    }

    /// Calls `f` with what is kept aside, if there is anything.
    pub fn if_aside<T>(&self, f: impl FnOnce(&mut Aside) -> T) -> Option<T> {
        self.aside.lock().as_deref_mut().map(f)
    }

    /// Back to the state of a slot never used, but for the links.
    pub fn reset(&self) {
        self.flags.store(0, Relaxed);
        self.open_count.store(0, Relaxed);
        self.lookups.store(0, Relaxed);
        self.name_len.store(0, Relaxed);
        *self.aside.lock() = None;
    }
}

const CHUNK: usize = 1 << 10;
const GROUP: usize = 1 << 11;
const GROUPS: usize = 1 << 11;

type Chunk = Box<[Node]>;
type Group = Box<[OnceLock<Chunk>]>;

/// All slots; a chunk of them is made when its first is used.
pub struct Slab {
    groups: Box<[OnceLock<Group>]>,
    used: AtomicU32,
}

impl Default for Slab {
    fn default() -> Slab {
        Slab { groups: make(GROUPS), used: AtomicU32::new(0) }
    }
}

fn make<T: Default>(count: usize) -> Box<[T]> {
    (0..count).map(|_| T::default()).collect()
}

impl Slab {
    /// The node in `slot`, which has been given out.
    pub fn node(&self, slot: Slot) -> &Node {
        let slot = slot as usize;
        let chunk = self.groups[slot / (CHUNK * GROUP)]
            .get()
            .and_then(|group| group[slot / CHUNK % GROUP].get())
            .expect("a slot that was given out");
        &chunk[slot % CHUNK]
    }

    /// A slot that was never used.
    pub fn add(&self) -> Slot {
        let slot = self.used.fetch_add(1, Relaxed);
        assert!(slot < NONE - 1, "the node table is full: 2^32 nodes");
        let at = slot as usize;
        self.groups[at / (CHUNK * GROUP)].get_or_init(|| make(GROUP))[at / CHUNK % GROUP]
            .get_or_init(|| make(CHUNK));
        slot
    }
}
