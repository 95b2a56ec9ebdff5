//! Getting a queue's FIFO to move.
//!
//! The kernel takes a request out of a queue's FIFO only when an entry is
//! committed there, never when one is registered. So after a queue ran dry,
//! requests may wait although an entry is available. A *kick* is a request of
//! our own to that queue: ustat(2) with the mount's device number, made by a
//! short-lived thread on the queue's CPU. It arrives as STATFS in the available
//! entry, is answered without asking the filesystem, and that answer's commit
//! takes a waiting request along. A kicker goes on until two kicks in a row
//! brought nothing.
//!
//! Without an available entry a kick would wait in the FIFO itself. So a kicker
//! waits for one first: the thread that took a request along parks it and
//! registers another. A client's request may still be quicker than the kick; if
//! a queue with an available entry then stands still between two looks of the
//! keeper, another kicker is sent, and the stuck one ends when it gets through.

use super::{cpus, Engine};
use crate::abi::kernel::{InHeader, Opcode};
use crate::mount;
use crate::sys::thread::{gettid, spawn, SignalMask};
use crate::sys::ustat;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Kickers of one queue, at most.
const MAX_KICKERS: u32 = 256;
/// What a kick's request needs to get around.
const PAUSE: Duration = Duration::from_micros(30);
/// Pauses without an available entry before a kicker gives up: whoever
/// registers one will ask for a kick again.
const PATIENCE: u32 = 100;

/// The kicks of an engine.
#[derive(Default)]
pub struct Kicks {
    /// Threads that kick right now.
    kickers: Mutex<Vec<i32>>,
    /// How many, to be looked at with every request.
    active: AtomicUsize,
    count: AtomicU64,
    /// The mount's device number; `None`: it cannot be told.
    device: OnceCell<Option<libc::dev_t>>,
}

impl Kicks {
    /// Kicks so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether a request is a kick of this process.
    pub fn is_one_of_ours(&self, header: &InHeader) -> bool {
        self.active.load(Ordering::Acquire) != 0
            && header.opcode == Opcode::Statfs as u32
            && self.kickers.lock().contains(&(header.pid as i32))
    }
}

impl Engine {
    /// Starts kickers where requests may be stranded; true while there are any.
    /// `stands_still` tells whether a queue had an entry available and received
    /// nothing since the last look.
    pub(super) fn look_after_kicks(self: &Arc<Self>, stands_still: impl Fn(usize) -> bool) -> bool {
        let mut any = false;
        for (index, queue) in self.queues.iter().enumerate() {
            let kickers = queue.kickers.load(Ordering::SeqCst);
            let stranded = queue.stranded.load(Ordering::SeqCst);
            any |= kickers > 0 || stranded;
            let stuck = stands_still(index) && (1..MAX_KICKERS).contains(&kickers);
            if (stranded && kickers == 0) || stuck {
                queue.stranded.store(false, Ordering::SeqCst);
                self.start_kicker(index as u16);
            }
        }
        any
    }

    fn start_kicker(self: &Arc<Self>, queue: u16) {
        let device = *self.kicks.device.get_or_init(|| {
            self.session.mountpoint().as_deref().and_then(mount::device_of)
        });
        let Some(device) = device else {
            return;
        };
        let engine = self.clone();
        self.queues[queue as usize].kickers.fetch_add(1, Ordering::SeqCst);
        let started = spawn(c"fuse-kicker", SignalMask::All, move || engine.kick(queue, device));
        match started {
            Ok(thread) => self.threads.lock().push(thread),
            Err(errno) => {
                self.queues[queue as usize].kickers.fetch_sub(1, Ordering::SeqCst);
                crate::log_warning!("ringfuse: cannot start a kicker thread: {errno}");
            }
        }
    }

    fn kick(&self, queue: u16, device: libc::dev_t) {
        // A CPU that is offline has no clients whose requests could wait.
        let pinned = cpus::pin_to(queue);
        let tid = gettid();
        self.kicks.kickers.lock().push(tid);
        self.kicks.active.fetch_add(1, Ordering::SeqCst);
        let brought_so_far = || {
            let queue = &self.queues[queue as usize];
            queue.delivered.load(Ordering::SeqCst) - queue.kicked.load(Ordering::SeqCst)
        };
        let available = || self.queues[queue as usize].available.load(Ordering::SeqCst) > 0;
        let mut in_vain = 0;
        let mut counted = true;
        while pinned && in_vain < 2 && !self.stopping() {
            if !(0..PATIENCE).any(|_| available() || { std::thread::sleep(PAUSE); false }) {
                break;
            }
            let before = brought_so_far();
            if !ustat::of_device(device) {
                break;
            }
            self.kicks.count.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
            let one_less = |kickers| (kickers > 1).then(|| kickers - 1);
            if self.queues[queue as usize].kickers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                // Another one goes on.
                counted = false;
                break;
            }
            in_vain = if brought_so_far() != before { 0 } else { in_vain + 1 };
        }
        self.kicks.active.fetch_sub(1, Ordering::SeqCst);
        self.kicks.kickers.lock().retain(|&other| other != tid);
        if counted {
            self.queues[queue as usize].kickers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}
