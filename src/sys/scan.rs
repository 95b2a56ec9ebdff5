//! Numbers in option values, read by the C library, whose rules programs know:
//! blanks in front and anything behind the number are accepted.

use std::ffi::{c_char, c_double, c_int, c_uint, c_void, CStr};

/// Reads `text` by the `sscanf` conversion `format` into `target`; tells
/// whether there was something to read.
///
/// # Safety
/// `target` points to what `format` stores, which is exactly one value.
pub unsafe fn scan(text: *const c_char, format: *const c_char, target: *mut c_void) -> bool {
    // SAFETY: both are C strings; the caller vouches for `target`.
    unsafe { libc::sscanf(text, format, target) == 1 }
}

macro_rules! reader {
    ($(#[$doc:meta])* $name:ident, $type:ty, $format:literal) => {
        $(#[$doc])*
        pub fn $name(text: &CStr) -> Option<$type> {
            let mut value: $type = Default::default();
            // SAFETY: the conversion stores one value of this type.
            let read = unsafe { scan(text.as_ptr(), $format.as_ptr(), (&raw mut value).cast()) };
            read.then_some(value)
        }
    };
}

reader!(
    /// `%u`.
    unsigned, c_uint, c"%u"
);
reader!(
    /// `%d`.
    signed, c_int, c"%d"
);
reader!(
    /// `%o`.
    octal, c_uint, c"%o"
);
reader!(
    /// `%lf`.
    double, c_double, c"%lf"
);
