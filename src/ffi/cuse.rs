//! `cuse_lowlevel.h`: character devices.

use crate::abi::args::ArgVec;
use crate::abi::public::{Args, CuseInfo, CuseOps, LibfuseVersion};
use crate::errno::Result;
use crate::session::cuse::{self, Device, Ready};
use crate::session::Session;
use libc::{c_char, c_int, c_void, size_t};
use std::sync::Arc;

/// What a C program holds: one share of the session.
type SessionPtr = *const Session;

/// # Safety
/// As for [`cuse_lowlevel_new_319`].
unsafe fn new(
    args: *mut Args,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    clop_size: size_t,
    userdata: *mut c_void,
) -> SessionPtr {
    // SAFETY: the caller's promises.
    let session = unsafe {
        let Some(args) = ArgVec::from_c(args) else {
            crate::log_error!("cuse: cuse_lowlevel_new() was called without arguments");
            return std::ptr::null();
        };
        Device::read(ci, clop, clop_size).and_then(|device| cuse::new(args, device, userdata))
    };
    session.map_or(std::ptr::null(), Arc::into_raw)
}

/// As libfuse up to 3.18 exports it: `clop` has the 88 bytes of all releases.
///
/// # Safety
/// As for [`cuse_lowlevel_new_319`].
#[no_mangle]
pub unsafe extern "C" fn cuse_lowlevel_new(
    args: *mut Args,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    userdata: *mut c_void,
) -> SessionPtr {
    // SAFETY: the caller's promises.
    unsafe { new(args, ci, clop, size_of::<CuseOps>(), userdata) }
}

/// # Safety
/// `args` and `ci` are NULL or valid, `ci` with as many lines as it says; `clop`
/// is NULL or has `clop_size` bytes.
#[no_mangle]
pub unsafe extern "C" fn cuse_lowlevel_new_319(
    args: *mut Args,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    clop_size: size_t,
    _version: *const LibfuseVersion,
    userdata: *mut c_void,
) -> SessionPtr {
    // SAFETY: the caller's promises.
    unsafe { new(args, ci, clop, clop_size, userdata) }
}

/// # Safety
/// As for [`cuse_lowlevel_setup_319`].
#[no_mangle]
pub unsafe extern "C" fn cuse_lowlevel_setup(
    argc: c_int,
    argv: *mut *mut c_char,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    multithreaded: *mut c_int,
    userdata: *mut c_void,
) -> SessionPtr {
    let (size, version) = (size_of::<CuseOps>(), std::ptr::null());
    // SAFETY: the caller's promises.
    unsafe { cuse_lowlevel_setup_319(argc, argv, ci, clop, size, version, multithreaded, userdata) }
}

/// # Safety
/// `argv` has `argc` C strings; `multithreaded` is NULL or can be written; the
/// rest as for [`cuse_lowlevel_new_319`].
#[no_mangle]
#[allow(clippy::too_many_arguments)] // libfuse's
pub unsafe extern "C" fn cuse_lowlevel_setup_319(
    argc: c_int,
    argv: *mut *mut c_char,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    clop_size: size_t,
    _version: *const LibfuseVersion,
    multithreaded: *mut c_int,
    userdata: *mut c_void,
) -> SessionPtr {
    // SAFETY: the caller's promises.
    let ready = unsafe { setup(argc, argv, ci, clop, clop_size, userdata) };
    let Ok(Some(Ready { session, opts })) = ready else {
        return std::ptr::null();
    };
    // SAFETY: the caller's promise.
    if let Some(multithreaded) = unsafe { multithreaded.as_mut() } {
        *multithreaded = c_int::from(opts.singlethread == 0);
    }
    Arc::into_raw(session)
}

/// `Ok(None)` after a help or version text.
///
/// # Safety
/// As for [`cuse_lowlevel_setup_319`].
unsafe fn setup(
    argc: c_int,
    argv: *mut *mut c_char,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    clop_size: size_t,
    userdata: *mut c_void,
) -> Result<Option<Ready>> {
    let mut args = Args { argc, argv, allocated: 0 };
    // SAFETY: the caller's promise; nobody else has `args`.
    let Some(args) = (unsafe { ArgVec::from_c(&mut args) }) else {
        return Ok(None); // never: it is not NULL
    };
    let ready = cuse::parse(args).and_then(|opts| {
        if cuse::show(&opts) {
            return Ok(None);
        }
        // SAFETY: the caller's promises.
        let device = unsafe { Device::read(ci, clop, clop_size)? };
        cuse::setup(args, opts, device, userdata).map(Some)
    });
    args.clear();
    ready
}

/// # Safety
/// `se` came from `cuse_lowlevel_setup` and no loop serves it; it is gone
/// afterwards.
#[no_mangle]
pub unsafe extern "C" fn cuse_lowlevel_teardown(se: SessionPtr) {
    // SAFETY: the caller's promise; this takes C's share back.
    let session = unsafe { Arc::from_raw(se) };
    cuse::teardown(&session);
}

/// # Safety
/// As for [`cuse_lowlevel_main_319`].
#[no_mangle]
pub unsafe extern "C" fn cuse_lowlevel_main(
    argc: c_int,
    argv: *mut *mut c_char,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    userdata: *mut c_void,
) -> c_int {
    let (size, version) = (size_of::<CuseOps>(), std::ptr::null());
    // SAFETY: the caller's promises.
    unsafe { cuse_lowlevel_main_319(argc, argv, ci, clop, size, version, userdata) }
}

/// # Safety
/// As for [`cuse_lowlevel_setup_319`].
#[no_mangle]
pub unsafe extern "C" fn cuse_lowlevel_main_319(
    argc: c_int,
    argv: *mut *mut c_char,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    clop_size: size_t,
    _version: *const LibfuseVersion,
    userdata: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promises.
    match unsafe { setup(argc, argv, ci, clop, clop_size, userdata) } {
        Ok(Some(ready)) => cuse::serve(ready),
        Ok(None) => 0,
        Err(_) => 1,
    }
}
