//! `fuse.h`, the path-based API: every exported name is here, and answers that
//! this version of ringfuse does not have it. Each logs one line and returns
//! what its callers take for failure, so that a program linked against the
//! library starts and says why it stops. `docs/compatibility.md` lists them.
#![allow(missing_docs)] // include/fuse.h has them
#![allow(unused_variables)] // the parameters are the contract, nothing reads them

mod fs;

use crate::abi::public::{Args, LibfuseVersion, LoopConfig, LoopConfigV1, PollHandle};
use libc::{c_char, c_int, c_void, gid_t, size_t, ENOSYS};
use std::ptr;

/// Names for what this module only passes pointers to.
macro_rules! opaque {
    ($($name:ident)*) => { $(
        #[repr(C)]
        pub struct $name { _private: [u8; 0] }
    )* };
}
opaque! { Fuse Fs Operations Config Context FuseSession }

/// `fuse_main`'s exit status when the filesystem object cannot be made.
const FUSE_NEW_FAILED: c_int = 3;

fn unsupported<T>(function: &str, answer: T) -> T {
    crate::log_error!(
        "ringfuse: {function}: the path-based (high-level) API of fuse.h is not part of this \
         version of ringfuse; fuse_lowlevel.h is"
    );
    answer
}

// A filesystem's life.

#[no_mangle]
pub extern "C" fn fuse_main_real(
    argc: c_int,
    argv: *mut *mut c_char,
    op: *const Operations,
    op_size: size_t,
    user_data: *mut c_void,
) -> c_int {
    unsupported("fuse_main_real", FUSE_NEW_FAILED)
}

#[no_mangle]
pub extern "C" fn fuse_main_real_versioned(
    argc: c_int,
    argv: *mut *mut c_char,
    op: *const Operations,
    op_size: size_t,
    version: *mut LibfuseVersion,
    user_data: *mut c_void,
) -> c_int {
    unsupported("fuse_main_real_versioned", FUSE_NEW_FAILED)
}

#[no_mangle]
pub extern "C" fn fuse_new_30(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    user_data: *mut c_void,
) -> *mut Fuse {
    unsupported("fuse_new_30", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn fuse_new_31(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    user_data: *mut c_void,
) -> *mut Fuse {
    unsupported("fuse_new_31", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn _fuse_new_30(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    version: *mut LibfuseVersion,
    user_data: *mut c_void,
) -> *mut Fuse {
    unsupported("_fuse_new_30", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn _fuse_new_31(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    version: *mut LibfuseVersion,
    user_data: *mut c_void,
) -> *mut Fuse {
    unsupported("_fuse_new_31", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn fuse_lib_help(args: *mut Args) {
    unsupported("fuse_lib_help", ())
}

#[no_mangle]
pub extern "C" fn fuse_mount(f: *mut Fuse, mountpoint: *const c_char) -> c_int {
    unsupported("fuse_mount", -1)
}

#[no_mangle]
pub extern "C" fn fuse_unmount(f: *mut Fuse) {
    unsupported("fuse_unmount", ())
}

#[no_mangle]
pub extern "C" fn fuse_destroy(f: *mut Fuse) {
    unsupported("fuse_destroy", ())
}

#[no_mangle]
pub extern "C" fn fuse_loop(f: *mut Fuse) -> c_int {
    unsupported("fuse_loop", -1)
}

#[no_mangle]
pub extern "C" fn fuse_loop_mt_31(f: *mut Fuse, clone_fd: c_int) -> c_int {
    unsupported("fuse_loop_mt_31", -1)
}

#[no_mangle]
pub extern "C" fn fuse_loop_mt_32(f: *mut Fuse, config: *mut LoopConfigV1) -> c_int {
    unsupported("fuse_loop_mt_32", -1)
}

#[no_mangle]
pub extern "C" fn fuse_loop_mt_312(f: *mut Fuse, config: *mut LoopConfig) -> c_int {
    unsupported("fuse_loop_mt_312", -1)
}

#[no_mangle]
pub extern "C" fn fuse_exit(f: *mut Fuse) {
    unsupported("fuse_exit", ())
}

#[no_mangle]
pub extern "C" fn fuse_get_session(f: *mut Fuse) -> *mut FuseSession {
    unsupported("fuse_get_session", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn fuse_open_channel(mountpoint: *const c_char, options: *const c_char) -> c_int {
    unsupported("fuse_open_channel", -1)
}

// Inside a callback.

#[no_mangle]
pub extern "C" fn fuse_get_context() -> *mut Context {
    unsupported("fuse_get_context", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn fuse_getgroups(size: c_int, list: *mut gid_t) -> c_int {
    unsupported("fuse_getgroups", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_interrupted() -> c_int {
    unsupported("fuse_interrupted", 0)
}

#[no_mangle]
pub extern "C" fn fuse_invalidate_path(f: *mut Fuse, path: *const c_char) -> c_int {
    unsupported("fuse_invalidate_path", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_notify_poll(ph: *mut PollHandle) -> c_int {
    unsupported("fuse_notify_poll", -ENOSYS)
}

// The node table's upkeep.

#[no_mangle]
pub extern "C" fn fuse_start_cleanup_thread(f: *mut Fuse) -> c_int {
    unsupported("fuse_start_cleanup_thread", -ENOSYS)
}

#[no_mangle]
pub extern "C" fn fuse_stop_cleanup_thread(f: *mut Fuse) {
    unsupported("fuse_stop_cleanup_thread", ())
}

#[no_mangle]
pub extern "C" fn fuse_clean_cache(f: *mut Fuse) -> c_int {
    unsupported("fuse_clean_cache", -ENOSYS)
}
