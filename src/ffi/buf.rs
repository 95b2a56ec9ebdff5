//! `fuse_buf_size` and `fuse_buf_copy`.

use crate::abi::public::Bufvec;
use crate::buf;
use std::ffi::c_uint;

/// The size of all buffers together.
///
/// # Safety
/// `vector` points to a vector with all its buffers.
#[no_mangle]
pub unsafe extern "C" fn fuse_buf_size(vector: *const Bufvec) -> usize {
    // SAFETY: the caller's promise.
    unsafe { buf::size(vector) }
}

/// Copies `src` to `dst` from their positions on: the bytes copied, or `-errno`
/// if there are none because of an error.
///
/// # Safety
/// Both point to vectors whose memory can be read and written.
#[no_mangle]
pub unsafe extern "C" fn fuse_buf_copy(dst: *mut Bufvec, src: *mut Bufvec, flags: c_uint) -> isize {
    // SAFETY: the caller's promise.
    match unsafe { buf::copy(dst, src, flags) } {
        Ok(copied) => copied as isize,
        Err(errno) => errno.to_c() as isize,
    }
}
