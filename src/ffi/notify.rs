//! `fuse_lowlevel.h`: notifications, and the handles of polling clients.

use crate::abi::public::{Bufvec, PollHandle};
use crate::errno::{Errno, Result};
use crate::session::Session;
use libc::{c_char, c_int, c_uint, c_void, off64_t as off_t, size_t};

/// # Safety
/// `se` is NULL or a session.
unsafe fn notify(se: *const Session, f: impl FnOnce(&Session) -> Result<()>) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { se.as_ref() } {
        Some(session) => f(session).map_or_else(Errno::to_c, |()| 0),
        None => -libc::EINVAL,
    }
}

/// # Safety
/// `name` has `namelen` bytes.
unsafe fn name_bytes<'a>(name: *const c_char, namelen: size_t) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { crate::sys::memory::bytes(name.cast(), namelen) }
}

/// # Safety
/// `ph` is NULL or a handle that was not destroyed; its session lives.
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_poll(ph: *mut PollHandle) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { ph.as_ref() } {
        // SAFETY: the caller's promise.
        Some(handle) => unsafe { notify(handle.session, |session| session.notify_poll(handle.kh)) },
        None => 0,
    }
}

/// # Safety
/// `ph` is NULL or a handle that was not destroyed.
#[no_mangle]
pub unsafe extern "C" fn fuse_pollhandle_destroy(ph: *mut PollHandle) {
    if !ph.is_null() {
        // SAFETY: the caller's promise; handles are boxes.
        drop(unsafe { Box::from_raw(ph) });
    }
}

/// # Safety
/// `se` is NULL or a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_inval_inode(
    se: *const Session,
    ino: u64,
    off: off_t,
    len: off_t,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { notify(se, |session| session.notify_inval_inode(ino, off, len)) }
}

/// # Safety
/// `se` is NULL or a session; `name` has `namelen` bytes.
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_inval_entry(
    se: *const Session,
    parent: u64,
    name: *const c_char,
    namelen: size_t,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        notify(se, |session| session.notify_inval_entry(parent, name_bytes(name, namelen), 0))
    }
}

/// # Safety
/// As for [`fuse_lowlevel_notify_inval_entry`].
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_expire_entry(
    se: *const Session,
    parent: u64,
    name: *const c_char,
    namelen: size_t,
) -> c_int {
    const EXPIRE_ONLY: u32 = 1;
    // SAFETY: the caller's promise.
    unsafe {
        notify(se, |session| {
            session.notify_inval_entry(parent, name_bytes(name, namelen), EXPIRE_ONLY)
        })
    }
}

/// # Safety
/// As for [`fuse_lowlevel_notify_inval_entry`].
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_delete(
    se: *const Session,
    parent: u64,
    child: u64,
    name: *const c_char,
    namelen: size_t,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { notify(se, |session| session.notify_delete(parent, child, name_bytes(name, namelen))) }
}

/// # Safety
/// `se` is NULL or a session; `bufv` is valid.
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_store(
    se: *const Session,
    ino: u64,
    offset: off_t,
    bufv: *mut Bufvec,
    flags: c_uint,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { notify(se, |session| session.notify_store(ino, offset, bufv, flags)) }
}

/// # Safety
/// `se` is NULL or a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_retrieve(
    se: *const Session,
    ino: u64,
    size: size_t,
    offset: off_t,
    cookie: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { notify(se, |session| session.notify_retrieve(ino, size, offset, cookie)) }
}

/// # Safety
/// `se` is NULL or a session.
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_increment_epoch(se: *const Session) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { notify(se, Session::notify_increment_epoch) }
}

/// # Safety
/// `se` is NULL or a session; `nodes` has `count` numbers.
#[no_mangle]
pub unsafe extern "C" fn fuse_lowlevel_notify_prune(
    se: *const Session,
    nodes: *mut u64,
    count: u32,
) -> c_int {
    if nodes.is_null() || count == 0 {
        return -libc::EINVAL;
    }
    // SAFETY: the caller's promise.
    let nodes = unsafe { std::slice::from_raw_parts(nodes, count as usize) };
    // SAFETY: the caller's promise.
    unsafe { notify(se, |session| session.notify_prune(nodes)) }
}
