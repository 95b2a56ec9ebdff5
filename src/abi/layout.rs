//! Compile-time checks of every layout in this folder, on every machine that the
//! library is built for. `tests/headers/layout-*.txt` has what C says.

use super::kernel::*;
use super::public::*;
use memoffset::offset_of;

macro_rules! size {
    ($($type:ty = $size:expr),* $(,)?) => { $(const _: () = assert!(size_of::<$type>() == $size);)* };
}

macro_rules! offsets {
    ($($type:ty { $($field:ident = $at:expr),* $(,)? })*) => {
        $($(const _: () = assert!(offset_of!($type, $field) == $at);)*)*
    };
}

size! {
    InHeader = 40, OutHeader = 16, Attr = 88, EntryOut = 128, AttrOut = 104, GetattrIn = 16,
    SetattrIn = 88, MknodIn = 16, MkdirIn = 8, RenameIn = 8, Rename2In = 16, LinkIn = 8,
    OpenIn = 8, CreateIn = 16, OpenOut = 16, ReleaseIn = 24, FlushIn = 24, ReadIn = 40,
    WriteIn = 40, WriteOut = 8, Kstatfs = 80, FsyncIn = 16, SetxattrIn = 8, SetxattrExt = 8,
    GetxattrIn = 8, GetxattrOut = 8, LkIn = 48, LkOut = 24, AccessIn = 8, InterruptIn = 8,
    BmapIn = 16, BmapOut = 8, IoctlIn = 32, IoctlIovec = 16, IoctlOut = 16, PollIn = 24,
    PollOut = 8, FallocateIn = 32, LseekIn = 24, LseekOut = 8, CopyFileRangeIn = 56,
    CopyFileRangeOut = 8, SyncfsIn = 8, ForgetIn = 8, ForgetOne = 16, BatchForgetIn = 8,
    Dirent = 24, StatxIn = 24, Statx = 256, StatxOut = 288, InitIn = 16, InitInExt = 48,
    InitOut = 64, CuseInitIn = 16, CuseInitOut = 72, NotifyPollWakeupOut = 8, NotifyInvalInodeOut = 24, NotifyInvalEntryOut = 16,
    NotifyDeleteOut = 24, NotifyStoreOut = 24, NotifyRetrieveOut = 32, NotifyRetrieveIn = 40,
    BackingMap = 16, UringEntInOut = 32, UringReqHeader = 288, UringCmdReq = 24,
}

offsets! {
    UringReqHeader { op_in = 128, ent = 256 }
    UringCmdReq { qid = 16 }
}

// Public structures: every machine.
size! {
    FileInfo = 64, Ctx = 16, ForgetData = 16, ConnInfo = 128, LoopConfigV1 = 8, LoopConfig = 16,
    LibfuseVersion = 16, LowlevelOps = 47 * size_of::<usize>(),
}
offsets! {
    FileInfo {
        flags = 0, bits = 4, padding2 = 8, padding3 = 12, fh = 16, lock_owner = 24,
        poll_events = 32, backing_id = 36, compat_flags = 40, reserved = 48,
    }
    ConnInfo {
        proto_major = 0, proto_minor = 4, max_write = 8, max_read = 12, max_readahead = 16,
        capable = 20, want = 24, max_background = 28, congestion_threshold = 32, time_gran = 36,
        max_backing_stack_depth = 40, bits = 44, capable_ext = 48, want_ext = 56,
        request_timeout = 64, reserved = 66,
    }
    Ctx { uid = 0, gid = 4, pid = 8, umask = 12 }
    ForgetData { ino = 0, nlookup = 8 }
    EntryParam { ino = 0, generation = 8, attr = 16 }
}

#[cfg(target_pointer_width = "64")]
mod lp64 {
    use super::*;
    size! { Buf = 48, Bufvec = 72, Args = 24, Opt = 24, CmdlineOpts = 48, CustomIo = 40 }
    offsets! {
        Buf { size = 0, flags = 8, mem = 16, fd = 24, pos = 32, mem_size = 40 }
        Bufvec { count = 0, idx = 8, off = 16, buf = 24 }
        Args { argc = 0, argv = 8, allocated = 16 }
        Opt { templ = 0, offset = 8, value = 16 }
        CmdlineOpts {
            singlethread = 0, foreground = 4, debug = 8, nodefault_subtype = 12, mountpoint = 16,
            show_version = 24, show_help = 28, clone_fd = 32, max_idle_threads = 36,
            max_threads = 40,
        }
        CustomIo { writev = 0, read = 8, splice_receive = 16, splice_send = 24, clone_fd = 32 }
    }
}

#[cfg(target_pointer_width = "32")]
mod ilp32 {
    use super::*;
    size! { Args = 12, Opt = 12, CmdlineOpts = 40, CustomIo = 20 }
    offsets! {
        Buf { size = 0, flags = 4, mem = 8, fd = 12, pos = 16, mem_size = 24 }
        Bufvec { count = 0, idx = 4, off = 8 }
        Args { argc = 0, argv = 4, allocated = 8 }
        Opt { templ = 0, offset = 4, value = 8 }
        CmdlineOpts {
            singlethread = 0, foreground = 4, debug = 8, nodefault_subtype = 12, mountpoint = 16,
            show_version = 20, show_help = 24, clone_fd = 28, max_idle_threads = 32,
            max_threads = 36,
        }
        CustomIo { writev = 0, read = 4, splice_receive = 8, splice_send = 12, clone_fd = 16 }
    }
}

#[cfg(target_arch = "x86_64")]
size! { EntryParam = 176 }
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
size! { EntryParam = 160 }
#[cfg(target_arch = "x86")]
mod i386 {
    use super::*;
    size! { Buf = 28, Bufvec = 40, EntryParam = 128 }
    offsets! { Bufvec { buf = 12 } EntryParam { attr_timeout = 112, entry_timeout = 120 } }
}
// 64-bit numbers are aligned there; `struct stat` is larger with 64-bit times.
#[cfg(target_arch = "arm")]
mod arm {
    use super::*;
    const STAT: usize = if size_of::<libc::time_t>() == 8 { 112 } else { 104 };
    size! { Buf = 32, Bufvec = 48, EntryParam = 16 + STAT + 16 }
    offsets! { Bufvec { buf = 16 } EntryParam { attr_timeout = 16 + STAT } }
}
