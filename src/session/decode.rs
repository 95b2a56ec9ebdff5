//! From the bytes of a request to a typed operation: a pure function.
//!
//! A request has a fixed argument and a rest (names, data). On `/dev/fuse` both
//! follow the header back to back; a ring entry keeps them in two places. So
//! [`fixed_len`] says where to cut, and [`decode`] takes the two slices. It
//! never reads outside them, whatever they hold.

use crate::abi::kernel::*;
use std::ffi::CStr;
use zerocopy::FromBytes;

/// What was agreed on in INIT and changes how requests look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// SETXATTR carries its extended form.
    pub setxattr_ext: bool,
}

/// The message is not what its opcode says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A request's argument, borrowed from the message.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Operation<'a> {
    Lookup { name: &'a CStr },
    Forget { nlookup: u64 },
    BatchForget { entries: &'a [u8] },
    Getattr { fh: Option<u64> },
    Setattr(SetattrIn),
    Readlink,
    Symlink { name: &'a CStr, target: &'a CStr },
    Mknod { args: MknodIn, name: &'a CStr },
    Mkdir { args: MkdirIn, name: &'a CStr },
    Unlink { name: &'a CStr },
    Rmdir { name: &'a CStr },
    Rename { newdir: u64, flags: u32, name: &'a CStr, newname: &'a CStr },
    Link { oldnodeid: u64, newname: &'a CStr },
    Open(OpenIn),
    Read(ReadIn),
    Write { args: WriteIn, data: &'a [u8] },
    Statfs,
    Release(ReleaseIn),
    Fsync(FsyncIn),
    Setxattr { args: SetxattrIn, name: &'a CStr, value: &'a [u8] },
    Getxattr { size: u32, name: &'a CStr },
    Listxattr { size: u32 },
    Removexattr { name: &'a CStr },
    Flush(FlushIn),
    Init { args: InitIn, flags2: u32 },
    CuseInit(CuseInitIn),
    Opendir(OpenIn),
    Readdir(ReadIn),
    Readdirplus(ReadIn),
    Releasedir(ReleaseIn),
    Fsyncdir(FsyncIn),
    Getlk(LkIn),
    Setlk { args: LkIn, wait: bool },
    Access { mask: u32 },
    Create { args: CreateIn, name: &'a CStr },
    Tmpfile(CreateIn),
    Interrupt { unique: u64 },
    Bmap(BmapIn),
    Destroy,
    Ioctl { args: IoctlIn, data: &'a [u8] },
    Poll(PollIn),
    NotifyReply { args: NotifyRetrieveIn, data: &'a [u8] },
    Fallocate(FallocateIn),
    Lseek(LseekIn),
    CopyFileRange { args: CopyFileRangeIn },
    Statx(StatxIn),
    Syncfs,
}

/// Bytes of the fixed argument, the part that a ring entry keeps in `op_in`.
pub fn fixed_len(opcode: Opcode, dialect: Dialect) -> usize {
    use Opcode::*;
    match opcode {
        Lookup | Readlink | Symlink | Unlink | Rmdir | Statfs | Removexattr | Destroy
        | NotifyReply | SetupMapping | RemoveMapping => 0,
        // INIT grew over time: all of it is parsed from the rest.
        Init => 0,
        CuseInit => size_of::<CuseInitIn>(),
        Forget => size_of::<ForgetIn>(),
        BatchForget => size_of::<BatchForgetIn>(),
        Getattr => size_of::<GetattrIn>(),
        Setattr => size_of::<SetattrIn>(),
        Mknod => size_of::<MknodIn>(),
        Mkdir => size_of::<MkdirIn>(),
        Rename => size_of::<RenameIn>(),
        Rename2 => size_of::<Rename2In>(),
        Link => size_of::<LinkIn>(),
        Open | Opendir => size_of::<OpenIn>(),
        Read | Readdir | Readdirplus => size_of::<ReadIn>(),
        Write => size_of::<WriteIn>(),
        Release | Releasedir => size_of::<ReleaseIn>(),
        Fsync | Fsyncdir => size_of::<FsyncIn>(),
        Setxattr if dialect.setxattr_ext => size_of::<SetxattrIn>() + size_of::<SetxattrExt>(),
        Setxattr => size_of::<SetxattrIn>(),
        Getxattr | Listxattr => size_of::<GetxattrIn>(),
        Flush => size_of::<FlushIn>(),
        Getlk | Setlk | Setlkw => size_of::<LkIn>(),
        Access => size_of::<AccessIn>(),
        Create | Tmpfile => size_of::<CreateIn>(),
        Interrupt => size_of::<InterruptIn>(),
        Bmap => size_of::<BmapIn>(),
        Ioctl => size_of::<IoctlIn>(),
        Poll => size_of::<PollIn>(),
        Fallocate => size_of::<FallocateIn>(),
        Lseek => size_of::<LseekIn>(),
        CopyFileRange | CopyFileRange64 => size_of::<CopyFileRangeIn>(),
        Syncfs => size_of::<SyncfsIn>(),
        Statx => size_of::<StatxIn>(),
    }
}

fn get<T: FromBytes>(bytes: &[u8]) -> Result<T, Malformed> {
    T::read_from_prefix(bytes).map(|(value, _)| value).map_err(|_| Malformed)
}

/// Cuts a NUL-terminated name off the front of `bytes`.
fn name(bytes: &[u8]) -> Result<(&CStr, &[u8]), Malformed> {
    let name = CStr::from_bytes_until_nul(bytes).map_err(|_| Malformed)?;
    Ok((name, &bytes[name.count_bytes() + 1..]))
}

fn two_names(bytes: &[u8]) -> Result<(&CStr, &CStr), Malformed> {
    let (first, rest) = name(bytes)?;
    Ok((first, name(rest)?.0))
}

fn sized(bytes: &[u8], size: u32) -> Result<&[u8], Malformed> {
    bytes.get(..size as usize).ok_or(Malformed)
}

/// Decodes one request from its fixed argument and the rest of its bytes.
/// `Err` means the message is shorter than it claims, or lacks a terminator.
/// `Ok(None)` is an opcode that this library does not serve (DAX).
pub fn decode<'a>(
    opcode: Opcode,
    fixed: &'a [u8],
    rest: &'a [u8],
) -> Result<Option<Operation<'a>>, Malformed> {
    use Operation as Op;
    Ok(Some(match opcode {
        Opcode::Lookup => Op::Lookup { name: name(rest)?.0 },
        Opcode::Forget => Op::Forget { nlookup: get::<ForgetIn>(fixed)?.nlookup },
        Opcode::BatchForget => {
            let count = get::<BatchForgetIn>(fixed)?.count as usize;
            let size = count.checked_mul(size_of::<ForgetOne>()).ok_or(Malformed)?;
            Op::BatchForget { entries: rest.get(..size).ok_or(Malformed)? }
        }
        Opcode::Getattr => {
            let args: GetattrIn = get(fixed)?;
            Op::Getattr { fh: (args.getattr_flags & GETATTR_FH != 0).then_some(args.fh) }
        }
        Opcode::Setattr => Op::Setattr(get(fixed)?),
        Opcode::Readlink => Op::Readlink,
        Opcode::Symlink => {
            let (name, target) = two_names(rest)?;
            Op::Symlink { name, target }
        }
        Opcode::Mknod => Op::Mknod { args: get(fixed)?, name: name(rest)?.0 },
        Opcode::Mkdir => Op::Mkdir { args: get(fixed)?, name: name(rest)?.0 },
        Opcode::Unlink => Op::Unlink { name: name(rest)?.0 },
        Opcode::Rmdir => Op::Rmdir { name: name(rest)?.0 },
        Opcode::Rename => {
            let (name, newname) = two_names(rest)?;
            Op::Rename { newdir: get::<RenameIn>(fixed)?.newdir, flags: 0, name, newname }
        }
        Opcode::Rename2 => {
            let args: Rename2In = get(fixed)?;
            let (name, newname) = two_names(rest)?;
            Op::Rename { newdir: args.newdir, flags: args.flags, name, newname }
        }
        Opcode::Link => {
            Op::Link { oldnodeid: get::<LinkIn>(fixed)?.oldnodeid, newname: name(rest)?.0 }
        }
        Opcode::Open => Op::Open(get(fixed)?),
        Opcode::Read => Op::Read(get(fixed)?),
        Opcode::Write => {
            let args: WriteIn = get(fixed)?;
            Op::Write { args, data: sized(rest, args.size)? }
        }
        Opcode::Statfs => Op::Statfs,
        Opcode::Release => Op::Release(get(fixed)?),
        Opcode::Fsync => Op::Fsync(get(fixed)?),
        Opcode::Setxattr => {
            let args: SetxattrIn = get(fixed)?;
            let (name, value) = name(rest)?;
            Op::Setxattr { args, name, value: sized(value, args.size)? }
        }
        Opcode::Getxattr => {
            Op::Getxattr { size: get::<GetxattrIn>(fixed)?.size, name: name(rest)?.0 }
        }
        Opcode::Listxattr => Op::Listxattr { size: get::<GetxattrIn>(fixed)?.size },
        Opcode::Removexattr => Op::Removexattr { name: name(rest)?.0 },
        Opcode::Flush => Op::Flush(get(fixed)?),
        Opcode::Init => init(rest)?,
        Opcode::CuseInit => Op::CuseInit(get(fixed)?),
        Opcode::Opendir => Op::Opendir(get(fixed)?),
        Opcode::Readdir => Op::Readdir(get(fixed)?),
        Opcode::Readdirplus => Op::Readdirplus(get(fixed)?),
        Opcode::Releasedir => Op::Releasedir(get(fixed)?),
        Opcode::Fsyncdir => Op::Fsyncdir(get(fixed)?),
        Opcode::Getlk => Op::Getlk(get(fixed)?),
        Opcode::Setlk => Op::Setlk { args: get(fixed)?, wait: false },
        Opcode::Setlkw => Op::Setlk { args: get(fixed)?, wait: true },
        Opcode::Access => Op::Access { mask: get::<AccessIn>(fixed)?.mask },
        Opcode::Create => Op::Create { args: get(fixed)?, name: name(rest)?.0 },
        Opcode::Tmpfile => Op::Tmpfile(get(fixed)?),
        Opcode::Interrupt => Op::Interrupt { unique: get::<InterruptIn>(fixed)?.unique },
        Opcode::Bmap => Op::Bmap(get(fixed)?),
        Opcode::Destroy => Op::Destroy,
        Opcode::Ioctl => {
            let args: IoctlIn = get(fixed)?;
            Op::Ioctl { args, data: sized(rest, args.in_size)? }
        }
        Opcode::Poll => Op::Poll(get(fixed)?),
        Opcode::NotifyReply => {
            let (args, data) = NotifyRetrieveIn::read_from_prefix(rest).map_err(|_| Malformed)?;
            Op::NotifyReply { args, data: sized(data, args.size)? }
        }
        Opcode::Fallocate => Op::Fallocate(get(fixed)?),
        Opcode::Lseek => Op::Lseek(get(fixed)?),
        Opcode::CopyFileRange | Opcode::CopyFileRange64 => Op::CopyFileRange { args: get(fixed)? },
        Opcode::Statx => Op::Statx(get(fixed)?),
        Opcode::Syncfs => Op::Syncfs,
        Opcode::SetupMapping | Opcode::RemoveMapping => return Ok(None),
    }))
}

/// INIT as sent since 7.6 (16 bytes), with 48 more since 7.36, or only the two
/// version numbers (8 bytes) from a kernel of another major version.
fn init(rest: &[u8]) -> Result<Operation<'_>, Malformed> {
    #[derive(FromBytes, zerocopy::Immutable)]
    #[repr(C)]
    struct Version {
        major: u32,
        minor: u32,
    }
    let args = match InitIn::read_from_prefix(rest) {
        Ok((args, _)) => args,
        Err(_) => {
            let version: Version = get(rest)?;
            InitIn { major: version.major, minor: version.minor, ..InitIn::default() }
        }
    };
    let extended = u64::from(args.flags) & init::INIT_EXT != 0;
    let flags2 = match rest.get(size_of::<InitIn>()..) {
        Some(ext) if extended => InitInExt::read_from_prefix(ext).map_or(0, |(ext, _)| ext.flags2),
        _ => 0,
    };
    Ok(Operation::Init { args, flags2 })
}
