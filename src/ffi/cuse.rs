//! `cuse_lowlevel.h`, character devices: every exported name is here, and
//! answers that this version of ringfuse does not have it: one log line, and
//! what callers take for failure. `docs/compatibility.md` lists them.
#![allow(missing_docs)] // include/cuse_lowlevel.h has them
#![allow(unused_variables)] // the parameters are the contract, nothing reads them

use super::high::FuseSession;
use crate::abi::public::Args;
use libc::{c_char, c_int, c_void};
use std::ptr;

/// `struct cuse_info`, which this module only passes pointers to.
#[repr(C)]
pub struct CuseInfo {
    _private: [u8; 0],
}

/// `struct cuse_lowlevel_ops`, likewise.
#[repr(C)]
pub struct CuseOps {
    _private: [u8; 0],
}

fn unsupported<T>(function: &str, answer: T) -> T {
    crate::log_error!(
        "ringfuse: {function}: character devices (CUSE) are not part of this version of ringfuse"
    );
    answer
}

#[no_mangle]
pub extern "C" fn cuse_lowlevel_new(
    args: *mut Args,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    userdata: *mut c_void,
) -> *mut FuseSession {
    unsupported("cuse_lowlevel_new", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn cuse_lowlevel_setup(
    argc: c_int,
    argv: *mut *mut c_char,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    multithreaded: *mut c_int,
    userdata: *mut c_void,
) -> *mut FuseSession {
    unsupported("cuse_lowlevel_setup", ptr::null_mut())
}

#[no_mangle]
pub extern "C" fn cuse_lowlevel_teardown(se: *mut FuseSession) {
    unsupported("cuse_lowlevel_teardown", ())
}

#[no_mangle]
pub extern "C" fn cuse_lowlevel_main(
    argc: c_int,
    argv: *mut *mut c_char,
    ci: *const CuseInfo,
    clop: *const CuseOps,
    userdata: *mut c_void,
) -> c_int {
    unsupported("cuse_lowlevel_main", 1)
}
