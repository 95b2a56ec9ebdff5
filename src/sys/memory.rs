//! Anonymous memory.

use crate::errno::{Errno, Result};
use std::alloc::{handle_alloc_error, Layout};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::fd::RawFd;
use std::ptr::NonNull;
use zerocopy::FromZeros;

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
        Self::pages(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1)
    }

    fn pages(len: usize, flags: libc::c_int, fd: RawFd) -> Result<Self> {
        // SAFETY: a new map; nothing existing is touched.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno(libc::ENOMEM))?;
        Ok(Self { start, len })
    }

    /// As [`Map::reserve`], and what is touched takes no more than the pages of it:
    /// where the system gives huge ones to all who do not object, it would take MiBs.
    pub fn reserve_by_page(len: usize) -> Result<Self> {
        let map = Self::reserve(len)?;
        // SAFETY: advice on our own pages; a kernel without huge pages refuses it.
        unsafe { libc::madvise(map.start.as_ptr().cast(), len, libc::MADV_NOHUGEPAGE) };
        Ok(map)
    }

    /// What is touched from now on is taken of the memory of NUMA node `node`, while
    /// that has any.
    pub fn prefer_node(&self, node: u16) {
        const MPOL_PREFERRED: libc::c_int = 1;
        const BITS: usize = libc::c_ulong::BITS as usize;
        let mut nodes = [0 as libc::c_ulong; 1 + u16::MAX as usize / BITS];
        let node = usize::from(node);
        nodes[node / BITS] |= 1 << (node % BITS);
        // SAFETY: our own pages; the kernel reads bits up to that of the node, and takes
        // one off the number given. Where it refuses the memory is anybody's.
        unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.start.as_ptr(),
                self.len,
                MPOL_PREFERRED,
                nodes.as_ptr(),
                node + 2,
                0,
            )
        };
    }

    /// Pages that children made by fork share.
    pub fn reserve_shared(len: usize) -> Result<Self> {
        Self::pages(len, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    /// The first `len` bytes of a file, which must not become shorter.
    pub fn of_file(fd: RawFd, len: usize) -> Result<Self> {
        Self::pages(len, libc::MAP_SHARED, fd)
    }

    /// Forked children do not have the map.
    pub fn hide_from_children(&self) -> Result<()> {
        // SAFETY: advice on our own pages.
        match unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, libc::MADV_DONTFORK) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
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

/// Gives the memory of these pages of a [`Map`] back to the system: they are zero when
/// they are next touched.
///
/// # Safety
/// `start` is page-aligned and has `len` bytes of a map; nobody uses them meanwhile.
pub unsafe fn give_back(start: *mut u8, len: usize) {
    // SAFETY: the caller's promise. Where it is refused the memory just stays.
    unsafe { libc::madvise(start.cast(), len, libc::MADV_DONTNEED) };
}

// SAFETY: memory belongs to no thread.
unsafe impl Send for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `reserve`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Zeroed values that take memory when they are touched; that never moves. Many
/// of them are asked for in huge pages, which saves most of the address lookups
/// that random access costs.
pub struct Zeroed<T> {
    map: Map,
    values: PhantomData<T>,
}

/// What a huge page holds on most machines.
const HUGE: usize = 2 << 20;

impl<T: FromZeros> Zeroed<T> {
    /// `count` values. Without memory the process ends, as with a `Box`.
    pub fn new(count: usize) -> Self {
        const {
            assert!(!std::mem::needs_drop::<T>() && size_of::<T>() > 0 && align_of::<T>() <= 4096);
        }
        let layout = Layout::array::<T>(count).expect("fits the address space");
        let Ok(map) = Map::reserve(layout.size()) else { handle_alloc_error(layout) };
        if map.len >= HUGE {
            // SAFETY: advice on our own pages; it may be refused.
            unsafe { libc::madvise(map.start.as_ptr().cast(), map.len, libc::MADV_HUGEPAGE) };
        }
        Self { map, values: PhantomData }
    }
}

impl<T> Deref for Zeroed<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the map has room for as many, page-aligned; zeroes, which the
        // kernel gives, are values of `T: FromZeros`.
        unsafe {
            let count = self.map.len / size_of::<T>();
            std::slice::from_raw_parts(self.map.start.as_ptr().cast(), count)
        }
    }
}

// SAFETY: nothing but shared references to the values is given out.
unsafe impl<T: Sync> Sync for Zeroed<T> {}

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
