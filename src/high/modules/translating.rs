//! Layers that change paths on the way down and names on the way up, and leave
//! everything else to the layer below: what `subdir` and `iconv` have in common.
//!
//! Such a layer has an operation if the layer below has it. It finds its state
//! as `private_data` in the context. A path that the library does not give (NULL)
//! stays none.
#![allow(unsafe_code)] // operations are C functions
#![allow(clippy::missing_safety_doc)] // every pointer as in the C prototypes

use crate::abi::args::ArgVec;
use crate::abi::high::{Config, FillDir, Operations};
use crate::abi::public::{Args, Bufvec, ConnInfo, FileInfo, PollHandle};
use crate::errno::{Errno, Result};
use crate::high::context;
use crate::high::layer::Layer;
use libc::statx as Statx;
use libc::{
    c_char, c_int, c_uint, c_void, dev_t, flock64, gid_t, mode_t, off64_t, size_t, ssize_t, stat64,
    statvfs64, timespec, uid_t,
};
use std::borrow::Cow;
use std::ffi::{CStr, CString};

type Path = *const c_char;

/// How a layer changes paths and names. Called from any thread.
pub trait Translation: Send + Sync {
    /// A path of the layer above, for the layer below.
    fn path(&self, path: &CStr) -> Result<CString>;

    /// The target of a new symbolic link.
    fn target<'a>(&self, target: &'a CStr) -> Result<Cow<'a, CStr>> {
        Ok(target.into())
    }

    /// The target of the link `path` (as the layer above calls it), as the layer
    /// below has it.
    fn found_target<'a>(&self, path: &CStr, target: &'a CStr) -> Result<Cow<'a, CStr>>;

    /// A directory entry's name, as the layer below has it.
    fn found_name<'a>(&self, name: &'a CStr) -> Result<Cow<'a, CStr>> {
        Ok(name.into())
    }
}

struct State {
    below: *mut Layer,
    translation: Box<dyn Translation>,
}

/// The state of the layer whose operation this thread runs.
unsafe fn state<'a>() -> &'a State {
    // SAFETY: the operations below are in tables of `layer` only, whose private
    // data it is; it lives as long as the layer.
    unsafe { &*(*context::current()).private_data.cast::<State>() }
}

impl State {
    fn below(&self) -> &Layer {
        // SAFETY: the layer below belongs to this one until `destroy`.
        unsafe { &*self.below }
    }

    /// The path below; `None` for none.
    unsafe fn down(&self, path: Path) -> Result<Option<CString>> {
        if path.is_null() {
            return Ok(None);
        }
        // SAFETY: the caller's promise.
        self.translation.path(unsafe { CStr::from_ptr(path) }).map(Some)
    }
}

fn pointer(path: &Option<CString>) -> Path {
    path.as_ref().map_or(std::ptr::null(), |path| path.as_ptr())
}

/// Operations whose only path comes first.
macro_rules! with_path {
    ($(fn $op:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            unsafe extern "C" fn $op(path: Path $(, $arg: $type)*) -> $result {
                // SAFETY: an operation of a layer made here.
                unsafe {
                    let state = state();
                    match state.down(path) {
                        Ok(path) => state.below().$op(pointer(&path) $(, $arg)*),
                        Err(Errno(errno)) => -<$result>::from(errno),
                    }
                }
            }
        )*

        /// Those of them that the layer below has.
        fn operations_with_path(table: &mut Operations, below: &Operations) {
            $(table.$op = below.$op.and(Some($op as _));)*
        }
    };
}

with_path! {
    fn getattr(stat: *mut stat64, fi: *mut FileInfo) -> c_int;
    fn mknod(mode: mode_t, rdev: dev_t) -> c_int;
    fn mkdir(mode: mode_t) -> c_int;
    fn unlink() -> c_int;
    fn rmdir() -> c_int;
    fn chmod(mode: mode_t, fi: *mut FileInfo) -> c_int;
    fn chown(uid: uid_t, gid: gid_t, fi: *mut FileInfo) -> c_int;
    fn truncate(size: off64_t, fi: *mut FileInfo) -> c_int;
    fn open(fi: *mut FileInfo) -> c_int;
    fn read(data: *mut c_char, size: size_t, off: off64_t, fi: *mut FileInfo) -> c_int;
    fn write(data: *const c_char, size: size_t, off: off64_t, fi: *mut FileInfo) -> c_int;
    fn read_buf(data: *mut *mut Bufvec, size: size_t, off: off64_t, fi: *mut FileInfo) -> c_int;
    fn write_buf(data: *mut Bufvec, off: off64_t, fi: *mut FileInfo) -> c_int;
    fn statfs(stat: *mut statvfs64) -> c_int;
    fn flush(fi: *mut FileInfo) -> c_int;
    fn release(fi: *mut FileInfo) -> c_int;
    fn fsync(datasync: c_int, fi: *mut FileInfo) -> c_int;
    fn setxattr(name: Path, value: *const c_char, size: size_t, flags: c_int) -> c_int;
    fn getxattr(name: Path, value: *mut c_char, size: size_t) -> c_int;
    fn listxattr(list: *mut c_char, size: size_t) -> c_int;
    fn removexattr(name: Path) -> c_int;
    fn opendir(fi: *mut FileInfo) -> c_int;
    fn releasedir(fi: *mut FileInfo) -> c_int;
    fn fsyncdir(datasync: c_int, fi: *mut FileInfo) -> c_int;
    fn access(mask: c_int) -> c_int;
    fn create(mode: mode_t, fi: *mut FileInfo) -> c_int;
    fn lock(fi: *mut FileInfo, cmd: c_int, lock: *mut flock64) -> c_int;
    fn utimens(times: *const timespec, fi: *mut FileInfo) -> c_int;
    fn bmap(blocksize: size_t, block: *mut u64) -> c_int;
    fn ioctl(cmd: c_uint, arg: *mut c_void, fi: *mut FileInfo, flags: c_uint, data: *mut c_void) -> c_int;
    fn poll(fi: *mut FileInfo, handle: *mut PollHandle, revents: *mut c_uint) -> c_int;
    fn flock(fi: *mut FileInfo, op: c_int) -> c_int;
    fn fallocate(mode: c_int, off: off64_t, len: off64_t, fi: *mut FileInfo) -> c_int;
    fn lseek(off: off64_t, whence: c_int, fi: *mut FileInfo) -> off64_t;
    fn statx(flags: c_int, mask: c_int, stat: *mut Statx, fi: *mut FileInfo) -> c_int;
}

/// Operations with two paths.
macro_rules! with_paths {
    ($(fn $op:ident($($arg:ident: $type:ty),*);)*) => {
        $(
            unsafe extern "C" fn $op(from: Path, to: Path $(, $arg: $type)*) -> c_int {
                // SAFETY: as in `with_path!`.
                unsafe {
                    let state = state();
                    match (state.down(from), state.down(to)) {
                        (Ok(from), Ok(to)) => state.below().$op(pointer(&from), pointer(&to) $(, $arg)*),
                        (Err(Errno(errno)), _) | (_, Err(Errno(errno))) => -errno,
                    }
                }
            }
        )*
    };
}

with_paths! {
    fn rename(flags: c_uint);
    fn link();
}

unsafe extern "C" fn copy_file_range(
    path: Path,
    fi: *mut FileInfo,
    off: off64_t,
    to: Path,
    fi_to: *mut FileInfo,
    off_to: off64_t,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as in `with_path!`.
    unsafe {
        let state = state();
        match (state.down(path), state.down(to)) {
            (Ok(path), Ok(to)) => {
                let (path, to) = (pointer(&path), pointer(&to));
                state.below().copy_file_range(path, fi, off, to, fi_to, off_to, len, flags)
            }
            (Err(Errno(errno)), _) | (_, Err(Errno(errno))) => -(errno as ssize_t),
        }
    }
}

unsafe extern "C" fn symlink(target: Path, path: Path) -> c_int {
    // SAFETY: as in `with_path!`.
    unsafe {
        let state = state();
        match (state.translation.target(CStr::from_ptr(target)), state.down(path)) {
            (Ok(target), Ok(path)) => state.below().symlink(target.as_ptr(), pointer(&path)),
            (Err(Errno(errno)), _) | (_, Err(Errno(errno))) => -errno,
        }
    }
}

unsafe extern "C" fn readlink(path: Path, buf: *mut c_char, size: size_t) -> c_int {
    // SAFETY: as in `with_path!`; the layer below ends the target with a zero
    // byte within `size`.
    unsafe {
        let state = state();
        let below = match state.down(path) {
            Ok(below) => below,
            Err(Errno(errno)) => return -errno,
        };
        let result = state.below().readlink(pointer(&below), buf, size);
        if result != 0 || path.is_null() || size == 0 {
            return result;
        }
        let target = CStr::from_ptr(buf).to_owned();
        match state.translation.found_target(CStr::from_ptr(path), &target) {
            Ok(target) => {
                let bytes = target.to_bytes();
                let len = bytes.len().min(size - 1);
                buf.copy_from(bytes.as_ptr().cast(), len);
                *buf.add(len) = 0;
                0
            }
            Err(Errno(errno)) => -errno,
        }
    }
}

/// A listing on its way up.
struct Listing<'a> {
    state: &'a State,
    buf: *mut c_void,
    fill: FillDir,
}

unsafe extern "C" fn fill(
    listing: *mut c_void,
    name: Path,
    stat: *const stat64,
    off: off64_t,
    flags: c_uint,
) -> c_int {
    // SAFETY: `readdir` below passes its own listing.
    unsafe {
        let listing = &*listing.cast::<Listing<'_>>();
        let Some(fill) = listing.fill else { return 0 };
        match listing.state.translation.found_name(CStr::from_ptr(name)) {
            Ok(name) => fill(listing.buf, name.as_ptr(), stat, off, flags),
            // A name that cannot be shown is left out.
            Err(_) => 0,
        }
    }
}

unsafe extern "C" fn readdir(
    path: Path,
    buf: *mut c_void,
    filler: FillDir,
    off: off64_t,
    fi: *mut FileInfo,
    flags: c_uint,
) -> c_int {
    // SAFETY: as in `with_path!`.
    unsafe {
        let state = state();
        let path = match state.down(path) {
            Ok(path) => path,
            Err(Errno(errno)) => return -errno,
        };
        let mut listing = Listing { state, buf, fill: filler };
        let listing = (&raw mut listing).cast();
        state.below().readdir(pointer(&path), listing, Some(fill), off, fi, flags)
    }
}

unsafe extern "C" fn init(conn: *mut ConnInfo, config: *mut Config) -> *mut c_void {
    // SAFETY: as in `with_path!`.
    unsafe {
        let state = state();
        state.below().init(conn, config);
        std::ptr::from_ref(state).cast_mut().cast()
    }
}

unsafe extern "C" fn destroy(private: *mut c_void) {
    // SAFETY: the state that `layer` gave away; the layer below was made by
    // `Layer::new` and belongs to this one.
    unsafe {
        let state = Box::from_raw(private.cast::<State>());
        state.below().destroy();
        drop(Box::from_raw(state.below));
    }
}

/// What the factories do: a layer with the translation that `parse` makes of the
/// command line; NULL if there is none.
///
/// # Safety
/// As `fuse_module_factory_t`: `args` is a vector, `below` a layer and a NULL.
pub unsafe fn make<T: Translation + 'static>(
    args: *mut Args,
    below: *mut *mut Layer,
    parse: impl FnOnce(&mut ArgVec) -> Result<T>,
) -> *mut Layer {
    // SAFETY: the caller's promise.
    let (args, below) = unsafe { (ArgVec::from_c(args), *below) };
    match args.ok_or(Errno(libc::EINVAL)).and_then(parse) {
        Ok(translation) if !below.is_null() => layer(below, Box::new(translation)),
        _ => std::ptr::null_mut(),
    }
}

/// A layer on top of `below`, which belongs to it from then on.
fn layer(below: *mut Layer, translation: Box<dyn Translation>) -> *mut Layer {
    // SAFETY: a factory gets a layer.
    let has = *unsafe { (*below).ops() };
    let mut table = Operations::default();
    operations_with_path(&mut table, &has);
    // A layer reads and writes by either operation.
    if has.read_buf.is_some() {
        table.read = Some(read);
    }
    if has.write_buf.is_some() {
        table.write = Some(write);
    }
    table.readlink = has.readlink.and(Some(readlink));
    table.symlink = has.symlink.and(Some(symlink));
    table.rename = has.rename.and(Some(rename));
    table.link = has.link.and(Some(link));
    table.copy_file_range = has.copy_file_range.and(Some(copy_file_range));
    table.readdir = has.readdir.and(Some(readdir));
    table.init = Some(init);
    table.destroy = Some(destroy);
    let state = Box::new(State { below, translation });
    Box::into_raw(Layer::new(table, Box::into_raw(state).cast()))
}
