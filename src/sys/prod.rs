//! A process of our own that makes requests to a mount of ours: ustat(2), the
//! one system call that asks a filesystem for its statistics without a path.
//!
//! A thread must not do this: killed while it waits, it would keep the memory of
//! the process alive, and with it what would have to be closed to end the wait.
//! The child has no descriptors and none of the rings' maps. It is made by
//! clone(2) without an exit signal, so a program that waits for its own children
//! never sees it.

use super::affinity::CpuSet;
use super::memory::Map;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Calls in progress of one child process.
pub struct Prodder {
    pid: i32,
    shared: Map,
}

/// Shared with the child.
#[repr(C)]
struct Shared {
    /// 0: wait, 1: make calls, 2: end.
    order: AtomicU32,
    calls: AtomicU32,
}

impl Prodder {
    /// Starts a child on the calling thread's CPUs, or on `cpu`, that will keep asking
    /// the filesystem on `device`, after [`Prodder::go`]. `None` if that is not possible
    /// here.
    pub fn start(device: libc::dev_t, cpu: Option<u16>) -> Option<Self> {
        let number = ustat_number()?;
        // The system call takes the kernel's own 32-bit device number.
        let (major, minor) = (libc::major(device), libc::minor(device));
        let dev = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
        let shared = Map::reserve_shared(4096).ok()?;
        let words = shared.start().as_ptr().cast::<Shared>();
        // SAFETY: no exit signal and no shared state: a plain fork of the
        // calling thread, whose child below does nothing but system calls.
        let pid = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
        match pid {
            // SAFETY: `words` is in a map that the child shares.
            0 => unsafe { prod(number, dev, words) },
            -1 => None,
            pid => {
                let prodder = Self { pid: pid as i32, shared };
                // Given up, it ends without a call.
                cpu.is_none_or(|cpu| move_out(prodder.pid, cpu)).then_some(prodder)
            }
        }
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the map is at least that large, zeroed, and used atomically.
        unsafe { self.shared.start().cast::<Shared>().as_ref() }
    }

    /// The child's process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets the child begin.
    pub fn go(&self) {
        self.shared().order.store(1, Ordering::Release);
    }

    /// Finished calls so far.
    pub fn calls(&self) -> u32 {
        self.shared().calls.load(Ordering::Acquire)
    }

    /// Whether the child is still there.
    pub fn is_alive(&self) -> bool {
        is_alive(self.pid)
    }

    /// Lets the child end, after the call that it is in.
    pub fn stop(&self) {
        self.shared().order.store(2, Ordering::Release);
    }
}

impl Drop for Prodder {
    /// A child that still waits for an answer ends with the mount.
    fn drop(&mut self) {
        self.stop();
        LEFT_OVER.lock().push(self.pid);
        collect();
    }
}

/// Moves process `pid` to a CPU that is not in this process's cpuset: into the system's
/// own one, which takes the rights of root, and the system's cgroups.
fn move_out(pid: i32, cpu: u16) -> bool {
    const ROOTS: [&str; 2] = ["/sys/fs/cgroup/cpuset/cgroup.procs", "/sys/fs/cgroup/cgroup.procs"];
    let moved = ROOTS.iter().any(|root| std::fs::write(root, pid.to_string()).is_ok());
    moved && CpuSet::one(cpu.into()).is_some_and(|cpu| cpu.apply(pid).is_ok())
}

/// Children that were on their way out when they were given up.
static LEFT_OVER: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Collects those that have ended.
pub fn collect() {
    LEFT_OVER.lock().retain(|&pid| is_alive(pid));
}

/// How many have been waited for; locked while one is.
static WAITED_FOR: Mutex<u64> = Mutex::new(0);

/// Changes whenever a child of this kind is waited for, which the process's own
/// counters of its children show as well. If it is the same before and after
/// they are read, none was in between.
pub fn waited_for() -> u64 {
    *WAITED_FOR.lock()
}

fn is_alive(pid: i32) -> bool {
    let mut waited_for = WAITED_FOR.lock();
    // SAFETY: no memory involved; __WALL as the child has no exit signal.
    let ended = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
    *waited_for += u64::from(ended == pid);
    ended == 0
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
fn ustat_number() -> Option<libc::c_long> {
    Some(libc::SYS_ustat)
}

/// Newer architectures do not have the call.
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm")))]
fn ustat_number() -> Option<libc::c_long> {
    None
}

/// The child.
///
/// # Safety
/// `shared` is valid in this process, which has this thread only.
unsafe fn prod(number: libc::c_long, dev: u32, shared: *const Shared) -> ! {
    let mut result = [0u64; 8];
    // What the kernel takes by this number, whatever time_t is.
    let pause: [libc::c_long; 2] = [0, 30_000];
    // SAFETY: system calls and the shared words only: other threads' locks may
    // have been held when the child was made.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
        loop {
            match (*shared).order.load(Ordering::Acquire) {
                0 => {}
                1 if libc::syscall(number, dev, result.as_mut_ptr()) == 0 => {
                    (*shared).calls.fetch_add(1, Ordering::Release);
                }
                _ => break,
            }
            libc::syscall(libc::SYS_nanosleep, &pause, std::ptr::null::<u8>());
        }
        libc::syscall(libc::SYS_exit_group, 0);
    }
    loop {
        std::hint::spin_loop();
    }
}
