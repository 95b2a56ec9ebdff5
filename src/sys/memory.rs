//! Anonymous memory.

use crate::errno::{Errno, Result};
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The `len` bytes at `start`, as a C program names them: NULL has none.
///
/// # Safety
/// `start` is NULL or has that many bytes, for `'a`.
pub unsafe fn bytes<'a>(start: *const c_void, len: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start.cast(), len) }
}

/// Zeroed pages that take memory when they are touched.
pub struct Map {
    start: NonNull<u8>,
    len: usize,
}

impl Map {
    /// Reserves `len` bytes of address space.
    pub fn reserve(len: usize) -> Result<Self> {
        Self::pages(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE)
    }

    fn pages(len: usize, flags: libc::c_int) -> Result<Self> {
        // SAFETY: a new private map; nothing existing is touched.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno(libc::ENOMEM))?;
        Ok(Self { start, len })
    }

    /// Pages that children made by fork share.
    pub fn reserve_shared(len: usize) -> Result<Self> {
        Self::pages(len, libc::MAP_SHARED | libc::MAP_ANONYMOUS)
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Gives up the owner: the caller unmaps with [`Map::from_raw`].
    pub fn into_raw(self) -> (NonNull<u8>, usize) {
        let raw = (self.start, self.len);
        std::mem::forget(self);
        raw
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    /// `start` and `len` come from [`Map::into_raw`], and nobody uses the map.
    pub unsafe fn from_raw(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }
}

// SAFETY: memory belongs to no thread.
unsafe impl Send for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `reserve`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A large buffer of its own pages: given back to the system when dropped,
/// which a heap does not promise.
pub struct Buffer(Map);

impl Buffer {
    /// `len` zero bytes.
    pub fn new(len: usize) -> Result<Self> {
        Map::reserve(len).map(Self)
    }

    /// Makes it at least `len` bytes; what it held is lost if it was smaller.
    pub fn require(&mut self, len: usize) -> Result<()> {
        if self.len() < len {
            *self = Self::new(len)?;
        }
        Ok(())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the whole map, which is readable and initialised by the kernel.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and writable; `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}
