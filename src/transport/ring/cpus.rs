//! CPUs: how many queues the kernel has, and where handler threads may run.

use crate::errno::{Errno, Result};
use crate::sys::affinity::CpuSet;

/// Number of queues: the kernel has one per *possible* CPU.
pub fn possible() -> Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    count(text.trim()).ok_or(Errno(libc::EINVAL))
}

/// CPUs in a list such as "0-3" or "0,2-5": one more than the highest, as the
/// kernel numbers its queues by CPU.
fn count(list: &str) -> Option<usize> {
    list.split(',')
        .map(|range| range.rsplit('-').next()?.trim().parse::<usize>().ok())
        .try_fold(0, |most, last| Some(most.max(last? + 1)))
        .filter(|&count| count > 0)
}

/// Binds the calling thread to the CPU of `queue`; false if that CPU is offline
/// or not ours to use.
pub fn pin_to(queue: u16) -> bool {
    CpuSet::one(queue as usize).is_some_and(|cpu| cpu.apply(0).is_ok())
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn cpu_lists() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3"), Some(4));
        assert_eq!(count("0,2-5"), Some(6));
        assert_eq!(count("0-1,8-15"), Some(16));
        assert_eq!(count(""), None);
        assert_eq!(count("x-y"), None);
    }
}
