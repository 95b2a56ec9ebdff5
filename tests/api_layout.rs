//! The same functions for a program of `libfuse3.so.3`: shorter structures, and
//! no second word for capabilities. The layout is that of the whole process, so
//! every test here sets it first.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

mod api_support;

use api_support::{logged, Command};
use ringfuse::abi::public::*;
use ringfuse::conn;
use ringfuse::ffi::buf::*;
use ringfuse::ffi::common::*;
use std::ffi::CStr;

#[test]
fn versions_are_what_the_program_expects() {
    set_layout(Layout::V310);
    assert_eq!(fuse_version(), 314);
    assert_eq!(unsafe { CStr::from_ptr(fuse_pkgversion()) }, c"3.14.0");
}

/// `struct fuse_buf` of 40 bytes.
#[repr(C)]
struct OldBuf {
    size: usize,
    flags: u32,
    mem: *mut u8,
    fd: i32,
    pos: i64,
}

/// A vector of three of them, with nothing behind.
#[repr(C)]
struct OldVector {
    count: usize,
    idx: usize,
    off: usize,
    buffers: [OldBuf; 3],
}

impl OldVector {
    fn new(memories: [&mut [u8]; 3]) -> Self {
        let buffers = memories.map(|m| OldBuf {
            size: m.len(),
            flags: 0,
            mem: m.as_mut_ptr(),
            fd: -1,
            pos: 0,
        });
        Self { count: 3, idx: 0, off: 0, buffers }
    }
}

#[test]
fn buffers_are_forty_bytes_apart() {
    set_layout(Layout::V310);
    assert_eq!(size_of::<OldVector>(), 24 + 3 * 40);
    let (mut a, mut b, mut c) = (*b"abc", *b"defgh", *b"ij");
    let (mut x, mut y, mut z) = ([0; 4], [0; 1], [0; 9]);
    let mut src = OldVector::new([&mut a, &mut b, &mut c]);
    let mut dst = OldVector::new([&mut x, &mut y, &mut z]);
    unsafe {
        assert_eq!(fuse_buf_size((&raw const src).cast()), 10);
        assert_eq!(fuse_buf_copy((&raw mut dst).cast(), (&raw mut src).cast(), 0), 10);
    }
    assert_eq!((&x, &y, &z), (b"abcd", b"e", b"fghij\0\0\0\0"));
    assert_eq!((src.idx, src.off, dst.idx, dst.off), (3, 2, 2, 3));
}

#[test]
fn only_the_short_word_exists() {
    set_layout(Layout::V310);
    let mut conn = ConnInfo { capable: 7, want: 1, ..ConnInfo::default() };
    let before = conn;
    unsafe {
        assert!(fuse_set_feature_flag(&mut conn, 2));
        assert!(!fuse_set_feature_flag(&mut conn, 8));
        fuse_unset_feature_flag(&mut conn, 1);
        assert!(fuse_get_feature_flag(&conn, 4) && !fuse_get_feature_flag(&conn, 8));
        assert_eq!(fuse_convert_to_conn_want_ext(&mut conn), 0);
    }
    let (want, log) = logged(|| conn::reconcile(&before, &mut conn));
    assert_eq!((want, conn.want, log.as_str()), (2, 2, ""));
    // What is reserved in this layout stays zero.
    assert_eq!((conn.capable_ext, conn.want_ext), (0, 0));

    let mut command = Command::new(&["p", "-o", "no_splice_read,splice_move,writeback_cache"]);
    let wanted = cap::SPLICE_MOVE | cap::SPLICE_READ;
    let mut conn =
        ConnInfo { capable: wanted as u32, want: cap::SPLICE_READ as u32, ..ConnInfo::default() };
    unsafe {
        let options = fuse_parse_conn_info_opts(&mut command.args);
        fuse_apply_conn_info_opts(options, &mut conn);
        libc::free(options.cast());
        ringfuse::ffi::opt::fuse_opt_free_args(&mut command.args);
    }
    assert_eq!((u64::from(conn.want), conn.want_ext), (cap::SPLICE_MOVE, 0));
}
