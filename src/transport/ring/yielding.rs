//! Busy handler threads that yield to their clients.
//!
//! A thread that is bound to its client's CPU wakes the client while it still
//! runs there. The kernel finds the CPU taken and sends the client to another
//! one, if that is idle: it takes longer to get going, has lost its caches, and
//! makes its next request to another queue. Of a thread with the policy
//! SCHED_IDLE the kernel knows that it does not matter, and the client stays.
//! Measured: `docs/performance.md`.
//!
//! But where others want the CPU all the time, such a thread hardly runs. So it
//! yields only while that does no harm: the keeper lets a bound thread yield
//! that serves 12 requests a look, and takes that back when two looks in a
//! row find less than 4 served and the thread not asleep, for a time that
//! doubles. Who has nothing to do for [`QUIET_LOOKS`] does not yield either:
//! the next request is not to wait. Only the keeper does this, and it does not
//! sleep while a thread yields. Nothing yields if the process may not take it
//! back (that needs CAP_SYS_NICE or RLIMIT_NICE), or if RINGFUSE_YIELD=no.

use super::worker::Worker;
use super::Engine;
use crate::sys::policy;
use std::time::{Duration, Instant};

/// What a look must find.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Callbacks within one look that make a thread a busy one.
    busy: u64,
    /// Fewer than that mean that the thread does not get on.
    slack: u64,
}

const USUAL: Rates = Rates { busy: 12, slack: 4 };
/// For machines that are slow, such as emulated ones.
const LEAST: Rates = Rates { busy: 1, slack: 1 };

/// Looks that a thread must have been busy for.
const LOOKS: u32 = 4;
/// Looks that find the thread asleep and next to nothing served.
const QUIET_LOOKS: u32 = 20;
/// Looks that find it awake and next to nothing served.
const STUCK_LOOKS: u32 = 2;
/// For how long a thread does not yield again, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What the keeper knows of one thread.
#[derive(Default)]
pub struct Yielding {
    /// Callbacks that it had begun and ended at the last look, twice.
    seen: u64,
    busy_looks: u32,
    quiet_looks: u32,
    /// Those of them that found the thread not asleep, the last ones.
    stuck_looks: u32,
    since: Option<Instant>,
    pause: Duration,
    not_before: Option<Instant>,
}

/// What makes threads of this process yield; `None` if none may.
pub fn allowed() -> Option<Rates> {
    let rates = match std::env::var("RINGFUSE_YIELD").as_deref() {
        Ok("no") => return None,
        Ok("yes") => LEAST,
        _ => USUAL,
    };
    policy::idle_is_reversible().then_some(rates)
}

impl Yielding {
    /// Takes note of `sequence`, the thread's activity now; what is to be done.
    fn look(
        &mut self,
        sequence: u64,
        may: bool,
        rates: Rates,
        sleeps: impl FnOnce() -> bool,
        now: Instant,
    ) -> Option<bool> {
        let served = sequence.wrapping_sub(self.seen) / 2;
        self.seen = sequence;
        self.busy_looks = if served >= rates.busy { self.busy_looks + 1 } else { 0 };
        self.quiet_looks = if served < rates.slack { self.quiet_looks + 1 } else { 0 };
        let stuck = self.since.is_some() && self.quiet_looks > 0 && !sleeps();
        self.stuck_looks = if stuck { self.stuck_looks + 1 } else { 0 };
        match self.since {
            Some(_) if may && self.quiet_looks > QUIET_LOOKS => {
                self.since = None;
                Some(false)
            }
            Some(since) if !may || self.stuck_looks >= STUCK_LOOKS => {
                self.since = None;
                let long = now - since > 16 * self.pause;
                let pause = if long { FIRST_PAUSE } else { 2 * self.pause };
                self.pause = pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
                self.not_before = Some(now + self.pause);
                Some(false)
            }
            None if may
                && self.busy_looks >= LOOKS
                && self.not_before.is_none_or(|time| now >= time) =>
            {
                self.since = Some(now);
                Some(true)
            }
            _ => None,
        }
    }
}

impl Engine {
    /// Lets threads yield, or not, as things are; called with every look of the
    /// keeper. True while any does.
    pub(super) fn look_at_yielding(&self) -> bool {
        let Some(rates) = self.placement.may_yield else {
            return false;
        };
        let now = Instant::now();
        let workers = self.workers.lock();
        let yields = |worker: &std::sync::Arc<Worker>| {
            let Some(tid) = worker.tid() else { return false };
            let mut yielding = worker.yielding.lock();
            let sleeps = || worker.sleeps();
            let may = self.placement.is_pinned();
            match yielding.look(worker.activity.sequence(), may, rates, sleeps, now) {
                Some(true) if !policy::is_normal(tid) || policy::set_idle(tid).is_err() => {
                    // Somebody has given it a policy: that stays.
                    *yielding = Yielding::default();
                }
                Some(false) if policy::set_normal(tid).is_err() => {
                    crate::log_warning!("ringfuse: a handler thread remains SCHED_IDLE");
                }
                _ => {}
            }
            yielding.since.is_some()
        };
        workers.iter().filter(|worker| yields(worker)).count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks with a number of callbacks in each; what was said.
    fn looks(
        yielding: &mut Yielding,
        at: &mut Instant,
        served: &[u64],
        asleep: bool,
    ) -> Vec<Option<bool>> {
        let look = |served: &u64| {
            *at += Duration::from_millis(1);
            yielding.look(yielding.seen + 2 * served, true, USUAL, || asleep, *at)
        };
        served.iter().map(look).collect()
    }

    #[test]
    fn a_busy_thread_yields_until_it_does_not_get_on() {
        let (mut yielding, mut at) = (Yielding::default(), Instant::now());
        let said = looks(&mut yielding, &mut at, &[50, 50, 5, 50, 50, 50, 50, 50], false);
        assert_eq!(said, [None, None, None, None, None, None, Some(true), None]);
        assert_eq!(
            looks(&mut yielding, &mut at, &[1, 50, 1, 1, 50], false)[3..],
            [Some(false), None]
        );
    }

    #[test]
    fn a_thread_without_work_does_not_yield_for_long() {
        let (mut yielding, mut at) = (Yielding::default(), Instant::now());
        while looks(&mut yielding, &mut at, &[50], true) != [Some(true)] {}
        assert_eq!(
            looks(&mut yielding, &mut at, &[0; QUIET_LOOKS as usize], true).last(),
            Some(&None)
        );
        assert_eq!(looks(&mut yielding, &mut at, &[0], true), [Some(false)]);
        assert!(yielding.not_before.is_none());
    }

    #[test]
    fn pauses_double_and_are_forgotten() {
        let (mut yielding, mut at) = (Yielding::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            while looks(&mut yielding, &mut at, &[50], false) != [Some(true)] {}
            assert_eq!(looks(&mut yielding, &mut at, &[0, 0], false), [None, Some(false)]);
            pauses.push(yielding.pause);
        }
        assert_eq!(pauses[..3], [50, 100, 200].map(Duration::from_millis));
        assert_eq!(pauses[11], LONGEST_PAUSE);
        while looks(&mut yielding, &mut at, &[50], false) != [Some(true)] {}
        at += 17 * LONGEST_PAUSE;
        assert_eq!(looks(&mut yielding, &mut at, &[0, 0], false), [None, Some(false)]);
        assert_eq!(yielding.pause, FIRST_PAUSE);
    }

    #[test]
    fn a_thread_that_may_not_yield_does_not() {
        let (mut yielding, now) = (Yielding::default(), Instant::now());
        for look in 1..20 {
            assert_eq!(yielding.look(look * 100, false, USUAL, || true, now), None);
        }
    }
}
