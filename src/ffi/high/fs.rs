//! `fuse_fs_*`: the operations of a filesystem that stacks on another one.
#![allow(missing_docs)] // include/fuse.h has them
#![allow(unused_variables)] // the parameters are the contract, nothing reads them

use super::{unsupported, Config, Fs, Operations};
use crate::abi::public::{Bufvec, ConnInfo, FileInfo, PollHandle};
use libc::{
    c_char, c_int, c_uint, c_void, dev_t, flock64, gid_t, mode_t, off64_t, size_t, ssize_t, stat64,
    statvfs64, statx, timespec, uid_t, ENOSYS,
};
use std::ptr;

/// `fuse_fill_dir_t`.
pub type FillDir = Option<
    unsafe extern "C" fn(*mut c_void, *const c_char, *const stat64, off64_t, c_uint) -> c_int,
>;

#[no_mangle]
pub extern "C" fn fuse_fs_new(
    op: *const Operations,
    op_size: size_t,
    private_data: *mut c_void,
) -> *mut Fs {
    unsupported("fuse_fs_new", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn fuse_fs_init(fs: *mut Fs, conn: *mut ConnInfo, cfg: *mut Config) {
    unsupported("fuse_fs_init", ())
}

#[no_mangle]
pub extern "C" fn fuse_fs_destroy(fs: *mut Fs) {
    unsupported("fuse_fs_destroy", ())
}

#[no_mangle]
pub extern "C" fn fuse_fs_getattr(
    fs: *mut Fs,
    path: *const c_char,
    buf: *mut stat64,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_getattr", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_statx(
    fs: *mut Fs,
    path: *const c_char,
    flags: c_int,
    mask: c_int,
    buf: *mut statx,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_statx", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_access(fs: *mut Fs, path: *const c_char, mask: c_int) -> c_int {
    unsupported("fuse_fs_access", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_readlink(
    fs: *mut Fs,
    path: *const c_char,
    buf: *mut c_char,
    len: size_t,
) -> c_int {
    unsupported("fuse_fs_readlink", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_mknod(
    fs: *mut Fs,
    path: *const c_char,
    mode: mode_t,
    rdev: dev_t,
) -> c_int {
    unsupported("fuse_fs_mknod", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_mkdir(fs: *mut Fs, path: *const c_char, mode: mode_t) -> c_int {
    unsupported("fuse_fs_mkdir", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_unlink(fs: *mut Fs, path: *const c_char) -> c_int {
    unsupported("fuse_fs_unlink", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_rmdir(fs: *mut Fs, path: *const c_char) -> c_int {
    unsupported("fuse_fs_rmdir", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_symlink(
    fs: *mut Fs,
    target: *const c_char,
    path: *const c_char,
) -> c_int {
    unsupported("fuse_fs_symlink", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_rename(
    fs: *mut Fs,
    from: *const c_char,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    unsupported("fuse_fs_rename", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_link(fs: *mut Fs, from: *const c_char, to: *const c_char) -> c_int {
    unsupported("fuse_fs_link", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_chmod(
    fs: *mut Fs,
    path: *const c_char,
    mode: mode_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_chmod", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_chown(
    fs: *mut Fs,
    path: *const c_char,
    uid: uid_t,
    gid: gid_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_chown", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_truncate(
    fs: *mut Fs,
    path: *const c_char,
    size: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_truncate", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_utimens(
    fs: *mut Fs,
    path: *const c_char,
    times: *const timespec,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_utimens", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_create(
    fs: *mut Fs,
    path: *const c_char,
    mode: mode_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_create", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_open(fs: *mut Fs, path: *const c_char, fi: *mut FileInfo) -> c_int {
    unsupported("fuse_fs_open", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_release(fs: *mut Fs, path: *const c_char, fi: *mut FileInfo) -> c_int {
    unsupported("fuse_fs_release", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_read(
    fs: *mut Fs,
    path: *const c_char,
    buf: *mut c_char,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_read", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_read_buf(
    fs: *mut Fs,
    path: *const c_char,
    bufp: *mut *mut Bufvec,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_read_buf", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_write(
    fs: *mut Fs,
    path: *const c_char,
    buf: *const c_char,
    size: size_t,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_write", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_write_buf(
    fs: *mut Fs,
    path: *const c_char,
    buf: *mut Bufvec,
    off: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_write_buf", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_copy_file_range(
    fs: *mut Fs,
    path_in: *const c_char,
    fi_in: *mut FileInfo,
    off_in: off64_t,
    path_out: *const c_char,
    fi_out: *mut FileInfo,
    off_out: off64_t,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    unsupported("fuse_fs_copy_file_range", -(ENOSYS as ssize_t))
}

#[no_mangle]
pub extern "C" fn fuse_fs_lseek(
    fs: *mut Fs,
    path: *const c_char,
    off: off64_t,
    whence: c_int,
    fi: *mut FileInfo,
) -> off64_t {
    unsupported("fuse_fs_lseek", -off64_t::from(ENOSYS))
}

#[no_mangle]
pub extern "C" fn fuse_fs_fallocate(
    fs: *mut Fs,
    path: *const c_char,
    mode: c_int,
    offset: off64_t,
    length: off64_t,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_fallocate", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_flush(fs: *mut Fs, path: *const c_char, fi: *mut FileInfo) -> c_int {
    unsupported("fuse_fs_flush", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_fsync(
    fs: *mut Fs,
    path: *const c_char,
    datasync: c_int,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_fsync", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_statfs(fs: *mut Fs, path: *const c_char, buf: *mut statvfs64) -> c_int {
    unsupported("fuse_fs_statfs", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_opendir(fs: *mut Fs, path: *const c_char, fi: *mut FileInfo) -> c_int {
    unsupported("fuse_fs_opendir", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_readdir(
    fs: *mut Fs,
    path: *const c_char,
    buf: *mut c_void,
    filler: FillDir,
    off: off64_t,
    fi: *mut FileInfo,
    flags: c_uint,
) -> c_int {
    unsupported("fuse_fs_readdir", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_fsyncdir(
    fs: *mut Fs,
    path: *const c_char,
    datasync: c_int,
    fi: *mut FileInfo,
) -> c_int {
    unsupported("fuse_fs_fsyncdir", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_releasedir(fs: *mut Fs, path: *const c_char, fi: *mut FileInfo) -> c_int {
    unsupported("fuse_fs_releasedir", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_lock(
    fs: *mut Fs,
    path: *const c_char,
    fi: *mut FileInfo,
    cmd: c_int,
    lock: *mut flock64,
) -> c_int {
    unsupported("fuse_fs_lock", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_flock(
    fs: *mut Fs,
    path: *const c_char,
    fi: *mut FileInfo,
    op: c_int,
) -> c_int {
    unsupported("fuse_fs_flock", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_setxattr(
    fs: *mut Fs,
    path: *const c_char,
    name: *const c_char,
    value: *const c_char,
    size: size_t,
    flags: c_int,
) -> c_int {
    unsupported("fuse_fs_setxattr", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_getxattr(
    fs: *mut Fs,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_char,
    size: size_t,
) -> c_int {
    unsupported("fuse_fs_getxattr", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_listxattr(
    fs: *mut Fs,
    path: *const c_char,
    list: *mut c_char,
    size: size_t,
) -> c_int {
    unsupported("fuse_fs_listxattr", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_removexattr(
    fs: *mut Fs,
    path: *const c_char,
    name: *const c_char,
) -> c_int {
    unsupported("fuse_fs_removexattr", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_bmap(
    fs: *mut Fs,
    path: *const c_char,
    blocksize: size_t,
    idx: *mut u64,
) -> c_int {
    unsupported("fuse_fs_bmap", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_ioctl(
    fs: *mut Fs,
    path: *const c_char,
    cmd: c_uint,
    arg: *mut c_void,
    fi: *mut FileInfo,
    flags: c_uint,
    data: *mut c_void,
) -> c_int {
    unsupported("fuse_fs_ioctl", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_fs_poll(
    fs: *mut Fs,
    path: *const c_char,
    fi: *mut FileInfo,
    ph: *mut PollHandle,
    reventsp: *mut c_uint,
) -> c_int {
    unsupported("fuse_fs_poll", -ENOSYS)
}
