//! The one error type of the library: a Linux error number.
//!
//! Inside, a call returns `Result<T, Errno>`; only `ffi` turns it into what C
//! expects (`-errno`, or -1 with a log line).

use std::fmt;

/// A positive Linux error number (`libc::E*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What every fallible function of the library returns.
pub type Result<T> = std::result::Result<T, Errno>;

impl Errno {
    /// The calling thread's `errno`.
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// The value C callers get: the negated error number.
    pub fn to_c(self) -> i32 {
        -self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}
