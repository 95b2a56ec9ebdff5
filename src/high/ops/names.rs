//! Lookups, and what makes, moves or removes names.
#![allow(unsafe_code)] // the layer takes C's pointers

use super::{checked, no_stat, opened, set, text, Op};
use crate::abi::public::{EntryParam, FileBit, FileInfo, ForgetData};
use crate::errno::{Errno, Result};
use crate::high::tree::Target;
use crate::session::reply;
use crate::transport;
use libc::{
    c_char, c_int, c_uint, dev_t, mode_t, size_t, EIO, ENOENT, ENOSYS, O_CREAT, O_EXCL, O_WRONLY,
    RENAME_EXCHANGE, S_IFMT, S_IFREG,
};
use std::ptr;

pub unsafe fn lookup(op: &Op<'_>, parent: u64, name: *const c_char) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) };
    if let b"." | b".." = name.to_bytes() {
        // An exported filesystem (NFS) finds its way by these.
        let up = name.to_bytes() == b"..";
        let ino = if up { op.nodes().parent(parent)? } else { parent };
        let path = op.path(ino)?;
        let mut stat = no_stat();
        let at = path.as_ptr();
        // SAFETY: path and attributes live as long as the call.
        op.call(|layer| unsafe { layer.getattr(at, &mut stat, ptr::null_mut()) })?;
        let entry = op.entry(op.nodes().lookup_self(ino)?, stat);
        drop(path);
        op.reply_entry(&entry);
        return Ok(());
    }
    let path = op.nodes().lock(Target::child(parent, name.to_bytes()))?;
    let mut entry = op.new_entry(no_stat());
    match op.look_up(&path, ptr::null_mut(), &mut entry) {
        Ok(()) => {}
        // The kernel is to remember that there is none.
        Err(Errno(ENOENT)) if op.config().negative_timeout != 0.0 => {
            let entry_timeout = op.config().negative_timeout;
            entry = EntryParam { attr_timeout: 0.0, entry_timeout, ..op.new_entry(no_stat()) };
        }
        Err(errno) => return Err(errno),
    }
    drop(path);
    op.reply_entry(&entry);
    Ok(())
}

pub unsafe fn forget(op: &Op<'_>, ino: u64, count: u64) -> Result<()> {
    op.nodes().forget(ino, count);
    transport::no_answer(op.req);
    Ok(())
}

pub unsafe fn forget_multi(op: &Op<'_>, count: size_t, forgets: *mut ForgetData) -> Result<()> {
    // SAFETY: the session's array.
    for forget in unsafe { std::slice::from_raw_parts(forgets, count) } {
        op.nodes().forget(forget.ino, forget.nlookup);
    }
    transport::no_answer(op.req);
    Ok(())
}

/// Makes something at a new name, and answers with its entry.
fn make(
    op: &Op<'_>,
    parent: u64,
    name: *const c_char,
    make: impl FnOnce(*const c_char) -> Result<c_int>,
) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name))?;
    make(path.as_ptr())?;
    let mut entry = op.new_entry(no_stat());
    op.look_up(&path, ptr::null_mut(), &mut entry)?;
    drop(path);
    op.reply_entry(&entry);
    Ok(())
}

pub unsafe fn mknod(
    op: &Op<'_>,
    parent: u64,
    name: *const c_char,
    mode: mode_t,
    rdev: dev_t,
) -> Result<()> {
    if mode & S_IFMT == S_IFREG && make_file(op, parent, name, mode)? {
        return Ok(());
    }
    make(op, parent, name, |path| {
        // SAFETY: the path lives as long as the call.
        op.call(|layer| unsafe { layer.mknod(path, mode, rdev) })
    })
}

/// Makes a regular file by `create` and answers; false if the layer has none. The
/// file is open until its attributes are known: a filesystem may have them of
/// open files only until it is released.
fn make_file(op: &Op<'_>, parent: u64, name: *const c_char, mode: mode_t) -> Result<bool> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name))?;
    let at = path.as_ptr();
    let mut fi = FileInfo { flags: O_CREAT | O_EXCL | O_WRONLY, ..FileInfo::default() };
    // SAFETY: the path and `fi` live as long as the calls.
    match op.call(|layer| unsafe { layer.create(at, mode, &mut fi) }) {
        Err(Errno(ENOSYS)) => return Ok(false),
        created => created?,
    };
    let mut entry = op.new_entry(no_stat());
    let found = op.look_up(&path, &mut fi, &mut entry);
    // SAFETY: as above.
    unsafe { op.fuse.layer().release(at, &mut fi) };
    drop(path);
    found?;
    op.reply_entry(&entry);
    Ok(true)
}

pub unsafe fn mkdir(op: &Op<'_>, parent: u64, name: *const c_char, mode: mode_t) -> Result<()> {
    make(op, parent, name, |path| {
        // SAFETY: the path lives as long as the call.
        op.call(|layer| unsafe { layer.mkdir(path, mode) })
    })
}

pub unsafe fn symlink(
    op: &Op<'_>,
    target: *const c_char,
    parent: u64,
    name: *const c_char,
) -> Result<()> {
    make(op, parent, name, |path| {
        // SAFETY: both strings live as long as the call.
        op.call(|layer| unsafe { layer.symlink(target, path) })
    })
}

pub unsafe fn unlink(op: &Op<'_>, parent: u64, name: *const c_char) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name).exclusive())?;
    if op.is_to_be_hidden(&path) {
        op.hide(&path)?;
    } else {
        let at = path.as_ptr();
        // SAFETY: the path lives as long as the call.
        op.call(|layer| unsafe { layer.unlink(at) })?;
        path.removed();
    }
    drop(path);
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn rmdir(op: &Op<'_>, parent: u64, name: *const c_char) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name).exclusive())?;
    let at = path.as_ptr();
    // SAFETY: the path lives as long as the call.
    op.call(|layer| unsafe { layer.rmdir(at) })?;
    path.removed();
    drop(path);
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn rename(
    op: &Op<'_>,
    parent: u64,
    name: *const c_char,
    to: u64,
    new: *const c_char,
    flags: c_uint,
) -> Result<()> {
    // SAFETY: the session's strings.
    let (name, new) = unsafe { (text(name).to_bytes(), text(new).to_bytes()) };
    let from = Target::child(parent, name).exclusive();
    let paths = op.nodes().lock_two(from, Target::child(to, new).exclusive())?;
    let exchange = flags & RENAME_EXCHANGE != 0;
    if !exchange && paths.first.id() != paths.second.id() && op.is_to_be_hidden(&paths.second) {
        op.hide(&paths.second)?;
    }
    let (old, new) = (paths.first.as_ptr(), paths.second.as_ptr());
    // SAFETY: both paths live as long as the call.
    op.call(|layer| unsafe { layer.rename(old, new, flags) })?;
    if exchange {
        paths.exchanged();
    } else {
        paths.renamed();
    }
    drop(paths);
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn link(op: &Op<'_>, ino: u64, parent: u64, name: *const c_char) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let paths = op.nodes().lock_two(Target::node(ino), Target::child(parent, name))?;
    let (from, to) = (paths.first.as_ptr(), paths.second.as_ptr());
    // SAFETY: both paths live as long as the call.
    op.call(|layer| unsafe { layer.link(from, to) })?;
    let mut entry = op.new_entry(no_stat());
    op.look_up(&paths.second, ptr::null_mut(), &mut entry)?;
    drop(paths);
    op.reply_entry(&entry);
    Ok(())
}

pub unsafe fn create(
    op: &Op<'_>,
    parent: u64,
    name: *const c_char,
    mode: mode_t,
    fi: *mut FileInfo,
) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name))?;
    let at = path.as_ptr();
    // SAFETY: the path lives as long as the call, and so does `fi`.
    op.call(|layer| unsafe { layer.create(at, mode, fi) })?;
    let mut entry = op.new_entry(no_stat());
    let found = op.look_up(&path, fi, &mut entry).and_then(|()| {
        if entry.attr.st_mode & S_IFMT == S_IFREG {
            return Ok(());
        }
        op.nodes().forget(entry.ino, 1);
        Err(Errno(EIO))
    });
    if let Err(errno) = found {
        // SAFETY: as above.
        unsafe { op.fuse.layer().release(at, fi) };
        return Err(errno);
    }
    path.open_found();
    drop(path);
    // SAFETY: as above.
    let file = unsafe {
        let config = op.config();
        if config.direct_io != 0 {
            set(fi, FileBit::DirectIo);
        }
        if config.kernel_cache != 0 || (config.auto_cache != 0 && op.nodes().keep_cache(entry.ino))
        {
            set(fi, FileBit::KeepCache);
        }
        if config.direct_io != 0 && config.parallel_direct_writes != 0 {
            set(fi, FileBit::ParallelDirectWrites);
        }
        opened(fi)
    };
    if reply::create(op.req, &entry, &file).is_err() {
        // The client is gone, and with it the file and the lookup.
        // SAFETY: as above.
        let _ = checked(unsafe { super::files::close(op, entry.ino, fi) });
        op.nodes().forget(entry.ino, 1);
    }
    Ok(())
}
