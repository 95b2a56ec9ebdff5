//! The queue of operations that wait for a path. The [contract](super) says why
//! nobody in it starves or sleeps through his turn. Everybody in it is counted
//! among those who move ([`super::walks`]).

use super::hold::Mode;
use super::locks::{Aim, Both, Chain, Order, Stop};
use super::nodes::Nodes;
use super::slab::Slot;
use super::{Hold, NodeError};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;

/// What waits in the queue wants of one node.
#[derive(Default)]
struct Wanted {
    shared: u32,
    exclusive: u32,
}

/// What a waiter would hold, as far as it has found out.
pub(super) type Wants = Vec<(Slot, Mode)>;

#[derive(Default)]
pub(super) struct Wishes(HashMap<Slot, Wanted>);

impl Wishes {
    fn count(&mut self, slot: Slot, mode: Mode) -> &mut u32 {
        let wanted = self.0.entry(slot).or_default();
        match mode {
            Mode::Shared => &mut wanted.shared,
            Mode::Exclusive => &mut wanted.exclusive,
        }
    }

    pub(super) fn allow(&self, slot: Slot, mode: Mode) -> bool {
        self.0.get(&slot).is_none_or(|wanted| {
            wanted.exclusive == 0 && (mode == Mode::Shared || wanted.shared == 0)
        })
    }
}

/// What a waiter's [`Aim`] is made of.
struct OwnedAim {
    base: Slot,
    name: Option<Box<[u8]>>,
    hold: Hold,
}

impl OwnedAim {
    fn new(aim: Aim<'_>) -> OwnedAim {
        OwnedAim { base: aim.base, name: aim.name.map(Box::from), hold: aim.hold }
    }

    fn aim(&self) -> Aim<'_> {
        Aim { base: self.base, name: self.name.as_deref(), hold: self.hold }
    }
}

struct Waiter {
    aims: Both<OwnedAim>,
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

impl Nodes {
    /// Locks the paths for somebody who has just come and was stopped, and waits
    /// until that is possible. The caller keeps the bases pinned.
    pub(super) fn acquire(
        &self,
        aims: Both<Aim<'_>>,
        stop: Stop,
    ) -> Result<Both<Chain>, NodeError> {
        let moving = match stop {
            Stop::Failed(error) => return Err(error),
            Stop::Blocked(_) => false,
            Stop::Moves => {
                self.stop_walks(&self.queue.lock());
                match self.attempt(&aims, Order::Moving) {
                    Err(Stop::Blocked(_) | Stop::Moves) => true,
                    Err(Stop::Failed(error)) => return self.moved(Err(error)),
                    Ok(chains) => return self.moved(Ok(chains)),
                }
            }
        };
        let aims = (OwnedAim::new(aims.0), aims.1.map(OwnedAim::new));
        let waiter = Waiter { aims, outcome: Mutex::new(None), served: Condvar::new() };
        let waiter = Arc::new(waiter);
        {
            let mut queue = self.queue.lock();
            if !moving {
                self.stop_walks(&queue);
            }
            let last = queue.waiting.len();
            queue.waiting.push(Waiting { waiter: waiter.clone(), wants: Wants::new() });
            self.serve(&mut queue, last);
        }
        let mut outcome = waiter.outcome.lock();
        loop {
            match outcome.take() {
                Some(outcome) => return self.moved(outcome),
                None => waiter.served.wait(&mut outcome),
            }
        }
    }

    /// What comes of somebody who was counted among those who move: what he has
    /// locked stays counted until it is let go.
    fn moved(&self, mut outcome: Result<Both<Chain>, NodeError>) -> Result<Both<Chain>, NodeError> {
        match &mut outcome {
            Ok((chain, second)) => {
                chain.moving = true;
                if let Some(second) = second {
                    self.walks.stop_more();
                    second.moving = true;
                }
            }
            Err(_) => self.walks.resume(),
        }
        outcome
    }

    /// How many operations move, or wait to move, a directory that has nodes below
    /// it, or wait at all; for tests and debugging.
    pub fn movers(&self) -> usize {
        self.walks.moving()
    }

    /// How many operations wait for a path; for tests and debugging.
    pub fn waiters(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Tries for each waiter from the `from`th on, in their order.
    pub(super) fn serve(&self, queue: &mut Queue, from: usize) {
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
        let aims = (waiter.aims.0.aim(), waiter.aims.1.as_ref().map(OwnedAim::aim));
        loop {
            let wants = match self.attempt(&aims, Order::After(older)) {
                Ok(chains) => return Some(Ok(chains)),
                Err(Stop::Failed(error)) => return Some(Err(error)),
                Err(Stop::Blocked(wants)) => wants,
                Err(Stop::Moves) => unreachable!("asked of those who have just come"),
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
            self.slab.node(slot).hold.wish(mode);
        }
    }

    fn unwish(&self, wishes: &mut Wishes, wants: Wants) {
        for (slot, mode) in wants {
            let left = wishes.count(slot, mode);
            *left -= 1;
            if *left == 0 {
                self.slab.node(slot).hold.unwish(mode);
            }
            if wishes.0.get(&slot).is_some_and(|left| left.shared + left.exclusive == 0) {
                wishes.0.remove(&slot);
            }
            self.unrefer(slot);
        }
    }
}
