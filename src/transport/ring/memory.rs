//! The memory of payloads: taken by use, given back when the mount is idle.
//!
//! A payload takes memory when it is first touched, and keeps it while requests come:
//! untouched pages cost a third of the speed of the first use. When nothing has moved
//! for [`IDLE`], the keeper has every thread give back what its available entries have
//! ([`Entry::cool`] says why only that thread may). Parked requests keep theirs.

use super::entry::Entry;
use super::uring::Ring;
use super::Engine;
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// For how long nothing must have moved.
pub const IDLE: Duration = Duration::from_secs(3);

/// Whether there is anything to give back.
#[derive(Default)]
pub struct Memory {
    warm: AtomicBool,
}

impl Memory {
    /// An entry has more memory than an idle one may keep.
    pub fn warmed(&self) {
        if !self.warm.load(Ordering::Relaxed) {
            self.warm.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an entry may have more memory than an idle one may keep.
    pub fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Relaxed)
    }
}

impl Engine {
    /// The handler threads' rings that hold entries with memory to give back. (An
    /// entry whose ring is gone still names it: that number may be any file's now.)
    pub(super) fn warm_rings(&self) -> Vec<RawFd> {
        self.memory.warm.store(false, Ordering::Relaxed);
        let warm: BTreeSet<RawFd> = {
            let entries = self.entries.lock();
            let warm = entries.iter().map(|entry| entry.entry()).filter(|entry| entry.is_warm());
            warm.map(Entry::holder).collect()
        };
        let workers = self.workers.lock();
        let rings = workers.iter().map(|worker| worker.ring_fd.load(Ordering::SeqCst));
        rings.filter(|ring| *ring >= 0 && warm.contains(ring)).collect()
    }

    /// Gives the memory back of what is available on `ring`, the calling thread's,
    /// whose completions have all been seen.
    pub(super) fn cool(&self, ring: &mut Ring) -> crate::errno::Result<()> {
        // An answer that the kernel has not read yet must stay.
        ring.submit()?;
        if !ring.is_drained() {
            self.memory.warmed();
            return Ok(());
        }
        let held: Vec<&'static Entry> = {
            let entries = self.entries.lock();
            let entries = entries.iter().map(|entry| entry.entry());
            entries.filter(|entry| entry.holder() == ring.as_raw_fd()).collect()
        };
        held.into_iter().for_each(Entry::cool);
        Ok(())
    }
}
