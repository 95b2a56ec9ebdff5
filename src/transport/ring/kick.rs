//! Getting a queue's FIFO to move.
//!
//! The kernel takes a request out of a queue's FIFO only when an entry is
//! committed there, never when one is registered. So after a queue ran dry,
//! requests may wait although an entry is available. A *kick* is a request of
//! our own to that queue: it arrives in the available entry, is answered without
//! asking the filesystem, and that answer's commit takes a waiting request along.
//!
//! A kicker is a short-lived thread, as what counts is the CPU that a request is
//! made on. It kicks while an entry is available, and goes on until two kicks in
//! a row brought nothing. On a busy machine a kick takes its time: what it brought
//! is known only when its entry has been committed. As even then the last word may
//! be missed, the keeper has the queue kicked some more times, ever later
//! ([`Recheck`]): no request may wait for ever. A kicker has two ways:
//!
//! * FUSE_NOTIFY_RETRIEVE of no bytes for a regular file that the kernel knows:
//!   its answer comes as a request that nobody waits for. It goes through the
//!   connection's descriptor, so it asks for no rights and no path.
//! * Where no file was ever looked up: a [`Prodder`], a process that calls ustat(2)
//!   with the mount's device number, which comes as STATFS. That needs no path
//!   either, so it does in another mount namespace and after a lazy unmount; but the
//!   kernel asks the filesystem only for those who may use it.
//!
//! No thread of this process may wait for a request to its own mount: if the
//! process were killed, that thread would keep the rings' memory, so the rings,
//! so the request it waits for, for ever.

use super::entry::Entry;
use super::{cpus, Engine, Queue};
use crate::abi::kernel::{notify, InHeader, NotifyRetrieveOut, Opcode};
use crate::errno::{Errno, Result};
use crate::sys::prod::Prodder;
use crate::sys::thread::{spawn, SignalMask, Thread};
use parking_lot::Mutex;
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;
use zerocopy::IntoBytes;

/// What a kick needs to get around.
const PAUSE: Duration = Duration::from_micros(30);
/// Pauses without an available entry before a kicker gives up: whoever
/// registers one will ask for a kick again.
const PATIENCE: u32 = 100;
/// Pauses until a kick is done before another is made: at first, and at most.
const LEAST_PATIENCE: u32 = 8;
const MOST_PATIENCE: u32 = 256;
/// Kicks of one kicker: what else is delivered looks like what they brought, and
/// whoever parks again asks again.
const MOST_KICKS: u32 = 32;
/// Pauses without any movement, although an entry is available, before another
/// process helps; and how many may.
const STUCK: u32 = 50;
const MAX_PRODDERS: usize = 64;
/// Entries of a queue that cannot be kicked: at least, and at most.
const AHEAD: (u64, u64) = (16, 256);
/// Numbers of our retrievals: even, and no request's nor a program's retrieval's.
const NUMBERS: u64 = 1 << 61;

/// When a queue is kicked once more, to be sure: in looks of the keeper, each time
/// after four times as many.
#[derive(Clone, Copy, Default)]
pub struct Recheck {
    /// 0: never.
    left: u32,
    waited: u32,
}

impl Recheck {
    const SOONEST: u32 = 4;
    const LATEST: u32 = 1024;

    fn first() -> Self {
        Self { left: Self::SOONEST, waited: Self::SOONEST }
    }

    fn is_to_be(self) -> bool {
        self.left > 0
    }

    /// One look more; whether it is time.
    fn is_due(&mut self) -> bool {
        let due = self.left == 1;
        self.left = self.left.saturating_sub(1);
        if due && self.waited < Self::LATEST {
            self.waited *= 4;
            self.left = self.waited;
        }
        due
    }
}

/// The kicks of an engine.
#[derive(Default)]
pub struct Kicks {
    /// The processes that call ustat(2).
    prodders: Mutex<Vec<i32>>,
    /// Whether there are any, to be looked at with every STATFS.
    prodding: AtomicBool,
    /// The log says that some queue cannot be kicked.
    left: AtomicBool,
    /// Held by the thread that looks after them.
    one_at_a_time: Mutex<()>,
}

impl Kicks {
    /// Whether a request is a kick of this engine.
    pub fn is_one_of_ours(&self, header: &InHeader) -> bool {
        const STATFS: u32 = Opcode::Statfs as u32;
        const NOTIFY_REPLY: u32 = Opcode::NotifyReply as u32;
        match header.opcode {
            NOTIFY_REPLY => header.unique & NUMBERS != 0,
            STATFS => {
                self.prodding.load(Ordering::SeqCst)
                    && self.prodders.lock().contains(&(header.pid as i32))
            }
            _ => false,
        }
    }
}

impl Queue {
    /// Requests that came, without kicks.
    fn brought_so_far(&self) -> u64 {
        self.counters.requests.load(Ordering::SeqCst) - self.kicked.load(Ordering::SeqCst)
    }

    fn is_ready(&self) -> bool {
        self.available.load(Ordering::SeqCst) > 0
    }
}

impl Engine {
    /// Starts kickers where requests may be stranded, or were some time ago; true
    /// while there are any, or are to be. Called with every look of the keeper.
    pub(super) fn look_after_kicks(self: &Arc<Self>, rechecks: &mut Vec<Recheck>) -> bool {
        rechecks.resize(self.queues.len(), Recheck::default());
        let mut any = false;
        for (index, (queue, recheck)) in self.queues.iter().zip(rechecks).enumerate() {
            let kicked = queue.kicker.load(Ordering::SeqCst);
            let stranded = queue.stranded.load(Ordering::SeqCst);
            any |= kicked || stranded || recheck.is_to_be();
            if kicked {
                continue;
            }
            if stranded {
                queue.stranded.store(false, Ordering::SeqCst);
                *recheck = Recheck::first();
                self.start_kicker(index as u16);
            } else if recheck.is_due() && queue.available.load(Ordering::SeqCst) > 0 {
                self.start_kicker(index as u16);
            }
        }
        any
    }

    /// The entry that a retrieval of ours came in has been committed.
    pub(super) fn kick_done(&self, entry: &Entry) {
        self.queue(entry).kicks_done.fetch_add(1, Ordering::SeqCst);
    }

    /// Nothing can be brought any more.
    fn kicks_end(&self) -> bool {
        self.stopping.load(Ordering::SeqCst) || self.gone.load(Ordering::SeqCst)
    }

    fn start_kicker(self: &Arc<Self>, queue: u16) {
        Thread::join_finished(&self.kicker_threads);
        let engine = self.clone();
        self.queues[queue as usize].kicker.store(true, Ordering::SeqCst);
        let started = spawn(c"fuse-kicker", SignalMask::All, move || {
            if cpus::pin_to(queue) {
                engine.kick(queue);
            } else if cpus::is_online(queue) {
                engine.kick_elsewhere(queue);
            }
            // A CPU that is offline has no clients whose requests could wait.
            engine.queues[queue as usize].kicker.store(false, Ordering::SeqCst);
        });
        match started {
            Ok(thread) => self.kicker_threads.lock().push(thread),
            Err(errno) => {
                self.queues[queue as usize].kicker.store(false, Ordering::SeqCst);
                crate::log_warning!("ringfuse: cannot start a kicker thread: {errno}");
            }
        }
    }

    fn kick(&self, index: u16) {
        let queue = &self.queues[index as usize];
        let (mut in_vain, mut kicks, mut patience) = (0, 0, LEAST_PATIENCE);
        while in_vain < 2 && kicks < MOST_KICKS && !self.kicks_end() {
            let ready = (0..PATIENCE).any(|_| queue.is_ready() || pause());
            if !ready {
                return;
            }
            let before = queue.brought_so_far();
            if self.retrieve(index).is_err() {
                // No file that the kernel still knows.
                if !queue.out_of_reach.load(Ordering::SeqCst) && !self.prod(queue, None) {
                    self.leave(
                        index,
                        format_args!(
                            "this process may not use its own mount, of which no file is known"
                        ),
                    );
                }
                return;
            }
            queue.kicks.fetch_add(1, Ordering::Relaxed);
            kicks += 1;
            let sent = queue.kicks_sent.fetch_add(1, Ordering::SeqCst) + 1;
            let done = || queue.kicks_done.load(Ordering::SeqCst) >= sent;
            let brought = || queue.brought_so_far() != before;
            if !(0..patience).any(|_| brought() || done() || self.kicks_end() || pause()) {
                // Its thread has no CPU; or it came to no entry, and waits in the FIFO
                // for a kick itself.
                patience = (2 * patience).min(MOST_PATIENCE);
                continue;
            }
            if !brought() {
                pause();
            }
            if brought() {
                (in_vain, patience) = (0, LEAST_PATIENCE);
            } else {
                in_vain += 1;
            }
        }
    }

    /// As [`Engine::kick`], for a CPU on which this process may not run.
    fn kick_elsewhere(&self, index: u16) {
        let queue = &self.queues[index as usize];
        if !queue.out_of_reach.load(Ordering::SeqCst) && !self.prod(queue, Some(index)) {
            self.leave(index, format_args!("this process may not run on CPU {index} (its cpuset)"));
        }
    }

    /// The queue cannot be kicked, because of `reason`. Said once.
    fn leave(&self, index: u16, reason: std::fmt::Arguments<'_>) {
        if !self.kicks.left.swap(true, Ordering::SeqCst) {
            crate::log_warning!(
                "ringfuse: {reason}: where many requests of one CPU are kept at once, some are \
                 served only with the next one that is answered"
            );
        }
        self.queues[index as usize].out_of_reach.store(true, Ordering::SeqCst);
        self.register_ahead(index);
    }

    /// Where a queue cannot be kicked, what its FIFO gets stays there. So entries are
    /// registered before they are needed, as many again as requests are kept.
    pub(super) fn register_ahead(&self, index: u16) {
        let queue = &self.queues[index as usize];
        let wanted = queue.counters.waiting().clamp(AHEAD.0, AHEAD.1) as i32;
        let missing = wanted - queue.available.load(Ordering::SeqCst);
        if missing > 0 {
            self.wanted.lock().extend(std::iter::repeat_n(index, missing as usize));
            self.bell.signal();
        }
    }

    /// Asks the kernel for nothing of a file's cached data.
    fn retrieve(&self, queue: u16) -> Result<()> {
        let number = self.queues[queue as usize].kicks.load(Ordering::Relaxed);
        loop {
            let (known, nodeid) = self.known_file(queue).ok_or(Errno(libc::ENOENT))?;
            let out = NotifyRetrieveOut {
                notify_unique: NUMBERS | number << 17 | u64::from(queue) << 1,
                nodeid,
                ..NotifyRetrieveOut::default()
            };
            if self.session.notify(notify::RETRIEVE, 15, &[IoSlice::new(out.as_bytes())]).is_ok() {
                return Ok(());
            }
            // Forgotten since, or never a regular file.
            let _ = known.file.compare_exchange(nodeid, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A regular file that was used lately, best on `queue`, and where that is
    /// remembered.
    fn known_file(&self, queue: u16) -> Option<(&Queue, u64)> {
        let own = std::iter::once(&self.queues[queue as usize]);
        own.chain(&self.queues)
            .map(|queue| (queue, queue.file.load(Ordering::Relaxed)))
            .find(|&(_, nodeid)| nodeid != 0)
    }

    /// Lets processes make requests, on `cpu` if it is given, until they bring nothing.
    /// One is enough, unless a client's request was quicker to the entry than its call,
    /// which then waits in the FIFO itself. False if there can be no such process, or the
    /// kernel does not let its calls through.
    fn prod(&self, queue: &Queue, cpu: Option<u16>) -> bool {
        let _only = self.kicks.one_at_a_time.lock();
        let Some(device) = self.session.device_number() else {
            return false;
        };
        let mut prodders: Vec<Prodder> = Vec::new();
        let (mut calls, mut brought) = (0, queue.brought_so_far());
        let (mut in_vain, mut stuck) = (0, STUCK);
        let kicked = queue.kicked.load(Ordering::SeqCst);
        while !self.kicks_end() {
            if in_vain >= 2 {
                // Done, but for calls that wait in the FIFO themselves.
                prodders.iter().for_each(Prodder::stop);
                prodders.retain(Prodder::is_alive);
                if prodders.is_empty() {
                    break;
                }
            }
            if stuck >= STUCK && prodders.len() < MAX_PRODDERS {
                let before = prodders.len();
                prodders.retain(Prodder::is_alive);
                if prodders.len() < before {
                    // Its calls are refused.
                    break;
                }
                in_vain = 0;
                let Some(prodder) = Prodder::start(device, cpu) else {
                    break;
                };
                self.kicks.prodders.lock().push(prodder.pid());
                self.kicks.prodding.store(true, Ordering::SeqCst);
                prodder.go();
                prodders.push(prodder);
                stuck = 0;
            }
            pause();
            let (calls_now, brought_now) = (
                prodders.iter().map(|prodder| u64::from(prodder.calls())).sum::<u64>(),
                queue.brought_so_far(),
            );
            if brought_now != brought {
                (in_vain, stuck) = (0, 0);
            } else if calls_now != calls {
                (in_vain, stuck) = (in_vain + 1, 0);
            } else if queue.is_ready() {
                stuck += 1;
            }
            queue.kicks.fetch_add(calls_now.saturating_sub(calls), Ordering::Relaxed);
            (calls, brought) = (calls_now, brought_now);
        }
        self.kicks.prodding.store(false, Ordering::SeqCst);
        self.kicks.prodders.lock().clear();
        self.kicks_end() || queue.kicked.load(Ordering::SeqCst) != kicked
    }
}

/// Waits a moment; false, for use in a condition.
fn pause() -> bool {
    std::thread::sleep(PAUSE);
    false
}
