//! The nodes themselves: fixed-size records in chunks that never move, named by
//! a 32-bit slot number.
//!
//! All fields are atomics, so that a node can be read while others change; what
//! makes a *set* of fields consistent is the lock that the field's comment
//! names. A slot means its node only for a thread that has a reference
//! ([`Node::hold`]) or holds a lock under which the node cannot go. Chunks are
//! never given back before the slab is dropped; freed slots are used again.

use super::hold::Hold;
use super::posix::LockList;
use super::short::{ShortName, LONGEST};
use super::text::Text;
use crate::sys::memory::Zeroed;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8};
use std::sync::OnceLock;
use std::time::Instant;
use zerocopy::FromZeros;

/// A node's place in the slab.
pub type Slot = u32;
/// The root's place. It is never locked, counted or freed, and no link leads to
/// it.
pub const ROOT: Slot = 0;
/// In a link: no node.
pub const NONE: Slot = ROOT;

/// It is in the table of names.
pub const NAMED: u8 = 1;
/// Its file was renamed to a hidden name because it was removed while open.
pub const HIDDEN: u8 = 2;
/// It has a reference because `remember` keeps it.
pub const REMEMBERED: u8 = 4;
/// The queue of forgotten nodes has an entry for it.
pub const QUEUED: u8 = 8;
/// Something is kept [aside](Aside) for it.
const ASIDE: u8 = 16;

/// The length of a name that is kept aside.
const LONG: u8 = u8::MAX;

/// What every search and every path looks at: one cache line.
#[derive(FromZeros)]
#[repr(C)]
pub struct Node {
    /// The path lock, and how many things keep it: looked up (one for all
    /// lookups), each child, each open, each pin of a running operation, being
    /// remembered. Without any it goes.
    pub hold: Hold,
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
    flags: AtomicU8,
    name_len: AtomicU8,
    _unused: [u8; 2],
    name: ShortName,
}

const _: () = assert!(size_of::<Node>() == 64);

/// What the kernel's counts and few operations look at.
#[derive(FromZeros)]
#[repr(C)]
pub struct Account {
    /// The kernel's lookup count.
    pub lookups: AtomicU64,
    /// Constant while the node lives.
    pub generation: AtomicU32,
    /// How often the file is open.
    pub open_count: AtomicU32,
    /// When it was forgotten, in seconds of the table's clock.
    pub forgotten: AtomicU32,
    _unused: [u8; 4],
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
    #[inline]
    pub fn is(&self, flag: u8) -> bool {
        self.flags.load(Acquire) & flag != 0
    }

    /// A new node, with a name and one reference, which nobody else knows yet.
    pub fn begin(&self) {
        self.flags.store(NAMED | self.flags.load(Relaxed), Relaxed);
        self.hold.begin();
    }

    /// Sets `flag`; whether it was set before.
    pub fn set(&self, flag: u8) -> bool {
        self.flags.fetch_or(flag, Release) & flag != 0
    }

    /// Clears `flag`; whether it was set before.
    pub fn clear(&self, flag: u8) -> bool {
        self.flags.fetch_and(!flag, Release) & flag != 0
    }
}

/// The first chunk's length; each is twice as long as the one before.
const FIRST: usize = 1 << 10;
const CHUNKS: usize = (u32::BITS - FIRST.ilog2()) as usize;
const SHARDS: usize = 64;

/// Part of all slots.
struct Chunk {
    nodes: Zeroed<Node>,
    accounts: Zeroed<Account>,
}

type Asides = Mutex<HashMap<Slot, Box<Aside>>>;

/// All slots; a chunk of them is made when its first is used.
pub struct Slab {
    chunks: [OnceLock<Chunk>; CHUNKS],
    used: AtomicU32,
    asides: Box<[Asides]>,
}

impl Default for Slab {
    fn default() -> Slab {
        Slab {
            chunks: Default::default(),
            used: AtomicU32::new(0),
            asides: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

/// Which chunk a slot is in, and where in it.
#[inline]
fn place(slot: Slot) -> (usize, usize) {
    let at = slot as usize + FIRST;
    let chunk = at.ilog2() - FIRST.ilog2();
    (chunk as usize, at - (FIRST << chunk))
}

impl Slab {
    #[inline]
    fn chunk(&self, chunk: usize) -> &Chunk {
        self.chunks[chunk].get().expect("a slot that was given out")
    }

    /// The node in `slot`, which has been given out.
    #[inline]
    pub fn node(&self, slot: Slot) -> &Node {
        let (chunk, at) = place(slot);
        &self.chunk(chunk).nodes[at]
    }

    /// Its account.
    #[inline]
    pub fn account(&self, slot: Slot) -> &Account {
        let (chunk, at) = place(slot);
        &self.chunk(chunk).accounts[at]
    }

    /// A slot that was never used.
    pub fn add(&self) -> Slot {
        let slot = self.used.fetch_add(1, Relaxed);
        let (chunk, _) = place(slot);
        assert!(chunk < CHUNKS, "the node table is full");
        self.chunks[chunk].get_or_init(|| Chunk {
            nodes: Zeroed::new(FIRST << chunk),
            accounts: Zeroed::new(FIRST << chunk),
        });
        slot
    }

    /// Sets the name. The caller has the node's exclusive path lock, or nobody
    /// else knows the node; names in the table also need their shard's lock.
    pub fn set_name(&self, slot: Slot, name: &[u8]) {
        let node = self.node(slot);
        if name.len() > LONGEST {
            self.with_aside(slot, |aside| aside.long_name = name.into());
            node.name_len.store(LONG, Relaxed);
            return;
        }
        if node.name_len.swap(name.len() as u8, Relaxed) == LONG {
            self.with_aside(slot, |aside| aside.long_name = Box::default());
        }
        node.name.set(name);
    }

    /// A copy of the name. The caller has a path lock on the node or the lock of
    /// its shard of names.
    pub fn name(&self, slot: Slot) -> Vec<u8> {
        let node = self.node(slot);
        match node.name_len.load(Relaxed) {
            LONG => self.with_aside(slot, |aside| aside.long_name.to_vec()),
            len => {
                let mut name = vec![0; len.into()];
                node.name.write(&mut name);
                name
            }
        }
    }

    /// Puts the name of `node`, the one in `slot`, before `text`; locks as for
    /// [`Slab::name`].
    #[inline]
    pub fn prepend_name(&self, slot: Slot, node: &Node, text: &mut Text) {
        match node.name_len.load(Relaxed) {
            LONG => self.with_aside(slot, |aside| text.prepend(&aside.long_name)),
            len => node.name.write(text.prepend_room(len.into())),
        }
    }

    /// Whether it is called `name`; locks as for [`Slab::name`].
    #[inline]
    pub fn is_named(&self, slot: Slot, name: &[u8]) -> bool {
        let node = self.node(slot);
        match node.name_len.load(Relaxed) {
            LONG => self.with_aside(slot, |aside| *aside.long_name == *name),
            len => usize::from(len) == name.len() && node.name.is(name),
        }
    }

    fn asides(&self, slot: Slot) -> &Asides {
        &self.asides[slot as usize % SHARDS]
    }

    /// Calls `f` with what is kept aside, made if there is none.
    pub fn with_aside<T>(&self, slot: Slot, f: impl FnOnce(&mut Aside) -> T) -> T {
        let mut asides = self.asides(slot).lock();
        self.node(slot).set(ASIDE);
        f(asides.entry(slot).or_default())
    }

    /// Calls `f` with what is kept aside, if there is anything.
    pub fn if_aside<T>(&self, slot: Slot, f: impl FnOnce(&mut Aside) -> T) -> Option<T> {
        if !self.node(slot).is(ASIDE) {
            return None;
        }
        self.asides(slot).lock().get_mut(&slot).map(|aside| f(aside))
    }

    /// Back to the state of a slot never used, but for the links.
    pub fn reset(&self, slot: Slot) {
        let (node, account) = (self.node(slot), self.account(slot));
        if node.is(ASIDE) {
            self.asides(slot).lock().remove(&slot);
        }
        node.flags.store(0, Relaxed);
        node.name_len.store(0, Relaxed);
        account.open_count.store(0, Relaxed);
        account.lookups.store(0, Relaxed);
    }
}
