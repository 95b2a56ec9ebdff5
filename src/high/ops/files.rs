//! Open files.
#![allow(unsafe_code)] // the layer takes C's pointers

use super::{opened, pointer, set, Op};
use crate::abi::public::{Bufvec, FileBit, FileInfo, PollHandle};
use crate::errno::{Errno, Result};
use crate::high::layer::free_bufvec;
use crate::high::tree::slab::CachedStat;
use crate::high::tree::Path;
use crate::session::reply;
use crate::transport;
use libc::{c_int, c_uint, c_void, off64_t, size_t, EPERM, O_ACCMODE, O_RDONLY};
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// FUSE_IOCTL_UNRESTRICTED
const UNRESTRICTED: c_uint = 1 << 1;
/// FUSE_IOCTL_DIR
const DIRECTORY: c_uint = 1 << 4;

/// Answers with success and nothing else.
fn done(op: &Op<'_>) -> Result<()> {
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn open(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    // SAFETY: the path and `fi` live as long as the call.
    op.call(|layer| unsafe { layer.open(at, fi) })?;
    path.open();
    // SAFETY: the session's structure.
    let file = unsafe {
        let config = op.config();
        if config.direct_io != 0 {
            set(fi, FileBit::DirectIo);
        }
        if config.kernel_cache != 0 || (config.auto_cache != 0 && is_unchanged(op, ino, &path, fi))
        {
            set(fi, FileBit::KeepCache);
        }
        if config.no_rofd_flush != 0 && (*fi).flags & O_ACCMODE == O_RDONLY {
            set(fi, FileBit::Noflush);
        }
        if config.direct_io != 0 && config.parallel_direct_writes != 0 {
            set(fi, FileBit::ParallelDirectWrites);
        }
        opened(fi)
    };
    drop(path);
    if reply::opened(op.req, &file).is_err() {
        // The client is gone, and with it the file.
        // SAFETY: the session's structure.
        unsafe { close(op, ino, fi) };
    }
    Ok(())
}

/// auto_cache: whether the file is what it was at the last open.
unsafe fn is_unchanged(op: &Op<'_>, ino: u64, path: &Path<'_>, fi: *mut FileInfo) -> bool {
    let config = op.config();
    let trusted = match config.ac_attr_timeout_set {
        0 => config.attr_timeout,
        _ => config.ac_attr_timeout,
    };
    let trusted = Duration::try_from_secs_f64(trusted).unwrap_or_default();
    let known = op.nodes().stat(ino);
    // What has changed already need not be asked for again.
    let old = |known: CachedStat| Instant::now().duration_since(known.at) > trusted;
    if known.is_some_and(|known| known.unchanged && old(known)) {
        let mut stat = super::no_stat();
        let at = path.as_ptr();
        // SAFETY: path and attributes live as long as the call.
        match op.call(|layer| unsafe { layer.getattr(at, &mut stat, fi) }) {
            Ok(_) => op.note(ino, &stat),
            Err(_) => return false,
        }
    }
    op.nodes().keep_cache(ino)
}

/// Releases a file that was opened; the layer's result.
pub unsafe fn close(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> c_int {
    let path = op.path_or_none(ino).unwrap_or(None);
    // SAFETY: the path and `fi` live as long as the call.
    let result = unsafe { op.fuse.layer().release(pointer(&path), fi) };
    let last = match &path {
        Some(path) => path.release(),
        None => op.nodes().release(ino) == Ok(true),
    };
    drop(path);
    if last {
        op.remove_hidden(ino);
    }
    result
}

pub unsafe fn release(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> Result<()> {
    // SAFETY: the session's structure.
    unsafe {
        let flushed = match opened(fi).has(FileBit::Flush) {
            true => super::locks::flush_file(op, ino, fi),
            false => Ok(()),
        };
        close(op, ino, fi);
        match flushed {
            Err(Errno(libc::ENOSYS)) => done(op),
            flushed => flushed.and_then(|()| done(op)),
        }
    }
}

pub unsafe fn read(
    op: &Op<'_>,
    ino: u64,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> Result<()> {
    let path = op.path_or_none(ino)?;
    let at = pointer(&path);
    let room = transport::answer_room(op.req).filter(|&(_, room)| room >= size);
    if let (Some((room, _)), None) = (room, op.fuse.layer().ops().read_buf) {
        // SAFETY: the room is ours and large enough; path and `fi` live as long.
        let read = op.call(|layer| unsafe { layer.read(at, room.cast(), size, off, fi) })?;
        drop(path);
        // SAFETY: so much was written, or was there before.
        let data = unsafe { std::slice::from_raw_parts(room, size.min(read as size_t)) };
        let _ = reply::bytes(op.req, data);
        return Ok(());
    }
    let mut data = std::ptr::null_mut();
    // SAFETY: the path and `fi` live as long as the call; the vector is ours then.
    let read = op.call(|layer| unsafe { layer.read_buf(at, &mut data, size, off, fi) });
    drop(path);
    // SAFETY: as above.
    unsafe {
        if read.is_ok() {
            let _ = transport::answer_bufvec(op.req, data, 0);
        }
        free_bufvec(data);
    }
    read.map(drop)
}

pub unsafe fn write_buf(
    op: &Op<'_>,
    ino: u64,
    data: *mut Bufvec,
    off: off64_t,
    fi: *mut FileInfo,
) -> Result<()> {
    let path = op.path_or_none(ino)?;
    let at = pointer(&path);
    // SAFETY: the path, `fi` and the data live as long as the call.
    let written = op.call(|layer| unsafe { layer.write_buf(at, data, off, fi) })?;
    drop(path);
    let _ = reply::written(op.req, written as usize);
    Ok(())
}

pub unsafe fn fsync(op: &Op<'_>, ino: u64, datasync: c_int, fi: *mut FileInfo) -> Result<()> {
    let path = op.path_or_none(ino)?;
    // SAFETY: the path and `fi` live as long as the call.
    op.call(|layer| unsafe { layer.fsync(pointer(&path), datasync, fi) })?;
    drop(path);
    done(op)
}

pub unsafe fn bmap(op: &Op<'_>, ino: u64, blocksize: size_t, mut block: u64) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    // SAFETY: path and number live as long as the call.
    op.call(|layer| unsafe { layer.bmap(at, blocksize, &mut block) })?;
    drop(path);
    let _ = reply::bmap(op.req, block);
    Ok(())
}

#[allow(clippy::too_many_arguments)] // the operation has them
pub unsafe fn ioctl(
    op: &Op<'_>,
    ino: u64,
    cmd: c_uint,
    arg: *mut c_void,
    fi: *mut FileInfo,
    flags: c_uint,
    data: *const c_void,
    in_size: size_t,
    out_size: size_t,
) -> Result<()> {
    if flags & UNRESTRICTED != 0 {
        return Err(Errno(EPERM));
    }
    // One area for both directions.
    let mut area = vec![0u8; in_size.max(out_size)];
    if in_size != 0 {
        // SAFETY: the session's data.
        let given = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), in_size) };
        area[..in_size].copy_from_slice(given);
    }
    let shared: *mut c_void = match area.is_empty() {
        true => std::ptr::null_mut(),
        false => area.as_mut_ptr().cast(),
    };
    // SAFETY: the session's structure; that of a directory is the library's.
    let mut user = unsafe { *fi };
    if flags & DIRECTORY != 0 {
        // SAFETY: the handle that `opendir` made.
        user.fh = unsafe { super::dirs::user_handle(&user) };
    }
    let path = op.path_or_none(ino)?;
    let at = pointer(&path);
    // SAFETY: the path and all the structures live as long as the call.
    let result = op.call(|layer| unsafe { layer.ioctl(at, cmd, arg, &mut user, flags, shared) })?;
    drop(path);
    let _ = reply::ioctl(op.req, result, &[IoSlice::new(&area[..out_size])]);
    Ok(())
}

/// A poll handle that the filesystem has not been given.
struct Unclaimed(*mut PollHandle);

impl Unclaimed {
    fn claim(&mut self) -> *mut PollHandle {
        std::mem::replace(&mut self.0, std::ptr::null_mut())
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the session made a box for this request, which nobody else has.
            drop(unsafe { Box::from_raw(self.0) });
        }
    }
}

pub unsafe fn poll(
    op: &Op<'_>,
    ino: u64,
    fi: *mut FileInfo,
    handle: *mut PollHandle,
) -> Result<()> {
    let mut handle = Unclaimed(handle);
    let path = op.path_or_none(ino)?;
    let mut revents = 0;
    let at = pointer(&path);
    op.call(|layer| match layer.polls() {
        // SAFETY: the path and the structures live as long as the call; the handle
        // is the filesystem's then.
        true => unsafe { layer.poll(at, fi, handle.claim(), &mut revents) },
        false => -libc::ENOSYS,
    })?;
    drop(path);
    let _ = reply::poll(op.req, revents);
    Ok(())
}

pub unsafe fn fallocate(
    op: &Op<'_>,
    ino: u64,
    mode: c_int,
    off: off64_t,
    len: off64_t,
    fi: *mut FileInfo,
) -> Result<()> {
    let path = op.path_or_none(ino)?;
    // SAFETY: the path and `fi` live as long as the call.
    op.call(|layer| unsafe { layer.fallocate(pointer(&path), mode, off, len, fi) })?;
    drop(path);
    done(op)
}

#[allow(clippy::too_many_arguments)] // the operation has them
pub unsafe fn copy_file_range(
    op: &Op<'_>,
    ino: u64,
    off: off64_t,
    fi: *mut FileInfo,
    to: u64,
    off_to: off64_t,
    fi_to: *mut FileInfo,
    len: size_t,
    flags: c_int,
) -> Result<()> {
    let paths = op.two_paths_or_none(ino, to)?;
    let (from, into) = (pointer(&paths.0), pointer(&paths.1));
    let mut copied = 0;
    op.call(|layer| {
        // SAFETY: the paths and the structures live as long as the call.
        copied = unsafe { layer.copy_file_range(from, fi, off, into, fi_to, off_to, len, flags) };
        // The count may not fit; its sign does.
        copied.clamp(-4096, 0) as c_int
    })?;
    drop(paths);
    let _ = reply::written(op.req, copied as usize);
    Ok(())
}

pub unsafe fn lseek(
    op: &Op<'_>,
    ino: u64,
    off: off64_t,
    whence: c_int,
    fi: *mut FileInfo,
) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    let mut found = 0;
    op.call(|layer| {
        // SAFETY: the path and `fi` live as long as the call.
        found = unsafe { layer.lseek(at, off, whence, fi) };
        found.clamp(-4096, 0) as c_int
    })?;
    drop(path);
    let _ = reply::lseek(op.req, found);
    Ok(())
}
