//! Mirrors of the public C structures, as `libfuse3.so.4` (3.17 and later) has
//! them; [`Layout`] tells where `libfuse3.so.3` differs. C programs allocate
//! some of these with the size of their time, so fields past the common part
//! are only touched when the layout in force has them.
#![allow(missing_docs)]

use libc::{c_char, c_double, c_int, c_uint, c_void, off64_t as off_t, size_t};
use std::sync::atomic::{AtomicU8, Ordering};

/// Which release's structures the program at hand was compiled against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Layout {
    /// `libfuse3.so.4`: 3.17 to 3.19.
    V317 = 0,
    /// `libfuse3.so.3` up to 3.14.0.
    V310 = 1,
    /// `libfuse3.so.3` from 3.14.1 to 3.16.
    V3141 = 2,
}

static LAYOUT: AtomicU8 = AtomicU8::new(Layout::V317 as u8);

/// Chosen once, when the shared library is loaded (`capi/` knows its soname).
pub fn set_layout(layout: Layout) {
    LAYOUT.store(layout as u8, Ordering::Relaxed);
}

pub fn layout() -> Layout {
    match LAYOUT.load(Ordering::Relaxed) {
        1 => Layout::V310,
        2 => Layout::V3141,
        _ => Layout::V317,
    }
}

/// `struct fuse_file_info`: 64 bytes since 3.17, the first 40 before.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct FileInfo {
    pub flags: i32,
    /// The bit-fields; see [`FileBit`].
    pub bits: u32,
    pub padding2: u32,
    pub padding3: u32,
    pub fh: u64,
    pub lock_owner: u64,
    pub poll_events: u32,
    pub backing_id: i32,
    pub compat_flags: u64,
    pub reserved: [u64; 2],
}

/// The bit-fields of `struct fuse_file_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileBit {
    Writepage,
    DirectIo,
    KeepCache,
    Flush,
    Nonseekable,
    FlockRelease,
    CacheReaddir,
    Noflush,
    ParallelDirectWrites,
    KillSuidgid,
}

impl FileBit {
    /// The bit's mask in `layout`; 0 if that layout does not have it.
    pub const fn mask(self, layout: Layout) -> u32 {
        let inserted = matches!(layout, Layout::V3141) as u32;
        match self {
            Self::Writepage => 1 << 0,
            Self::DirectIo => 1 << 1,
            Self::KeepCache => 1 << 2,
            Self::Flush => 1 << (3 + inserted),
            Self::Nonseekable => 1 << (4 + inserted),
            Self::FlockRelease => 1 << (5 + inserted),
            Self::CacheReaddir => 1 << (6 + inserted),
            Self::Noflush => 1 << (7 + inserted),
            Self::ParallelDirectWrites => match layout {
                Layout::V317 => 1 << 8,
                Layout::V310 => 0,
                Layout::V3141 => 1 << 3,
            },
            Self::KillSuidgid => match layout {
                Layout::V317 => 1 << 9,
                _ => 0,
            },
        }
    }
}

impl FileInfo {
    pub fn set(&mut self, bit: FileBit, on: bool) {
        let mask = bit.mask(layout());
        if on {
            self.bits |= mask;
        } else {
            self.bits &= !mask;
        }
    }
}

/// What the library reads of a `struct fuse_file_info` that a program passes.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct OpenedFile {
    pub fh: u64,
    pub bits: u32,
    pub backing_id: i32,
}

impl OpenedFile {
    /// Reads what the layout in force has.
    ///
    /// # Safety
    /// `fi` points to a `struct fuse_file_info` of at least that layout's size.
    pub unsafe fn read(fi: *const FileInfo) -> Self {
        // SAFETY: the caller's promise; the fields are read one by one because
        // an old program's structure ends before `backing_id`.
        unsafe {
            Self {
                fh: (*fi).fh,
                bits: (*fi).bits,
                backing_id: if layout() == Layout::V317 { (*fi).backing_id } else { 0 },
            }
        }
    }

    pub fn has(&self, bit: FileBit) -> bool {
        self.bits & bit.mask(layout()) != 0
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct EntryParam {
    pub ino: u64,
    pub generation: u64,
    pub attr: libc::stat64,
    pub attr_timeout: c_double,
    pub entry_timeout: c_double,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Ctx {
    pub uid: libc::uid_t,
    pub gid: libc::gid_t,
    pub pid: libc::pid_t,
    pub umask: libc::mode_t,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct ForgetData {
    pub ino: u64,
    pub nlookup: u64,
}

/// `struct fuse_conn_info`: 128 bytes in every release; up to 3.16 the bytes
/// from 40 on are reserved and stay zero.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct ConnInfo {
    pub proto_major: u32,
    pub proto_minor: u32,
    pub max_write: u32,
    pub max_read: u32,
    pub max_readahead: u32,
    pub capable: u32,
    pub want: u32,
    pub max_background: u32,
    pub congestion_threshold: u32,
    pub time_gran: u32,
    pub max_backing_stack_depth: u32,
    /// Bit 0 `no_interrupt`, bit 1 `io_uring_single_issuer` (3.19).
    pub bits: u32,
    pub capable_ext: u64,
    pub want_ext: u64,
    pub request_timeout: u16,
    pub reserved: [u16; 31],
}

pub const CONN_NO_INTERRUPT: u32 = 1 << 0;
pub const CONN_SINGLE_ISSUER: u32 = 1 << 1;

/// Capability bits of `fuse_conn_info` (not the wire's numbers).
pub mod cap {
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const POSIX_LOCKS: u64 = 1 << 1;
    pub const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub const EXPORT_SUPPORT: u64 = 1 << 4;
    pub const DONT_MASK: u64 = 1 << 6;
    pub const SPLICE_WRITE: u64 = 1 << 7;
    pub const SPLICE_MOVE: u64 = 1 << 8;
    pub const SPLICE_READ: u64 = 1 << 9;
    pub const FLOCK_LOCKS: u64 = 1 << 10;
    pub const IOCTL_DIR: u64 = 1 << 11;
    pub const AUTO_INVAL_DATA: u64 = 1 << 12;
    pub const READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const ASYNC_DIO: u64 = 1 << 15;
    pub const WRITEBACK_CACHE: u64 = 1 << 16;
    pub const NO_OPEN_SUPPORT: u64 = 1 << 17;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const POSIX_ACL: u64 = 1 << 19;
    pub const HANDLE_KILLPRIV: u64 = 1 << 20;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 21;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const NO_OPENDIR_SUPPORT: u64 = 1 << 24;
    pub const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    pub const EXPIRE_ONLY: u64 = 1 << 26;
    pub const SETXATTR_EXT: u64 = 1 << 27;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 28;
    pub const PASSTHROUGH: u64 = 1 << 29;
    pub const NO_EXPORT_SUPPORT: u64 = 1 << 30;
    pub const OVER_IO_URING: u64 = 1 << 31;
    pub const ALLOW_IDMAP: u64 = 1 << 32;
    pub const SECURITY_CTX: u64 = 1 << 33;
}

/// `struct fuse_buf` of 3.17; older programs walk vectors of the first 40 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buf {
    pub size: size_t,
    pub flags: c_uint,
    pub mem: *mut c_void,
    pub fd: c_int,
    pub pos: off_t,
    pub mem_size: size_t,
}

pub const BUF_IS_FD: c_uint = 2;
pub const BUF_FD_SEEK: c_uint = 4;
pub const BUF_FD_RETRY: c_uint = 8;
pub const BUF_NO_SPLICE: c_uint = 2;
pub const BUF_FORCE_SPLICE: c_uint = 4;
pub const BUF_SPLICE_MOVE: c_uint = 8;
pub const BUF_SPLICE_NONBLOCK: c_uint = 16;

impl Buf {
    /// Bytes from one element of a vector to the next, as the program walks it.
    pub fn stride() -> usize {
        match layout() {
            Layout::V317 => size_of::<Buf>(),
            _ => memoffset::offset_of!(Buf, mem_size),
        }
    }

    pub const fn memory(mem: *mut c_void, size: size_t) -> Self {
        Self { size, flags: 0, mem, fd: -1, pos: 0, mem_size: 0 }
    }

    pub const fn descriptor(fd: c_int, size: size_t) -> Self {
        Self { size, flags: BUF_IS_FD, mem: std::ptr::null_mut(), fd, pos: 0, mem_size: 0 }
    }
}

/// `struct fuse_bufvec`; `buf[0]` is followed by `count - 1` more, [`Buf::stride`] apart.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Bufvec {
    pub count: size_t,
    pub idx: size_t,
    pub off: size_t,
    pub buf: [Buf; 1],
}

impl Bufvec {
    /// A vector of one buffer in memory.
    pub const fn memory(mem: *mut c_void, size: size_t) -> Self {
        Self { count: 1, idx: 0, off: 0, buf: [Buf::memory(mem, size)] }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Args {
    pub argc: c_int,
    pub argv: *mut *mut c_char,
    pub allocated: c_int,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Opt {
    pub templ: *const c_char,
    pub offset: libc::c_ulong,
    pub value: c_int,
}

pub type OptProc = unsafe extern "C" fn(
    data: *mut c_void,
    arg: *const c_char,
    key: c_int,
    outargs: *mut Args,
) -> c_int;

/// `struct fuse_cmdline_opts`: 48 bytes since 3.12, 40 before (no `max_threads`).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CmdlineOpts {
    pub singlethread: c_int,
    pub foreground: c_int,
    pub debug: c_int,
    pub nodefault_subtype: c_int,
    pub mountpoint: *mut c_char,
    pub show_version: c_int,
    pub show_help: c_int,
    pub clone_fd: c_int,
    pub max_idle_threads: c_uint,
    pub max_threads: c_uint,
}

/// `struct fuse_loop_config` of `FUSE_USE_VERSION` 32 to 311.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct LoopConfigV1 {
    pub clone_fd: c_int,
    pub max_idle_threads: c_uint,
}

/// The opaque `struct fuse_loop_config` of 3.12 and later, made by
/// `fuse_loop_cfg_create`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LoopConfig {
    pub version_id: c_int,
    pub clone_fd: c_int,
    pub max_idle_threads: c_int,
    pub max_threads: c_uint,
}

impl LoopConfig {
    pub const VERSION_ID: c_int = c_int::MAX - 2;
    pub const DEFAULT_MAX_THREADS: c_uint = 10;
}

impl Default for LoopConfig {
    fn default() -> Self {
        Self {
            version_id: Self::VERSION_ID,
            clone_fd: 0,
            max_idle_threads: -1,
            max_threads: Self::DEFAULT_MAX_THREADS,
        }
    }
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct LibfuseVersion {
    pub major: u32,
    pub minor: u32,
    pub hotfix: u32,
    pub padding: u32,
}

/// `struct fuse_custom_io`: `clone_fd` since 3.17 only.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct CustomIo {
    pub writev:
        Option<unsafe extern "C" fn(c_int, *const libc::iovec, c_int, *mut c_void) -> isize>,
    pub read: Option<unsafe extern "C" fn(c_int, *mut c_void, size_t, *mut c_void) -> isize>,
    pub splice_receive: Option<
        unsafe extern "C" fn(
            c_int,
            *mut off_t,
            c_int,
            *mut off_t,
            size_t,
            c_uint,
            *mut c_void,
        ) -> isize,
    >,
    pub splice_send: Option<
        unsafe extern "C" fn(
            c_int,
            *mut off_t,
            c_int,
            *mut off_t,
            size_t,
            c_uint,
            *mut c_void,
        ) -> isize,
    >,
    pub clone_fd: Option<unsafe extern "C" fn(c_int) -> c_int>,
}

/// Copies the first `size` bytes of a C structure over `whole`.
///
/// # Safety
/// `from` has `size` bytes, and any bytes that C puts there make a valid `T`.
unsafe fn read_prefix<T: Copy>(from: *const T, size: usize, mut whole: T) -> T {
    let size = size.min(size_of::<T>());
    // SAFETY: the caller's promise; no more than a `T` is written.
    unsafe {
        std::ptr::copy_nonoverlapping(
            from.cast::<u8>(),
            std::ptr::from_mut(&mut whole).cast::<u8>(),
            size,
        )
    };
    whole
}

impl CustomIo {
    /// The program's functions; `None` if the two that are needed are missing.
    ///
    /// # Safety
    /// `io` is NULL or has `size` bytes.
    pub unsafe fn read(io: *const Self, size: usize) -> Option<Self> {
        if io.is_null() {
            return None;
        }
        // SAFETY: the caller's promise; every bit pattern from C is a function or NULL.
        let io = unsafe { read_prefix(io, size, Self::default()) };
        (io.read.is_some() && io.writev.is_some()).then_some(io)
    }
}

/// `fuse_req_t`.
pub type Req = *mut crate::session::request::Request;
/// `fuse_timeout_cb`.
pub type TimeoutFunc = unsafe extern "C" fn(data: *mut c_void);
pub type InterruptFunc = unsafe extern "C" fn(req: Req, data: *mut c_void);

/// `struct fuse_pollhandle`: the session to tell, and the kernel's handle.
#[repr(C)]
pub struct PollHandle {
    pub session: *const crate::session::Session,
    pub kh: u64,
}

/// `struct fuse_lowlevel_ops` of 3.19 (47 slots); shorter tables are padded
/// with `None`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct LowlevelOps {
    pub init: Option<unsafe extern "C" fn(*mut c_void, *mut ConnInfo)>,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub lookup: Option<unsafe extern "C" fn(Req, u64, *const c_char)>,
    pub forget: Option<unsafe extern "C" fn(Req, u64, u64)>,
    pub getattr: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo)>,
    pub setattr: Option<unsafe extern "C" fn(Req, u64, *mut libc::stat64, c_int, *mut FileInfo)>,
    pub readlink: Option<unsafe extern "C" fn(Req, u64)>,
    pub mknod: Option<unsafe extern "C" fn(Req, u64, *const c_char, libc::mode_t, libc::dev_t)>,
    pub mkdir: Option<unsafe extern "C" fn(Req, u64, *const c_char, libc::mode_t)>,
    pub unlink: Option<unsafe extern "C" fn(Req, u64, *const c_char)>,
    pub rmdir: Option<unsafe extern "C" fn(Req, u64, *const c_char)>,
    pub symlink: Option<unsafe extern "C" fn(Req, *const c_char, u64, *const c_char)>,
    pub rename: Option<unsafe extern "C" fn(Req, u64, *const c_char, u64, *const c_char, c_uint)>,
    pub link: Option<unsafe extern "C" fn(Req, u64, u64, *const c_char)>,
    pub open: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo)>,
    pub read: Option<unsafe extern "C" fn(Req, u64, size_t, libc::off64_t, *mut FileInfo)>,
    pub write:
        Option<unsafe extern "C" fn(Req, u64, *const c_char, size_t, libc::off64_t, *mut FileInfo)>,
    pub flush: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo)>,
    pub release: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo)>,
    pub fsync: Option<unsafe extern "C" fn(Req, u64, c_int, *mut FileInfo)>,
    pub opendir: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo)>,
    pub readdir: Option<unsafe extern "C" fn(Req, u64, size_t, libc::off64_t, *mut FileInfo)>,
    pub releasedir: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo)>,
    pub fsyncdir: Option<unsafe extern "C" fn(Req, u64, c_int, *mut FileInfo)>,
    pub statfs: Option<unsafe extern "C" fn(Req, u64)>,
    pub setxattr:
        Option<unsafe extern "C" fn(Req, u64, *const c_char, *const c_char, size_t, c_int)>,
    pub getxattr: Option<unsafe extern "C" fn(Req, u64, *const c_char, size_t)>,
    pub listxattr: Option<unsafe extern "C" fn(Req, u64, size_t)>,
    pub removexattr: Option<unsafe extern "C" fn(Req, u64, *const c_char)>,
    pub access: Option<unsafe extern "C" fn(Req, u64, c_int)>,
    pub create: Option<unsafe extern "C" fn(Req, u64, *const c_char, libc::mode_t, *mut FileInfo)>,
    pub getlk: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo, *mut libc::flock64)>,
    pub setlk: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo, *mut libc::flock64, c_int)>,
    pub bmap: Option<unsafe extern "C" fn(Req, u64, size_t, u64)>,
    #[allow(clippy::type_complexity)]
    pub ioctl: Option<
        unsafe extern "C" fn(
            Req,
            u64,
            c_uint,
            *mut c_void,
            *mut FileInfo,
            c_uint,
            *const c_void,
            size_t,
            size_t,
        ),
    >,
    pub poll: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo, *mut PollHandle)>,
    pub write_buf:
        Option<unsafe extern "C" fn(Req, u64, *mut Bufvec, libc::off64_t, *mut FileInfo)>,
    pub retrieve_reply:
        Option<unsafe extern "C" fn(Req, *mut c_void, u64, libc::off64_t, *mut Bufvec)>,
    pub forget_multi: Option<unsafe extern "C" fn(Req, size_t, *mut ForgetData)>,
    pub flock: Option<unsafe extern "C" fn(Req, u64, *mut FileInfo, c_int)>,
    pub fallocate:
        Option<unsafe extern "C" fn(Req, u64, c_int, libc::off64_t, libc::off64_t, *mut FileInfo)>,
    pub readdirplus: Option<unsafe extern "C" fn(Req, u64, size_t, libc::off64_t, *mut FileInfo)>,
    #[allow(clippy::type_complexity)]
    pub copy_file_range: Option<
        unsafe extern "C" fn(
            Req,
            u64,
            libc::off64_t,
            *mut FileInfo,
            u64,
            libc::off64_t,
            *mut FileInfo,
            size_t,
            c_int,
        ),
    >,
    pub lseek: Option<unsafe extern "C" fn(Req, u64, libc::off64_t, c_int, *mut FileInfo)>,
    pub tmpfile: Option<unsafe extern "C" fn(Req, u64, libc::mode_t, *mut FileInfo)>,
    pub statx: Option<unsafe extern "C" fn(Req, u64, c_int, c_int, *mut FileInfo)>,
    pub syncfs: Option<unsafe extern "C" fn(Req, u64)>,
}

impl LowlevelOps {
    /// A copy of the program's table, which may be older and shorter than ours.
    /// A longer one has operations that this library does not know.
    ///
    /// # Safety
    /// `op` is NULL or has `size` bytes.
    pub unsafe fn read(op: *const Self, size: usize) -> Self {
        if op.is_null() {
            return Self::default();
        }
        if size > size_of::<Self>() {
            crate::log_warning!(
                "fuse: the operation table is newer than this library ({size} bytes, {} known); the rest is ignored",
                size_of::<Self>()
            );
        }
        // SAFETY: the caller's promise; every bit pattern from C is a function or NULL.
        unsafe { read_prefix(op, size, Self::default()) }
    }
}

/// `struct cuse_info`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CuseInfo {
    pub dev_major: c_uint,
    pub dev_minor: c_uint,
    pub dev_info_argc: c_uint,
    pub dev_info_argv: *const *const c_char,
    pub flags: c_uint,
}

/// `struct cuse_lowlevel_ops`, the same in every release. The command of an
/// ioctl is an int in old programs, in the same register.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct CuseOps {
    pub init: Option<unsafe extern "C" fn(*mut c_void, *mut ConnInfo)>,
    pub init_done: Option<unsafe extern "C" fn(*mut c_void)>,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub open: Option<unsafe extern "C" fn(Req, *mut FileInfo)>,
    pub read: Option<unsafe extern "C" fn(Req, size_t, libc::off64_t, *mut FileInfo)>,
    pub write:
        Option<unsafe extern "C" fn(Req, *const c_char, size_t, libc::off64_t, *mut FileInfo)>,
    pub flush: Option<unsafe extern "C" fn(Req, *mut FileInfo)>,
    pub release: Option<unsafe extern "C" fn(Req, *mut FileInfo)>,
    pub fsync: Option<unsafe extern "C" fn(Req, c_int, *mut FileInfo)>,
    #[allow(clippy::type_complexity)]
    pub ioctl: Option<
        unsafe extern "C" fn(
            Req,
            c_uint,
            *mut c_void,
            *mut FileInfo,
            c_uint,
            *const c_void,
            size_t,
            size_t,
        ),
    >,
    pub poll: Option<unsafe extern "C" fn(Req, *mut FileInfo, *mut PollHandle)>,
}

impl CuseOps {
    /// A copy of the program's table, as [`LowlevelOps::read`]; `None` for NULL.
    ///
    /// # Safety
    /// `ops` is NULL or has `size` bytes.
    pub unsafe fn read(ops: *const Self, size: usize) -> Option<Self> {
        // SAFETY: the caller's promise; every bit pattern from C is a function or NULL.
        (!ops.is_null()).then(|| unsafe { read_prefix(ops, size, Self::default()) })
    }
}
