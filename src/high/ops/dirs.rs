//! Open directories.
//!
//! A layer lists a directory in one of two ways. If it gives every entry with an
//! offset of 0, all are collected at the first read and told piece by piece, with
//! offsets of the library's, until the directory is rewound. If it gives offsets
//! of its own, each read lists on from where the last one ended, until the
//! answer is full.
//!
//! The kernel's handle of a directory is a [`Handle`], from opendir to
//! releasedir; the layer's own is inside. Reads of one handle exclude each other.
//! Nobody waits for a releasedir: one that is on its way when the mount ends never
//! comes, so the filesystem knows its handles ([`Directories`]).
#![allow(unsafe_code)] // the layer takes C's pointers

use super::{no_stat, opened, pointer, Op, UNKNOWN_INO};
use crate::abi::high::{FILL_DIR_PLUS, READDIR_PLUS};
use crate::abi::public::{EntryParam, FileInfo, OpenedFile};
use crate::errno::{Errno, Result};
use crate::session::reply;
use libc::{c_char, c_int, c_uint, c_void, off64_t, size_t, stat64, EIO};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::ffi::CStr;

/// An open directory.
struct Handle {
    /// The layer's handle.
    user: u64,
    listing: Mutex<Listing>,
}

/// The open directories of a filesystem, whose handles it owns.
#[derive(Default)]
pub struct Directories(Mutex<HashSet<usize>>);

impl Directories {
    /// The number that stands for a handle.
    fn add(&self, handle: Box<Handle>) -> u64 {
        let address = Box::into_raw(handle) as usize;
        self.0.lock().insert(address);
        address as u64
    }

    /// Ends the handle with this number.
    ///
    /// # Safety
    /// Nobody uses it any more.
    unsafe fn remove(&self, number: u64) {
        let address = number as usize;
        if self.0.lock().remove(&address) {
            // SAFETY: made by `add`, and nobody else's.
            drop(unsafe { Box::from_raw(address as *mut Handle) });
        }
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        for address in self.0.get_mut().drain() {
            // SAFETY: made by `add`; with the filesystem end all operations.
            drop(unsafe { Box::from_raw(address as *mut Handle) });
        }
    }
}

/// What was collected: names one after the other, and what is known of each.
#[derive(Default)]
struct Listing {
    names: Vec<u8>,
    entries: Vec<Collected>,
    /// Whether that is all of the directory.
    complete: bool,
}

struct Collected {
    /// Where the name ends.
    end: usize,
    stat: stat64,
    /// All attributes are valid.
    plus: bool,
}

impl Listing {
    fn push(&mut self, name: &[u8], stat: stat64, plus: bool) {
        self.names.extend_from_slice(name);
        self.entries.push(Collected { end: self.names.len(), stat, plus });
    }

    fn name(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].end);
        &self.names[start..self.entries[index].end]
    }
}

/// The handle of a directory.
///
/// # Safety
/// `fi` is that of a directory that `opendir` opened.
unsafe fn handle<'a>(fi: *const FileInfo) -> &'a Handle {
    // SAFETY: the caller's promise; it lives until releasedir.
    unsafe { &*((*fi).fh as usize as *const Handle) }
}

/// The layer's handle of a directory.
///
/// # Safety
/// As for [`handle`].
pub unsafe fn user_handle(fi: *const FileInfo) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { handle(fi) }.user
}

/// What the layer gets in place of `fi`: its handle and, as filesystems are used
/// to, nothing else.
unsafe fn users(fi: *const FileInfo) -> FileInfo {
    // SAFETY: the caller's promise.
    unsafe { FileInfo { fh: user_handle(fi), ..FileInfo::default() } }
}

pub unsafe fn opendir(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> Result<()> {
    let path = op.path(ino)?;
    let at = path.as_ptr();
    // SAFETY: the session's structure; the path lives as long as the call.
    let mut user = unsafe { FileInfo { flags: (*fi).flags, ..FileInfo::default() } };
    // SAFETY: as above.
    op.call(|layer| unsafe { layer.opendir(at, &mut user) })?;
    drop(path);
    let handle = Box::new(Handle { user: user.fh, listing: Mutex::default() });
    let number = op.fuse.directories.add(handle);
    // SAFETY: a full structure; keep_cache and cache_readdir are told.
    let file = unsafe { OpenedFile { fh: number, ..opened(&user) } };
    if reply::opened(op.req, &file).is_err() {
        // The client is gone, and with it the directory.
        // SAFETY: nobody else has the handle; the layer takes C's pointers.
        unsafe {
            op.fuse.directories.remove(number);
            let path = op.path_or_none(ino).unwrap_or(None);
            op.fuse.layer().releasedir(pointer(&path), &mut user);
        }
    }
    Ok(())
}

pub unsafe fn releasedir(op: &Op<'_>, ino: u64, fi: *mut FileInfo) -> Result<()> {
    // SAFETY: the session's structure, with our handle, which ends here.
    unsafe {
        let mut user = users(fi);
        let path = op.path_or_none(ino).unwrap_or(None);
        op.fuse.layer().releasedir(pointer(&path), &mut user);
        drop(path);
        op.fuse.directories.remove((*fi).fh);
    }
    let _ = reply::error(op.req, 0);
    Ok(())
}

pub unsafe fn fsyncdir(op: &Op<'_>, ino: u64, datasync: c_int, fi: *mut FileInfo) -> Result<()> {
    let path = op.path_or_none(ino)?;
    // SAFETY: the session's structure.
    let mut user = unsafe { users(fi) };
    // SAFETY: the path and the structure live as long as the call.
    op.call(|layer| unsafe { layer.fsyncdir(pointer(&path), datasync, &mut user) })?;
    drop(path);
    let _ = reply::error(op.req, 0);
    Ok(())
}

/// An answer to a read of a directory, as far as it is built.
struct Answer<'a> {
    op: &'a Op<'a>,
    ino: u64,
    /// The directory above, where it is to be told. Found before the path is
    /// held, for that may wait.
    above: Option<u64>,
    plus: bool,
    bytes: Vec<u8>,
    used: usize,
    /// An entry did not fit: none after it may take its place.
    full: bool,
    /// Nodes that the kernel will have looked up with this answer.
    looked_up: Vec<u64>,
}

impl Answer<'_> {
    /// The inode number to tell where the layer's is not used.
    fn number(&self, name: &[u8]) -> u64 {
        let config = self.op.config();
        let known = match config.readdir_ino {
            0 => None,
            _ if name == b"." => Some(self.ino),
            _ if name == b".." => self.above,
            _ => self.op.nodes().find(self.ino, name),
        };
        known.unwrap_or(UNKNOWN_INO)
    }

    /// Adds an entry, whose next one is at `next`; false if it does not fit.
    fn add(&mut self, name: &[u8], mut stat: stat64, complete: bool, next: off64_t) -> bool {
        self.full |= reply::dirent_size(name.len(), self.plus) > self.bytes.len() - self.used;
        if self.full {
            return false;
        }
        let config = self.op.config();
        // Of complete attributes the layer's number is told where no node has one:
        // that of "." and "..".
        if config.use_ino == 0 && (!complete || config.readdir_ino != 0) {
            stat.st_ino = self.number(name);
        }
        let mut entry = None;
        if self.plus {
            let look_up = complete && name != b"." && name != b"..";
            let found = look_up.then(|| self.op.nodes().lookup(self.ino, name).ok()).flatten();
            entry = Some(match found {
                Some(found) => {
                    self.looked_up.push(found.id);
                    self.op.entry(found, stat)
                }
                // The kernel takes the name and the type only.
                None => EntryParam {
                    ino: 0,
                    generation: 0,
                    attr: stat,
                    attr_timeout: 0.0,
                    entry_timeout: 0.0,
                },
            });
        }
        let ino = entry.as_ref().map_or(stat.st_ino, |entry| entry.attr.st_ino);
        let room = &mut self.bytes[self.used..];
        self.used += reply::add_direntry(room, name, ino, stat.st_mode, next, entry.as_ref());
        true
    }

    /// The kernel never saw the nodes that were looked up.
    fn take_back(&mut self) {
        for ino in self.looked_up.drain(..) {
            self.op.nodes().forget(ino, 1);
        }
    }
}

/// What `fuse_fill_dir_t` gets.
struct Filling<'a, 'b> {
    listing: &'a mut Listing,
    answer: &'a mut Answer<'b>,
    /// The layer gives offsets.
    with_offsets: bool,
    failed: bool,
}

unsafe extern "C" fn fill(
    filling: *mut c_void,
    name: *const c_char,
    stat: *const stat64,
    off: off64_t,
    flags: c_uint,
) -> c_int {
    // SAFETY: `list` passed its own; the name and the attributes are the layer's.
    let (filling, name, known) = unsafe {
        let known = stat.as_ref();
        (&mut *filling.cast::<Filling<'_, '_>>(), CStr::from_ptr(name).to_bytes(), known)
    };
    if flags & !FILL_DIR_PLUS != 0 {
        filling.failed = true;
        return 1;
    }
    let plus = flags & FILL_DIR_PLUS != 0 && known.is_some();
    let stat = match known {
        Some(stat) if plus => *stat,
        _ => {
            let mut only = no_stat();
            only.st_ino = known.map_or(UNKNOWN_INO, |stat| stat.st_ino);
            only.st_mode = known.map_or(0, |stat| stat.st_mode);
            only
        }
    };
    if off != 0 {
        if !filling.listing.entries.is_empty() {
            // Offsets and none: nobody could tell where to go on.
            filling.failed = true;
            return 1;
        }
        filling.with_offsets = true;
        return c_int::from(!filling.answer.add(name, stat, plus, off));
    }
    if filling.with_offsets {
        filling.failed = true;
        return 1;
    }
    filling.listing.push(name, stat, plus);
    0
}

/// Reads on from `off` into the answer.
unsafe fn list(
    op: &Op<'_>,
    ino: u64,
    off: off64_t,
    fi: *mut FileInfo,
    answer: &mut Answer<'_>,
) -> Result<()> {
    // SAFETY: the session's structure, with our handle.
    let (handle, mut user) = unsafe { (handle(fi), users(fi)) };
    let mut listing = handle.listing.lock();
    if off == 0 {
        *listing = Listing::default();
    }
    if !listing.complete {
        let flags = if answer.plus { READDIR_PLUS } else { 0 };
        let mut filling =
            Filling { listing: &mut listing, answer, with_offsets: false, failed: false };
        let path = op.path_or_none(ino)?;
        let at = pointer(&path);
        let buf = (&raw mut filling).cast();
        // SAFETY: path, structure and `filling` live as long as the call.
        let listed =
            op.call(|layer| unsafe { layer.readdir(at, buf, Some(fill), off, &mut user, flags) });
        drop(path);
        let (with_offsets, failed) = (filling.with_offsets, filling.failed);
        if failed || listed.is_err() {
            *listing = Listing::default();
            return Err(listed.err().unwrap_or(Errno(EIO)));
        }
        // Nothing at all is the end here; it does not say which way the layer lists.
        listing.complete = !with_offsets && !listing.entries.is_empty();
        if !listing.complete {
            return Ok(());
        }
    }
    for index in usize::try_from(off).unwrap_or(usize::MAX)..listing.entries.len() {
        let Collected { stat, plus, .. } = listing.entries[index];
        if !answer.add(listing.name(index), stat, plus, index as off64_t + 1) {
            break;
        }
    }
    Ok(())
}

unsafe fn read(
    op: &Op<'_>,
    ino: u64,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
    plus: bool,
) -> Result<()> {
    let config = op.config();
    let tells = config.readdir_ino != 0 && config.use_ino == 0;
    let mut answer = Answer {
        op,
        ino,
        above: tells.then(|| op.nodes().parent(ino).ok()).flatten(),
        plus,
        bytes: vec![0; size],
        used: 0,
        full: false,
        looked_up: Vec::new(),
    };
    // SAFETY: the session's structure.
    if let Err(errno) = unsafe { list(op, ino, off, fi, &mut answer) } {
        answer.take_back();
        return Err(errno);
    }
    if reply::bytes(op.req, &answer.bytes[..answer.used]).is_err() {
        answer.take_back();
    }
    Ok(())
}

pub unsafe fn readdir(
    op: &Op<'_>,
    ino: u64,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> Result<()> {
    // SAFETY: the session's structure.
    unsafe { read(op, ino, size, off, fi, false) }
}

pub unsafe fn readdirplus(
    op: &Op<'_>,
    ino: u64,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> Result<()> {
    // SAFETY: the session's structure.
    unsafe { read(op, ino, size, off, fi, true) }
}
