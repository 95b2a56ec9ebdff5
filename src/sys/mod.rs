//! Thin wrappers around system calls: one safe function each, `Errno` results.
#![allow(unsafe_code)] // system calls are unsafe by nature; each block says why it is sound

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
