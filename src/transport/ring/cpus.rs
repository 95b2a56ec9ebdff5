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

/// Whether CPU `cpu` is online, so that it may have clients.
pub fn is_online(cpu: u16) -> bool {
    std::fs::read_to_string("/sys/devices/system/cpu/online")
        .is_ok_and(|text| has(text.trim(), usize::from(cpu)))
}

/// The NUMA node of each of `count` CPUs, where there is more than one and it is known:
/// the kernel tells it of CPUs that are online.
pub fn nodes(count: usize) -> Vec<Option<u16>> {
    let read = |name: &str| std::fs::read_to_string(format!("/sys/devices/system/node/{name}"));
    let mut nodes = vec![None; count];
    let online = read("online").unwrap_or_default();
    let online = online.trim();
    let all = 0..self::count(online).unwrap_or(0).min(usize::from(u16::MAX));
    let several = online.contains(['-', ',']);
    for node in all.filter(|&node| several && has(online, node)) {
        let list = read(&format!("node{node}/cpulist")).unwrap_or_default();
        let of_node = nodes.iter_mut().enumerate().filter(|(cpu, _)| has(list.trim(), *cpu));
        of_node.for_each(|(_, place)| *place = Some(node as u16));
    }
    nodes
}

/// Whether a list such as "0-3" or "0,2-5" has `cpu`.
fn has(list: &str, cpu: usize) -> bool {
    list.split(',').any(|range| {
        let mut ends = range.splitn(2, '-').map(|end| end.trim().parse::<usize>().ok());
        let first = ends.next().flatten();
        let last = ends.next().map_or(first, |last| last);
        matches!((first, last), (Some(first), Some(last)) if (first..=last).contains(&cpu))
    })
}

/// Binds the calling thread to the CPU of `queue`; false if that CPU is offline
/// or not ours to use.
pub fn pin_to(queue: u16) -> bool {
    CpuSet::one(queue as usize).is_some_and(|cpu| cpu.apply(0).is_ok())
}

#[cfg(test)]
mod tests {
    use super::{count, has};

    #[test]
    fn cpus_in_lists() {
        assert!(has("0", 0) && has("0-3", 2) && has("0,2-5,7", 7) && has("0,2-5", 5));
        assert!(!has("0", 1) && !has("0,2-5", 1) && !has("", 0) && !has("x-y", 0));
    }

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
