//! Layers: the filesystem itself, and the modules above it.
//!
//! A layer is a table of operations with its private data; `fuse_fs_new` makes
//! one. What is uppermost gets the kernel's operations and calls the layer below
//! with `fuse_fs_*`. So a chain belongs to the [`super::Fuse`] that has its
//! upper end: `destroy` of a module destroys the layer below.
//!
//! The functions here are what `fuse_fs_*` are: they run the layer's callback
//! with its private data in the context ([`super::context`]), and know what to
//! answer for an operation that the table lacks. They may be called from any
//! thread that runs an operation. Pointers are the caller's, as in C.
#![allow(unsafe_code)] // callbacks are C functions
#![allow(missing_docs)] // include/fuse.h has them
#![allow(clippy::missing_safety_doc)] // every pointer as in the C prototypes

use super::context::Private;
use crate::abi::high::{Config, FillDir, Operations};
use crate::abi::public::{Bufvec, ConnInfo, FileInfo, PollHandle, BUF_IS_FD};
use crate::buf;
use crate::errno::Errno;
use libc::{
    c_char, c_int, c_uint, c_void, dev_t, flock64, gid_t, mode_t, off64_t, size_t, ssize_t, stat64,
    statvfs64, statx, timespec, uid_t, EIO, ENOMEM, ENOSYS,
};
use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

type Path = *const c_char;

/// `struct fuse_fs`.
pub struct Layer {
    ops: Operations,
    private: AtomicPtr<c_void>,
    debug: AtomicBool,
}

/// For the debug log: a path, or what stands for none.
fn shown(path: Path) -> std::borrow::Cow<'static, str> {
    if path.is_null() {
        return "(no path)".into();
    }
    // SAFETY: a path is a C string for the duration of the call.
    unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned().into()
}

/// One function per operation, with what it answers where the table has none.
macro_rules! operations {
    ($($(#[$meta:meta])* fn $op:ident(path: Path $(, $arg:ident: $type:ty)*) -> $result:ty = $absent:expr;)*) => {
        $(
            $(#[$meta])*
            #[allow(clippy::too_many_arguments)]
            pub unsafe fn $op(&self, path: Path $(, $arg: $type)*) -> $result {
                let Some(op) = self.ops.$op else {
                    return $absent;
                };
                let _private = self.enter();
                if self.debug.load(Ordering::Relaxed) {
                    crate::log_debug!("{} {}", stringify!($op), shown(path));
                }
                // SAFETY: the filesystem's own function, with arguments as its
                // prototype wants them.
                let result = unsafe { op(path $(, $arg)*) };
                if self.debug.load(Ordering::Relaxed) {
                    crate::log_debug!("   {} {}: {result}", stringify!($op), shown(path));
                }
                result
            }
        )*
    };
}

impl Layer {
    /// A layer with a copy of `ops`.
    pub fn new(ops: Operations, private: *mut c_void) -> Box<Self> {
        Box::new(Self { ops, private: AtomicPtr::new(private), debug: AtomicBool::new(false) })
    }

    /// The operations that it has.
    pub fn ops(&self) -> &Operations {
        &self.ops
    }

    /// Writes every operation to the log from now on.
    pub fn set_debug(&self, on: bool) {
        self.debug.store(on, Ordering::Relaxed);
    }

    /// What its callbacks find in the context.
    pub fn private(&self) -> *mut c_void {
        self.private.load(Ordering::Acquire)
    }

    fn enter(&self) -> Private {
        Private::set(self.private())
    }

    operations! {
        fn getattr(path: Path, stat: *mut stat64, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn readlink(path: Path, buf: *mut c_char, len: size_t) -> c_int = -ENOSYS;
        fn mknod(path: Path, mode: mode_t, rdev: dev_t) -> c_int = -ENOSYS;
        fn mkdir(path: Path, mode: mode_t) -> c_int = -ENOSYS;
        fn unlink(path: Path) -> c_int = -ENOSYS;
        fn rmdir(path: Path) -> c_int = -ENOSYS;
        fn symlink(path: Path, link: Path) -> c_int = -ENOSYS;
        fn rename(path: Path, to: Path, flags: c_uint) -> c_int = -ENOSYS;
        fn link(path: Path, to: Path) -> c_int = -ENOSYS;
        fn chmod(path: Path, mode: mode_t, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn chown(path: Path, uid: uid_t, gid: gid_t, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn truncate(path: Path, size: off64_t, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn open(path: Path, fi: *mut FileInfo) -> c_int = 0;
        fn flush(path: Path, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn release(path: Path, fi: *mut FileInfo) -> c_int = 0;
        fn fsync(path: Path, datasync: c_int, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn setxattr(path: Path, name: Path, value: *const c_char, size: size_t, flags: c_int) -> c_int = -ENOSYS;
        fn getxattr(path: Path, name: Path, value: *mut c_char, size: size_t) -> c_int = -ENOSYS;
        fn listxattr(path: Path, list: *mut c_char, size: size_t) -> c_int = -ENOSYS;
        fn removexattr(path: Path, name: Path) -> c_int = -ENOSYS;
        fn opendir(path: Path, fi: *mut FileInfo) -> c_int = 0;
        fn readdir(path: Path, buf: *mut c_void, fill: FillDir, off: off64_t, fi: *mut FileInfo, flags: c_uint) -> c_int = -ENOSYS;
        fn releasedir(path: Path, fi: *mut FileInfo) -> c_int = 0;
        fn fsyncdir(path: Path, datasync: c_int, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn access(path: Path, mask: c_int) -> c_int = -ENOSYS;
        fn create(path: Path, mode: mode_t, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn lock(path: Path, fi: *mut FileInfo, cmd: c_int, lock: *mut flock64) -> c_int = -ENOSYS;
        fn utimens(path: Path, times: *const timespec, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn bmap(path: Path, blocksize: size_t, block: *mut u64) -> c_int = -ENOSYS;
        fn ioctl(path: Path, cmd: c_uint, arg: *mut c_void, fi: *mut FileInfo, flags: c_uint, data: *mut c_void) -> c_int = -ENOSYS;
        fn poll(path: Path, fi: *mut FileInfo, handle: *mut PollHandle, revents: *mut c_uint) -> c_int = -ENOSYS;
        fn flock(path: Path, fi: *mut FileInfo, op: c_int) -> c_int = -ENOSYS;
        fn fallocate(path: Path, mode: c_int, off: off64_t, len: off64_t, fi: *mut FileInfo) -> c_int = -ENOSYS;
        fn copy_file_range(path: Path, fi: *mut FileInfo, off: off64_t, to: Path, fi_to: *mut FileInfo, off_to: off64_t, len: size_t, flags: c_int) -> ssize_t = -(ENOSYS as ssize_t);
        fn lseek(path: Path, off: off64_t, whence: c_int, fi: *mut FileInfo) -> off64_t = -off64_t::from(ENOSYS);
        fn statx(path: Path, flags: c_int, mask: c_int, stat: *mut statx, fi: *mut FileInfo) -> c_int = -ENOSYS;
    }

    /// Without an operation: what statfs(2) cannot do without.
    pub unsafe fn statfs(&self, path: Path, stat: *mut statvfs64) -> c_int {
        let Some(op) = self.ops.statfs else {
            // SAFETY: the caller's structure.
            unsafe {
                (*stat).f_namemax = 255;
                (*stat).f_bsize = 512;
            }
            return 0;
        };
        let _private = self.enter();
        // The root is meant if nothing is.
        let path = if path.is_null() { c"/".as_ptr() } else { path };
        // SAFETY: as in `operations!`.
        unsafe { op(path, stat) }
    }

    /// Whether there is an operation that takes poll handles.
    pub fn polls(&self) -> bool {
        self.ops.poll.is_some()
    }

    /// Whether files can be read, and written.
    pub fn reads_and_writes(&self) -> (bool, bool) {
        let ops = &self.ops;
        (
            ops.read.is_some() || ops.read_buf.is_some(),
            ops.write.is_some() || ops.write_buf.is_some(),
        )
    }

    /// Reads into `data`, by whichever operation there is.
    pub unsafe fn read(
        &self,
        path: Path,
        data: *mut c_char,
        size: size_t,
        off: off64_t,
        fi: *mut FileInfo,
    ) -> c_int {
        if self.ops.read_buf.is_some() {
            let mut source = ptr::null_mut();
            // SAFETY: as in `operations!`; the vector is ours then.
            unsafe {
                let result = self.read_buf(path, &mut source, size, off, fi);
                if result == 0 {
                    let mut memory = Bufvec::memory(data.cast(), size);
                    let copied = buf::copy(&mut memory, source, 0);
                    free_bufvec(source);
                    return copied.map_or_else(|Errno(errno)| -errno, |copied| copied as c_int);
                }
                free_bufvec(source);
                return result;
            }
        }
        let Some(op) = self.ops.read else {
            return -ENOSYS;
        };
        let _private = self.enter();
        // SAFETY: as in `operations!`.
        let result = unsafe { op(path, data, size, off, fi) };
        if result > 0 && result as size_t > size {
            crate::log_error!("fuse: read too many bytes: {result} of {size}");
        }
        result
    }

    /// Says where the data is: in memory from malloc(3), or in a descriptor. The
    /// vector is the caller's, to be freed by [`free_bufvec`]; NULL on errors.
    pub unsafe fn read_buf(
        &self,
        path: Path,
        data: *mut *mut Bufvec,
        size: size_t,
        off: off64_t,
        fi: *mut FileInfo,
    ) -> c_int {
        let _private = self.enter();
        // SAFETY: as in `operations!`; the vector and its memory come from malloc.
        unsafe {
            if let Some(op) = self.ops.read_buf {
                return op(path, data, size, off, fi);
            }
            let Some(op) = self.ops.read else {
                return -ENOSYS;
            };
            let vector = libc::malloc(size_of::<Bufvec>()).cast::<Bufvec>();
            let memory = libc::malloc(size.max(1));
            if vector.is_null() || memory.is_null() {
                libc::free(vector.cast());
                libc::free(memory);
                return -ENOMEM;
            }
            vector.write(Bufvec::memory(memory, size));
            *data = vector;
            let result = op(path, memory.cast(), size, off, fi);
            if result >= 0 {
                if result as size_t > size {
                    crate::log_error!("fuse: read too many bytes: {result} of {size}");
                }
                (*vector).buf[0].size = (result as size_t).min(size);
                return 0;
            }
            result
        }
    }

    /// Writes `data`, by whichever operation there is.
    pub unsafe fn write(
        &self,
        path: Path,
        data: *const c_char,
        size: size_t,
        off: off64_t,
        fi: *mut FileInfo,
    ) -> c_int {
        let mut vector = Bufvec::memory(data.cast_mut().cast(), size);
        // SAFETY: as in `operations!`; operations do not write to the data.
        unsafe { self.write_buf(path, &mut vector, off, fi) }
    }

    /// Writes what `data` describes, by whichever operation there is.
    pub unsafe fn write_buf(
        &self,
        path: Path,
        data: *mut Bufvec,
        off: off64_t,
        fi: *mut FileInfo,
    ) -> c_int {
        let _private = self.enter();
        // SAFETY: as in `operations!`.
        unsafe {
            if let Some(op) = self.ops.write_buf {
                return op(path, data, off, fi);
            }
            let Some(op) = self.ops.write else {
                return -ENOSYS;
            };
            let size = buf::size(data);
            let one = &(*data).buf[0];
            if (*data).count == 1 && one.flags & BUF_IS_FD == 0 {
                return check_written(op(path, one.mem.cast(), one.size, off, fi), one.size);
            }
            let memory = libc::malloc(size.max(1));
            if memory.is_null() {
                return -ENOMEM;
            }
            let mut copy = Bufvec::memory(memory, size);
            let result = match buf::copy(&mut copy, data, 0) {
                Ok(copied) => check_written(op(path, memory.cast(), copied, off, fi), copied),
                Err(Errno(errno)) => -errno,
            };
            libc::free(memory);
            result
        }
    }

    /// Lets the layer see the connection and the settings. What it returns
    /// becomes its private data.
    pub unsafe fn init(&self, conn: *mut ConnInfo, config: *mut Config) {
        let Some(op) = self.ops.init else {
            return;
        };
        let _private = self.enter();
        // SAFETY: as in `operations!`.
        let private = unsafe { op(conn, config) };
        self.private.store(private, Ordering::Release);
    }

    /// It has served nobody, so its `destroy` is not to be called.
    pub fn never_started(&mut self) {
        self.ops.destroy = None;
    }

    /// The end: the layer's `destroy`, which frees the layer below if it is a
    /// module.
    pub unsafe fn destroy(&self) {
        let Some(op) = self.ops.destroy else {
            return;
        };
        let private = self.private();
        let _private = self.enter();
        // SAFETY: as in `operations!`.
        unsafe { op(private) };
    }
}

fn check_written(result: c_int, size: size_t) -> c_int {
    if result > 0 && result as size_t > size {
        crate::log_error!("fuse: wrote too many bytes: {result} of {size}");
        return -EIO;
    }
    result
}

/// Frees what [`Layer::read_buf`] gave, with the memory in it.
pub unsafe fn free_bufvec(vector: *mut Bufvec) {
    if vector.is_null() {
        return;
    }
    // SAFETY: from malloc, as the API wants it.
    unsafe {
        for index in 0..(*vector).count {
            let buffer = buf::nth(vector, index);
            if (*buffer).flags & BUF_IS_FD == 0 {
                libc::free((*buffer).mem);
            }
        }
        libc::free(vector.cast());
    }
}
