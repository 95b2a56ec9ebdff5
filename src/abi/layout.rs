//! Compile-time checks of every layout in this folder.

use super::kernel::*;
use super::public::*;
use memoffset::offset_of;

macro_rules! size {
    ($($type:ty = $size:expr),* $(,)?) => { $(const _: () = assert!(size_of::<$type>() == $size);)* };
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

const _: () = assert!(offset_of!(UringReqHeader, op_in) == 128);
const _: () = assert!(offset_of!(UringReqHeader, ent) == 256);
const _: () = assert!(offset_of!(UringCmdReq, qid) == 16);

// Public structures: every machine.
size! {
    FileInfo = 64, Ctx = 16, ForgetData = 16, ConnInfo = 128, LoopConfigV1 = 8, LoopConfig = 16,
    LibfuseVersion = 16,
}
const _: () = assert!(offset_of!(FileInfo, fh) == 16);
const _: () = assert!(offset_of!(FileInfo, backing_id) == 36);
const _: () = assert!(offset_of!(FileInfo, compat_flags) == 40);
const _: () = assert!(offset_of!(ConnInfo, bits) == 44);
const _: () = assert!(offset_of!(ConnInfo, capable_ext) == 48);
const _: () = assert!(offset_of!(ConnInfo, want_ext) == 56);
const _: () = assert!(offset_of!(ConnInfo, request_timeout) == 64);

#[cfg(target_pointer_width = "64")]
mod lp64 {
    use super::*;
    size! {
        Buf = 48, Bufvec = 72, Args = 24, Opt = 24, CmdlineOpts = 48, CustomIo = 40,
        LowlevelOps = 376,
    }
    const _: () = assert!(offset_of!(Buf, mem) == 16 && offset_of!(Buf, pos) == 32);
    const _: () = assert!(offset_of!(Bufvec, buf) == 24);
    const _: () = assert!(offset_of!(CmdlineOpts, max_threads) == 40);
}
#[cfg(target_arch = "x86_64")]
size! { EntryParam = 176 }
#[cfg(target_arch = "aarch64")]
size! { EntryParam = 160 }
