//! Paths for operations, and what operations do to names. See the
//! [contract](super).

use super::locks::{Aim, Both, Chain};
use super::nodes::{Entry, Nodes, Pin};
use super::slab::{Slot, HIDDEN, NONE, ROOT};
use super::NodeError;
use std::borrow::Cow;
use std::ffi::CString;
use std::sync::atomic::Ordering::Relaxed;

/// How the last component of a path is held. Everything above it is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Not at all: the name may appear and go. A path without a name is shared.
    Free,
    /// It keeps its name; other operations may hold it likewise.
    Shared,
    /// Nobody else holds it or anything below it: for what changes its name.
    Exclusive,
}

/// What a path is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The node, or the directory that `name` is in.
    pub node: u64,
    /// A name in it, whether or not it has a node.
    pub name: Option<&'a [u8]>,
    /// How the last component is held.
    pub hold: Hold,
}

impl<'a> Target<'a> {
    /// A node, shared.
    pub fn node(node: u64) -> Target<'a> {
        Target { node, name: None, hold: Hold::Shared }
    }

    /// A name in a directory, free.
    pub fn child(node: u64, name: &'a [u8]) -> Target<'a> {
        Target { node, name: Some(name), hold: Hold::Free }
    }

    /// The same, its last component shared.
    pub fn shared(self) -> Target<'a> {
        Target { hold: Hold::Shared, ..self }
    }

    /// The same, its last component exclusive.
    pub fn exclusive(self) -> Target<'a> {
        Target { hold: Hold::Exclusive, ..self }
    }
}

/// A locked path: valid until this is dropped.
pub struct Path<'a> {
    base: Pin<'a>,
    name: Option<Cow<'a, [u8]>>,
    /// `None` only while it is being dropped.
    chain: Option<Chain>,
    nodes: &'a Nodes,
    text: CString,
}

/// Two paths that were locked together.
pub struct PathPair<'a> {
    /// The first.
    pub first: Path<'a>,
    /// The second.
    pub second: Path<'a>,
}

impl Nodes {
    /// Locks a path. Waits for operations that hold part of it otherwise.
    pub fn lock<'a>(&'a self, target: Target<'a>) -> Result<Path<'a>, NodeError> {
        let (base, aim) = self.aim(target)?;
        let (chain, _) = self.acquire((aim.clone(), None))?;
        Ok(self.path(base, aim, chain))
    }

    /// The same for operations that can do without: `None` if the node, or a
    /// directory above it, has lost its name. Nothing is locked then.
    pub fn lock_if_named<'a>(&'a self, target: Target<'a>) -> Result<Option<Path<'a>>, NodeError> {
        match self.lock(target) {
            Ok(path) => Ok(Some(path)),
            Err(NodeError::NoName) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Locks two paths at once. One that leads through what the other holds
    /// exclusively is [`NodeError::Loop`]; the same name twice is not.
    pub fn lock_two<'a>(
        &'a self,
        first: Target<'a>,
        second: Target<'a>,
    ) -> Result<PathPair<'a>, NodeError> {
        let (base, aim) = self.aim(first)?;
        let (base2, aim2) = self.aim(second)?;
        let chains: Both<Chain> = self.acquire((aim.clone(), Some(aim2.clone())))?;
        let (chain, Some(chain2)) = chains else { unreachable!("two aims, two chains") };
        let first = self.path(base, aim, chain);
        Ok(PathPair { first, second: self.path(base2, aim2, chain2) })
    }

    fn aim<'a>(&'a self, target: Target<'a>) -> Result<(Pin<'a>, Aim<'a>), NodeError> {
        let base = self.pin(target.node)?;
        let aim =
            Aim { base: base.slot(), name: target.name.map(Cow::Borrowed), hold: target.hold };
        Ok((base, aim))
    }

    fn path<'a>(&'a self, base: Pin<'a>, aim: Aim<'a>, chain: Chain) -> Path<'a> {
        let mut text = Vec::with_capacity(64);
        for &slot in chain.held.iter().rev().filter(|&&slot| slot != chain.child) {
            text.push(b'/');
            self.slab.node(slot).append_name(&mut text);
        }
        if let Some(name) = &aim.name {
            text.push(b'/');
            text.extend_from_slice(name);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        let text = CString::new(text).expect("names from C strings have no NUL");
        Path { base, name: aim.name, chain: Some(chain), nodes: self, text }
    }
}

impl<'a> Path<'a> {
    /// The path, from the root of the file system: `/`, `/dir/name`.
    pub fn as_c_str(&self) -> &std::ffi::CStr {
        &self.text
    }

    /// The path of another name in the directory of this one's last component.
    pub fn sibling(&self, name: &[u8]) -> CString {
        let text = self.text.as_bytes();
        let directory = text.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let mut path = text[..=directory].to_vec();
        path.extend_from_slice(name);
        CString::new(path).expect("names from C strings have no NUL")
    }

    /// The node of the last component: of a name, only if it is held.
    pub fn id(&self) -> Option<u64> {
        self.last().map(|slot| self.nodes.entry(slot).id)
    }

    /// The directory of the last component (the root's: the root).
    pub fn parent_id(&self) -> u64 {
        self.nodes.entry(self.directory().0).id
    }

    /// How often the last component's file is open; 0 if it is not held.
    pub fn open_count(&self) -> u32 {
        self.last().map_or(0, |slot| self.nodes.slab.node(slot).open_count.load(Relaxed))
    }

    /// Whether the last component has a hidden name; false if it is not held.
    pub fn is_hidden(&self) -> bool {
        self.last().is_some_and(|slot| self.nodes.slab.node(slot).is(HIDDEN))
    }

    /// The node of the name, made if there is none; looked up once more. Only
    /// for a path with a name.
    pub fn lookup(&self) -> Entry {
        let name = self.name.as_ref().expect("a name was asked for");
        self.nodes.lookup_in(self.base.slot(), name)
    }

    /// After the file system has removed the last component, held exclusively:
    /// its name leaves the table.
    pub fn removed(&self) {
        if let Some(slot) = self.exclusive() {
            self.nodes.unname_node(slot);
        }
        if let Some(name) = &self.name {
            // It may have got a node since it was locked.
            self.nodes.unname(self.base.slot(), name);
        }
    }

    /// After the file system has renamed the last component, held exclusively,
    /// to the hidden `name` in its directory. False if the name has a node.
    pub fn hidden_as(&self, name: &[u8]) -> bool {
        let Some(slot) = self.exclusive() else { return false };
        let hidden = self.nodes.rename_node(slot, self.directory().0, name, true);
        if hidden {
            self.nodes.slab.node(slot).set(HIDDEN);
        }
        hidden
    }

    fn chain(&self) -> &Chain {
        self.chain.as_ref().expect("present until it is dropped")
    }

    fn last(&self) -> Option<Slot> {
        match (&self.name, self.chain().child) {
            (None, _) => Some(self.base.slot()),
            (Some(_), NONE) => None,
            (Some(_), child) => Some(child),
        }
    }

    /// The last component's node if it is held for us alone.
    fn exclusive(&self) -> Option<Slot> {
        self.last().filter(|&slot| self.chain().exclusive && self.chain().held[0] == slot)
    }

    /// Where the last component is, and whether that is by name.
    fn directory(&self) -> (Slot, bool) {
        match self.name {
            Some(_) => (self.base.slot(), true),
            None if self.base.slot() == ROOT => (ROOT, false),
            None => (self.nodes.slab.node(self.base.slot()).parent.load(Relaxed), false),
        }
    }
}

impl Drop for Path<'_> {
    fn drop(&mut self) {
        if let Some(chain) = self.chain.take() {
            self.nodes.let_go(chain);
        }
    }
}

impl PathPair<'_> {
    /// After the file system has renamed the first to the second, both held
    /// exclusively and with names: the first's node gets the second's name,
    /// and what had it loses it.
    pub fn renamed(&self) {
        let (from, to) = (&self.first, &self.second);
        let (Some(old), Some(new)) = (&from.name, &to.name) else {
            unreachable!("names are renamed")
        };
        let nodes = from.nodes;
        if from.base.slot() == to.base.slot() && old == new {
            return;
        }
        match from.exclusive() {
            Some(slot) => {
                nodes.rename_node(slot, to.base.slot(), new, false);
            }
            None => nodes.unname(to.base.slot(), new),
        }
        // It may have got a node since it was locked.
        nodes.unname(from.base.slot(), old);
    }

    /// After the file system has exchanged the two (RENAME_EXCHANGE), both held
    /// exclusively and with names.
    pub fn exchanged(&self) {
        let (a, b) = (&self.first, &self.second);
        match (a.exclusive(), b.exclusive()) {
            (Some(one), Some(two)) => a.nodes.exchange_nodes(one, two),
            // The same name twice, or one that nobody has looked up.
            (Some(one), None) => Self::only(b, one),
            (None, Some(two)) => Self::only(a, two),
            (None, None) => {}
        }
    }

    fn only(to: &Path<'_>, slot: Slot) {
        if let Some(name) = &to.name {
            to.nodes.rename_node(slot, to.base.slot(), name, false);
        }
    }
}
