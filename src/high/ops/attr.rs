//! Attributes, extended attributes, access, links' targets, the filesystem.
#![allow(unsafe_code)] // the layer takes C's pointers

use super::{no_stat, pointer, Op};
use crate::abi::kernel::Statx;
use crate::abi::public::FileInfo;
use crate::errno::{Errno, Result};
use crate::high::tree::Path;
use crate::session::reply;
use crate::sys::Seconds;
use libc::{c_char, c_int, size_t, stat64, timespec, UTIME_NOW, UTIME_OMIT};
use std::ffi::CStr;

// `to_set` of the operation setattr.
const MODE: c_int = 1 << 0;
const UID: c_int = 1 << 1;
const GID: c_int = 1 << 2;
const SIZE: c_int = 1 << 3;
const ATIME: c_int = 1 << 4;
const MTIME: c_int = 1 << 5;
const ATIME_NOW: c_int = 1 << 7;
const MTIME_NOW: c_int = 1 << 8;

/// The longest target of a link, without its zero byte.
const LONGEST_TARGET: usize = libc::PATH_MAX as usize;

/// Asks for attributes and answers with them.
fn answer(op: &Op<'_>, ino: u64, path: Option<Path<'_>>, fi: *mut FileInfo) -> Result<()> {
    let mut stat = no_stat();
    // SAFETY: path and attributes live as long as the call.
    op.call(|layer| unsafe { layer.getattr(pointer(&path), &mut stat, fi) })?;
    let hidden = path.as_ref().map_or_else(|| op.nodes().is_hidden(ino), Path::is_hidden);
    drop(path);
    if hidden && stat.st_nlink > 0 {
        stat.st_nlink -= 1;
    }
    op.note(ino, &stat);
    op.present(ino, &mut stat);
    let _ = reply::attr(op.req, &stat, op.config().attr_timeout);
    Ok(())
}

pub unsafe fn getattr(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> Result<()> {
    let path = op.path_unless_open(ino, fi)?;
    answer(op, ino, path, fi)
}

/// As `struct stat` has them.
type Nanos = libc::c_long;

/// A time that is set: to what is given, to now, or not at all.
fn time(valid: c_int, given: c_int, now: c_int, sec: Seconds, nsec: Nanos) -> timespec {
    // SAFETY: plain data.
    let mut time: timespec = unsafe { std::mem::zeroed() };
    if valid & now != 0 {
        time.tv_nsec = UTIME_NOW as _;
    } else if valid & given != 0 {
        (time.tv_sec, time.tv_nsec) = (sec, nsec as _);
    } else {
        time.tv_nsec = UTIME_OMIT as _;
    }
    time
}

pub unsafe fn setattr(
    op: &Op<'_>,
    ino: u64,
    attr: *mut stat64,
    valid: c_int,
    fi: *mut FileInfo,
) -> Result<()> {
    let path = op.path_unless_open(ino, fi)?;
    let at = pointer(&path);
    // SAFETY: the session's structure.
    let attr = unsafe { &*attr };
    if valid & MODE != 0 {
        // SAFETY: the path and what is pointed to live as long as the call.
        op.call(|layer| unsafe { layer.chmod(at, attr.st_mode, fi) })?;
    }
    if valid & (UID | GID) != 0 {
        let uid = if valid & UID != 0 { attr.st_uid } else { libc::uid_t::MAX };
        let gid = if valid & GID != 0 { attr.st_gid } else { libc::gid_t::MAX };
        // SAFETY: as above.
        op.call(|layer| unsafe { layer.chown(at, uid, gid, fi) })?;
    }
    if valid & SIZE != 0 {
        // SAFETY: as above.
        op.call(|layer| unsafe { layer.truncate(at, attr.st_size, fi) })?;
    }
    if valid & (ATIME | MTIME) != 0 {
        let times = [
            time(valid, ATIME, ATIME_NOW, attr.st_atime, attr.st_atime_nsec),
            time(valid, MTIME, MTIME_NOW, attr.st_mtime, attr.st_mtime_nsec),
        ];
        // SAFETY: as above.
        op.call(|layer| unsafe { layer.utimens(at, times.as_ptr(), fi) })?;
    }
    answer(op, ino, path, fi)
}

pub unsafe fn access(op: &Op<'_>, ino: u64, mask: c_int) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    // SAFETY: the path lives as long as the call.
    op.call(|layer| unsafe { layer.access(at, mask) })?;
    drop(path);
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn readlink(op: &Op<'_>, ino: u64) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    let mut target = vec![0u8; LONGEST_TARGET + 1];
    let (buf, len) = (target.as_mut_ptr().cast::<c_char>(), target.len());
    // SAFETY: path and buffer live as long as the call.
    op.call(|layer| unsafe { layer.readlink(at, buf, len) })?;
    drop(path);
    target[LONGEST_TARGET] = 0;
    let target = CStr::from_bytes_until_nul(&target).map_err(|_| Errno(libc::EIO))?;
    let _ = reply::bytes(op.req, target.to_bytes());
    Ok(())
}

pub unsafe fn statfs(op: &Op<'_>, ino: u64) -> Result<()> {
    let path = if ino == 0 { None } else { Some(op.path(ino)?) };
    // SAFETY: plain data.
    let mut stat = unsafe { std::mem::zeroed() };
    // SAFETY: path and structure live as long as the call.
    op.call(|layer| unsafe { layer.statfs(pointer(&path), &mut stat) })?;
    drop(path);
    let _ = reply::statvfs(op.req, &stat);
    Ok(())
}

pub unsafe fn statx(
    op: &Op<'_>,
    ino: u64,
    flags: c_int,
    mask: c_int,
    fi: *mut FileInfo,
) -> Result<()> {
    let path = op.path_unless_open(ino, fi)?;
    // SAFETY: plain data; the layer takes C's structure, of which ours is the
    // mirror (`layout` asserts the size).
    let mut stat: Statx = unsafe { std::mem::zeroed() };
    let to = (&raw mut stat).cast();
    // SAFETY: path and structure live as long as the call.
    op.call(|layer| unsafe { layer.statx(pointer(&path), flags, mask, to, fi) })?;
    drop(path);
    // The settings hold however attributes are asked for.
    let mut told = no_stat();
    (told.st_ino, told.st_mode) = (stat.ino, stat.mode.into());
    (told.st_uid, told.st_gid) = (stat.uid, stat.gid);
    op.present(ino, &mut told);
    (stat.ino, stat.mode) = (told.st_ino, told.st_mode as u16);
    (stat.uid, stat.gid) = (told.st_uid, told.st_gid);
    if op.nodes().is_hidden(ino) && stat.nlink > 0 {
        stat.nlink -= 1;
    }
    let _ = reply::statx(op.req, 0, &stat, op.config().attr_timeout);
    Ok(())
}

pub unsafe fn setxattr(
    op: &Op<'_>,
    ino: u64,
    name: *const c_char,
    value: *const c_char,
    size: size_t,
    flags: c_int,
) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    // SAFETY: the strings and the value live as long as the call.
    op.call(|layer| unsafe { layer.setxattr(at, name, value, size, flags) })?;
    drop(path);
    let _ = reply::error(op.req, 0);
    Ok(())
}

/// Answers with bytes of unknown number: their number if `size` is 0.
fn sized(
    op: &Op<'_>,
    ino: u64,
    size: size_t,
    get: impl FnOnce(*const c_char, *mut c_char) -> Result<c_int>,
) -> Result<()> {
    let path = op.path(ino)?;
    let mut bytes = vec![0u8; size];
    let to = if size == 0 { std::ptr::null_mut() } else { bytes.as_mut_ptr().cast() };
    let got = get(path.as_ptr(), to)? as size_t;
    drop(path);
    let _ = match size {
        0 => reply::xattr_size(op.req, got),
        _ => reply::bytes(op.req, &bytes[..got.min(size)]),
    };
    Ok(())
}

pub unsafe fn getxattr(op: &Op<'_>, ino: u64, name: *const c_char, size: size_t) -> Result<()> {
    sized(op, ino, size, |path, value| {
        // SAFETY: the strings and the buffer live as long as the call.
        op.call(|layer| unsafe { layer.getxattr(path, name, value, size) })
    })
}

pub unsafe fn listxattr(op: &Op<'_>, ino: u64, size: size_t) -> Result<()> {
    sized(op, ino, size, |path, list| {
        // SAFETY: the path and the buffer live as long as the call.
        op.call(|layer| unsafe { layer.listxattr(path, list, size) })
    })
}

pub unsafe fn removexattr(op: &Op<'_>, ino: u64, name: *const c_char) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    // SAFETY: the strings live as long as the call.
    op.call(|layer| unsafe { layer.removexattr(at, name) })?;
    drop(path);
    let _ = reply::error(op.req, 0);
    Ok(())
}
