//! Which CPU a handler thread runs on.
//!
//! A thread bound to its queue's CPU answers twice as fast where clients wait
//! for each answer. But threads and processes that a callback starts inherit the
//! binding, and must see the process's own CPUs. So threads are bound only if
//!
//! * nothing loaded into the process can start anything ([`imports`]): at once;
//! * or [`QUIET_REQUESTS`] requests went by without a new thread or child: then
//!   the keeper goes on watching, and when something is started after all, all
//!   threads are let go for good, and so is what was started.
//!
//! RINGFUSE_PIN=yes or no says it instead.

use super::yielding::{self, Rates};
use super::{cpus, Engine};
use crate::sys::affinity::CpuSet;
use crate::sys::{cputime, imports, policy, prod, thread};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Requests after which a filesystem that started nothing is trusted.
const QUIET_REQUESTS: u64 = 100_000;
/// Looks of the keeper between two looks for what was started.
const LOOKS: u64 = 16;

/// Whether threads are bound, and what is known about it.
pub struct Placement {
    pinned: AtomicBool,
    /// Nothing more is to be learned.
    settled: AtomicBool,
    /// The process's own CPUs, when the engine was made.
    own: Option<CpuSet>,
    looks: AtomicU64,
    /// What makes threads yield; `None` if they may not.
    pub may_yield: Option<Rates>,
}

/// What a handler thread knows of its own place.
#[derive(Default)]
pub struct Place {
    wanted: Option<u16>,
    /// Whether the thread is bound; it is not if the CPU is offline.
    pub pinned: bool,
}

/// What the keeper has seen of the program's threads and children.
#[derive(Default)]
pub struct Started {
    threads: Vec<i32>,
    /// CPU time of threads that have ended, at most.
    ended: u64,
    waited: i64,
    /// What the library had done itself until then; `None` before the first look.
    own: Option<OwnDoings>,
}

/// How many threads the library has started and ended, and how many processes
/// that it started for kicks it has waited for.
type OwnDoings = (u64, u64);

/// What the library has done so far; `None` while a thread of its begins or ends.
fn own_doings() -> Option<OwnDoings> {
    Some((thread::turnover()?, prod::waited_for()))
}

/// What gives away that the program starts something.
enum Evidence {
    Thread(i32),
    Child(i32),
    EndedChild,
    EndedThread,
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Thread(tid) => write!(f, "a thread ({tid}, {})", thread::name(tid)),
            Self::Child(pid) => write!(f, "a process ({pid})"),
            Self::EndedChild => f.write_str("a process, which has ended"),
            Self::EndedThread => f.write_str("a thread, which has ended"),
        }
    }
}

impl Placement {
    /// What can be said before the first request. A serial loop runs on the
    /// program's own thread, which is never bound.
    pub fn new(serial: bool) -> Self {
        let own = CpuSet::of(0).ok();
        let word = std::env::var("RINGFUSE_PIN").ok();
        let (pinned, settled) = match word.as_deref() {
            _ if serial => (false, true),
            Some("yes" | "1") => (true, true),
            Some("no" | "0") => (false, true),
            _ if !imports::any_object_can_start_something() => (true, true),
            // Bound threads gain nothing where there is one CPU only.
            _ => (false, own.is_none_or(|own| own.count() < 2)),
        };
        Self {
            pinned: pinned.into(),
            settled: settled.into(),
            own,
            looks: AtomicU64::new(0),
            may_yield: yielding::allowed().filter(|_| pinned || !settled),
        }
    }

    /// Whether handler threads are to be bound to their queues' CPUs.
    pub fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    /// Whether the CPU of `queue` is one of the process's own.
    fn may_use(&self, queue: u16) -> bool {
        self.own.is_none_or(|own| own.contains(queue as usize))
    }

    /// How many CPUs the process may use.
    pub fn cpus(&self) -> usize {
        self.own.map_or(1, |own| own.count())
    }

    /// Lets the calling thread run where the process may.
    pub fn release_current(&self) {
        if let Some(own) = self.own {
            let _ = own.apply(0);
        }
    }
}

impl Engine {
    /// Looks for threads and children that callbacks may have started; called
    /// with every look of the keeper.
    pub(super) fn look_at_placement(&self, started: &mut Started) {
        let placement = &self.placement;
        if placement.settled.load(Ordering::Relaxed) {
            return;
        }
        // What a look costs goes with the number of threads.
        let interval = LOOKS.max(self.workers.lock().len() as u64);
        if placement.looks.fetch_add(1, Ordering::Relaxed) % interval != 0 {
            return;
        }
        // A picture is good if the library itself started and ended nothing
        // meanwhile: what it does would look like the program's doings.
        let Some(own) = own_doings() else {
            return;
        };
        let handlers: Vec<i32> =
            self.workers.lock().iter().filter_map(|worker| worker.tid()).collect();
        let children: Option<Vec<i32>> =
            handlers.iter().try_fold(Vec::new(), |mut all: Vec<i32>, &tid| {
                all.extend(thread::children(tid)?);
                Some(all)
            });
        let Some(children) = children else {
            // Threads end at any time; a kernel that does not tell about
            // children never will.
            if thread::children(thread::gettid()).is_none() {
                self.never_bind(std::iter::empty(), "the kernel does not tell of child processes");
            }
            return;
        };
        let Some(ended) = cputime::of_ended_threads() else {
            return;
        };
        let now = Started {
            threads: thread::foreign(),
            ended: ended.high,
            waited: thread::waited_children(),
            own: Some(own),
        };
        if own_doings() != now.own {
            return;
        }
        let new: Vec<i32> =
            now.threads.iter().copied().filter(|tid| !started.threads.contains(tid)).collect();
        // Of what has ended it cannot be told whose it was.
        let same = now.own == started.own;
        let evidence = match (new.first(), children.first()) {
            _ if started.own.is_none() => None,
            (Some(&tid), _) => Some(Evidence::Thread(tid)),
            (_, Some(&pid)) => Some(Evidence::Child(pid)),
            _ if same && now.waited != started.waited => Some(Evidence::EndedChild),
            _ if same && ended.low > started.ended => Some(Evidence::EndedThread),
            _ => None,
        };
        let highest = now.ended.min(if same { started.ended } else { u64::MAX });
        *started = Started { ended: highest, ..now };
        if let Some(evidence) = evidence {
            let reason = format!("the program has started {evidence}");
            self.never_bind(new.into_iter().chain(children), &reason);
        } else if same && !placement.is_pinned() && self.delivered() >= QUIET_REQUESTS {
            placement.pinned.store(true, Ordering::Relaxed);
        }
    }

    /// Handler threads are not bound from now on, for good, nor what is given.
    fn never_bind(&self, started: impl Iterator<Item = i32>, reason: &str) {
        self.placement.settled.store(true, Ordering::Relaxed);
        self.placement.pinned.store(false, Ordering::Relaxed);
        self.let_go(started);
        crate::log_info!("ringfuse: handler threads are not bound to their CPUs: {reason}");
    }

    /// Gives what callbacks have started the process's own CPUs back, and the
    /// handler threads too.
    fn let_go(&self, started: impl Iterator<Item = i32>) {
        let Some(own) = self.placement.own else {
            return;
        };
        let handlers: Vec<i32> =
            self.workers.lock().iter().filter_map(|worker| worker.tid()).collect();
        for tid in handlers.into_iter().chain(started) {
            // Who has bound itself to several CPUs meant it.
            if CpuSet::of(tid).is_ok_and(|set| set.count() == 1) {
                let _ = own.apply(tid);
            }
            if self.placement.may_yield.is_some() && policy::is_idle(tid) {
                let _ = policy::set_normal(tid);
            }
        }
    }

    /// Requests that came over all queues.
    pub(super) fn delivered(&self) -> u64 {
        self.queues.iter().map(|queue| queue.counters.requests.load(Ordering::Relaxed)).sum()
    }

    /// Binds the calling thread to the CPU of `queue`, or lets it go, as things
    /// are now. `place` is what this thread knows of itself.
    pub(super) fn place(&self, queue: u16, place: &mut Place) {
        let roams = self.queues[queue as usize].roams.load(Ordering::Relaxed);
        let wanted = (self.placement.is_pinned() && !roams).then_some(queue);
        if place.wanted != wanted {
            place.wanted = wanted;
            match wanted {
                Some(queue) => place.pinned = self.placement.may_use(queue) && cpus::pin_to(queue),
                None => {
                    self.placement.release_current();
                    place.pinned = false;
                }
            }
        }
    }
}
