//! Thin wrappers around system calls: one safe function each, `Errno` results.
#![allow(unsafe_code)] // system calls are unsafe by nature; each block says why it is sound

pub mod affinity;
pub mod cputime;
pub mod fd;
pub mod groups;
pub mod imports;
pub mod kernel_order;
pub mod memory;
pub mod mount;
pub mod policy;
pub mod process;
pub mod prod;
pub mod scan;
pub mod signal;
pub mod spawn;
pub mod thread;
pub mod wake;

/// The size of a page.
pub fn page_size() -> usize {
    // SAFETY: no memory involved.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// The running kernel, as `uname -r` prints it.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown version".into(), |text| text.trim().to_string())
}
