//! `fuse.h`: path filesystems.
//!
//! # Safety
//! All of them: `f` is a filesystem that has not been destroyed, and the other
//! pointers are what the prototype in `fuse.h` wants.
#![allow(missing_docs)] // include/fuse.h has them
#![allow(clippy::missing_safety_doc)] // said above

mod fs;

use super::session::threads_of;
use crate::abi::args::ArgVec;
use crate::abi::high::{Context, Operations};
use crate::abi::public::{Args, LibfuseVersion, LoopConfig, LoopConfigV1, PollHandle};
use crate::errno::Errno;
use crate::high::{context, run, Fuse};
use crate::loop_config;
use crate::session::Session;
use libc::{c_char, c_int, c_void, gid_t, size_t, EINVAL};
use std::ffi::CStr;
use std::os::fd::IntoRawFd;
use std::ptr;
use std::sync::Arc;

// A filesystem's life.

unsafe fn new(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    user_data: *mut c_void,
    with_help: bool,
) -> *mut Fuse {
    // SAFETY: see the module.
    let (args, ops) = unsafe { (ArgVec::from_c(args), Operations::read(op, op_size)) };
    let Some(args) = args else {
        crate::log_error!("fuse: fuse_new() was called without arguments");
        return ptr::null_mut();
    };
    Fuse::new(args, ops, user_data, with_help).map_or(ptr::null_mut(), Box::into_raw)
}

#[no_mangle]
pub unsafe extern "C" fn fuse_main_real(
    argc: c_int,
    argv: *mut *mut c_char,
    op: *const Operations,
    op_size: size_t,
    user_data: *mut c_void,
) -> c_int {
    let mut args = Args { argc, argv, allocated: 0 };
    // SAFETY: see the module.
    let (args, ops) = unsafe { (ArgVec::from_c(&mut args), Operations::read(op, op_size)) };
    args.map_or(1, |args| run::main(args, ops, user_data))
}

#[no_mangle]
pub unsafe extern "C" fn fuse_main_real_versioned(
    argc: c_int,
    argv: *mut *mut c_char,
    op: *const Operations,
    op_size: size_t,
    _version: *mut LibfuseVersion,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: see the module.
    unsafe { fuse_main_real(argc, argv, op, op_size, user_data) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_new_30(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    user_data: *mut c_void,
) -> *mut Fuse {
    // SAFETY: see the module.
    unsafe { new(args, op, op_size, user_data, true) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_new_31(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    user_data: *mut c_void,
) -> *mut Fuse {
    // SAFETY: see the module.
    unsafe { new(args, op, op_size, user_data, false) }
}

#[no_mangle]
pub unsafe extern "C" fn _fuse_new_30(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    _version: *mut LibfuseVersion,
    user_data: *mut c_void,
) -> *mut Fuse {
    // SAFETY: see the module.
    unsafe { new(args, op, op_size, user_data, true) }
}

#[no_mangle]
pub unsafe extern "C" fn _fuse_new_31(
    args: *mut Args,
    op: *const Operations,
    op_size: size_t,
    _version: *mut LibfuseVersion,
    user_data: *mut c_void,
) -> *mut Fuse {
    // SAFETY: see the module.
    unsafe { new(args, op, op_size, user_data, false) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_lib_help(args: *mut Args) {
    let mut none = ArgVec::new();
    // SAFETY: see the module.
    run::help(unsafe { ArgVec::from_c(args) }.unwrap_or(&mut none));
}

#[no_mangle]
pub unsafe extern "C" fn fuse_mount(f: *mut Fuse, mountpoint: *const c_char) -> c_int {
    // SAFETY: see the module.
    unsafe { super::session::fuse_session_mount(session(f), mountpoint) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_unmount(f: *mut Fuse) {
    // SAFETY: see the module.
    unsafe { (*f).session().unmount() }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_destroy(f: *mut Fuse) {
    // SAFETY: see the module; made by `fuse_new`.
    unsafe { Box::from_raw(f) }.destroy();
}

#[no_mangle]
pub unsafe extern "C" fn fuse_loop(f: *mut Fuse) -> c_int {
    // SAFETY: see the module.
    unsafe { f.as_ref() }.map_or(-1, Fuse::run_serial)
}

#[no_mangle]
pub unsafe extern "C" fn fuse_loop_mt_31(f: *mut Fuse, clone_fd: c_int) -> c_int {
    let config = LoopConfig { clone_fd, max_idle_threads: 10, ..LoopConfig::default() };
    // SAFETY: see the module.
    unsafe { fuse_loop_mt_312(f, &config) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_loop_mt_32(f: *mut Fuse, config: *const LoopConfigV1) -> c_int {
    let mut new = LoopConfig::default();
    // SAFETY: see the module.
    if let Some(old) = unsafe { config.as_ref() } {
        loop_config::convert(&mut new, old);
    }
    // SAFETY: see the module.
    unsafe { fuse_loop_mt_312(f, &new) }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_loop_mt_312(f: *mut Fuse, config: *const LoopConfig) -> c_int {
    // SAFETY: see the module.
    let (fuse, threads) = unsafe { (f.as_ref(), threads_of(config)) };
    match (fuse, threads) {
        (None, _) => -1,
        (_, Err(errno)) => errno.to_c(),
        (Some(fuse), Ok(threads)) => fuse.run_threads(threads),
    }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_exit(f: *mut Fuse) {
    // SAFETY: see the module.
    unsafe { (*f).session().exit() }
}

unsafe fn session(f: *mut Fuse) -> *const Session {
    // SAFETY: see the module.
    Arc::as_ptr(unsafe { (*f).session() })
}

#[no_mangle]
pub unsafe extern "C" fn fuse_get_session(f: *mut Fuse) -> *mut Session {
    // SAFETY: see the module.
    unsafe { session(f) }.cast_mut()
}

#[no_mangle]
pub unsafe extern "C" fn fuse_open_channel(
    mountpoint: *const c_char,
    options: *const c_char,
) -> c_int {
    if mountpoint.is_null() {
        return -1;
    }
    // SAFETY: see the module.
    let (mountpoint, options) = unsafe {
        (CStr::from_ptr(mountpoint), (!options.is_null()).then(|| CStr::from_ptr(options)))
    };
    run::open_channel(mountpoint, options).map_or(-1, IntoRawFd::into_raw_fd)
}

// Inside a callback.

#[no_mangle]
pub extern "C" fn fuse_get_context() -> *mut Context {
    context::current()
}

#[no_mangle]
pub unsafe extern "C" fn fuse_getgroups(size: c_int, list: *mut gid_t) -> c_int {
    match context::request() {
        request if request.is_null() => -EINVAL,
        // SAFETY: an operation of this thread runs; see the module.
        request => unsafe { super::reply::fuse_req_getgroups((*request).as_c(), size, list) },
    }
}

#[no_mangle]
pub extern "C" fn fuse_interrupted() -> c_int {
    c_int::from(context::is_interrupted())
}

#[no_mangle]
pub unsafe extern "C" fn fuse_invalidate_path(f: *mut Fuse, path: *const c_char) -> c_int {
    if path.is_null() {
        return -EINVAL;
    }
    // SAFETY: see the module.
    let result = unsafe { (*f).invalidate_path(CStr::from_ptr(path)) };
    result.map_or_else(Errno::to_c, |()| 0)
}

#[no_mangle]
pub unsafe extern "C" fn fuse_notify_poll(ph: *mut PollHandle) -> c_int {
    // SAFETY: see the module.
    unsafe { super::notify::fuse_lowlevel_notify_poll(ph) }
}

// The node table's upkeep.

#[no_mangle]
pub unsafe extern "C" fn fuse_start_cleanup_thread(f: *mut Fuse) -> c_int {
    // SAFETY: see the module.
    unsafe { (*f).start_cleanup_thread() }.map_or(-1, |()| 0)
}

#[no_mangle]
pub unsafe extern "C" fn fuse_stop_cleanup_thread(f: *mut Fuse) {
    // SAFETY: see the module.
    unsafe { (*f).stop_cleanup_thread() }
}

#[no_mangle]
pub unsafe extern "C" fn fuse_clean_cache(f: *mut Fuse) -> c_int {
    // SAFETY: see the module.
    unsafe { (*f).clean_cache() }
}
