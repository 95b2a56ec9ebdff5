//! The system calls of the clients: one thin function each, an error number
//! instead of -1. The clients must see exactly what the kernel answers, so
//! nothing here retries, converts or hides.
#![allow(unsafe_code)] // system calls and nothing else

use std::ffi::CStr;
use std::io::Error;
use std::mem::{zeroed, MaybeUninit};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// The value of a successful call, or `errno`.
pub type Outcome<T = ()> = Result<T, i32>;

fn errno() -> i32 {
    Error::last_os_error().raw_os_error().expect("the last error has a number")
}

fn unit(result: libc::c_int) -> Outcome {
    if result == -1 {
        Err(errno())
    } else {
        Ok(())
    }
}

fn count(result: isize) -> Outcome<usize> {
    usize::try_from(result).map_err(|_| errno())
}

/// A file by path (following or not) or by descriptor.
#[derive(Clone, Copy)]
pub enum Object<'a> {
    Path(&'a CStr),
    Link(&'a CStr),
    File(RawFd),
}

impl Object<'_> {
    /// The (descriptor, path, flags) triple that the `*at` calls take.
    fn at(&self) -> (RawFd, &CStr, i32) {
        match *self {
            Object::Path(path) => (libc::AT_FDCWD, path, 0),
            Object::Link(path) => (libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW),
            Object::File(fd) => (fd, c"", libc::AT_EMPTY_PATH),
        }
    }
}

/// New files get exactly the mode they are created with. The mask belongs to
/// the process.
pub fn clear_umask() {
    // SAFETY: integers only.
    unsafe { libc::umask(0) };
}

pub fn open(path: &CStr, flags: i32, mode: u32) -> Outcome<OwnedFd> {
    // SAFETY: the path is a C string; the result is checked.
    match unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) } {
        -1 => Err(errno()),
        // SAFETY: a fresh descriptor that nobody else owns.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

pub fn close(fd: OwnedFd) -> Outcome {
    // SAFETY: ownership of the descriptor ends here.
    unit(unsafe { libc::close(fd.into_raw_fd()) })
}

pub fn read(fd: RawFd, at: Option<i64>, buffer: &mut [u8]) -> Outcome<usize> {
    let (start, len) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer is writable for its length.
    count(unsafe {
        match at {
            Some(at) => libc::pread(fd, start, len, at),
            None => libc::read(fd, start, len),
        }
    })
}

pub fn write(fd: RawFd, at: Option<i64>, data: &[u8]) -> Outcome<usize> {
    let (start, len) = (data.as_ptr().cast(), data.len());
    // SAFETY: the data is readable for its length.
    count(unsafe {
        match at {
            Some(at) => libc::pwrite(fd, start, len, at),
            None => libc::write(fd, start, len),
        }
    })
}

pub fn seek(fd: RawFd, offset: i64, whence: i32) -> Outcome<i64> {
    // SAFETY: integers only.
    match unsafe { libc::lseek(fd, offset, whence) } {
        -1 => Err(errno()),
        position => Ok(position),
    }
}

pub fn truncate(object: Object, len: i64) -> Outcome {
    // SAFETY: the path is a C string.
    unit(unsafe {
        match object {
            Object::Path(path) | Object::Link(path) => libc::truncate(path.as_ptr(), len),
            Object::File(fd) => libc::ftruncate(fd, len),
        }
    })
}

pub fn fallocate(fd: RawFd, mode: i32, at: i64, len: i64) -> Outcome {
    // SAFETY: integers only.
    unit(unsafe { libc::fallocate(fd, mode, at, len) })
}

pub fn copy_file_range(
    from: RawFd,
    mut from_at: i64,
    to: RawFd,
    mut to_at: i64,
    len: usize,
) -> Outcome<usize> {
    // SAFETY: the offsets live during the call.
    count(unsafe { libc::copy_file_range(from, &mut from_at, to, &mut to_at, len, 0) })
}

pub fn sync(fd: RawFd, data_only: bool) -> Outcome {
    // SAFETY: integers only.
    unit(unsafe {
        if data_only {
            libc::fdatasync(fd)
        } else {
            libc::fsync(fd)
        }
    })
}

pub fn flock(fd: RawFd, operation: i32) -> Outcome {
    // SAFETY: integers only.
    unit(unsafe { libc::flock(fd, operation) })
}

/// A byte-range lock call; gives what the kernel left in the
/// structure: the kind, the start and the length.
pub fn lock(fd: RawFd, command: i32, kind: i32, start: i64, len: i64) -> Outcome<(i32, i64, i64)> {
    // SAFETY: all zeroes is a valid `struct flock`.
    let mut lock: libc::flock = unsafe { zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start;
    lock.l_len = len;
    // SAFETY: the structure lives during the call.
    unit(unsafe { libc::fcntl(fd, command, &mut lock) })?;
    Ok((lock.l_type.into(), lock.l_start, lock.l_len))
}

pub fn ioctl(fd: RawFd, request: u64, argument: &mut [u8; 64]) -> Outcome<i32> {
    // SAFETY: no request in use here has an argument of more than 64 bytes.
    match unsafe { libc::ioctl(fd, request as _, argument.as_mut_ptr()) } {
        -1 => Err(errno()),
        value => Ok(value),
    }
}

pub fn poll(fd: RawFd) -> Outcome<i16> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    // SAFETY: one structure, which lives during the call.
    unit(unsafe { libc::poll(&mut poll, 1, 0) })?;
    Ok(poll.revents)
}

pub fn stat(object: Object) -> Outcome<libc::stat> {
    let (dir, path, flags) = object.at();
    let mut stat = MaybeUninit::uninit();
    // SAFETY: the path is a C string, the structure has room.
    unit(unsafe { libc::fstatat(dir, path.as_ptr(), stat.as_mut_ptr(), flags) })?;
    // SAFETY: a successful call has filled it.
    Ok(unsafe { stat.assume_init() })
}

pub fn statx(object: Object, sync: i32, mask: u32) -> Outcome<libc::statx> {
    let (dir, path, flags) = object.at();
    let mut stat = MaybeUninit::uninit();
    // SAFETY: the path is a C string, the structure has room.
    unit(unsafe { libc::statx(dir, path.as_ptr(), flags | sync, mask, stat.as_mut_ptr()) })?;
    // SAFETY: a successful call has filled it.
    Ok(unsafe { stat.assume_init() })
}

pub fn statfs(object: Object) -> Outcome<libc::statvfs> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: the path is a C string, the structure has room.
    unit(unsafe {
        match object {
            Object::Path(path) | Object::Link(path) => {
                libc::statvfs(path.as_ptr(), stat.as_mut_ptr())
            }
            Object::File(fd) => libc::fstatvfs(fd, stat.as_mut_ptr()),
        }
    })?;
    // SAFETY: a successful call has filled it.
    Ok(unsafe { stat.assume_init() })
}

pub fn access(path: &CStr, mode: i32) -> Outcome {
    // SAFETY: the path is a C string.
    unit(unsafe { libc::access(path.as_ptr(), mode) })
}

pub fn chmod(object: Object, mode: u32) -> Outcome {
    // SAFETY: the path is a C string.
    unit(unsafe {
        match object {
            Object::Path(path) | Object::Link(path) => libc::chmod(path.as_ptr(), mode),
            Object::File(fd) => libc::fchmod(fd, mode),
        }
    })
}

pub fn chown(object: Object, uid: u32, gid: u32) -> Outcome {
    let (dir, path, flags) = object.at();
    // SAFETY: the path is a C string.
    unit(unsafe { libc::fchownat(dir, path.as_ptr(), uid, gid, flags) })
}

pub fn utimens(object: Object, times: [(i64, i64); 2]) -> Outcome {
    let times = times.map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    // SAFETY: the path is a C string, the times are two.
    unit(unsafe {
        match object {
            Object::Path(path) => libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), 0),
            Object::Link(path) => libc::utimensat(
                libc::AT_FDCWD,
                path.as_ptr(),
                times.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
            ),
            Object::File(fd) => libc::futimens(fd, times.as_ptr()),
        }
    })
}

pub fn set_xattr(object: Object, name: &CStr, value: &[u8], flags: i32) -> Outcome {
    let (name, start, len) = (name.as_ptr(), value.as_ptr().cast(), value.len());
    // SAFETY: C strings, and a value that is readable for its length.
    unit(unsafe {
        match object {
            Object::Path(path) => libc::setxattr(path.as_ptr(), name, start, len, flags),
            Object::Link(path) => libc::lsetxattr(path.as_ptr(), name, start, len, flags),
            Object::File(fd) => libc::fsetxattr(fd, name, start, len, flags),
        }
    })
}

pub fn get_xattr(object: Object, name: &CStr, room: &mut [u8]) -> Outcome<usize> {
    let (name, start, len) = (name.as_ptr(), room.as_mut_ptr().cast(), room.len());
    // SAFETY: C strings, and a buffer that is writable for its length.
    count(unsafe {
        match object {
            Object::Path(path) => libc::getxattr(path.as_ptr(), name, start, len),
            Object::Link(path) => libc::lgetxattr(path.as_ptr(), name, start, len),
            Object::File(fd) => libc::fgetxattr(fd, name, start, len),
        }
    })
}

pub fn list_xattr(object: Object, room: &mut [u8]) -> Outcome<usize> {
    let (start, len) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: a C string, and a buffer that is writable for its length.
    count(unsafe {
        match object {
            Object::Path(path) => libc::listxattr(path.as_ptr(), start, len),
            Object::Link(path) => libc::llistxattr(path.as_ptr(), start, len),
            Object::File(fd) => libc::flistxattr(fd, start, len),
        }
    })
}

pub fn remove_xattr(object: Object, name: &CStr) -> Outcome {
    // SAFETY: C strings.
    unit(unsafe {
        match object {
            Object::Path(path) => libc::removexattr(path.as_ptr(), name.as_ptr()),
            Object::Link(path) => libc::lremovexattr(path.as_ptr(), name.as_ptr()),
            Object::File(fd) => libc::fremovexattr(fd, name.as_ptr()),
        }
    })
}

pub fn mknod(path: &CStr, mode: u32, device: u64) -> Outcome {
    // SAFETY: the path is a C string.
    unit(unsafe { libc::mknod(path.as_ptr(), mode, device) })
}

pub fn mkdir(path: &CStr, mode: u32) -> Outcome {
    // SAFETY: the path is a C string.
    unit(unsafe { libc::mkdir(path.as_ptr(), mode) })
}

pub fn rmdir(path: &CStr) -> Outcome {
    // SAFETY: the path is a C string.
    unit(unsafe { libc::rmdir(path.as_ptr()) })
}

pub fn unlink(path: &CStr) -> Outcome {
    // SAFETY: the path is a C string.
    unit(unsafe { libc::unlink(path.as_ptr()) })
}

pub fn rename(from: &CStr, to: &CStr, flags: u32) -> Outcome {
    // SAFETY: the paths are C strings.
    unit(unsafe {
        libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags)
    })
}

pub fn link(from: &CStr, to: &CStr) -> Outcome {
    // SAFETY: the paths are C strings.
    unit(unsafe { libc::link(from.as_ptr(), to.as_ptr()) })
}

pub fn symlink(text: &CStr, path: &CStr) -> Outcome {
    // SAFETY: both are C strings.
    unit(unsafe { libc::symlink(text.as_ptr(), path.as_ptr()) })
}

pub fn readlink(path: &CStr, room: &mut [u8]) -> Outcome<usize> {
    // SAFETY: a C string, and a buffer that is writable for its length.
    count(unsafe { libc::readlink(path.as_ptr(), room.as_mut_ptr().cast(), room.len()) })
}

/// Makes the kernel forget every name and inode of a mount that is not in use,
/// by a remount that changes nothing.
pub fn drop_caches(mountpoint: &CStr) -> Outcome {
    let (none, flags) = (std::ptr::null(), libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV);
    // SAFETY: a remount reads the path only.
    unit(unsafe { libc::mount(none, mountpoint.as_ptr(), none, flags, none.cast()) })
}

/// One entry of a directory as the kernel gave it.
pub struct Entry {
    pub inode: u64,
    pub kind: u8,
    pub name: Vec<u8>,
}

/// One `getdents64` with a buffer of `room` bytes; empty at the end.
pub fn read_dir(fd: RawFd, room: usize) -> Outcome<Vec<Entry>> {
    const NAME: usize = std::mem::offset_of!(libc::dirent64, d_name);
    let mut buffer = vec![0u8; room];
    // SAFETY: the buffer is writable for its length.
    let filled = count(
        unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), room) } as isize,
    )?;
    let mut entries = Vec::new();
    let mut rest = &buffer[..filled];
    while !rest.is_empty() {
        let inode = u64::from_ne_bytes(rest[..8].try_into().expect("eight bytes"));
        let length = u16::from_ne_bytes(rest[16..18].try_into().expect("two bytes"));
        let (record, after) = rest.split_at(length.into());
        let name = record[NAME..].split(|&byte| byte == 0).next().unwrap_or_default();
        entries.push(Entry { inode, kind: record[18], name: name.to_vec() });
        rest = after;
    }
    Ok(entries)
}
