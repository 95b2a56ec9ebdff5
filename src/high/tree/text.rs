//! The text of a path, written from its end to its beginning.

use std::ffi::{c_char, CStr};

/// Enough for most paths.
const ROOM: usize = 128;

/// Components, each after a `/`, and the zero byte that ends a C string.
#[derive(Default)]
pub struct Text {
    /// Empty, or filled from `start` to the end.
    bytes: Vec<u8>,
    start: usize,
}

impl Text {
    /// Puts `/` and `name` before what there is.
    pub fn prepend(&mut self, name: &[u8]) {
        self.prepend_room(name.len()).copy_from_slice(name);
    }

    /// Puts `/` and a name before what there is: `len` bytes that are yet to be
    /// written.
    #[inline(always)]
    pub fn prepend_room(&mut self, len: usize) -> &mut [u8] {
        if self.start < len + 1 {
            self.grow(len + 1);
        }
        let end = self.start;
        self.start -= len + 1;
        self.bytes[self.start] = b'/';
        &mut self.bytes[self.start + 1..end]
    }

    /// The path is that of the root if nothing was put there.
    pub fn finish(&mut self) {
        if self.bytes.is_empty() {
            self.prepend(b"");
        }
    }

    /// The path.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes[self.start..])
            .expect("names from C strings have no NUL")
    }

    /// The same for C. Names have no zero bytes, so nobody needs to look for one.
    pub fn as_ptr(&self) -> *const c_char {
        self.bytes[self.start..].as_ptr().cast()
    }

    #[allow(clippy::slow_vector_initialization)]
    fn grow(&mut self, more: usize) {
        let used = (self.bytes.len() - self.start).max(1);
        let len = (used + more).next_power_of_two().max(ROOM);
        // Not `vec!`, so not calloc: that is the slower way to so few bytes.
        let mut bytes = Vec::with_capacity(len);
        bytes.resize(len, 0);
        let start = len - used;
        if !self.bytes.is_empty() {
            bytes[start..].copy_from_slice(&self.bytes[self.start..]);
        }
        *self = Text { bytes, start };
    }
}
