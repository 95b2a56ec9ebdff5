//! The FUSE wire format of Linux, protocol 7.12 to 7.46, and the structures of
//! FUSE over io_uring. Sources: the kernel's uapi headers and documentation.
//!
//! All types are plain data without padding, so that bytes from the kernel can
//! be read as one of them whatever they hold.
#![allow(missing_docs)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const KERNEL_VERSION: u32 = 7;
/// The newest minor version that this library speaks.
pub const KERNEL_MINOR_VERSION: u32 = 45;
pub const ROOT_ID: u64 = 1;
/// Smallest buffer with which `/dev/fuse` may be read.
pub const MIN_READ_BUFFER: usize = 8192;

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name { $(pub $field: $type),* }
    };
}

macro_rules! opcodes {
    ($($name:ident = $value:literal),* $(,)?) => {
        /// Request codes (`in_header.opcode`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Opcode { $($name = $value),* }

        impl Opcode {
            pub const ALL: &'static [Opcode] = &[$(Opcode::$name),*];

            pub fn from_wire(value: u32) -> Option<Self> {
                match value { $($value => Some(Self::$name),)* _ => None }
            }
        }
    };
}

opcodes! {
    Lookup = 1, Forget = 2, Getattr = 3, Setattr = 4, Readlink = 5, Symlink = 6,
    Mknod = 8, Mkdir = 9, Unlink = 10, Rmdir = 11, Rename = 12, Link = 13,
    Open = 14, Read = 15, Write = 16, Statfs = 17, Release = 18, Fsync = 20,
    Setxattr = 21, Getxattr = 22, Listxattr = 23, Removexattr = 24, Flush = 25,
    Init = 26, Opendir = 27, Readdir = 28, Releasedir = 29, Fsyncdir = 30,
    Getlk = 31, Setlk = 32, Setlkw = 33, Access = 34, Create = 35, Interrupt = 36,
    Bmap = 37, Destroy = 38, Ioctl = 39, Poll = 40, NotifyReply = 41,
    BatchForget = 42, Fallocate = 43, Readdirplus = 44, Rename2 = 45, Lseek = 46,
    CopyFileRange = 47, SetupMapping = 48, RemoveMapping = 49, Syncfs = 50,
    Tmpfile = 51, Statx = 52, CopyFileRange64 = 53, CuseInit = 4096,
}

wire!(InHeader {
    len: u32,
    opcode: u32,
    unique: u64,
    nodeid: u64,
    uid: u32,
    gid: u32,
    pid: u32,
    total_extlen: u16,
    padding: u16,
});
wire!(OutHeader { len: u32, error: i32, unique: u64 });

wire!(Attr {
    ino: u64,
    size: u64,
    blocks: u64,
    atime: u64,
    mtime: u64,
    ctime: u64,
    atimensec: u32,
    mtimensec: u32,
    ctimensec: u32,
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u32,
    blksize: u32,
    flags: u32,
});
wire!(EntryOut {
    nodeid: u64,
    generation: u64,
    entry_valid: u64,
    attr_valid: u64,
    entry_valid_nsec: u32,
    attr_valid_nsec: u32,
    attr: Attr,
});
wire!(AttrOut { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr });
wire!(GetattrIn { getattr_flags: u32, dummy: u32, fh: u64 });
pub const GETATTR_FH: u32 = 1;

wire!(SetattrIn {
    valid: u32,
    padding: u32,
    fh: u64,
    size: u64,
    lock_owner: u64,
    atime: u64,
    mtime: u64,
    ctime: u64,
    atimensec: u32,
    mtimensec: u32,
    ctimensec: u32,
    mode: u32,
    unused4: u32,
    uid: u32,
    gid: u32,
    unused5: u32,
});
pub const FATTR_FH: u32 = 1 << 6;

wire!(MknodIn { mode: u32, rdev: u32, umask: u32, padding: u32 });
wire!(MkdirIn { mode: u32, umask: u32 });
wire!(RenameIn { newdir: u64 });
wire!(Rename2In { newdir: u64, flags: u32, padding: u32 });
wire!(LinkIn { oldnodeid: u64 });
wire!(OpenIn { flags: u32, open_flags: u32 });
wire!(CreateIn { flags: u32, mode: u32, umask: u32, open_flags: u32 });
pub const OPEN_KILL_SUIDGID: u32 = 1;
wire!(OpenOut { fh: u64, open_flags: u32, backing_id: i32 });
pub const FOPEN_DIRECT_IO: u32 = 1 << 0;
pub const FOPEN_KEEP_CACHE: u32 = 1 << 1;
pub const FOPEN_NONSEEKABLE: u32 = 1 << 2;
pub const FOPEN_CACHE_DIR: u32 = 1 << 3;
pub const FOPEN_STREAM: u32 = 1 << 4;
pub const FOPEN_NOFLUSH: u32 = 1 << 5;
pub const FOPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
pub const FOPEN_PASSTHROUGH: u32 = 1 << 7;

wire!(ReleaseIn { fh: u64, flags: u32, release_flags: u32, lock_owner: u64 });
pub const RELEASE_FLUSH: u32 = 1;
pub const RELEASE_FLOCK_UNLOCK: u32 = 2;
wire!(FlushIn { fh: u64, unused: u32, padding: u32, lock_owner: u64 });
wire!(
    /// READ, READDIR and READDIRPLUS.
    ReadIn {
    fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32,
    padding: u32,
});
pub const READ_LOCKOWNER: u32 = 2;
wire!(WriteIn {
    fh: u64,
    offset: u64,
    size: u32,
    write_flags: u32,
    lock_owner: u64,
    flags: u32,
    padding: u32,
});
pub const WRITE_CACHE: u32 = 1;
pub const WRITE_LOCKOWNER: u32 = 2;
pub const WRITE_KILL_SUIDGID: u32 = 4;
wire!(WriteOut { size: u32, padding: u32 });
wire!(Kstatfs {
    blocks: u64,
    bfree: u64,
    bavail: u64,
    files: u64,
    ffree: u64,
    bsize: u32,
    namelen: u32,
    frsize: u32,
    padding: u32,
    spare: [u32; 6],
});
wire!(FsyncIn { fh: u64, fsync_flags: u32, padding: u32 });
pub const FSYNC_FDATASYNC: u32 = 1;
wire!(
    /// The short form; SETXATTR_EXT appends [`SetxattrExt`].
    SetxattrIn { size: u32, flags: u32 });
wire!(SetxattrExt { setxattr_flags: u32, padding: u32 });
wire!(GetxattrIn { size: u32, padding: u32 });
wire!(GetxattrOut { size: u32, padding: u32 });
wire!(FileLock { start: u64, end: u64, kind: u32, pid: u32 });
wire!(LkIn { fh: u64, owner: u64, lk: FileLock, lk_flags: u32, padding: u32 });
wire!(LkOut { lk: FileLock });
pub const LK_FLOCK: u32 = 1;
wire!(AccessIn { mask: u32, padding: u32 });
wire!(InterruptIn { unique: u64 });
wire!(BmapIn { block: u64, blocksize: u32, padding: u32 });
wire!(BmapOut { block: u64 });
wire!(IoctlIn { fh: u64, flags: u32, cmd: u32, arg: u64, in_size: u32, out_size: u32 });
wire!(IoctlIovec { base: u64, len: u64 });
wire!(IoctlOut { result: i32, flags: u32, in_iovs: u32, out_iovs: u32 });
pub const IOCTL_RETRY: u32 = 4;
pub const IOCTL_32BIT: u32 = 8;
pub const IOCTL_DIR: u32 = 16;
pub const IOCTL_MAX_IOV: usize = 256;
wire!(PollIn { fh: u64, kh: u64, flags: u32, events: u32 });
pub const POLL_SCHEDULE_NOTIFY: u32 = 1;
wire!(PollOut { revents: u32, padding: u32 });
wire!(FallocateIn { fh: u64, offset: u64, length: u64, mode: u32, padding: u32 });
wire!(LseekIn { fh: u64, offset: u64, whence: u32, padding: u32 });
wire!(LseekOut { offset: u64 });
wire!(CopyFileRangeIn {
    fh_in: u64,
    off_in: u64,
    nodeid_out: u64,
    fh_out: u64,
    off_out: u64,
    len: u64,
    flags: u64,
});
wire!(CopyFileRangeOut { bytes_copied: u64 });
wire!(SyncfsIn { padding: u64 });
wire!(
    /// An extension at the end of a request. `kind` up to [`MAX_NR_SECCTX`] is
    /// the number of [`Secctx`]s in it.
    ExtHeader { size: u32, kind: u32 });
pub const MAX_NR_SECCTX: u32 = 31;
wire!(
    /// One security context: its attribute's name with a NUL follows, and then
    /// the `size` bytes of the context, padded to 8 bytes together.
    Secctx { size: u32, padding: u32 });
wire!(ForgetIn { nlookup: u64 });
wire!(ForgetOne { nodeid: u64, nlookup: u64 });
wire!(BatchForgetIn { count: u32, dummy: u32 });
wire!(Dirent { ino: u64, off: u64, namelen: u32, kind: u32 });

wire!(StatxIn { getattr_flags: u32, reserved: u32, fh: u64, sx_flags: u32, sx_mask: u32 });
wire!(SxTime { tv_sec: i64, tv_nsec: u32, reserved: i32 });
wire!(Statx {
    mask: u32,
    blksize: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    spare0: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: SxTime,
    btime: SxTime,
    ctime: SxTime,
    mtime: SxTime,
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    spare2: [u64; 14],
});
wire!(StatxOut { attr_valid: u64, attr_valid_nsec: u32, flags: u32, spare: [u64; 2], stat: Statx });

wire!(InitIn { major: u32, minor: u32, max_readahead: u32, flags: u32 });
wire!(
    /// Follows [`InitIn`] since 7.36, if FUSE_INIT_EXT is set.
    InitInExt { flags2: u32, unused: [u32; 11] });
wire!(InitOut {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u32,
    max_background: u16,
    congestion_threshold: u16,
    max_write: u32,
    time_gran: u32,
    max_pages: u16,
    map_alignment: u16,
    flags2: u32,
    max_stack_depth: u32,
    request_timeout: u16,
    unused0: u16,
    unused1: u32,
    unused2: u32,
    unused3: u32,
    unused4: u32,
    unused5: u32,
});
wire!(
    /// CUSE_INIT, in the place of INIT on /dev/cuse.
    CuseInitIn { major: u32, minor: u32, unused: u32, flags: u32 });
wire!(
    /// Followed by lines like DEVNAME=x, each with a NUL.
    CuseInitOut {
    major: u32,
    minor: u32,
    unused: u32,
    flags: u32,
    max_read: u32,
    max_write: u32,
    dev_major: u32,
    dev_minor: u32,
    spare: [u32; 10],
});
pub const CUSE_UNRESTRICTED_IOCTL: u32 = 1 << 0;
/// Bytes that all lines behind [`CuseInitOut`] may have.
pub const CUSE_INIT_INFO_MAX: usize = 4096;
pub const COMPAT_22_INIT_OUT_SIZE: usize = 24;
pub const COMPAT_INIT_OUT_SIZE: usize = 8;

/// Bits of the 64-bit INIT flag word (`flags | flags2 << 32`).
pub mod init {
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const POSIX_LOCKS: u64 = 1 << 1;
    pub const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub const EXPORT_SUPPORT: u64 = 1 << 4;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const DONT_MASK: u64 = 1 << 6;
    pub const FLOCK_LOCKS: u64 = 1 << 10;
    pub const AUTO_INVAL_DATA: u64 = 1 << 12;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const ASYNC_DIO: u64 = 1 << 15;
    pub const WRITEBACK_CACHE: u64 = 1 << 16;
    pub const NO_OPEN_SUPPORT: u64 = 1 << 17;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const HANDLE_KILLPRIV: u64 = 1 << 19;
    pub const POSIX_ACL: u64 = 1 << 20;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const NO_OPENDIR_SUPPORT: u64 = 1 << 24;
    pub const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub const SETXATTR_EXT: u64 = 1 << 29;
    pub const INIT_EXT: u64 = 1 << 30;
    pub const SECURITY_CTX: u64 = 1 << 32;
    pub const HAS_EXPIRE_ONLY: u64 = 1 << 35;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
    pub const PASSTHROUGH: u64 = 1 << 37;
    pub const NO_EXPORT_SUPPORT: u64 = 1 << 38;
    pub const ALLOW_IDMAP: u64 = 1 << 40;
    pub const OVER_IO_URING: u64 = 1 << 41;
    pub const REQUEST_TIMEOUT: u64 = 1 << 42;
}

/// Notification codes, carried in `out_header.error` with `unique` 0.
pub mod notify {
    pub const POLL: i32 = 1;
    pub const INVAL_INODE: i32 = 2;
    pub const INVAL_ENTRY: i32 = 3;
    pub const STORE: i32 = 4;
    pub const RETRIEVE: i32 = 5;
    pub const DELETE: i32 = 6;
    pub const RESEND: i32 = 7;
    pub const INC_EPOCH: i32 = 8;
    pub const PRUNE: i32 = 9;
}
wire!(NotifyPollWakeupOut { kh: u64 });
wire!(NotifyInvalInodeOut { ino: u64, off: i64, len: i64 });
wire!(NotifyInvalEntryOut { parent: u64, namelen: u32, flags: u32 });
wire!(NotifyDeleteOut { parent: u64, child: u64, namelen: u32, padding: u32 });
wire!(NotifyStoreOut { nodeid: u64, offset: u64, size: u32, padding: u32 });
wire!(NotifyRetrieveOut { notify_unique: u64, nodeid: u64, offset: u64, size: u32, padding: u32 });
wire!(
    /// Followed by `count` node numbers of 8 bytes.
    NotifyPruneOut { count: u32, padding: u32, spare: u64 });
wire!(NotifyRetrieveIn {
    dummy1: u64,
    offset: u64,
    size: u32,
    dummy2: u32,
    dummy3: u64,
    dummy4: u64
});

/// ioctls of `/dev/fuse` (magic 229).
pub const DEV_IOC_CLONE: libc::c_ulong = 0x8004_e500;
pub const DEV_IOC_BACKING_OPEN: libc::c_ulong = 0x4010_e501;
pub const DEV_IOC_BACKING_CLOSE: libc::c_ulong = 0x4004_e502;
pub const DEV_IOC_SYNC_INIT: libc::c_ulong = 0xe503;
wire!(BackingMap { fd: i32, flags: u32, padding: u64 });

wire!(
    /// The last part of the ring header: what belongs to the entry itself.
    UringEntInOut {
    flags: u64, commit_id: u64, payload_sz: u32, offset: u32, reserved: u64,
});
/// Header area of a ring entry. `in_out` holds [`InHeader`] on delivery and
/// [`OutHeader`] on commit; `op_in` the request's fixed argument.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UringReqHeader {
    pub in_out: [u8; 128],
    pub op_in: [u8; 128],
    pub ent: UringEntInOut,
}
pub const URING_CMD_REGISTER: u32 = 1;
pub const URING_CMD_COMMIT_AND_FETCH: u32 = 2;
wire!(
    /// Command area of a 128-byte SQE (bytes 48 and up).
    UringCmdReq { flags: u64, commit_id: u64, qid: u16, padding: [u8; 6] });
