//! Path locks: what is held on each node of a path, and the queue of those who
//! wait. The [contract](super) says what they are for and why they do not
//! deadlock, starve or sleep through their turn.

use super::nodes::{Nodes, Pin};
use super::slab::{Slot, NAMED, NONE, ROOT};
use super::{Hold, NodeError};
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::Arc;

// A node's lock word: how many share it, and three flags.
const HELD: u32 = 1 << 31;
/// Somebody in the queue wants it for himself: nobody overtakes.
const EXCLUSIVE_WANTED: u32 = 1 << 30;
/// Somebody in the queue wants to share it.
const SHARED_WANTED: u32 = 1 << 29;
const SHARERS: u32 = SHARED_WANTED - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Shared,
    Exclusive,
}

/// Takes the lock if nobody holds it against `mode` and, outside of the queue,
/// nobody waits for it against `mode`.
fn try_take(lock: &AtomicU32, mode: Mode, from_queue: bool) -> bool {
    let (step, against) = match (mode, from_queue) {
        (Mode::Shared, false) => (1, HELD | EXCLUSIVE_WANTED),
        (Mode::Shared, true) => (1, HELD),
        (Mode::Exclusive, false) => (HELD, u32::MAX),
        (Mode::Exclusive, true) => (HELD, HELD | SHARERS),
    };
    let take = |word: u32| (word & against == 0).then(|| word + step);
    lock.fetch_update(Acquire, Relaxed, take).is_ok()
}

/// Lets the lock go; whether somebody in the queue may have waited for that.
fn let_go(lock: &AtomicU32, mode: Mode) -> bool {
    match mode {
        Mode::Shared => lock.fetch_sub(1, Release) & EXCLUSIVE_WANTED != 0,
        Mode::Exclusive => lock.fetch_and(!HELD, Release) & (EXCLUSIVE_WANTED | SHARED_WANTED) != 0,
    }
}

/// A path to be locked. `base` stays pinned for as long as this is used.
#[derive(Clone)]
pub(super) struct Aim<'a> {
    pub base: Slot,
    pub name: Option<Cow<'a, [u8]>>,
    pub hold: Hold,
}

impl Aim<'_> {
    fn into_owned(self) -> Aim<'static> {
        let name = self.name.map(|name| Cow::Owned(name.into_owned()));
        Aim { base: self.base, name, hold: self.hold }
    }
}

/// A locked path.
pub(super) struct Chain {
    /// The node that the name leads to, with a reference; `NONE`: there is none
    /// or it is not held.
    pub child: Slot,
    /// The locked nodes, the deepest first.
    pub held: SmallVec<[Slot; 12]>,
    /// The first of `held` is held for ourselves.
    pub exclusive: bool,
}

impl Chain {
    fn new() -> Chain {
        Chain { child: NONE, held: SmallVec::new(), exclusive: false }
    }

    fn mode(&self, at: usize) -> Mode {
        match self.exclusive && at == 0 {
            true => Mode::Exclusive,
            false => Mode::Shared,
        }
    }

    fn modes(&self) -> impl Iterator<Item = (Slot, Mode)> + '_ {
        self.held.iter().enumerate().map(|(at, &slot)| (slot, self.mode(at)))
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

/// What waits in the queue wants of one node.
#[derive(Default)]
struct Wanted {
    shared: u32,
    exclusive: u32,
}

/// What a waiter would hold, as far as it has found out.
type Wants = Vec<(Slot, Mode)>;

#[derive(Default)]
struct Wishes(HashMap<Slot, Wanted>);

impl Wishes {
    fn count(&mut self, slot: Slot, mode: Mode) -> &mut u32 {
        let wanted = self.0.entry(slot).or_default();
        match mode {
            Mode::Shared => &mut wanted.shared,
            Mode::Exclusive => &mut wanted.exclusive,
        }
    }

    fn allow(&self, slot: Slot, mode: Mode) -> bool {
        self.0.get(&slot).is_none_or(|wanted| {
            wanted.exclusive == 0 && (mode == Mode::Shared || wanted.shared == 0)
        })
    }
}

struct Waiter {
    aims: Both<Aim<'static>>,
    outcome: Mutex<Option<Result<Both<Chain>, NodeError>>>,
    served: Condvar,
}

struct Waiting {
    waiter: Arc<Waiter>,
    /// Each with a reference to its node, and counted in [`Queue::wishes`].
    wants: Wants,
}

/// Who waits, in the order of their coming.
#[derive(Default)]
pub struct Queue {
    waiting: Vec<Waiting>,
    /// What all of them want; the flags in the nodes' lock words say the same.
    wishes: Wishes,
}

enum Stop {
    Blocked(Wants),
    Failed(NodeError),
}

/// By which rules an attempt is made.
#[derive(Clone, Copy)]
enum Order<'a> {
    /// By somebody who has just come: the lock words say all.
    Arriving,
    /// From the queue, whose lock the caller has: before those who came later,
    /// but not before those whose wishes these are.
    After(&'a Wishes),
}

impl Nodes {
    /// Locks the paths, and waits until that is possible. The caller keeps the
    /// bases pinned.
    pub(super) fn acquire(&self, aims: Both<Aim<'_>>) -> Result<Both<Chain>, NodeError> {
        match self.attempt(&aims, Order::Arriving) {
            Ok(chains) => return Ok(chains),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Blocked(_)) => {}
        }
        let aims = (aims.0.into_owned(), aims.1.map(Aim::into_owned));
        let waiter = Waiter { aims, outcome: Mutex::new(None), served: Condvar::new() };
        let waiter = Arc::new(waiter);
        {
            let mut queue = self.queue.lock();
            let last = queue.waiting.len();
            queue.waiting.push(Waiting { waiter: waiter.clone(), wants: Wants::new() });
            self.serve(&mut queue, last);
        }
        let mut outcome = waiter.outcome.lock();
        loop {
            match outcome.take() {
                Some(outcome) => return outcome,
                None => waiter.served.wait(&mut outcome),
            }
        }
    }

    /// Lets a locked path go. Its base is still pinned.
    pub(super) fn let_go(&self, chain: Chain) {
        if self.undo(chain) {
            self.serve(&mut self.queue.lock(), 0);
        }
    }

    /// How many operations wait for a path; for tests and debugging.
    pub fn waiters(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// From the root down: a node that is locked keeps the one above it.
    fn undo(&self, chain: Chain) -> bool {
        let mut waited_for = false;
        for (at, &slot) in chain.held.iter().enumerate().rev() {
            waited_for |= let_go(&self.slab.node(slot).lock, chain.mode(at));
        }
        if chain.child != NONE {
            self.unrefer(chain.child);
        }
        waited_for
    }

    /// Locks all or nothing.
    fn attempt(&self, aims: &Both<Aim<'_>>, order: Order<'_>) -> Result<Both<Chain>, Stop> {
        let mut chains = (Chain::new(), None);
        let mut result = self.climb(&aims.0, order, None, &mut chains.0);
        if let (Ok(()), Some(aim)) = (&result, &aims.1) {
            let mut second = Chain::new();
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
        let waited_for = chains.1.map(|chain| self.undo(chain)) == Some(true);
        let waited_for = self.undo(chains.0) || waited_for;
        if waited_for && matches!(order, Order::Arriving) {
            // Somebody may have met what we held for a moment.
            self.serve(&mut self.queue.lock(), 0);
        }
        Err(stop)
    }

    fn climb(
        &self,
        aim: &Aim<'_>,
        order: Order<'_>,
        other: Option<&Chain>,
        chain: &mut Chain,
    ) -> Result<(), Stop> {
        let take = |slot: Slot, mode: Mode| {
            let lock = &self.slab.node(slot).lock;
            let taken = match order {
                Order::Arriving => try_take(lock, mode, false),
                Order::After(older) => older.allow(slot, mode) && try_take(lock, mode, true),
            };
            match taken {
                true => Ok(()),
                false if other.is_some_and(|other| other.excludes(slot, mode)) => {
                    Err(Stop::Failed(NodeError::Loop))
                }
                false => Err(Stop::Blocked(vec![(slot, mode)])),
            }
        };
        let last = match aim.hold {
            Hold::Exclusive => Mode::Exclusive,
            Hold::Shared | Hold::Free => Mode::Shared,
        };
        let mut base_mode = last;
        if let Some(name) = &aim.name {
            base_mode = Mode::Shared;
            while let Some(child) = self.find_held(aim, name) {
                chain.child = child.slot();
                self.refer(chain.child);
                if last == Mode::Exclusive
                    && other.is_some_and(|other| other.exclusive && other.held[0] == chain.child)
                {
                    // Both names are the same.
                    break;
                }
                take(chain.child, last)?;
                if self.is_at(chain.child, aim.base, name) {
                    chain.held.push(chain.child);
                    chain.exclusive = last == Mode::Exclusive;
                    break;
                }
                // It was renamed between finding and locking it.
                let gone = Chain {
                    child: std::mem::replace(&mut chain.child, NONE),
                    held: SmallVec::from_slice(&[child.slot()]),
                    exclusive: last == Mode::Exclusive,
                };
                if self.undo(gone) && matches!(order, Order::Arriving) {
                    self.serve(&mut self.queue.lock(), 0);
                }
            }
        }
        let mut at = aim.base;
        let mut mode = base_mode;
        while at != ROOT {
            take(at, mode)?;
            chain.exclusive |= mode == Mode::Exclusive;
            chain.held.push(at);
            mode = Mode::Shared;
            let node = self.slab.node(at);
            if !node.is(NAMED) {
                return Err(Stop::Failed(NodeError::NoName));
            }
            at = node.parent.load(Relaxed);
        }
        Ok(())
    }

    /// The node of a name that is to be held.
    fn find_held(&self, aim: &Aim<'_>, name: &[u8]) -> Option<Pin<'_>> {
        match aim.hold {
            Hold::Free => None,
            Hold::Shared | Hold::Exclusive => self.pin_child(aim.base, name),
        }
    }

    /// Tries for each waiter from the `from`th on, in their order.
    fn serve(&self, queue: &mut Queue, from: usize) {
        let mut older = Wishes::default();
        for waiting in &queue.waiting[..from] {
            waiting.wants.iter().for_each(|&(slot, mode)| *older.count(slot, mode) += 1);
        }
        let mut at = from;
        while at < queue.waiting.len() {
            match self.try_for(queue, at, &older) {
                Some(outcome) => {
                    let done = queue.waiting.remove(at);
                    self.unwish(&mut queue.wishes, done.wants);
                    *done.waiter.outcome.lock() = Some(outcome);
                    done.waiter.served.notify_one();
                }
                None => {
                    let wants = &queue.waiting[at].wants;
                    wants.iter().for_each(|&(slot, mode)| *older.count(slot, mode) += 1);
                    at += 1;
                }
            }
        }
    }

    /// One waiter's outcome, or `None` if it must go on waiting. Then all that
    /// it wants was flagged before it was tried for the last time, so whoever
    /// lets go of it later sees the flag.
    fn try_for(
        &self,
        queue: &mut Queue,
        at: usize,
        older: &Wishes,
    ) -> Option<Result<Both<Chain>, NodeError>> {
        let waiter = queue.waiting[at].waiter.clone();
        loop {
            let wants = match self.attempt(&waiter.aims, Order::After(older)) {
                Ok(chains) => return Some(Ok(chains)),
                Err(Stop::Failed(error)) => return Some(Err(error)),
                Err(Stop::Blocked(wants)) => wants,
            };
            let same = wants == queue.waiting[at].wants;
            self.wish(&mut queue.wishes, &wants);
            let before = std::mem::replace(&mut queue.waiting[at].wants, wants);
            self.unwish(&mut queue.wishes, before);
            if same {
                return None;
            }
        }
    }

    fn wish(&self, wishes: &mut Wishes, wants: &Wants) {
        for &(slot, mode) in wants {
            *wishes.count(slot, mode) += 1;
            self.slab.node(slot).lock.fetch_or(flag(mode), AcqRel);
        }
    }

    fn unwish(&self, wishes: &mut Wishes, wants: Wants) {
        for (slot, mode) in wants {
            let left = wishes.count(slot, mode);
            *left -= 1;
            if *left == 0 {
                self.slab.node(slot).lock.fetch_and(!flag(mode), AcqRel);
            }
            if wishes.0.get(&slot).is_some_and(|left| left.shared + left.exclusive == 0) {
                wishes.0.remove(&slot);
            }
            self.unrefer(slot);
        }
    }
}

fn flag(mode: Mode) -> u32 {
    match mode {
        Mode::Shared => SHARED_WANTED,
        Mode::Exclusive => EXCLUSIVE_WANTED,
    }
}
