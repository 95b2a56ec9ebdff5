//! Path locks: what an operation holds of a path, and how it gets and lets go of
//! it. The [contract](super) says what they are for and why they do not deadlock.

use super::hold::{Asker, Mode, Taken};
use super::nodes::Nodes;
use super::queue::{Queue, Wants, Wishes};
use super::slab::{Slot, NAMED, NONE, ROOT};
use super::text::Text;
use super::walks::Walk;
use super::{Hold, NodeError};
use smallvec::SmallVec;
use std::iter::successors;
use std::sync::atomic::Ordering::Relaxed;

/// A path to be locked. `base` stays pinned for as long as this is used.
#[derive(Clone, Copy)]
pub(super) struct Aim<'a> {
    pub base: Slot,
    pub name: Option<&'a [u8]>,
    pub hold: Hold,
}

/// A locked path.
#[derive(Default)]
pub(super) struct Chain {
    /// The node that the name leads to, with a reference; `NONE`: there is none
    /// or it is not held.
    pub child: Slot,
    child_held: Option<Mode>,
    /// The node that was aimed from; the reference to it is the path's.
    base: Slot,
    base_held: Option<Mode>,
    /// What is locked above that, from there up; nothing with a walk.
    above: SmallVec<[Slot; 4]>,
    /// What keeps the nodes above `base` where they are, if those are not held.
    walk: Option<Walk>,
    /// There were nodes below what is held alone when it was taken.
    parent: bool,
    /// It is counted among those who move.
    pub moving: bool,
    /// The path.
    pub text: Text,
}

impl Chain {
    /// Nothing locked but the base, which is shared, or not even that.
    pub fn new(base: Slot, shared: bool) -> Chain {
        Chain { base, base_held: shared.then_some(Mode::Shared), ..Chain::default() }
    }

    fn modes(&self) -> impl Iterator<Item = (Slot, Mode)> + '_ {
        let child = self.child_held.map(|mode| (self.child, mode));
        let base = self.base_held.map(|mode| (self.base, mode));
        let above = self.above.iter().map(|&slot| (slot, Mode::Shared));
        child.into_iter().chain(base).chain(above)
    }

    /// What is held alone: the child, or the base if that is the last component.
    pub fn held_alone(&self) -> Option<Slot> {
        match (self.child_held, self.base_held) {
            (Some(Mode::Exclusive), _) => Some(self.child),
            (_, Some(Mode::Exclusive)) => Some(self.base),
            _ => None,
        }
    }

    /// Whether `self` holds what another path of its own operation cannot also
    /// hold in `mode`.
    fn excludes(&self, slot: Slot, mode: Mode) -> bool {
        self.modes()
            .any(|(held, own)| held == slot && (mode == Mode::Exclusive || own == Mode::Exclusive))
    }
}

/// One path, or two.
pub(super) type Both<T> = (T, Option<T>);

/// Why an attempt came to nothing.
pub(super) enum Stop {
    /// Somebody holds, or wants first, what these are.
    Blocked(Wants),
    /// It is to be tried again as one who moves; see [`super::walks`].
    Moves,
    /// It will never succeed.
    Failed(NodeError),
}

/// By which rules an attempt is made.
#[derive(Clone, Copy)]
pub(super) enum Order<'a> {
    /// By somebody who has just come: the lock words say all.
    Arriving,
    /// The same by somebody who is counted among those who move.
    Moving,
    /// From the queue, whose lock the caller has: before those who came later,
    /// but not before those whose wishes these are.
    After(&'a Wishes),
}

impl Order<'_> {
    fn asker(self) -> Asker {
        match self {
            Order::Arriving => Asker::Arriving,
            Order::Moving => Asker::Moving,
            Order::After(_) => Asker::Queue,
        }
    }

    fn allows(self, slot: Slot, mode: Mode) -> bool {
        match self {
            Order::After(older) => older.allow(slot, mode),
            Order::Arriving | Order::Moving => true,
        }
    }
}

impl Nodes {
    /// Lets a path go that was locked, in part or not at all. With `unpin` the
    /// reference to its base goes with it.
    pub(super) fn let_go(&self, chain: Chain, unpin: Option<Slot>) {
        let pinned = unpin.filter(|_| chain.base_held.is_none());
        if self.undo(chain, unpin.is_some()) {
            self.serve(&mut self.queue.lock(), 0);
        }
        pinned.into_iter().for_each(|base| self.unrefer(base));
    }

    /// Locks, for each walk under way, what it relies on; see [`super::walks`].
    pub(super) fn stop_walks(&self, _locked: &Queue) {
        self.walks.stop(|base| {
            self.above(base).for_each(|slot| self.slab.node(slot).hold.share());
        });
    }

    /// The directories above a node, the root not counted. They stay where they are.
    fn above(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        let up = |slot: Slot| {
            let parent = self.slab.node(slot).parent.load(Relaxed);
            (parent != ROOT).then_some(parent)
        };
        successors(up(slot), move |&slot| up(slot))
    }

    /// From the root down: a node that is locked keeps the one above it. With
    /// `unpin` the reference to the base goes with its lock.
    fn undo(&self, mut chain: Chain, unpin: bool) -> bool {
        let mut waited_for = false;
        if let Some(walk) = chain.walk.take() {
            waited_for |= self.end_walk(walk, chain.base);
        }
        for &slot in chain.above.iter().rev() {
            waited_for |= self.slab.node(slot).hold.let_go(Mode::Shared, false).waited_for;
        }
        if let Some(mode) = chain.base_held {
            waited_for |= self.let_go_one(chain.base, mode, chain.parent, unpin);
        }
        if let Some(mode) = chain.child_held {
            waited_for |= self.let_go_one(chain.child, mode, chain.parent, true);
        } else if chain.child != NONE {
            self.unrefer(chain.child);
        }
        if chain.moving {
            self.walks.resume();
        }
        waited_for
    }

    /// Lets one lock go, of a node that had others below it or not when it was
    /// taken; with `unpin` also a reference.
    fn let_go_one(&self, slot: Slot, mode: Mode, parent: bool, unpin: bool) -> bool {
        let node = self.slab.node(slot);
        let id = node.id.load(Relaxed);
        let was = node.hold.let_go(mode, unpin);
        if mode == Mode::Exclusive && was.parent && !parent {
            // Whoever made the first node below it has counted us; he is done
            // when we have the lock.
            drop(self.queue.lock());
            self.walks.resume();
        }
        if was.last {
            self.reap(slot, id);
        }
        was.waited_for
    }

    fn end_walk(&self, walk: Walk, base: Slot) -> bool {
        if self.walks.end(&walk, base) {
            return false;
        }
        // Whoever stopped it has locked all for us when we have the lock.
        drop(self.queue.lock());
        self.walks.free(walk);
        let above: Vec<Slot> = self.above(base).collect();
        above.into_iter().rev().fold(false, |waited_for, slot| {
            waited_for | self.slab.node(slot).hold.let_go(Mode::Shared, false).waited_for
        })
    }

    /// Locks all or nothing, for who moves or waits.
    pub(super) fn attempt(
        &self,
        aims: &Both<Aim<'_>>,
        order: Order<'_>,
    ) -> Result<Both<Chain>, Stop> {
        let mut chains = (Chain::default(), None);
        let mut result = self.climb(&aims.0, order, None, &mut chains.0);
        if let (Ok(()), Some(aim)) = (&result, &aims.1) {
            let mut second = Chain::default();
            result = self.climb(aim, order, Some(&chains.0), &mut second);
            chains.1 = Some(second);
        }
        let Err(mut stop) = result else { return Ok(chains) };
        if let (Stop::Blocked(wants), Order::After(_)) = (&mut stop, order) {
            // References now: what we are about to let go is what keeps them.
            let held = chains.1.iter().flat_map(Chain::modes).chain(chains.0.modes());
            wants.extend(held);
            wants.iter().for_each(|&(slot, _)| self.refer(slot));
        }
        let waited_for = chains.1.map(|chain| self.undo(chain, false)) == Some(true);
        let waited_for = self.undo(chains.0, false) || waited_for;
        if waited_for && !matches!(order, Order::After(_)) {
            // Somebody may have met what we held for a moment.
            self.serve(&mut self.queue.lock(), 0);
        }
        Err(stop)
    }

    /// Locks a path from its end to the root, or stops in the middle: what `chain`
    /// has then is to be let go. `other` is held by the same operation.
    pub(super) fn climb(
        &self,
        aim: &Aim<'_>,
        order: Order<'_>,
        other: Option<&Chain>,
        chain: &mut Chain,
    ) -> Result<(), Stop> {
        let take = |slot: Slot, mode: Mode, pin: bool| match order.allows(slot, mode) {
            true => self.slab.node(slot).hold.try_take(mode, order.asker(), pin),
            false => Taken::No,
        };
        let taken = |taken: Taken, slot: Slot, mode: Mode| match taken {
            Taken::Yes { parent } => Ok(parent),
            Taken::StopWalks => Err(Stop::Moves),
            Taken::No if other.is_some_and(|other| other.excludes(slot, mode)) => {
                Err(Stop::Failed(NodeError::Loop))
            }
            Taken::No => Err(Stop::Blocked(vec![(slot, mode)])),
        };
        let last = match aim.hold {
            Hold::Exclusive => Mode::Exclusive,
            Hold::Shared | Hold::Free => Mode::Shared,
        };
        chain.base = aim.base;
        if let Some(name) = aim.name {
            chain.text.prepend(name);
            if aim.hold != Hold::Free {
                // Taken while it has the name, so that it keeps it.
                let found = self.with_child(aim.base, name, |child| {
                    // Both names may be the same.
                    let same = other.is_some_and(|other| other.held_alone() == Some(child));
                    let word = if same { Taken::No } else { take(child, last, true) };
                    if !matches!(word, Taken::Yes { .. }) {
                        self.refer(child);
                    }
                    (child, same, word)
                });
                if let Some((child, same, word)) = found {
                    chain.child = child;
                    if !same {
                        chain.parent = taken(word, child, last)?;
                        chain.child_held = Some(last);
                    }
                }
            }
        }
        let mut at = aim.base;
        if at != ROOT {
            if chain.base_held.is_none() {
                let mode = if aim.name.is_some() { Mode::Shared } else { last };
                let parent = taken(take(at, mode, false), at, mode)?;
                chain.base_held = Some(mode);
                chain.parent |= mode == Mode::Exclusive && parent;
            }
            at = self.pass(at, &mut chain.text)?;
            if at != ROOT && matches!(order, Order::Arriving) {
                chain.walk = self.walks.begin(aim.base);
            }
        }
        while at != ROOT {
            if chain.walk.is_none() {
                taken(take(at, Mode::Shared, false), at, Mode::Shared)?;
                chain.above.push(at);
            }
            at = self.pass(at, &mut chain.text)?;
        }
        chain.text.finish();
        Ok(())
    }

    /// Puts the name of a node that stays where it is before `text`; the directory
    /// above it.
    #[inline(always)]
    fn pass(&self, slot: Slot, text: &mut Text) -> Result<Slot, Stop> {
        let node = self.slab.node(slot);
        if !node.is(NAMED) {
            return Err(Stop::Failed(NodeError::NoName));
        }
        self.slab.prepend_name(slot, node, text);
        Ok(node.parent.load(Relaxed))
    }
}
