//! What a server costs, as the kernel counts it; and where clients run.
#![allow(unsafe_code)] // libc's clock of another process has no safe form

use crate::support::machine::cpus;
use rustix::thread::{sched_setaffinity, CpuSet};
use std::mem::MaybeUninit;
use std::time::Duration;
use std::{fs, thread};

/// The CPU time of all threads of a process so far, also of those that have
/// ended: the utime and stime of /proc/PID/stat, but to the nanosecond.
pub fn cpu_time(pid: u32) -> Duration {
    let mut clock = 0;
    let mut time = MaybeUninit::uninit();
    // SAFETY: both only write through the pointers they are given.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) != 0
            || libc::clock_gettime(clock, time.as_mut_ptr()) != 0
    };
    if failed {
        return Duration::ZERO; // the process is gone, and so are its rows
    }
    // SAFETY: clock_gettime succeeded.
    let time: libc::timespec = unsafe { time.assume_init() };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs `work` where it, and all threads and processes that it starts, stay on the
/// first CPU that this process may use.
pub fn on_one_cpu<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut one = CpuSet::new();
            one.set(cpus()[0]);
            sched_setaffinity(None, &one).expect("one of our own CPUs");
            work()
        });
        thread.join().expect("no client panics")
    })
}

/// Resident memory of a process in MiB: now, or at its highest.
pub fn resident(pid: u32, highest: bool) -> Option<f64> {
    let field = if highest { "VmHWM:" } else { "VmRSS:" };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}
