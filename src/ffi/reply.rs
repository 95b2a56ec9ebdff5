//! `fuse_lowlevel.h`: requests and answers.

use crate::abi::kernel::Statx;
use crate::abi::public::{Bufvec, Ctx, EntryParam, FileInfo, InterruptFunc, OpenedFile, Req};
use crate::errno::{Errno, Result};
use crate::session::request::Request;
use crate::session::{passthrough, reply};
use crate::sys::memory::bytes;
use crate::{sys, transport};
use libc::{c_char, c_double, c_int, c_uint, c_void, iovec, off64_t as off_t, size_t};
use std::borrow::Cow;
use std::ffi::CStr;
use std::io::IoSlice;

/// # Safety
/// `req` is a request that has not been answered.
unsafe fn request<'a>(req: Req) -> &'a Request {
    // SAFETY: the caller's promise.
    unsafe { &*req }
}

fn zero_or_errno(result: Result<()>) -> c_int {
    result.map_or_else(Errno::to_c, |()| 0)
}

/// # Safety
/// `iov` has `count` elements, each valid.
unsafe fn slices<'a>(iov: *const iovec, count: usize) -> Cow<'a, [IoSlice<'a>]> {
    if count == 0 || iov.is_null() {
        return Cow::Borrowed(&[]);
    }
    // SAFETY: the caller's promise.
    let iov = unsafe { std::slice::from_raw_parts(iov, count) };
    if iov.iter().any(|part| part.iov_base.is_null()) {
        // An iovec may be empty at NULL, an IoSlice must not.
        // SAFETY: the caller's promise.
        let part = |part: &iovec| IoSlice::new(unsafe { bytes(part.iov_base, part.iov_len) });
        return iov.iter().map(part).collect();
    }
    // SAFETY: IoSlice is guaranteed to be laid out like iovec.
    Cow::Borrowed(unsafe { std::slice::from_raw_parts(iov.as_ptr().cast(), count) })
}

/// Areas of the client's memory, which is not ours to touch.
///
/// # Safety
/// `iov` has `count` elements.
unsafe fn areas(iov: *const iovec, count: usize) -> Vec<(u64, u64)> {
    (0..if iov.is_null() { 0 } else { count })
        .map(|index| {
            // SAFETY: the caller's promise.
            let area = unsafe { *iov.add(index) };
            (area.iov_base as u64, area.iov_len as u64)
        })
        .collect()
}

macro_rules! replies {
    ($($(#[$doc:meta])* fn $name:ident($req:ident $(, $arg:ident: $type:ty)*) = $body:expr;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// `req` has not been answered; what is pointed to is valid.
        #[no_mangle]
        pub unsafe extern "C" fn $name($req: Req $(, $arg: $type)*) -> c_int {
            // SAFETY: the caller's promise.
            let $req = unsafe { request($req) };
            // SAFETY: the caller's promise.
            zero_or_errno(unsafe { $body })
        }
    )* };
}

#[allow(unused_unsafe)]
mod replies {
    use super::*;

    replies! {
        /// An error, or success without data.
        fn fuse_reply_err(req, err: c_int) = reply::error(req, err);
        /// A looked-up or created inode.
        fn fuse_reply_entry(req, e: *const EntryParam) = reply::entry(req, &*e);
        /// A created and opened file.
        fn fuse_reply_create(req, e: *const EntryParam, fi: *const FileInfo) =
            reply::create(req, &*e, &OpenedFile::read(fi));
        /// Attributes.
        fn fuse_reply_attr(req, attr: *const libc::stat64, timeout: c_double) = reply::attr(req, &*attr, timeout);
        /// Attributes as of statx(2).
        fn fuse_reply_statx(req, flags: c_int, statx: *const Statx, timeout: c_double) =
            reply::statx(req, flags as u32, &*statx, timeout);
        /// A symbolic link's target.
        fn fuse_reply_readlink(req, link: *const c_char) = reply::bytes(req, CStr::from_ptr(link).to_bytes());
        /// An opened file or directory.
        fn fuse_reply_open(req, fi: *const FileInfo) = reply::opened(req, &OpenedFile::read(fi));
        /// Bytes written or copied.
        fn fuse_reply_write(req, count: size_t) = reply::written(req, count);
        /// Data.
        fn fuse_reply_buf(req, buf: *const c_char, size: size_t) = reply::bytes(req, bytes(buf.cast(), size));
        /// Data from memory or descriptors.
        fn fuse_reply_data(req, bufv: *mut Bufvec, flags: c_uint) = transport::answer_bufvec(req, bufv, flags);
        /// Data from several places.
        fn fuse_reply_iov(req, iov: *const iovec, count: c_int) =
            reply::pieces(req, &slices(iov, count.max(0) as usize));
        /// Filesystem statistics.
        fn fuse_reply_statfs(req, stbuf: *const libc::statvfs64) = reply::statvfs(req, &*stbuf);
        /// The size of an extended attribute.
        fn fuse_reply_xattr(req, count: size_t) = reply::xattr_size(req, count);
        /// A lock.
        fn fuse_reply_lock(req, lock: *const libc::flock64) = reply::lock(req, &*lock);
        /// A block number.
        fn fuse_reply_bmap(req, idx: u64) = reply::bmap(req, idx);
        /// Poll events.
        fn fuse_reply_poll(req, revents: c_uint) = reply::poll(req, revents);
        /// A file offset.
        fn fuse_reply_lseek(req, off: off_t) = reply::lseek(req, off);
        /// An ioctl's result and data.
        fn fuse_reply_ioctl(req, result: c_int, buf: *const c_void, size: size_t) =
            reply::ioctl(req, result, &[IoSlice::new(bytes(buf, size))]);
        /// An ioctl's result and data from several places.
        fn fuse_reply_ioctl_iov(req, result: c_int, iov: *const iovec, count: c_int) =
            reply::ioctl(req, result, &slices(iov, count.max(0) as usize));
        /// Asks for the ioctl again, with more data.
        fn fuse_reply_ioctl_retry(
            req, in_iov: *const iovec, in_count: size_t, out_iov: *const iovec, out_count: size_t
        ) = reply::ioctl_retry(req, &areas(in_iov, in_count), &areas(out_iov, out_count));
    }
}
pub use replies::*;

/// Ends a request that has no answer.
///
/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_reply_none(req: Req) {
    // SAFETY: the caller's promise.
    transport::no_answer(unsafe { request(req) });
}

/// # Safety
/// `buf` has `bufsize` bytes or is NULL; `name` is a C string, `stbuf` valid, or
/// NULL to ask for the size.
#[no_mangle]
pub unsafe extern "C" fn fuse_add_direntry(
    _req: Req,
    buf: *mut c_char,
    bufsize: size_t,
    name: *const c_char,
    stbuf: *const libc::stat64,
    off: off_t,
) -> size_t {
    // SAFETY: the caller's promise.
    let (buffer, name) = unsafe { (room(buf, bufsize), CStr::from_ptr(name).to_bytes()) };
    // SAFETY: the caller's promise.
    let Some(stat) = (unsafe { stbuf.as_ref() }) else {
        return reply::dirent_size(name.len(), false);
    };
    reply::add_direntry(buffer, name, stat.st_ino, stat.st_mode, off, None)
}

/// # Safety
/// As for [`fuse_add_direntry`]; `e` is valid, or NULL to ask for the size.
#[no_mangle]
pub unsafe extern "C" fn fuse_add_direntry_plus(
    _req: Req,
    buf: *mut c_char,
    bufsize: size_t,
    name: *const c_char,
    e: *const EntryParam,
    off: off_t,
) -> size_t {
    // SAFETY: the caller's promise.
    let (buffer, name) = unsafe { (room(buf, bufsize), CStr::from_ptr(name).to_bytes()) };
    // SAFETY: the caller's promise.
    let Some(entry) = (unsafe { e.as_ref() }) else {
        return reply::dirent_size(name.len(), true);
    };
    reply::add_direntry(buffer, name, entry.attr.st_ino, entry.attr.st_mode, off, Some(entry))
}

/// # Safety
/// `buf` has `size` bytes or is NULL.
unsafe fn room<'a>(buf: *mut c_char, size: size_t) -> &'a mut [u8] {
    if buf.is_null() {
        return &mut [];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(buf.cast(), size) }
}

/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_userdata(req: Req) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { request(req) }.session().userdata()
}

/// # Safety
/// `req` has not been answered; the result is valid until it is.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_ctx(req: Req) -> *const Ctx {
    // SAFETY: the caller's promise.
    unsafe { request(req) }.ctx()
}

/// # Safety
/// `req` has not been answered; `list` has `size` elements.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_getgroups(
    req: Req,
    size: c_int,
    list: *mut libc::gid_t,
) -> c_int {
    // SAFETY: the caller's promise.
    let groups = sys::groups::of_process(unsafe { request(req) }.ctx().pid);
    groups.map_or_else(Errno::to_c, |groups| {
        let room = groups.len().min(size.max(0) as usize);
        // SAFETY: the caller's promise; no more than `size` are written.
        unsafe { std::ptr::copy_nonoverlapping(groups.as_ptr(), list, room) };
        groups.len() as c_int
    })
}

/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_interrupt_func(
    req: Req,
    func: Option<InterruptFunc>,
    data: *mut c_void,
) {
    // SAFETY: the caller's promise.
    unsafe { request(req).set_interrupt_hook(func, data) };
}

/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_interrupted(req: Req) -> c_int {
    // SAFETY: the caller's promise.
    c_int::from(unsafe { request(req) }.is_interrupted())
}

/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_is_uring(req: Req) -> bool {
    // SAFETY: the caller's promise.
    unsafe { request(req) }.route() == transport::Route::Ring
}

/// # Safety
/// `req` has not been answered; the other pointers are NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn fuse_req_get_payload(
    req: Req,
    payload: *mut *mut c_char,
    size: *mut size_t,
    handle: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    let req = unsafe { request(req) };
    if req.route() != transport::Route::Ring {
        return -libc::EINVAL;
    }
    let (start, len) = transport::ring::payload(req);
    // SAFETY: the caller's promise.
    unsafe {
        if !payload.is_null() {
            *payload = start.cast();
        }
        if !size.is_null() {
            *size = len;
        }
        if !handle.is_null() {
            // The payload is not registered memory.
            *handle = std::ptr::null_mut();
        }
    }
    0
}

/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_passthrough_open(req: Req, fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    passthrough::open(unsafe { request(req) }.session(), fd)
}

/// # Safety
/// `req` has not been answered.
#[no_mangle]
pub unsafe extern "C" fn fuse_passthrough_close(req: Req, backing_id: c_int) -> c_int {
    // SAFETY: the caller's promise.
    passthrough::close(unsafe { request(req) }.session(), backing_id)
}
