//! POSIX and BSD locks, and flush, which ends an owner's.
#![allow(unsafe_code)] // the layer takes C's pointers

use super::{pointer, Op};
use crate::abi::public::FileInfo;
use crate::errno::{Errno, Result};
use crate::high::tree::posix::{Kind, PosixLock};
use crate::session::reply;
use libc::{
    c_int, c_short, flock64, ENOSYS, F_GETLK, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK,
    SEEK_SET,
};

/// To the end of the file, however long.
const END: u64 = i64::MAX as u64;

fn recorded(owner: u64, lock: &flock64) -> PosixLock {
    let kind = match c_int::from(lock.l_type) {
        F_RDLCK => Kind::Read,
        F_WRLCK => Kind::Write,
        _ => Kind::Unlock,
    };
    let start = lock.l_start as u64;
    let end = match lock.l_len {
        0 => END,
        len => start.saturating_add(len as u64) - 1,
    };
    PosixLock { owner, pid: lock.l_pid, kind, start, end }
}

fn told(lock: &PosixLock) -> flock64 {
    // SAFETY: plain data.
    let mut told: flock64 = unsafe { std::mem::zeroed() };
    told.l_type = match lock.kind {
        Kind::Read => F_RDLCK,
        Kind::Write => F_WRLCK,
        Kind::Unlock => F_UNLCK,
    } as c_short;
    told.l_whence = SEEK_SET as c_short;
    told.l_start = lock.start as i64;
    told.l_len = match lock.end {
        END => 0,
        end => (end - lock.start + 1) as i64,
    };
    told.l_pid = lock.pid;
    told
}

/// The layer's flush, and the end of the owner's locks.
pub unsafe fn flush_file(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> Result<()> {
    // SAFETY: the session's structure.
    let owner = unsafe { (*fi).lock_owner };
    let everything = PosixLock { owner, pid: 0, kind: Kind::Unlock, start: 0, end: END };
    let path = op.path_or_none(ino)?;
    let at = pointer(&path);
    // SAFETY: the path and the structures live as long as the calls.
    let flushed = op.call(|layer| unsafe { layer.flush(at, fi) });
    let mut lock = told(&everything);
    // SAFETY: as above.
    let unlocked = op.call(|layer| unsafe { layer.lock(at, fi, F_SETLK, &mut lock) });
    drop(path);
    if unlocked == Err(Errno(ENOSYS)) {
        return flushed.map(drop);
    }
    let _ = op.nodes().with_locks(ino, |locks| locks.apply(everything));
    match flushed {
        // Flushes are needed for the locks, whether or not for the data.
        Err(Errno(ENOSYS)) => Ok(()),
        flushed => flushed.map(drop),
    }
}

pub unsafe fn flush(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> Result<()> {
    // SAFETY: the session's structure.
    unsafe { flush_file(op, ino, fi)? };
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn getlk(op: &Op<'_>, ino: u64, fi: *mut FileInfo, lock: *mut flock64) -> Result<()> {
    // SAFETY: the session's structures.
    let wanted = unsafe { recorded((*fi).lock_owner, &*lock) };
    let conflict = op.nodes().with_locks(ino, |locks| locks.conflict(&wanted))?;
    let answer = match conflict {
        Some(conflict) => told(&conflict),
        None => {
            let path = op.path_or_none(ino)?;
            let at = pointer(&path);
            // SAFETY: the path and the structures live as long as the call.
            op.call(|layer| unsafe { layer.lock(at, fi, F_GETLK, lock) })?;
            // SAFETY: as above.
            unsafe { *lock }
        }
    };
    let _ = reply::lock(op.req, &answer);
    Ok(())
}

pub unsafe fn setlk(
    op: &Op<'_>,
    ino: u64,
    fi: *mut FileInfo,
    lock: *mut flock64,
    sleep: c_int,
) -> Result<()> {
    // SAFETY: the session's structures.
    let granted = unsafe { recorded((*fi).lock_owner, &*lock) };
    let path = op.path_or_none(ino)?;
    let at = pointer(&path);
    let cmd = if sleep != 0 { F_SETLKW } else { F_SETLK };
    // SAFETY: the path and the structures live as long as the call.
    op.call(|layer| unsafe { layer.lock(at, fi, cmd, lock) })?;
    drop(path);
    op.nodes().with_locks(ino, |locks| locks.apply(granted))?;
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn flock(op: &Op<'_>, ino: u64, fi: *mut FileInfo, operation: c_int) -> Result<()> {
    let path = op.path_or_none(ino)?;
    // SAFETY: the path and `fi` live as long as the call.
    op.call(|layer| unsafe { layer.flock(pointer(&path), fi, operation) })?;
    drop(path);
    let _ = reply::error(op.req, 0);
    Ok(())
}
