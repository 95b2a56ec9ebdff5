//! Thin wrappers around system calls: one safe function each, `Errno` results.
#![allow(unsafe_code)] // system calls are unsafe by nature; each block says why it is sound

pub mod affinity;
pub mod fd;
pub mod groups;
pub mod imports;
pub mod memory;
pub mod mount;
pub mod process;
pub mod scan;
pub mod signal;
pub mod spawn;
pub mod thread;
pub mod ustat;
pub mod wake;

use std::ffi::{c_char, CStr};

/// Writes `message` to standard error; errors are nobody's to tell.
pub fn write_stderr(message: *const c_char) {
    // SAFETY: a log sink's contract: a C string that lives during the call.
    let bytes = unsafe { CStr::from_ptr(message) }.to_bytes();
    // SAFETY: the buffer is valid for its length.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// Turns what [`crate::log::set_sink`] stored back into the function.
pub fn sink_from_pointer(pointer: *mut ()) -> crate::log::Sink {
    // SAFETY: `set_sink` is the only writer of the pointer, and stored a `Sink`.
    unsafe { std::mem::transmute::<*mut (), crate::log::Sink>(pointer) }
}

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
