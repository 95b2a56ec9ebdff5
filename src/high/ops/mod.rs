//! The session's operations, done by the uppermost layer's: inode numbers become
//! paths on the way in, attributes become entries on the way out.
//!
//! Each operation runs on the thread that received the request and answers
//! before it returns. It holds its path ([`super::tree`]) while the layer's
//! callback runs, and never two [`super::tree::Path`]s at a time (pairs are locked
//! together).
//!
//! | module | operations |
//! |---|---|
//! | [`attr`] | attributes, extended ones, access, readlink, statfs |
//! | [`names`] | lookup, forget, and all that makes, moves or removes names |
//! | [`files`] | open files |
//! | [`dirs`] | open directories |
//! | [`locks`] | POSIX and BSD locks, flush |
//! | [`hidden`] | files that are removed while they are open |
//! | [`interrupt`] | signals to operations whose client is killed |
//! | [`upkeep`] | nodes that are remembered for a while |
#![allow(unsafe_code)] // the session calls with C's pointers

mod attr;
mod dirs;
mod files;
mod hidden;
mod interrupt;
mod locks;
mod names;
mod upkeep;

pub use dirs::Directories;
pub use upkeep::Pruning;

use super::context::Operation;
use super::layer::Layer;
use super::tree::{Entry, NodeError, Nodes, Path, PathPair, Target};
use super::Fuse;
use crate::abi::high::Config;
use crate::abi::public::{EntryParam, FileBit, FileInfo, LowlevelOps, OpenedFile, Req};
use crate::errno::{Errno, Result};
use crate::session::reply;
use crate::session::request::Request;
use interrupt::Interruptible;
use libc::{c_char, c_int, stat64, S_IFDIR, S_IFMT};
use std::ffi::CStr;
use std::ptr;
use std::time::Instant;

/// The inode number of files of which the library has none to tell.
const UNKNOWN_INO: u64 = 0xffff_ffff;

/// An operation of the session, on its way through this module.
pub struct Op<'a> {
    fuse: &'a Fuse,
    req: &'a Request,
    _context: Operation,
}

/// Two paths that were locked together, or one, or none.
type PathsOrNone<'a> = (Option<Path<'a>>, Option<Path<'a>>);

/// Runs `operation`; an error becomes the answer.
unsafe fn run(req: Req, operation: impl FnOnce(&Op<'_>) -> Result<()>) {
    // SAFETY: the session calls with a request that has not been answered, and
    // its userdata is the filesystem (see `Fuse::new`).
    let (req, fuse) = unsafe { (&*req, &*(*req).session().userdata().cast::<Fuse>()) };
    if fuse.has_ended() {
        // Only a transport of the program's own asks after DESTROY.
        let _ = reply::error(req, libc::EIO);
        return;
    }
    let op = Op { fuse, req, _context: Operation::begin(fuse, req) };
    if let Err(Errno(errno)) = operation(&op) {
        let _ = reply::error(req, errno);
    }
}

/// A layer's result: 0 and above, or a negative error number.
fn checked(result: c_int) -> Result<c_int> {
    if result < 0 {
        Err(Errno(-result))
    } else {
        Ok(result)
    }
}

/// Attributes to be filled in.
fn no_stat() -> stat64 {
    // SAFETY: plain data.
    unsafe { std::mem::zeroed() }
}

/// A path for C, or NULL.
fn pointer(path: &Option<Path<'_>>) -> *const c_char {
    path.as_ref().map_or(ptr::null(), |path| path.as_ptr())
}

impl<'a> Op<'a> {
    fn config(&self) -> &'a Config {
        self.fuse.config()
    }

    fn nodes(&self) -> &'a Nodes {
        self.fuse.nodes()
    }

    /// Calls the layer; its negative result is an error.
    fn call(&self, f: impl FnOnce(&Layer) -> c_int) -> Result<c_int> {
        let _interruptible = Interruptible::begin(self);
        checked(f(self.fuse.layer()))
    }

    /// The path of a node.
    fn path(&self, ino: u64) -> Result<Path<'a>> {
        Ok(self.nodes().lock(Target::node(ino))?)
    }

    /// The path of a node for an operation that can do without: NULL where the
    /// filesystem wants none (nullpath_ok), or where there is none any more.
    fn path_or_none(&self, ino: u64) -> Result<Option<Path<'a>>> {
        if self.config().nullpath_ok != 0 {
            return Ok(None);
        }
        Ok(self.nodes().lock_if_named(Target::node(ino))?)
    }

    /// Two paths at once, likewise: each of them if it has one.
    fn two_paths_or_none(&self, ino: u64, other: u64) -> Result<PathsOrNone<'a>> {
        if self.config().nullpath_ok != 0 {
            return Ok((None, None));
        }
        match self.nodes().lock_two(Target::node(ino), Target::node(other)) {
            Ok(PathPair { first, second }) => Ok((Some(first), Some(second))),
            Err(NodeError::NoName) => match self.path_or_none(ino)? {
                Some(path) => Ok((Some(path), None)),
                None => Ok((None, self.path_or_none(other)?)),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The same for an operation that has `fi` or not.
    fn path_unless_open(&self, ino: u64, fi: *const FileInfo) -> Result<Option<Path<'a>>> {
        match fi.is_null() {
            true => self.path(ino).map(Some),
            false => self.path_or_none(ino),
        }
    }

    /// What the kernel is told of attributes.
    fn present(&self, ino: u64, stat: &mut stat64) {
        let config = self.config();
        if config.use_ino == 0 {
            stat.st_ino = ino;
        }
        if config.set_mode != 0 {
            let directory = stat.st_mode & S_IFMT == S_IFDIR;
            let taken = match (directory, config.dmask, config.fmask) {
                (true, dmask, _) if dmask != 0 => dmask,
                (_, _, fmask) if fmask != 0 => fmask,
                _ => config.umask,
            };
            stat.st_mode = (stat.st_mode & S_IFMT) | (0o777 & !taken);
        }
        if config.set_uid != 0 {
            stat.st_uid = config.uid;
        }
        if config.set_gid != 0 {
            stat.st_gid = config.gid;
        }
    }

    /// Notes attributes that the filesystem gave, where auto_cache wants them.
    fn note(&self, ino: u64, stat: &stat64) {
        if self.config().auto_cache != 0 {
            let mtime = (stat.st_mtime as _, stat.st_mtime_nsec as _);
            self.nodes().update_stat(ino, mtime, stat.st_size, Instant::now());
        }
    }

    /// An entry of attributes, of a node yet to be looked up.
    fn new_entry(&self, attr: stat64) -> EntryParam {
        let config = self.config();
        EntryParam {
            ino: 0,
            generation: 0,
            attr,
            attr_timeout: config.attr_timeout,
            entry_timeout: config.entry_timeout,
        }
    }

    /// Makes `entry` what the kernel is told of a node that was looked up.
    fn complete(&self, entry: &mut EntryParam, Entry { id, generation }: Entry) {
        self.note(id, &entry.attr);
        self.present(id, &mut entry.attr);
        (entry.ino, entry.generation) = (id, generation);
    }

    /// What the kernel is told of a node that was looked up.
    fn entry(&self, found: Entry, stat: stat64) -> EntryParam {
        let mut entry = self.new_entry(stat);
        self.complete(&mut entry, found);
        entry
    }

    /// Looks the node of `path` up, as `fi` has it if that is not NULL, into a
    /// [`Op::new_entry`].
    fn look_up(&self, path: &Path<'_>, fi: *mut FileInfo, entry: &mut EntryParam) -> Result<()> {
        let (name, attr) = (path.as_ptr(), &mut entry.attr);
        // SAFETY: the path and the attributes live as long as the call.
        self.call(|layer| unsafe { layer.getattr(name, attr, fi) })?;
        self.complete(entry, path.lookup());
        Ok(())
    }

    /// Answers with an entry, which the kernel does not have if that fails.
    fn reply_entry(&self, entry: &EntryParam) {
        if reply::entry(self.req, entry).is_err() && entry.ino != 0 {
            self.nodes().forget(entry.ino, 1);
        }
    }
}

/// `fi` as the program sees it.
///
/// # Safety
/// `fi` is a `struct fuse_file_info` of the library's, so of full size.
unsafe fn opened(fi: *const FileInfo) -> OpenedFile {
    // SAFETY: the caller's promise.
    unsafe { OpenedFile::read(fi) }
}

/// Sets a bit of `fi`.
///
/// # Safety
/// As for [`opened`].
unsafe fn set(fi: *mut FileInfo, bit: FileBit) {
    // SAFETY: the caller's promise.
    unsafe { (*fi).set(bit, true) };
}

/// C's operations: each runs the function of the same name.
macro_rules! table {
    ($($module:ident { $(fn $op:ident($($arg:ident: $type:ty),*);)* })*) => {
        mod entry_points {
            use super::*;
            use crate::abi::public::*;
            use libc::*;
            use std::ffi::c_void;
            $($(
                pub unsafe extern "C" fn $op(req: Req, $($arg: $type),*) {
                    // SAFETY: called by the session, with what the operation's
                    // prototype says.
                    unsafe { run(req, |op| $module::$op(op, $($arg),*)) }
                }
            )*)*
        }

        fn all() -> LowlevelOps {
            LowlevelOps {
                $($($op: Some(entry_points::$op),)*)*
                ..LowlevelOps::default()
            }
        }
    };
}

table! {
    names {
        fn lookup(parent: u64, name: *const c_char);
        fn forget(ino: u64, count: u64);
        fn forget_multi(count: size_t, forgets: *mut ForgetData);
        fn mknod(parent: u64, name: *const c_char, mode: mode_t, rdev: dev_t);
        fn mkdir(parent: u64, name: *const c_char, mode: mode_t);
        fn unlink(parent: u64, name: *const c_char);
        fn rmdir(parent: u64, name: *const c_char);
        fn symlink(target: *const c_char, parent: u64, name: *const c_char);
        fn rename(parent: u64, name: *const c_char, to: u64, new: *const c_char, flags: c_uint);
        fn link(ino: u64, parent: u64, name: *const c_char);
        fn create(parent: u64, name: *const c_char, mode: mode_t, fi: *mut FileInfo);
    }
    attr {
        fn getattr(ino: u64, fi: *mut FileInfo);
        fn setattr(ino: u64, attr: *mut stat64, valid: c_int, fi: *mut FileInfo);
        fn access(ino: u64, mask: c_int);
        fn readlink(ino: u64);
        fn statfs(ino: u64);
        fn statx(ino: u64, flags: c_int, mask: c_int, fi: *mut FileInfo);
        fn setxattr(ino: u64, name: *const c_char, value: *const c_char, size: size_t, flags: c_int);
        fn getxattr(ino: u64, name: *const c_char, size: size_t);
        fn listxattr(ino: u64, size: size_t);
        fn removexattr(ino: u64, name: *const c_char);
    }
    files {
        fn open(ino: u64, fi: *mut FileInfo);
        fn read(ino: u64, size: size_t, off: off64_t, fi: *mut FileInfo);
        fn write_buf(ino: u64, data: *mut Bufvec, off: off64_t, fi: *mut FileInfo);
        fn release(ino: u64, fi: *mut FileInfo);
        fn fsync(ino: u64, datasync: c_int, fi: *mut FileInfo);
        fn bmap(ino: u64, blocksize: size_t, block: u64);
        fn ioctl(ino: u64, cmd: c_uint, arg: *mut c_void, fi: *mut FileInfo, flags: c_uint, data: *const c_void, in_size: size_t, out_size: size_t);
        fn poll(ino: u64, fi: *mut FileInfo, handle: *mut PollHandle);
        fn fallocate(ino: u64, mode: c_int, off: off64_t, len: off64_t, fi: *mut FileInfo);
        fn copy_file_range(ino: u64, off: off64_t, fi: *mut FileInfo, to: u64, off_to: off64_t, fi_to: *mut FileInfo, len: size_t, flags: c_int);
        fn lseek(ino: u64, off: off64_t, whence: c_int, fi: *mut FileInfo);
    }
    dirs {
        fn opendir(ino: u64, fi: *mut FileInfo);
        fn readdir(ino: u64, size: size_t, off: off64_t, fi: *mut FileInfo);
        fn readdirplus(ino: u64, size: size_t, off: off64_t, fi: *mut FileInfo);
        fn releasedir(ino: u64, fi: *mut FileInfo);
        fn fsyncdir(ino: u64, datasync: c_int, fi: *mut FileInfo);
    }
    locks {
        fn flush(ino: u64, fi: *mut FileInfo);
        fn getlk(ino: u64, fi: *mut FileInfo, lock: *mut flock64);
        fn setlk(ino: u64, fi: *mut FileInfo, lock: *mut flock64, sleep: c_int);
        fn flock(ino: u64, fi: *mut FileInfo, op: c_int);
    }
}

/// The session's table of operations.
pub fn low_level() -> LowlevelOps {
    LowlevelOps { init: Some(upkeep::init), destroy: Some(upkeep::destroy), ..all() }
}

/// A C string of the session's.
unsafe fn text<'a>(name: *const c_char) -> &'a CStr {
    // SAFETY: a name of the request, which lives as long as the operation.
    unsafe { CStr::from_ptr(name) }
}
