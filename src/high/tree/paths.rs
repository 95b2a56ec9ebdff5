//! Paths for operations, and what operations do to names. See the
//! [contract](super).

use super::locks::{Aim, Chain, Order};
use super::nodes::{Entry, Nodes};
use super::slab::{Slot, HIDDEN, NONE, ROOT};
use super::NodeError;
use std::cell::Cell;
use std::ffi::{c_char, CStr, CString};
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

    fn aim(&self, base: Slot) -> Aim<'a> {
        Aim { base, name: self.name, hold: self.hold }
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
    /// With a reference.
    base: Slot,
    name: Option<&'a [u8]>,
    chain: Chain,
    /// The node that was looked up last.
    found: Cell<Slot>,
    nodes: &'a Nodes,
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
        let mut path = self.begin(target)?;
        let aim = target.aim(path.base);
        if let Err(stop) = self.climb(&aim, Order::Arriving, None, &mut path.chain) {
            self.let_go(std::mem::take(&mut path.chain), None);
            path.chain = self.acquire((aim, None), stop)?.0;
        }
        Ok(path)
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
        let (mut one, mut two) = (self.begin(first)?, self.begin(second)?);
        let (aim, aim2) = (first.aim(one.base), second.aim(two.base));
        let climbed = self
            .climb(&aim, Order::Arriving, None, &mut one.chain)
            .and_then(|()| self.climb(&aim2, Order::Arriving, Some(&one.chain), &mut two.chain));
        if let Err(stop) = climbed {
            self.let_go(std::mem::take(&mut two.chain), None);
            self.let_go(std::mem::take(&mut one.chain), None);
            let (chain, chain2) = self.acquire((aim, Some(aim2)), stop)?;
            (one.chain, two.chain) = (chain, chain2.expect("two aims, two chains"));
        }
        Ok(PathPair { first: one, second: two })
    }

    /// A path of which at most the base is locked.
    fn begin<'a>(&'a self, target: Target<'a>) -> Result<Path<'a>, NodeError> {
        let share = target.name.is_some() || target.hold != Hold::Exclusive;
        let (base, shared) = self.refer_to(target.node, share)?;
        Ok(Path {
            base,
            name: target.name,
            chain: Chain::new(base, shared),
            found: Cell::new(NONE),
            nodes: self,
        })
    }
}

impl<'a> Path<'a> {
    /// The path, from the root of the file system: `/`, `/dir/name`.
    pub fn as_c_str(&self) -> &CStr {
        self.chain.text.as_c_str()
    }

    /// The same for C: valid until this is dropped.
    pub fn as_ptr(&self) -> *const c_char {
        self.chain.text.as_ptr()
    }

    /// The path of another name in the directory of this one's last component.
    pub fn sibling(&self, name: &[u8]) -> CString {
        let text = self.as_c_str().to_bytes();
        let directory = text.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let mut path = text[..=directory].to_vec();
        path.extend_from_slice(name);
        CString::new(path).expect("names from C strings have no NUL")
    }

    /// The node of the last component: of a name, only if it is held.
    pub fn id(&self) -> Option<u64> {
        self.last().map(|slot| self.nodes.id(slot))
    }

    /// The directory of the last component (the root's: the root).
    pub fn parent_id(&self) -> u64 {
        self.nodes.id(self.directory().0)
    }

    /// How often the last component's file is open; 0 if it is not held.
    pub fn open_count(&self) -> u32 {
        self.last().map_or(0, |slot| self.nodes.slab.account(slot).open_count.load(Relaxed))
    }

    /// Whether the last component has a hidden name; false if it is not held.
    pub fn is_hidden(&self) -> bool {
        self.last().is_some_and(|slot| self.nodes.slab.node(slot).is(HIDDEN))
    }

    /// The node of the name, made if there is none; looked up once more. Only
    /// for a path with a name.
    pub fn lookup(&self) -> Entry {
        let name = self.name.expect("a name was asked for");
        let slot = self.nodes.lookup_in(self.base, name);
        self.found.set(slot);
        self.nodes.entry(slot)
    }

    /// Counts an open of the node that was looked up, which the kernel has not been
    /// told of yet.
    pub fn open_found(&self) {
        self.nodes.count_open(self.found.get());
    }

    /// Counts an open of the node; as [`Nodes::open`]. Only for a path without a name.
    pub fn open(&self) {
        self.nodes.count_open(self.base);
    }

    /// Takes an open back; as [`Nodes::release`]. Only for a path without a name.
    pub fn release(&self) -> bool {
        // Whoever hides it holds it alone.
        self.nodes.count_release(self.base) && self.is_hidden()
    }

    /// After the file system has removed the last component, held exclusively:
    /// its name leaves the table.
    pub fn removed(&self) {
        match (self.exclusive(), self.name) {
            (Some(slot), _) => self.nodes.unname_node(slot),
            // It may have got a node since it was locked.
            (None, Some(name)) => self.nodes.unname(self.base, name),
            (None, None) => {}
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

    fn last(&self) -> Option<Slot> {
        match (self.name, self.chain.child) {
            (None, _) => Some(self.base),
            (Some(_), NONE) => None,
            (Some(_), child) => Some(child),
        }
    }

    /// The last component's node if it is held for us alone.
    fn exclusive(&self) -> Option<Slot> {
        self.last().filter(|&slot| self.chain.held_alone() == Some(slot))
    }

    /// Where the last component is, and whether that is by name.
    fn directory(&self) -> (Slot, bool) {
        match self.name {
            Some(_) => (self.base, true),
            None if self.base == ROOT => (ROOT, false),
            None => (self.nodes.slab.node(self.base).parent.load(Relaxed), false),
        }
    }
}

impl Drop for Path<'_> {
    fn drop(&mut self) {
        self.nodes.let_go(std::mem::take(&mut self.chain), Some(self.base));
    }
}

impl PathPair<'_> {
    /// After the file system has renamed the first to the second, both held
    /// exclusively and with names: the first's node gets the second's name,
    /// and what had it loses it.
    pub fn renamed(&self) {
        let (from, to) = (&self.first, &self.second);
        let (Some(old), Some(new)) = (from.name, to.name) else {
            unreachable!("names are renamed")
        };
        let nodes = from.nodes;
        if from.base == to.base && old == new {
            return;
        }
        match from.exclusive() {
            Some(slot) => {
                nodes.rename_node(slot, to.base, new, false);
            }
            // It may have got a node since it was locked.
            None => {
                nodes.unname(to.base, new);
                nodes.unname(from.base, old);
            }
        }
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
        if let Some(name) = to.name {
            to.nodes.rename_node(slot, to.base, name, false);
        }
    }
}
