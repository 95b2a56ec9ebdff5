//! Buffer vectors: how much is in them, and copying one into another.
//!
//! A `struct fuse_bufvec` is a row of memory and file-descriptor buffers with a
//! position (`idx`, `off`). Copying moves both positions on, but the transfer
//! that ends the source leaves the target's: programs use one target again and
//! again without setting it back. Memory is only read or written during the
//! call, and descriptors stay the caller's.
#![allow(unsafe_code)] // the vectors and the memory they name are the program's

use crate::abi::public::*;
use crate::errno::{Errno, Result};
use libc::{c_int, c_uint, c_void, off64_t as off_t, size_t};

/// Bytes read at a time where the kernel cannot move them from one descriptor
/// to the other by itself.
const BOUNCE: usize = 4096;

/// The size of all buffers of `vector` together, whatever its position.
///
/// # Safety
/// `vector` points to a `struct fuse_bufvec` with all its `count` buffers.
pub unsafe fn size(vector: *const Bufvec) -> usize {
    // SAFETY: the caller's promise.
    let count = unsafe { (*vector).count };
    // SAFETY: `index` is below the count.
    (0..count)
        .fold(0, |sum: usize, index| sum.saturating_add(unsafe { (*nth(vector, index)).size }))
}

/// Copies from the position of `src` to the position of `dst` until one of them
/// ends or a transfer falls short. The bytes copied, or the error of the first
/// transfer. With the same vector twice: its size, and nothing moves.
///
/// # Safety
/// Both point to a `struct fuse_bufvec` with all its buffers; the memory they
/// name can be read (`src`) and written (`dst`). Overlapping memory is fine.
pub unsafe fn copy(dst: *mut Bufvec, src: *mut Bufvec, flags: c_uint) -> Result<usize> {
    if std::ptr::eq(dst, src) {
        // SAFETY: the caller's promise.
        return Ok(unsafe { size(dst) });
    }
    // SAFETY: the caller's promise.
    match unsafe { copy_part(dst, src, flags) } {
        Copied { bytes: 0, failed: Some(errno) } => Err(errno),
        Copied { bytes, .. } => Ok(bytes),
    }
}

/// How far a copy got.
pub struct Copied {
    /// Bytes that were moved.
    pub bytes: usize,
    /// The error that ended it, if one did.
    pub failed: Option<Errno>,
}

/// As [`copy`] between two vectors, with the error also behind the first byte.
///
/// # Safety
/// As [`copy`].
pub unsafe fn copy_part(dst: *mut Bufvec, src: *mut Bufvec, flags: c_uint) -> Copied {
    let mut copied = Copied { bytes: 0, failed: None };
    // SAFETY: the caller's promise covers every piece that `current` yields.
    unsafe {
        while let (Some(to), Some(from)) = (current(dst), current(src)) {
            let len = to.len.min(from.len);
            let moved = match transfer(&to, &from, len, flags) {
                Ok(moved) => moved,
                Err(errno) => {
                    copied.failed = Some(errno);
                    break;
                }
            };
            copied.bytes += moved;
            if !advance(src, moved) || !advance(dst, moved) || moved < len {
                break;
            }
        }
    }
    copied
}

/// What is left of a vector with a single buffer, in memory, which then counts as
/// read to its end. `None` for any other vector.
///
/// # Safety
/// As [`copy`] for a source; the memory stays as it is while the result is used.
pub unsafe fn take_single<'a>(vector: *mut Bufvec) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe {
        let Position { count: 1, idx: 0, .. } = *vector.cast() else {
            return None;
        };
        let piece = current(vector).filter(|piece| !piece.is_fd())?;
        ((*vector).idx, (*vector).off) = (1, 0);
        Some(match piece.len {
            0 => &[], // the pointer may be NULL
            len => std::slice::from_raw_parts(piece.mem, len),
        })
    }
}

/// Bytes from the position of `vector` to its end.
///
/// # Safety
/// As [`size`].
pub unsafe fn remaining(vector: *const Bufvec) -> usize {
    // SAFETY: the caller's promise.
    unsafe { rest(vector) }.fold(0, |sum: usize, piece| sum.saturating_add(piece.len))
}

/// Whether there is a descriptor at or behind the position.
///
/// # Safety
/// As [`size`].
pub unsafe fn has_descriptors(vector: *const Bufvec) -> bool {
    // SAFETY: the caller's promise.
    unsafe { rest(vector) }.any(|piece| piece.is_fd())
}

/// Pages that what is left may touch: what a pipe needs to hold it.
///
/// # Safety
/// As [`size`].
pub unsafe fn pages(vector: *const Bufvec, page: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { rest(vector) }.fold(0, |sum: usize, piece| sum.saturating_add(piece.len / page + 2))
}

/// A pipe, a socket or a device: it may give less than was asked for without
/// being at its end.
pub struct Stream {
    /// Whether to go on all the same (`FUSE_BUF_FD_RETRY`).
    pub retries: bool,
}

/// The stream that the position is in, if it is in one.
///
/// # Safety
/// As [`size`].
pub unsafe fn stream_at(vector: *const Bufvec) -> Option<Stream> {
    // SAFETY: the caller's promise.
    unsafe { current(vector) }
        .filter(|piece| piece.is_fd() && !crate::sys::fd::is_file(piece.fd))
        .map(|piece| Stream { retries: piece.retries() })
}

/// What is left, beginning with the rest of the buffer at the position.
///
/// # Safety
/// As [`size`], until the iterator is dropped.
unsafe fn rest(vector: *const Bufvec) -> impl Iterator<Item = Piece> {
    // SAFETY: the caller's promise.
    let Position { count, idx, off } = unsafe { *vector.cast() };
    (idx..count).map(move |index| {
        // SAFETY: the caller's promise; the index is below the count.
        unsafe { piece(vector, index, if index == idx { off } else { 0 }) }
    })
}

/// The buffer at `index`.
///
/// # Safety
/// `vector` points to a vector with more than `index` buffers.
pub unsafe fn nth(vector: *const Bufvec, index: size_t) -> *const Buf {
    // SAFETY: the caller's promise; the stride is that of the program's structure.
    unsafe { (&raw const (*vector).buf).byte_add(index * Buf::stride()).cast() }
}

/// The beginning of a `struct fuse_bufvec`: all of it but the buffers.
#[derive(Clone, Copy)]
#[repr(C)]
struct Position {
    count: size_t,
    idx: size_t,
    off: size_t,
}

/// What is left of the buffer at a vector's position.
struct Piece {
    flags: c_uint,
    mem: *mut u8,
    fd: c_int,
    pos: off_t,
    len: usize,
}

/// The piece at the position, `None` behind the last buffer.
///
/// # Safety
/// As [`size`].
unsafe fn current(vector: *const Bufvec) -> Option<Piece> {
    // SAFETY: the caller's promise; `idx` is below the count.
    unsafe {
        let Position { count, idx, off } = *vector.cast();
        (idx < count).then(|| piece(vector, idx, off))
    }
}

/// The buffer at `index` from `off` on.
///
/// # Safety
/// As [`nth`].
unsafe fn piece(vector: *const Bufvec, index: size_t, off: size_t) -> Piece {
    // SAFETY: the caller's promise. Fields are read one by one because an old
    // program's buffer ends before `mem_size`.
    unsafe {
        let buf = nth(vector, index);
        Piece {
            flags: (*buf).flags,
            mem: (*buf).mem.cast::<u8>().wrapping_add(off),
            fd: (*buf).fd,
            pos: (*buf).pos.wrapping_add(off as off_t),
            len: (*buf).size.saturating_sub(off),
        }
    }
}

/// Moves the position on by `len` bytes of the current buffer; whether there is
/// more. At the end the offset stays that of the last buffer's end.
///
/// # Safety
/// As [`size`], with write access; [`current`] is a piece of at least `len` bytes.
unsafe fn advance(vector: *mut Bufvec, len: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let position: *mut Position = vector.cast();
        (*position).off += len;
        if (*position).off >= (*nth(vector, (*position).idx)).size {
            (*position).idx += 1;
            if (*position).idx == (*position).count {
                return false;
            }
            (*position).off = 0;
        }
        true
    }
}

/// Moves up to `len` bytes from the beginning of `from` to that of `to`.
///
/// # Safety
/// Both have `len` bytes; memory can be read and written as [`copy`] says.
unsafe fn transfer(to: &Piece, from: &Piece, len: usize, flags: c_uint) -> Result<usize> {
    // SAFETY: the caller's promise.
    unsafe {
        match (to.is_fd(), from.is_fd()) {
            (false, false) => {
                from.mem.copy_to(to.mem, len);
                Ok(len)
            }
            (false, true) => from.read(0, to.mem, len),
            (true, false) => to.write(0, from.mem, len),
            (true, true) if flags & BUF_NO_SPLICE != 0 => bounce(to, from, len),
            (true, true) => match splice(to, from, len, flags) {
                // Neither is a pipe, or one of the files does not take part.
                Err(Errno(libc::EINVAL)) if flags & BUF_FORCE_SPLICE == 0 => bounce(to, from, len),
                result => result,
            },
        }
    }
}

impl Piece {
    fn is_fd(&self) -> bool {
        self.flags & BUF_IS_FD != 0
    }

    fn retries(&self) -> bool {
        self.flags & BUF_FD_RETRY != 0
    }

    /// The file offset `done` bytes on, if the buffer names one.
    fn offset(&self, done: usize) -> Option<off_t> {
        (self.flags & BUF_FD_SEEK != 0).then(|| self.pos.wrapping_add(done as off_t))
    }

    /// Reads from the descriptor, `skip` bytes on.
    ///
    /// # Safety
    /// `memory` can be written for `len` bytes.
    unsafe fn read(&self, skip: usize, memory: *mut u8, len: usize) -> Result<usize> {
        repeat(len, self.retries(), |done, rest| {
            let target: *mut c_void = memory.wrapping_add(done).cast();
            // SAFETY: the caller's promise: `rest` bytes from `target` on are inside.
            unsafe {
                match self.offset(skip + done) {
                    Some(offset) => libc::pread64(self.fd, target, rest, offset),
                    None => libc::read(self.fd, target, rest),
                }
            }
        })
    }

    /// Writes to the descriptor, `skip` bytes on.
    ///
    /// # Safety
    /// `memory` can be read for `len` bytes.
    unsafe fn write(&self, skip: usize, memory: *const u8, len: usize) -> Result<usize> {
        repeat(len, self.retries(), |done, rest| {
            let source: *const c_void = memory.wrapping_add(done).cast();
            // SAFETY: the caller's promise: `rest` bytes from `source` on are inside.
            unsafe {
                match self.offset(skip + done) {
                    Some(offset) => libc::pwrite64(self.fd, source, rest, offset),
                    None => libc::write(self.fd, source, rest),
                }
            }
        })
    }
}

/// Lets the kernel move the bytes; `EINVAL` if it cannot between these two.
fn splice(to: &Piece, from: &Piece, len: usize, flags: c_uint) -> Result<usize> {
    let mut how = 0;
    if flags & BUF_SPLICE_MOVE != 0 {
        how |= libc::SPLICE_F_MOVE;
    }
    if flags & BUF_SPLICE_NONBLOCK != 0 {
        how |= libc::SPLICE_F_NONBLOCK;
    }
    let pointer = |offset: &mut Option<off_t>| match offset {
        Some(offset) => std::ptr::from_mut(offset),
        None => std::ptr::null_mut(),
    };
    repeat(len, to.retries() || from.retries(), |done, rest| {
        let (mut out, mut input) = (to.offset(done), from.offset(done));
        // SAFETY: the offsets live during the call; descriptors are checked by the kernel.
        unsafe { libc::splice(from.fd, pointer(&mut input), to.fd, pointer(&mut out), rest, how) }
    })
}

/// Moves the bytes through memory, until a read or a write falls short.
fn bounce(to: &Piece, from: &Piece, len: usize) -> Result<usize> {
    let mut memory = [0; BOUNCE];
    let mut done = 0;
    while done < len {
        let wanted = BOUNCE.min(len - done);
        // SAFETY: `wanted` bytes fit into `memory`, and no more than were read are written.
        let moved = unsafe {
            from.read(done, memory.as_mut_ptr(), wanted)
                .and_then(|read| to.write(done, memory.as_ptr(), read))
        };
        match moved {
            Ok(moved) => done += moved,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        if moved != Ok(wanted) {
            break;
        }
    }
    Ok(done)
}

/// Calls `step(done, rest)`, a system call that moves up to `rest` bytes, once;
/// with `again` until `len` bytes have moved or nothing does. An error counts
/// only if nothing has moved before.
fn repeat(len: usize, again: bool, mut step: impl FnMut(usize, usize) -> isize) -> Result<usize> {
    let mut done = 0;
    while done < len {
        match step(done, len - done) {
            0 => break,
            moved if moved > 0 => done += moved as usize,
            _ if done == 0 => return Err(Errno::last()),
            _ => break,
        }
        if !again {
            break;
        }
    }
    Ok(done)
}
