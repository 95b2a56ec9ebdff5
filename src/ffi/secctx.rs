//! `fuse_lowlevel.h`: the security contexts of a request that creates something.

use crate::abi::public::Req;
use libc::{c_char, c_int};

/// How many the request has.
///
/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_secctx_count(req: Req) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { (*req).security_contexts() }.as_ref().map_or(0, |contexts| contexts.count())
}

/// Starts again with the first.
///
/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_secctx_reset(req: Req) {
    // SAFETY: the caller's promise.
    if let Some(contexts) = unsafe { (*req).security_contexts() }.as_mut() {
        contexts.reset();
    }
}

/// The next one: 0, `-ENOENT` behind the last, `-EIO` if it is malformed.
///
/// # Safety
/// `req` has not been answered; the other pointers are NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_secctx_next(
    req: Req,
    name: *mut *const c_char,
    context: *mut *const c_char,
    size: *mut u32,
) -> c_int {
    // SAFETY: the caller's promise.
    let mut contexts = unsafe { (*req).security_contexts() };
    let Some(next) = contexts.as_mut().and_then(|contexts| contexts.next_one()) else {
        return -libc::ENOENT;
    };
    let Ok((its_name, label)) = next else { return -libc::EIO };
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(name) = name.as_mut() {
            *name = its_name.as_ptr();
        }
        if let Some(context) = context.as_mut() {
            *context = label.as_ptr().cast();
        }
        if let Some(size) = size.as_mut() {
            *size = label.len() as u32;
        }
    }
    0
}
