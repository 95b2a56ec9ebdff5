//! `fuse_lowlevel.h`: sessions and their loops.

use crate::abi::args::ArgVec;
use crate::abi::public::{
    Args, Buf, CustomIo, LibfuseVersion, LoopConfig, LoopConfigV1, LowlevelOps, TimeoutFunc,
};
use crate::errno::Errno;
use crate::session::options::SessionOptions;
use crate::session::watchdog::Watchdog;
use crate::session::workers::{self, Threads};
use crate::session::{own_loop, Session};
use crate::{cmdline, loop_config};
use libc::{c_char, c_int, c_uint, c_void, size_t};
use std::ffi::CStr;
use std::sync::Arc;

/// What a C program holds: one share of the session.
type SessionPtr = *const Session;

/// # Safety
/// `se` is a session that has not been destroyed.
unsafe fn shared(se: SessionPtr) -> Arc<Session> {
    // SAFETY: C holds one share, so there is something to count up.
    unsafe {
        Arc::increment_strong_count(se);
        Arc::from_raw(se)
    }
}

/// 0, or -1: what the caller learns is in the log.
fn zero_or_minus_one(result: crate::errno::Result<()>) -> c_int {
    result.map_or(-1, |()| 0)
}

/// # Safety
/// As for [`fuse_session_new`].
unsafe fn new_session(
    args: *mut Args,
    op: *const LowlevelOps,
    op_size: size_t,
    userdata: *mut c_void,
) -> SessionPtr {
    // SAFETY: the caller's promises.
    let session = unsafe {
        ArgVec::from_c(args).map(|args| {
            let options = SessionOptions::parse(args)?;
            if options.debug {
                let version = CStr::from_ptr(super::common::fuse_pkgversion());
                crate::log_debug!("FUSE library version: {}", version.to_string_lossy());
            }
            Session::new(LowlevelOps::read(op, op_size), userdata, options)
        })
    };
    match session {
        Some(Ok(session)) => Arc::into_raw(session),
        Some(Err(_)) => std::ptr::null(),
        None => {
            crate::log_error!("fuse: fuse_session_new() was called without arguments");
            std::ptr::null()
        }
    }
}

/// The form of 3.17 and later.
///
/// # Safety
/// As for [`fuse_session_new`]; `version` is NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_new_versioned(
    args: *mut Args,
    op: *const LowlevelOps,
    op_size: size_t,
    version: *mut LibfuseVersion,
    userdata: *mut c_void,
) -> SessionPtr {
    if version.is_null() || op.is_null() || op_size == 0 {
        crate::log_error!("fuse: fuse_session_new() needs an operation table and a version");
        return std::ptr::null();
    }
    // SAFETY: the caller's promise.
    unsafe { new_session(args, op, op_size, userdata) }
}

/// The form of 3.16 and before. Without a table nothing is implemented.
///
/// # Safety
/// `args` is valid; `op` is NULL or has `op_size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_new(
    args: *mut Args,
    op: *const LowlevelOps,
    op_size: size_t,
    userdata: *mut c_void,
) -> SessionPtr {
    // SAFETY: the caller's promise.
    unsafe { new_session(args, op, op_size, userdata) }
}

/// # Safety
/// `se` is a session, `mountpoint` a C string or NULL.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_mount(se: SessionPtr, mountpoint: *const c_char) -> c_int {
    if mountpoint.is_null() {
        crate::log_error!("fuse: fuse_session_mount() was called without a mount point");
        return -1;
    }
    // SAFETY: the caller's promise.
    zero_or_minus_one(unsafe { (*se).mount(CStr::from_ptr(mountpoint)) })
}

/// # Safety
/// `se` is a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_loop(se: SessionPtr) -> c_int {
    // SAFETY: the caller's promise.
    workers::run_serial(&unsafe { shared(se) })
}

/// # Safety
/// `se` is a session; `config` NULL or from `fuse_loop_cfg_create`.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_loop_mt_312(
    se: SessionPtr,
    config: *const LoopConfig,
) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { threads_of(config) } {
        // SAFETY: the caller's promise.
        Ok(threads) => workers::run_threads(&unsafe { shared(se) }, threads),
        Err(errno) => errno.to_c(),
    }
}

/// What a loop's configuration asks for.
///
/// # Safety
/// `config` is NULL or from `fuse_loop_cfg_create`.
pub unsafe fn threads_of(config: *const LoopConfig) -> crate::errno::Result<Threads> {
    // SAFETY: the caller's promise.
    let config = unsafe { config.as_ref() }.copied().unwrap_or_default();
    if config.version_id != LoopConfig::VERSION_ID {
        crate::log_error!(
            "fuse: this struct fuse_loop_config was not made by fuse_loop_cfg_create()"
        );
        return Err(Errno(libc::EINVAL));
    }
    let explicit =
        config.max_threads != LoopConfig::DEFAULT_MAX_THREADS || cmdline::max_threads_was_given();
    Ok(Threads {
        clone_fd: config.clone_fd != 0,
        max_idle: u32::try_from(config.max_idle_threads).ok(),
        max: config.max_threads,
        explicit,
    })
}

/// # Safety
/// `se` is a session; `config` NULL or the 8-byte structure.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_loop_mt_32(
    se: SessionPtr,
    config: *const LoopConfigV1,
) -> c_int {
    let mut new = LoopConfig::default();
    // SAFETY: the caller's promise.
    if let Some(old) = unsafe { config.as_ref() } {
        loop_config::convert(&mut new, old);
    }
    // SAFETY: the caller's promise.
    unsafe { fuse_session_loop_mt_312(se, &new) }
}

/// # Safety
/// `se` is a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_loop_mt_31(se: SessionPtr, clone_fd: c_int) -> c_int {
    let config = LoopConfig { clone_fd, max_idle_threads: 10, ..LoopConfig::default() };
    // SAFETY: the caller's promise.
    unsafe { fuse_session_loop_mt_312(se, &config) }
}

/// # Safety
/// `se` is a session. Async-signal-safe.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_exit(se: SessionPtr) {
    // SAFETY: the caller's promise.
    unsafe { (*se).exit() }
}

/// # Safety
/// `se` is a session that no loop serves.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_reset(se: SessionPtr) {
    // SAFETY: the caller's promise.
    unsafe { (*se).reset() }
}

/// # Safety
/// `se` is a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_exited(se: SessionPtr) -> c_int {
    // SAFETY: the caller's promise.
    c_int::from(unsafe { (*se).exited() })
}

/// # Safety
/// `se` is a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_unmount(se: SessionPtr) {
    // SAFETY: the caller's promise.
    unsafe { (*se).unmount() }
}

/// # Safety
/// `se` is a session that no loop serves; it is gone afterwards.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_destroy(se: SessionPtr) {
    // SAFETY: the caller's promise; this takes C's share back.
    unsafe { Arc::from_raw(se) }.destroy();
}

/// # Safety
/// `se` is a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_fd(se: SessionPtr) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { (*se).fd() }
}

/// # Safety
/// `se` is a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_set_debug(se: SessionPtr) {
    // SAFETY: the caller's promise.
    unsafe { (*se).set_debug() }
}

/// # Safety
/// `se` is a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_set_sync_init(se: SessionPtr, on: bool) {
    // SAFETY: the caller's promise.
    unsafe { (*se).set_sync_init(on) }
}

/// # Safety
/// `se` is NULL or a session; `func` may be called with `data` until the result,
/// if it is not NULL, was given to [`fuse_session_stop_teardown_watchdog`].
#[no_mangle]
pub unsafe extern "C" fn fuse_session_start_teardown_watchdog(
    se: SessionPtr,
    seconds: c_int,
    func: Option<TimeoutFunc>,
    data: *mut c_void,
) -> *mut c_void {
    let Ok(seconds) = u32::try_from(seconds) else { return std::ptr::null_mut() };
    if se.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's promise.
    let dog = unsafe { shared(se).start_watchdog(seconds, func, data) };
    dog.map_or(std::ptr::null_mut(), |dog| Arc::into_raw(dog).cast_mut().cast())
}

/// # Safety
/// `watchdog` is NULL or from [`fuse_session_start_teardown_watchdog`], and gone
/// afterwards.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_stop_teardown_watchdog(watchdog: *mut c_void) {
    if !watchdog.is_null() {
        // SAFETY: the caller's promise; this takes C's share back.
        unsafe { Arc::from_raw(watchdog.cast_const().cast::<Watchdog>()) }.stop();
    }
}

/// # Safety
/// `se` is a session; `buf` a `struct fuse_buf`, of 40 bytes at least.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_receive_buf(se: SessionPtr, buf: *mut Buf) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { own_loop::receive(&*se, buf) } {
        Ok(size) => size as c_int,
        Err(errno) => errno.to_c(),
    }
}

/// # Safety
/// `se` is a session; `buf` as [`fuse_session_receive_buf`] filled it.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_process_buf(se: SessionPtr, buf: *const Buf) {
    // SAFETY: the caller's promise.
    unsafe { own_loop::process(&*se, buf) }
}

/// # Safety
/// `se` is a session, `io` NULL or has `op_size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_custom_io_317(
    se: SessionPtr,
    io: *const CustomIo,
    op_size: size_t,
    fd: c_int,
) -> c_int {
    if fd < 0 {
        crate::log_error!("fuse: fuse_session_custom_io() was given descriptor {fd}");
        return -libc::EBADF;
    }
    // SAFETY: the caller's promise.
    let set = unsafe {
        CustomIo::read(io, op_size)
            .ok_or(Errno(libc::EINVAL))
            .and_then(|io| (*se).set_custom_io(io, fd))
    };
    set.map_or_else(Errno::to_c, |()| 0)
}

/// # Safety
/// `se` is a session, `io` NULL or the structure of 3.16.
#[no_mangle]
pub unsafe extern "C" fn fuse_session_custom_io_30(
    se: SessionPtr,
    io: *const CustomIo,
    fd: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { fuse_session_custom_io_317(se, io, memoffset::offset_of!(CustomIo, clone_fd), fd) }
}

/// Tells which structures the program uses: 0 as of 3.17, 1 as of 3.14.0, 2 as
/// of 3.16. Called by `capi/` when the library is loaded.
#[no_mangle]
pub extern "C" fn ringfuse_set_layout(layout: c_uint) {
    use crate::abi::public::{set_layout, Layout};
    set_layout(match layout {
        1 => Layout::V310,
        2 => Layout::V3141,
        _ => Layout::V317,
    });
}

/// Sends the library's messages to `sink`. Called by `capi/`.
#[no_mangle]
pub extern "C" fn ringfuse_set_log_sink(sink: crate::log::Sink) {
    crate::log::set_sink(sink);
}
