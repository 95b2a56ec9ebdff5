//! Thin wrappers around system calls: one safe function each, `Errno` results.
#![allow(unsafe_code)] // system calls are unsafe by nature; each block says why it is sound

pub mod affinity;
pub mod charset;
pub mod cputime;
pub mod dynamic;
pub mod errand;
pub mod fd;
pub mod fork;
pub mod groups;
pub mod imports;
pub mod kernel_order;
pub mod memory;
pub mod mount;
pub mod pipe;
pub mod policy;
pub mod process;
pub mod prod;
pub mod published;
pub mod put_off;
pub mod scan;
pub mod signal;
pub mod spawn;
pub mod thread;
pub mod ticks;
pub mod wake;

/// The size of a page.
pub fn page_size() -> usize {
    // SAFETY: no memory involved.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Sets the calling thread's `errno`, for functions that report errors there.
pub fn set_errno(errno: crate::errno::Errno) {
    // SAFETY: the thread's own variable.
    unsafe { *libc::__errno_location() = errno.0 };
}

/// Seconds, as C has them. musl's had 4 bytes on 32 bits once, hence the warning.
#[allow(deprecated)]
pub type Seconds = libc::time_t;

/// A time; the structure has padding that only C can leave out where times are
/// wider than longs.
pub fn timespec(seconds: Seconds, nanos: libc::c_long) -> libc::timespec {
    // SAFETY: plain numbers.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    (time.tv_sec, time.tv_nsec) = (seconds, nanos);
    time
}

/// The running kernel, as `uname -r` prints it.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown version".into(), |text| text.trim().to_string())
}
