//! Which CPUs a thread may run on.

use crate::errno::{Errno, Result};

/// A set of CPUs.
#[derive(Clone, Copy)]
pub struct CpuSet(libc::cpu_set_t);

impl CpuSet {
    fn empty() -> Self {
        // SAFETY: a plain bit set.
        Self(unsafe { std::mem::zeroed() })
    }

    /// One CPU; `None` beyond what a set can hold.
    pub fn one(cpu: usize) -> Option<Self> {
        let mut set = Self::empty();
        if cpu >= libc::CPU_SETSIZE as usize {
            return None;
        }
        // SAFETY: the set is large enough for `cpu`.
        unsafe { libc::CPU_SET(cpu, &mut set.0) };
        Some(set)
    }

    /// Where thread `tid` may run; 0: the calling thread.
    pub fn of(tid: i32) -> Result<Self> {
        let mut set = Self::empty();
        // SAFETY: the set has the size given.
        match unsafe { libc::sched_getaffinity(tid, size_of::<libc::cpu_set_t>(), &mut set.0) } {
            0 => Ok(set),
            _ => Err(Errno::last()),
        }
    }

    /// Lets thread `tid` run there, and nowhere else; 0: the calling thread.
    pub fn apply(&self, tid: i32) -> Result<()> {
        // SAFETY: the set has the size given.
        match unsafe { libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &self.0) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }

    /// Whether it has `cpu`.
    pub fn contains(&self, cpu: usize) -> bool {
        // SAFETY: a valid set, and within it.
        cpu < libc::CPU_SETSIZE as usize && unsafe { libc::CPU_ISSET(cpu, &self.0) }
    }

    /// How many CPUs it has.
    pub fn count(&self) -> usize {
        // SAFETY: a valid set.
        unsafe { libc::CPU_COUNT(&self.0) as usize }
    }
}
