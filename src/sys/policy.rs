//! Scheduling policies of threads: SCHED_OTHER and SCHED_IDLE. By system calls: the
//! functions of musl only say ENOSYS.

use crate::errno::{Errno, Result};
use crate::sys::thread::{spawn, SignalMask};
use std::sync::mpsc::channel;

/// ioprio_set(2): a thread, by its number.
const WHO_PROCESS: libc::c_int = 1;
/// The class "best effort", where nothing else was asked for.
const BEST_EFFORT: libc::c_int = 2 << 13;

fn set(tid: i32, policy: libc::c_int) -> Result<()> {
    // The kernel's struct sched_param, all of it.
    let priority: libc::c_int = 0;
    // SAFETY: a valid structure for the call's duration.
    match unsafe { libc::syscall(libc::SYS_sched_setscheduler, tid, policy, &priority) } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}

fn policy(tid: i32) -> libc::c_int {
    // SAFETY: no memory involved.
    unsafe { libc::syscall(libc::SYS_sched_getscheduler, tid) as libc::c_int }
}

/// Whether thread `tid` has the policy that threads have by default.
pub fn is_normal(tid: i32) -> bool {
    policy(tid) == libc::SCHED_OTHER
}

/// Whether thread `tid` runs only where nobody else wants to.
pub fn is_idle(tid: i32) -> bool {
    policy(tid) == libc::SCHED_IDLE
}

/// Makes thread `tid` yield to all others; what it reads from disks does not.
pub fn set_idle(tid: i32) -> Result<()> {
    keep_io_priority(tid);
    set(tid, libc::SCHED_IDLE)
}

/// Makes thread `tid` an equal of others again.
pub fn set_normal(tid: i32) -> Result<()> {
    set(tid, libc::SCHED_OTHER)
}

/// A thread without an I/O priority of its own gets one from its policy: what it
/// has now becomes its own.
fn keep_io_priority(tid: i32) {
    // SAFETY: no memory involved.
    unsafe {
        let priority = libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, tid);
        if priority >= 0 && priority >> 13 == 0 {
            let nice = libc::getpriority(libc::PRIO_PROCESS, tid as libc::id_t);
            let level = (nice.clamp(-20, 19) + 20) / 5;
            libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, tid, BEST_EFFORT | level);
        }
    }
}

/// Whether a thread of this process may become SCHED_IDLE and SCHED_OTHER again,
/// which takes CAP_SYS_NICE or RLIMIT_NICE. Found out by one that tries.
pub fn idle_is_reversible() -> bool {
    let (said, answer) = channel();
    let thread = spawn(c"fuse-probe", SignalMask::All, move || {
        let _ = said.send(is_normal(0) && set_idle(0).is_ok() && set_normal(0).is_ok());
    });
    let reversible = answer.recv().unwrap_or(false);
    if let Ok(thread) = thread {
        thread.join();
    }
    reversible
}
