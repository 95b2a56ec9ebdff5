//! Messages to the person who runs the filesystem.
//!
//! Every line goes through one function pointer. `capi/log.c` installs its own
//! when the C part is linked, which forwards to whatever the program set with
//! `fuse_set_log_func`; without it (cargo tests, the command line tool) lines
//! go to standard error. Any thread may log.
#![allow(unsafe_code)] // the sink is a C function

use std::ffi::{c_char, c_int, CStr, CString};
use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicPtr, Ordering};

/// `enum fuse_log_level`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Level {
    Emerg = 0,
    Alert = 1,
    Crit = 2,
    Err = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

/// Receives one finished message: its level and the text, which ends in a
/// newline and is valid only during the call.
pub type Sink = extern "C" fn(level: c_int, message: *const c_char);

extern "C" fn to_stderr(_level: c_int, message: *const c_char) {
    // SAFETY: a sink's contract: a C string that lives during the call.
    let text = unsafe { CStr::from_ptr(message) };
    // What cannot be written is nobody's to tell.
    let _ = std::io::stderr().write_all(text.to_bytes());
}

static SINK: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Sends all later messages to `sink`.
pub fn set_sink(sink: Sink) {
    SINK.store(sink as *mut (), Ordering::Release);
}

fn sink() -> Sink {
    let pointer = SINK.load(Ordering::Acquire);
    if pointer.is_null() {
        to_stderr
    } else {
        // SAFETY: `set_sink` is the only writer of the pointer, and stored a `Sink`.
        unsafe { std::mem::transmute::<*mut (), Sink>(pointer) }
    }
}

/// Logs `message` (without a newline, which is added) at `level`.
pub fn log(level: Level, message: Arguments<'_>) {
    let mut text = message.to_string().replace('\0', "\\0");
    text.push('\n');
    if let Ok(text) = CString::new(text) {
        sink()(level as c_int, text.as_ptr());
    }
}

/// Logs at [`Level::Err`]: `log_error!("cannot open {path}: {errno}")`.
#[macro_export]
macro_rules! log_error {
    ($($arg:tt)*) => { $crate::log::log($crate::log::Level::Err, format_args!($($arg)*)) };
}

/// Logs at [`Level::Warning`].
#[macro_export]
macro_rules! log_warning {
    ($($arg:tt)*) => { $crate::log::log($crate::log::Level::Warning, format_args!($($arg)*)) };
}

/// Logs at [`Level::Info`].
#[macro_export]
macro_rules! log_info {
    ($($arg:tt)*) => { $crate::log::log($crate::log::Level::Info, format_args!($($arg)*)) };
}

/// Logs at [`Level::Debug`].
#[macro_export]
macro_rules! log_debug {
    ($($arg:tt)*) => { $crate::log::log($crate::log::Level::Debug, format_args!($($arg)*)) };
}
