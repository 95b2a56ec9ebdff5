//! Answers, from C structures to the wire. Each function consumes the request.

use super::request::Request;
use crate::abi::kernel::*;
use crate::abi::public::{EntryParam, FileBit, OpenedFile};
use crate::errno::{Errno, Result};
use crate::transport::{answer, answer_error, note_file};
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use zerocopy::{FromZeros, IntoBytes};

/// Errors that the kernel takes in an answer.
const MAX_ERROR: i32 = 511;

/// Success without data (`error` 0) or a positive error number.
pub fn error(req: &Request, error: i32) -> Result<()> {
    if !(0..=MAX_ERROR).contains(&error) {
        crate::log_error!(
            "fuse: bad error value: {error}, sent as ERANGE (request {})",
            req.unique()
        );
        return answer_error(req, libc::ERANGE);
    }
    answer_error(req, error)
}

fn one<T: IntoBytes + zerocopy::Immutable>(req: &Request, value: &T) -> Result<()> {
    answer(req, &[IoSlice::new(value.as_bytes())])
}

/// Seconds as the kernel wants them: never negative, never overflowing.
fn timeout(seconds: f64) -> (u64, u32) {
    if seconds.is_nan() || seconds <= 0.0 {
        return (0, 0);
    }
    // `as` saturates, also for what is left of an immense number.
    let whole = seconds as u64;
    (whole, (((seconds - whole as f64) * 1e9) as u32).min(999_999_999))
}

/// A device number as the kernel packs it into 32 bits.
fn encode_device(dev: libc::dev_t) -> u32 {
    let (major, minor) = (libc::major(dev), libc::minor(dev));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn attr_of(stat: &libc::stat64) -> Attr {
    Attr {
        ino: stat.st_ino,
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: stat.st_atime as u64,
        mtime: stat.st_mtime as u64,
        ctime: stat.st_ctime as u64,
        atimensec: stat.st_atime_nsec as u32,
        mtimensec: stat.st_mtime_nsec as u32,
        ctimensec: stat.st_ctime_nsec as u32,
        mode: stat.st_mode,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: encode_device(stat.st_rdev),
        blksize: stat.st_blksize as u32,
        flags: 0,
    }
}

fn entry_of(entry: &EntryParam) -> EntryOut {
    let (entry_valid, entry_valid_nsec) = timeout(entry.entry_timeout);
    let (attr_valid, attr_valid_nsec) = timeout(entry.attr_timeout);
    EntryOut {
        nodeid: entry.ino,
        generation: entry.generation,
        entry_valid,
        attr_valid,
        entry_valid_nsec,
        attr_valid_nsec,
        attr: attr_of(&entry.attr),
    }
}

fn open_of(file: &OpenedFile) -> OpenOut {
    const FLAGS: &[(FileBit, u32)] = &[
        (FileBit::DirectIo, FOPEN_DIRECT_IO),
        (FileBit::KeepCache, FOPEN_KEEP_CACHE),
        (FileBit::Nonseekable, FOPEN_NONSEEKABLE),
        (FileBit::CacheReaddir, FOPEN_CACHE_DIR),
        (FileBit::Noflush, FOPEN_NOFLUSH),
        (FileBit::ParallelDirectWrites, FOPEN_PARALLEL_DIRECT_WRITES),
    ];
    let mut open_flags =
        FLAGS.iter().filter(|(bit, _)| file.has(*bit)).fold(0, |all, (_, flag)| all | flag);
    let mut backing_id = 0;
    if file.backing_id > 0 {
        open_flags |= FOPEN_PASSTHROUGH;
        backing_id = file.backing_id;
    }
    OpenOut { fh: file.fh, open_flags, backing_id }
}

/// An inode; `ino` 0 says that the name does not exist and may be cached so.
pub fn entry(req: &Request, entry: &EntryParam) -> Result<()> {
    if entry.ino != 0 && entry.attr.st_mode & libc::S_IFMT == libc::S_IFREG {
        note_file(req, entry.ino);
    }
    one(req, &entry_of(entry))
}

/// An inode and an open file.
pub fn create(req: &Request, entry: &EntryParam, file: &OpenedFile) -> Result<()> {
    let (entry, open) = (entry_of(entry), open_of(file));
    answer(req, &[IoSlice::new(entry.as_bytes()), IoSlice::new(open.as_bytes())])
}

/// Attributes, valid for `seconds`.
pub fn attr(req: &Request, stat: &libc::stat64, seconds: f64) -> Result<()> {
    let (attr_valid, attr_valid_nsec) = timeout(seconds);
    one(req, &AttrOut { attr_valid, attr_valid_nsec, dummy: 0, attr: attr_of(stat) })
}

/// Attributes as statx(2) has them, valid for `seconds`.
pub fn statx(req: &Request, flags: u32, stat: &Statx, seconds: f64) -> Result<()> {
    let (attr_valid, attr_valid_nsec) = timeout(seconds);
    one(req, &StatxOut { attr_valid, attr_valid_nsec, flags, spare: [0; 2], stat: *stat })
}

/// An open file.
pub fn open(req: &Request, fi: &crate::abi::public::FileInfo) -> Result<()> {
    opened(req, &OpenedFile { fh: fi.fh, bits: fi.bits, backing_id: 0 })
}

/// An open file, as read from what the program passed.
pub fn opened(req: &Request, file: &OpenedFile) -> Result<()> {
    one(req, &open_of(file))
}

/// Bytes written.
pub fn written(req: &Request, count: usize) -> Result<()> {
    if req.opcode() == Some(Opcode::CopyFileRange64) {
        return one(req, &CopyFileRangeOut { bytes_copied: count as u64 });
    }
    one(req, &WriteOut { size: count as u32, padding: 0 })
}

/// Any bytes.
pub fn bytes(req: &Request, data: &[u8]) -> Result<()> {
    answer(req, &[IoSlice::new(data)])
}

/// Pieces of memory, one after the other.
pub fn pieces(req: &Request, parts: &[IoSlice<'_>]) -> Result<()> {
    answer(req, parts)
}

/// A filesystem of which only sizes are known.
pub fn statfs(req: &Request, blocks: u64, bsize: u32, namelen: u32) -> Result<()> {
    one(req, &Kstatfs { blocks, bsize, namelen, ..Kstatfs::new_zeroed() })
}

/// Filesystem statistics.
pub fn statvfs(req: &Request, stat: &libc::statvfs64) -> Result<()> {
    one(
        req,
        &Kstatfs {
            blocks: stat.f_blocks,
            bfree: stat.f_bfree,
            bavail: stat.f_bavail,
            files: stat.f_files,
            ffree: stat.f_ffree,
            bsize: stat.f_bsize as u32,
            namelen: stat.f_namemax as u32,
            frsize: stat.f_frsize as u32,
            ..Kstatfs::new_zeroed()
        },
    )
}

/// Bytes that an attribute's value or the list of names needs.
pub fn xattr_size(req: &Request, size: usize) -> Result<()> {
    one(req, &GetxattrOut { size: size as u32, padding: 0 })
}

/// A lock that is in the way (or F_UNLCK).
pub fn lock(req: &Request, lock: &libc::flock64) -> Result<()> {
    let mut lk = FileLock { kind: lock.l_type as u32, ..FileLock::new_zeroed() };
    if i32::from(lock.l_type) != libc::F_UNLCK {
        lk.start = lock.l_start as u64;
        lk.end = match lock.l_len {
            0 => i64::MAX as u64,
            len => lock.l_start.wrapping_add(len).wrapping_sub(1) as u64,
        };
    }
    lk.pid = lock.l_pid as u32;
    one(req, &LkOut { lk })
}

/// A block number on the device.
pub fn bmap(req: &Request, block: u64) -> Result<()> {
    one(req, &BmapOut { block })
}

/// Events that are ready.
pub fn poll(req: &Request, revents: u32) -> Result<()> {
    one(req, &PollOut { revents, padding: 0 })
}

/// A file offset.
pub fn lseek(req: &Request, offset: i64) -> Result<()> {
    one(req, &LseekOut { offset: offset as u64 })
}

/// The result of an ioctl and the data it gives back.
pub fn ioctl(req: &Request, result: i32, data: &[IoSlice<'_>]) -> Result<()> {
    let out = IoctlOut { result, ..IoctlOut::new_zeroed() };
    let parts: Vec<IoSlice<'_>> =
        std::iter::once(IoSlice::new(out.as_bytes())).chain(data.iter().copied()).collect();
    answer(req, &parts)
}

/// Asks the kernel to send the ioctl again with other data in and out
/// (address, length). Only unrestricted ioctls can.
pub fn ioctl_retry(req: &Request, input: &[(u64, u64)], output: &[(u64, u64)]) -> Result<()> {
    let refused = if req.wide_ioctl.load(Ordering::Relaxed) {
        // The filesystem has seen a truncated address at best.
        Some(libc::EINVAL)
    } else {
        (input.len() + output.len() > IOCTL_MAX_IOV).then_some(libc::ENOMEM)
    };
    if let Some(errno) = refused {
        let _ = answer_error(req, errno);
        return Err(Errno(errno));
    }
    let out = IoctlOut {
        result: 0,
        flags: IOCTL_RETRY,
        in_iovs: input.len() as u32,
        out_iovs: output.len() as u32,
    };
    let iovs: Vec<IoctlIovec> =
        input.iter().chain(output).map(|&(base, len)| IoctlIovec { base, len }).collect();
    answer(req, &[IoSlice::new(out.as_bytes()), IoSlice::new(iovs.as_slice().as_bytes())])
}

/// Bytes that a directory entry with a name of `len` bytes takes.
pub fn dirent_size(len: usize, plus: bool) -> usize {
    let fixed = size_of::<Dirent>() + if plus { size_of::<EntryOut>() } else { 0 };
    (fixed + len).next_multiple_of(8)
}

/// Writes a directory entry to the front of `buffer` if it fits; returns the
/// size it needs either way.
pub fn add_direntry(
    buffer: &mut [u8],
    name: &[u8],
    ino: u64,
    mode: u32,
    offset: i64,
    plus: Option<&EntryParam>,
) -> usize {
    let size = dirent_size(name.len(), plus.is_some());
    let Some(buffer) = buffer.get_mut(..size) else {
        return size;
    };
    let dirent = Dirent {
        ino,
        off: offset as u64,
        namelen: name.len() as u32,
        kind: (mode & libc::S_IFMT) >> 12,
    };
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        buffer[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    if let Some(entry) = plus {
        put(entry_of(entry).as_bytes());
    }
    put(dirent.as_bytes());
    put(name);
    buffer[at..].fill(0);
    size
}
