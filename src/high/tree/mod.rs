//! The path-based API: nodes, their names, and paths that hold.
//!
//! | module | what |
//! |---|---|
//! | [`nodes`] | inode numbers and references: where nodes come from and go |
//! | `counts` | what counts for a node: lookups, opens, being remembered |
//! | `names` | what names lead to, and how they change |
//! | [`paths`] | a path for an operation, and what it does to names |
//! | `text` | the text of a path |
//! | `locks` | how a path is locked and let go |
//! | `walks` | why most operations need not lock what is above |
//! | `queue` | those who wait for a path |
//! | [`posix`] | the POSIX locks recorded for a file |
//! | [`slab`], `hold`, `short`, `table` | a node and its parts, and how nodes are found |
//!
//! # What an operation can rely on
//! * A [`Path`] is true until it is dropped: as long as it lives, no component
//!   is renamed or removed by an operation that locks what it changes
//!   ([`Hold::Exclusive`]: unlink, rmdir, rename). Those wait for it, and what
//!   comes later and leads through their last component waits for them.
//! * Nothing else waits: not operations on other names of the same directory,
//!   not those in other directories.
//! * Whoever waits comes to its turn: two operations that exclude each other
//!   run in the order in which they began to wait.
//! * An operation may hold one [`Path`] or one [`PathPair`] at a time. A second
//!   `lock` by a thread that holds one can deadlock.
//! * A name whose node is locked exclusively does not get another node by
//!   [`Path::lookup`] of others unless the file system says that it is there;
//!   if it does get one, the later change wins and the node loses its name.
//!
//! # Life of a node
//! A node lives while it has references (counted in [`slab::Node::hold`]): one for all of
//! the kernel's lookups together, one for each child, each open, each running
//! operation, each place in the queue, and one while it is remembered. A node
//! that is removed or replaced loses its name but not its place: it keeps the
//! reference to the directory it was in until it goes, and is found by number
//! only. The number (32 bits, from 2) is used again when the counter has come
//! round; then the generation grows.
//!
//! # Locks
//! In the order in which a thread may take them:
//! 1. **path locks**: in a word of each node, never waited for inside the
//!    word: an operation takes all that it needs, or nothing. It needs those of its
//!    last component and of its base, and either those of all directories above or a
//!    *walk*, which says that it relies on them: who wants to move a directory
//!    locks them in its place first (`walks`). The root has none, for it has no
//!    name;
//! 2. **the queue**: a mutex, taken only by those who could not get their locks
//!    at once, and by those who let go what such a one wants. Nobody blocks
//!    while he has it;
//! 3. **a shard of inode numbers** (of 64): its table, free slots and queue of
//!    forgotten nodes;
//! 4. **shards of names** (of 64; two in the order of their number): its table,
//!    and changes of `parent`, name and `NAMED` of the nodes in it;
//! 5. a node's `aside`, and a waiter's outcome.
//!
//! 2 to 5 are held for a bounded number of steps, whatever the number of nodes,
//! and 3 to 5 are not held when a path is let go.
//!
//! A node's parent and name change only under its exclusive path lock *and* the
//! locks of its old and new shard of names; so either is enough to read them.
//! (A name can be taken away, `NAMED`, with the shard's lock alone: what was
//! read stays readable.)
//! Whoever has locked a node and referred to it has what is above it: a locked
//! node keeps its parent, and a child is a reference to it.
//! Therefore locks are let go from the root down.
//!
//! A walk is as good as locks: nobody holds a directory that has nodes below it
//! alone while there is a walk that is not stopped. Who takes a directory alone
//! sees in the same word whether it has nodes below it; if it gets its first one
//! while it is held, whoever makes that one stops the walks.
//!
//! **No deadlock.** Nobody waits while he holds a path lock, so holders always
//! come to an end. Who waits only wishes; wishes bind those who came later.
//! The oldest waiter is bound by holders alone.
//!
//! **No starvation.** What a waiter wants is flagged in the lock words. A flag
//! stops whoever arrives and would take the lock against the wish; he goes to
//! the end of the queue. In the queue each is tried in turn, and never takes
//! what an older one wants against his wish.
//!
//! **No lost wake-up.** A waiter's wishes are flagged first and then it is tried
//! once more, both under the queue's lock. Whoever lets a lock go does so in the
//! same atomic word as the flag: before the flag, then the try sees it free; or
//! after it, then he sees the flag and serves the queue, for which he must wait
//! until the try is over. What an attempt from the queue holds for a moment
//! hides no release: every release that meets a flag serves the queue, not only
//! the last.
#![deny(unsafe_code)]

mod counts;
mod hold;
mod locks;
mod names;
pub mod nodes;
pub mod paths;
pub mod posix;
mod queue;
mod short;
pub mod slab;
mod table;
mod text;
mod walks;

pub use nodes::{Counts, Entry, Nodes, Pin, Remember, ROOT_ID};
pub use paths::{Hold, Path, PathPair, Target};

use crate::errno::Errno;

/// Why there is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// The kernel used a number that it does not have from us, or has given back.
    Unknown(u64),
    /// The node or a directory above it was removed.
    NoName,
    /// One path of two leads through the other's last component.
    Loop,
}

impl From<NodeError> for Errno {
    fn from(error: NodeError) -> Errno {
        match error {
            NodeError::Unknown(_) | NodeError::NoName => Errno(libc::ESTALE),
            NodeError::Loop => Errno(libc::EINVAL),
        }
    }
}
