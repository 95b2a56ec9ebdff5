//! `fuse_common.h`: versions, loop configuration, connection options and
//! feature flags, the background.

use crate::abi::args::ArgVec;
use crate::abi::public::{layout, Args, ConnInfo, Layout, LoopConfig, LoopConfigV1};
use crate::cmdline;
use crate::conn::{self, ConnOptions};
use crate::{daemonize, loop_config};
use std::ffi::{c_char, c_int, c_uint};

/// The release whose interface this is: 318, or for `libfuse3.so.3` 314.
#[no_mangle]
pub extern "C" fn fuse_version() -> c_int {
    match layout() {
        Layout::V317 => 318,
        _ => 314,
    }
}

/// [`fuse_version`] as text with the patch level.
#[no_mangle]
pub extern "C" fn fuse_pkgversion() -> *const c_char {
    cmdline::pkgversion().as_ptr()
}

/// A configuration with the defaults, for [`fuse_loop_cfg_destroy`].
#[no_mangle]
pub extern "C" fn fuse_loop_cfg_create() -> *mut LoopConfig {
    Box::into_raw(Box::default())
}

/// Frees a configuration.
///
/// # Safety
/// `config` is NULL or from [`fuse_loop_cfg_create`].
#[no_mangle]
pub unsafe extern "C" fn fuse_loop_cfg_destroy(config: *mut LoopConfig) {
    if !config.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(config) });
    }
}

/// Sets how many idle threads stay.
///
/// # Safety
/// `config` is from [`fuse_loop_cfg_create`].
#[no_mangle]
pub unsafe extern "C" fn fuse_loop_cfg_set_idle_threads(config: *mut LoopConfig, threads: c_uint) {
    // SAFETY: the caller's promise.
    loop_config::set_idle_threads(unsafe { &mut *config }, threads);
}

/// Sets how many threads there may be.
///
/// # Safety
/// `config` is from [`fuse_loop_cfg_create`].
#[no_mangle]
pub unsafe extern "C" fn fuse_loop_cfg_set_max_threads(config: *mut LoopConfig, threads: c_uint) {
    // SAFETY: the caller's promise.
    unsafe { (*config).max_threads = threads };
}

/// Sets whether every thread gets a `/dev/fuse` descriptor of its own.
///
/// # Safety
/// `config` is from [`fuse_loop_cfg_create`].
#[no_mangle]
pub unsafe extern "C" fn fuse_loop_cfg_set_clone_fd(config: *mut LoopConfig, clone_fd: c_uint) {
    // SAFETY: the caller's promise.
    unsafe { (*config).clone_fd = clone_fd as c_int };
}

/// Takes over an 8-byte configuration of before 3.12.
///
/// # Safety
/// `config` is from [`fuse_loop_cfg_create`], `old` is valid.
#[no_mangle]
pub unsafe extern "C" fn fuse_loop_cfg_convert(config: *mut LoopConfig, old: *const LoopConfigV1) {
    // SAFETY: the caller's promise.
    unsafe { loop_config::convert(&mut *config, &*old) };
}

/// Takes connection options out of `args`: malloc memory that the program frees
/// with free(), or NULL.
///
/// # Safety
/// `args` points to a vector.
#[no_mangle]
pub unsafe extern "C" fn fuse_parse_conn_info_opts(args: *mut Args) -> *mut ConnOptions {
    // SAFETY: the caller's promise; the memory is as large as what is written.
    unsafe {
        let parsed = ArgVec::from_c(args).map_or(Ok(ConnOptions::default()), ConnOptions::parse);
        let Ok(options) = parsed else { return std::ptr::null_mut() };
        let memory: *mut ConnOptions = libc::malloc(size_of::<ConnOptions>()).cast();
        if !memory.is_null() {
            memory.write(options);
        }
        memory
    }
}

/// Applies connection options to `conn`, in init().
///
/// # Safety
/// `options` is from [`fuse_parse_conn_info_opts`]; `conn` is init()'s.
#[no_mangle]
pub unsafe extern "C" fn fuse_apply_conn_info_opts(
    options: *const ConnOptions,
    conn: *mut ConnInfo,
) {
    // SAFETY: the caller's promise.
    unsafe { (*options).apply(&mut *conn) };
}

/// Wants `flags` as far as the kernel is capable of them; false if of none.
///
/// # Safety
/// `conn` is init()'s.
#[no_mangle]
pub unsafe extern "C" fn fuse_set_feature_flag(conn: *mut ConnInfo, flags: u64) -> bool {
    // SAFETY: the caller's promise.
    conn::set_feature(unsafe { &mut *conn }, flags)
}

/// Switches on `flags` (`FUSE_CONN_FLAG_*`); false if one is unknown.
///
/// # Safety
/// `conn` is init()'s.
#[no_mangle]
pub unsafe extern "C" fn fuse_set_conn_flag(conn: *mut ConnInfo, flags: u64) -> bool {
    // SAFETY: the caller's promise.
    conn::set_flag(unsafe { &mut *conn }, flags)
}

/// Does not want `flags`.
///
/// # Safety
/// `conn` is init()'s.
#[no_mangle]
pub unsafe extern "C" fn fuse_unset_feature_flag(conn: *mut ConnInfo, flags: u64) {
    // SAFETY: the caller's promise.
    conn::unset_feature(unsafe { &mut *conn }, flags);
}

/// Whether the kernel is capable of any of `flags`.
///
/// # Safety
/// `conn` is init()'s.
#[no_mangle]
pub unsafe extern "C" fn fuse_get_feature_flag(conn: *const ConnInfo, flags: u64) -> bool {
    // SAFETY: the caller's promise.
    conn::has_feature(unsafe { &*conn }, flags)
}

/// Makes `want` and `want_ext` equal: 0, or `-EINVAL` if that cannot be known.
///
/// # Safety
/// `conn` is init()'s.
#[no_mangle]
pub unsafe extern "C" fn fuse_convert_to_conn_want_ext(conn: *mut ConnInfo) -> c_int {
    // SAFETY: the caller's promise.
    conn::convert(unsafe { &mut *conn }).map_or_else(|errno| errno.to_c(), |()| 0)
}

/// Goes to the background unless `foreground`: 0 or -1.
#[no_mangle]
pub extern "C" fn fuse_daemonize(foreground: c_int) -> c_int {
    if daemonize::daemonize(foreground != 0).is_ok() {
        0
    } else {
        -1
    }
}
