//! Lookups, and what makes, moves or removes names.
#![allow(unsafe_code)] // the layer takes C's pointers

use super::{checked, no_stat, opened, set, text, Op};
use crate::abi::public::{EntryParam, FileBit, FileInfo, ForgetData};
use crate::errno::{Errno, Result};
use crate::high::tree::Target;
use crate::session::reply;
use crate::transport;
use libc::{
    c_char, c_uint, dev_t, mode_t, size_t, EIO, ENOENT, ENOSYS, O_CREAT, O_EXCL, O_WRONLY,
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
        let at = path.as_c_str().as_ptr();
        // SAFETY: path and attributes live as long as the call.
        op.call(|layer| unsafe { layer.getattr(at, &mut stat, ptr::null_mut()) })?;
        let entry = op.entry(op.nodes().lookup_self(ino)?, stat);
        drop(path);
        op.reply_entry(&entry);
        return Ok(());
    }
    let path = op.nodes().lock(Target::child(parent, name.to_bytes()))?;
    let entry = match op.look_up(&path, ptr::null_mut()) {
        Ok(entry) => entry,
        Err(Errno(ENOENT)) if op.config().negative_timeout != 0.0 => EntryParam {
            ino: 0,
            generation: 0,
            attr: no_stat(),
            attr_timeout: 0.0,
            entry_timeout: op.config().negative_timeout,
        },
        Err(errno) => return Err(errno),
    };
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
    make: impl FnOnce(*const c_char) -> Result<()>,
) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name))?;
    make(path.as_c_str().as_ptr())?;
    let entry = op.look_up(&path, ptr::null_mut())?;
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
    make(op, parent, name, |path| {
        if mode & S_IFMT == S_IFREG {
            let mut fi = FileInfo { flags: O_CREAT | O_EXCL | O_WRONLY, ..FileInfo::default() };
            // SAFETY: the path and `fi` live as long as the calls.
            match op.call(|layer| unsafe { layer.create(path, mode, &mut fi) }) {
                Ok(_) => {
                    // SAFETY: as above.
                    unsafe { op.fuse.layer().release(path, &mut fi) };
                    return Ok(());
                }
                Err(Errno(ENOSYS)) => {}
                Err(errno) => return Err(errno),
            }
        }
        // SAFETY: the path lives as long as the call.
        op.call(|layer| unsafe { layer.mknod(path, mode, rdev) }).map(drop)
    })
}

pub unsafe fn mkdir(op: &Op<'_>, parent: u64, name: *const c_char, mode: mode_t) -> Result<()> {
    make(op, parent, name, |path| {
        // SAFETY: the path lives as long as the call.
        op.call(|layer| unsafe { layer.mkdir(path, mode) }).map(drop)
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
        op.call(|layer| unsafe { layer.symlink(target, path) }).map(drop)
    })
}

pub unsafe fn unlink(op: &Op<'_>, parent: u64, name: *const c_char) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name).exclusive())?;
    if op.is_to_be_hidden(&path) {
        let hidden = op.hide(&path)?;
        drop(path);
        op.after_hiding(&hidden);
    } else {
        let at = path.as_c_str().as_ptr();
        // SAFETY: the path lives as long as the call.
        op.call(|layer| unsafe { layer.unlink(at) })?;
        path.removed();
        drop(path);
    }
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn rmdir(op: &Op<'_>, parent: u64, name: *const c_char) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let path = op.nodes().lock(Target::child(parent, name).exclusive())?;
    let at = path.as_c_str().as_ptr();
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
    let replaces = !exchange && paths.first.id() != paths.second.id();
    let hidden = match replaces && op.is_to_be_hidden(&paths.second) {
        true => Some(op.hide(&paths.second)?),
        false => None,
    };
    let (old, new) = (paths.first.as_c_str().as_ptr(), paths.second.as_c_str().as_ptr());
    // SAFETY: both paths live as long as the call.
    let renamed = op.call(|layer| unsafe { layer.rename(old, new, flags) });
    match (&renamed, exchange) {
        (Ok(_), true) => paths.exchanged(),
        (Ok(_), false) => paths.renamed(),
        (Err(_), _) => {}
    }
    drop(paths);
    if let Some(hidden) = hidden {
        op.after_hiding(&hidden);
    }
    renamed?;
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn link(op: &Op<'_>, ino: u64, parent: u64, name: *const c_char) -> Result<()> {
    // SAFETY: the session's string.
    let name = unsafe { text(name) }.to_bytes();
    let paths = op.nodes().lock_two(Target::node(ino), Target::child(parent, name))?;
    let (from, to) = (paths.first.as_c_str().as_ptr(), paths.second.as_c_str().as_ptr());
    // SAFETY: both paths live as long as the call.
    op.call(|layer| unsafe { layer.link(from, to) })?;
    let entry = op.look_up(&paths.second, ptr::null_mut())?;
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
    let at = path.as_c_str().as_ptr();
    // SAFETY: the path lives as long as the call, and so does `fi`.
    op.call(|layer| unsafe { layer.create(at, mode, fi) })?;
    let entry = op.look_up(&path, fi).and_then(|entry| {
        if entry.attr.st_mode & S_IFMT == S_IFREG {
            return Ok(entry);
        }
        op.nodes().forget(entry.ino, 1);
        Err(Errno(EIO))
    });
    let entry = match entry {
        Ok(entry) => entry,
        Err(errno) => {
            // SAFETY: as above.
            unsafe { op.fuse.layer().release(at, fi) };
            return Err(errno);
        }
    };
    op.nodes().open(entry.ino)?;
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
