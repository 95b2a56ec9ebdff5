//! `fuse_fs_*`: the operations of a layer, for modules. [`Layer`] has their
//! contracts.
//!
//! # Safety
//! All of them: `fs` is a layer that has not been destroyed, and the other
//! pointers are what the operation's prototype in `fuse.h` wants.
#![allow(missing_docs)] // include/fuse.h has them
#![allow(clippy::missing_safety_doc)] // said above

use crate::abi::high::{Config, FillDir, Operations};
use crate::abi::public::{Bufvec, ConnInfo, FileInfo, PollHandle};
use crate::high::layer::Layer;
use libc::{
    c_char, c_int, c_uint, c_void, dev_t, flock64, gid_t, mode_t, off64_t, size_t, ssize_t, stat64,
    statvfs64, statx, timespec, uid_t,
};

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_new(
    op: *const Operations,
    op_size: size_t,
    private_data: *mut c_void,
) -> *mut Layer {
    // SAFETY: see the module.
    let ops = unsafe { Operations::read(op, op_size) };
    Box::into_raw(Layer::new(ops, private_data))
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_init(fs: *mut Layer, conn: *mut ConnInfo, cfg: *mut Config) {
    // SAFETY: see the module.
    unsafe { (*fs).init(conn, cfg) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_destroy(fs: *mut Layer) {
    // SAFETY: see the module; made by `fuse_fs_new`.
    unsafe {
        (*fs).destroy();
        drop(Box::from_raw(fs));
    }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_getattr(
    fs: *mut Layer,
    path: *const c_char,
    buf: *mut stat64,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).getattr(path, buf, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_statx(
    fs: *mut Layer,
    path: *const c_char,
    flags: c_int,
    mask: c_int,
    buf: *mut statx,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).statx(path, flags, mask, buf, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_access(fs: *mut Layer, path: *const c_char, mask: c_int) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).access(path, mask) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_readlink(
    fs: *mut Layer,
    path: *const c_char,
    buf: *mut c_char,
    len: size_t,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).readlink(path, buf, len) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_mknod(
    fs: *mut Layer,
    path: *const c_char,
    mode: mode_t,
    rdev: dev_t,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).mknod(path, mode, rdev) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_mkdir(fs: *mut Layer, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).mkdir(path, mode) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_unlink(fs: *mut Layer, path: *const c_char) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).unlink(path) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_rmdir(fs: *mut Layer, path: *const c_char) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).rmdir(path) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_symlink(
    fs: *mut Layer,
    target: *const c_char,
    path: *const c_char,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).symlink(target, path) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_rename(
    fs: *mut Layer,
    from: *const c_char,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).rename(from, to, flags) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_link(
    fs: *mut Layer,
    from: *const c_char,
    to: *const c_char,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).link(from, to) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_chmod(
    fs: *mut Layer,
    path: *const c_char,
    mode: mode_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).chmod(path, mode, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_chown(
    fs: *mut Layer,
    path: *const c_char,
    uid: uid_t,
    gid: gid_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).chown(path, uid, gid, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_truncate(
    fs: *mut Layer,
    path: *const c_char,
    size: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).truncate(path, size, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_utimens(
    fs: *mut Layer,
    path: *const c_char,
    times: *const timespec,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).utimens(path, times, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_create(
    fs: *mut Layer,
    path: *const c_char,
    mode: mode_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).create(path, mode, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_open(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).open(path, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_release(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).release(path, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_read(
    fs: *mut Layer,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).read(path, buf, size, off, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_read_buf(
    fs: *mut Layer,
    path: *const c_char,
    bufp: *mut *mut Bufvec,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).read_buf(path, bufp, size, off, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_write(
    fs: *mut Layer,
    path: *const c_char,
    buf: *const c_char,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).write(path, buf, size, off, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_write_buf(
    fs: *mut Layer,
    path: *const c_char,
    buf: *mut Bufvec,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).write_buf(path, buf, off, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_copy_file_range(
    fs: *mut Layer,
    path_in: *const c_char,
    fi_in: *mut FileInfo,
    off_in: off64_t,
    path_out: *const c_char,
    fi_out: *mut FileInfo,
    off_out: off64_t,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: see the module.
    unsafe { (*fs).copy_file_range(path_in, fi_in, off_in, path_out, fi_out, off_out, len, flags) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_lseek(
    fs: *mut Layer,
    path: *const c_char,
    off: off64_t,
    whence: c_int,
    fi: *mut FileInfo,
) -> off64_t {
    // SAFETY: see the module.
    unsafe { (*fs).lseek(path, off, whence, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_fallocate(
    fs: *mut Layer,
    path: *const c_char,
    mode: c_int,
    offset: off64_t,
    length: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).fallocate(path, mode, offset, length, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_flush(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).flush(path, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_fsync(
    fs: *mut Layer,
    path: *const c_char,
    datasync: c_int,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).fsync(path, datasync, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_statfs(
    fs: *mut Layer,
    path: *const c_char,
    buf: *mut statvfs64,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).statfs(path, buf) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_opendir(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).opendir(path, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_readdir(
    fs: *mut Layer,
    path: *const c_char,
    buf: *mut c_void,
    filler: FillDir,
    off: off64_t,
    fi: *mut FileInfo,
    flags: c_uint,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).readdir(path, buf, filler, off, fi, flags) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_fsyncdir(
    fs: *mut Layer,
    path: *const c_char,
    datasync: c_int,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).fsyncdir(path, datasync, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_releasedir(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).releasedir(path, fi) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_lock(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
    cmd: c_int,
    lock: *mut flock64,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).lock(path, fi, cmd, lock) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_flock(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
    op: c_int,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).flock(path, fi, op) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_setxattr(
    fs: *mut Layer,
    path: *const c_char,
    name: *const c_char,
    value: *const c_char,
    size: size_t,
    flags: c_int,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).setxattr(path, name, value, size, flags) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_getxattr(
    fs: *mut Layer,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_char,
    size: size_t,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).getxattr(path, name, value, size) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_listxattr(
    fs: *mut Layer,
    path: *const c_char,
    list: *mut c_char,
    size: size_t,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).listxattr(path, list, size) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_removexattr(
    fs: *mut Layer,
    path: *const c_char,
    name: *const c_char,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).removexattr(path, name) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_bmap(
    fs: *mut Layer,
    path: *const c_char,
    blocksize: size_t,
    idx: *mut u64,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).bmap(path, blocksize, idx) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_ioctl(
    fs: *mut Layer,
    path: *const c_char,
    cmd: c_uint,
    arg: *mut c_void,
    fi: *mut FileInfo,
    flags: c_uint,
    data: *mut c_void,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).ioctl(path, cmd, arg, fi, flags, data) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_fs_poll(
    fs: *mut Layer,
    path: *const c_char,
    fi: *mut FileInfo,
    ph: *mut PollHandle,
    reventsp: *mut c_uint,
) -> c_int {
    // SAFETY: see the module.
    unsafe { (*fs).poll(path, fi, ph, reventsp) }
}
