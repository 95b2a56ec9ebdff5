//! From a received request to the filesystem's callback.
//!
//! Runs on the thread that received the request. Names and data are borrowed
//! from the message, `struct fuse_file_info` and the like live on this stack:
//! all are valid until the callback returns. What the filesystem does not
//! implement is answered here.
#![allow(unsafe_code)] // calls the filesystem's functions with C pointers

use super::decode::{decode, Operation};
use super::request::Request;
use super::secctx::SecurityContexts;
use super::{cuse, init, notify, Session};
use crate::abi::kernel::*;
use crate::abi::public::{cap, Bufvec, FileBit, FileInfo, ForgetData, PollHandle};

use crate::transport;
use std::ffi::c_void;
use std::sync::atomic::Ordering;
use zerocopy::{FromBytes, FromZeros};

/// Attribute bits of SETATTR that the filesystem gets to see.
const SETATTR_VISIBLE: u32 = 0x1dbf;
/// The kernel asks for more than a `size_t` answer can say: cut to whole pages.
const MAX_COPY: u64 = 0xffff_f000;

/// Opcodes that users other than the owner may send with `allow_root`: they
/// concern files that are open already.
const OPEN_TO_ALL: &[Opcode] = &[
    Opcode::Init,
    Opcode::Read,
    Opcode::Write,
    Opcode::Fsync,
    Opcode::Release,
    Opcode::Readdir,
    Opcode::Fsyncdir,
    Opcode::Releasedir,
    Opcode::NotifyReply,
    Opcode::Readdirplus,
];

fn error(req: &Request, errno: i32) {
    let _ = transport::answer_error(req, errno);
}

/// Serves one request: `fixed` and `rest` as [`decode`] wants them.
pub fn dispatch(req: &Request, header: &InHeader, fixed: &[u8], rest: &[u8]) {
    let session = req.session();
    let Some(opcode) = Opcode::from_wire(header.opcode) else {
        return error(req, libc::ENOSYS);
    };
    if session.is_debugged() {
        crate::log_debug!(
            "request {}: {opcode:?}, node {}, {} bytes, pid {}",
            header.unique,
            header.nodeid,
            header.len,
            header.pid
        );
    }
    // A device gets CUSE_INIT and a filesystem INIT, once, before all else.
    let (first, never) = match session.device() {
        Some(_) => (Opcode::CuseInit, Opcode::Init),
        None => (Opcode::Init, Opcode::CuseInit),
    };
    if session.is_initialized() == (opcode == first) || opcode == never {
        return error(req, libc::EIO);
    }
    if session.options.allow_root
        && header.uid != session.owner()
        && header.uid != 0
        && !OPEN_TO_ALL.contains(&opcode)
    {
        return error(req, libc::EACCES);
    }
    match decode(opcode, fixed, rest) {
        Ok(Some(operation)) => {
            if session.sends_security_contexts() {
                set_security_contexts(req, SecurityContexts::find(opcode, rest));
            }
            run(session, req, operation);
        }
        Ok(None) => error(req, libc::ENOSYS),
        Err(_) => {
            crate::log_error!(
                "malformed {opcode:?} request {}: {} bytes are too few for it, or it lacks a terminator",
                header.unique, header.len
            );
            error(req, libc::EIO);
        }
    }
}

fn file_info(fh: u64, flags: u32) -> FileInfo {
    FileInfo { fh, flags: flags as i32, ..FileInfo::default() }
}

fn set_umask(req: &Request, umask: u32) {
    // SAFETY: no callback has seen the request yet, so this thread is alone.
    unsafe { (*req.as_c()).set_umask(umask) };
}

fn set_security_contexts(req: &Request, contexts: Option<SecurityContexts>) {
    // SAFETY: as for the umask.
    unsafe { (*req.as_c()).set_security_contexts(contexts) };
}

/// Calls the callback if there is one; else ENOSYS.
macro_rules! call {
    ($req:ident, $op:expr, $($arg:expr),* $(,)?) => {
        match $op {
            // SAFETY: the filesystem's own function; every pointer outlives the call.
            Some(op) => unsafe { op($req.as_c(), $($arg),*) },
            None => error($req, libc::ENOSYS),
        }
    };
}

fn run(session: &Session, req: &Request, operation: Operation<'_>) {
    use Operation as Op;
    let ops = session.ops();
    let node = req.nodeid();
    match operation {
        Op::Lookup { name } => call!(req, ops.lookup, node, name.as_ptr()),
        Op::Forget { nlookup } => {
            forget(session, req, &[ForgetOne { nodeid: node, nlookup }], false)
        }
        Op::BatchForget { entries } => {
            let entries: Vec<ForgetOne> = entries
                .chunks_exact(size_of::<ForgetOne>())
                .filter_map(|bytes| ForgetOne::read_from_bytes(bytes).ok())
                .collect();
            forget(session, req, &entries, true);
        }
        Op::Getattr { fh } => {
            let mut fi = fh.map(|fh| file_info(fh, 0));
            let fi = fi.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
            call!(req, ops.getattr, node, fi);
        }
        Op::Setattr(args) => setattr(session, req, &args),
        Op::Readlink => call!(req, ops.readlink, node),
        Op::Symlink { name, target } => {
            call!(req, ops.symlink, target.as_ptr(), node, name.as_ptr())
        }
        Op::Mknod { args, name } => {
            set_umask(req, args.umask);
            call!(req, ops.mknod, node, name.as_ptr(), args.mode, decode_device(args.rdev));
        }
        Op::Mkdir { args, name } => {
            set_umask(req, args.umask);
            call!(req, ops.mkdir, node, name.as_ptr(), args.mode);
        }
        Op::Unlink { name } => call!(req, ops.unlink, node, name.as_ptr()),
        Op::Rmdir { name } => call!(req, ops.rmdir, node, name.as_ptr()),
        Op::Rename { newdir, flags, name, newname } => {
            call!(req, ops.rename, node, name.as_ptr(), newdir, newname.as_ptr(), flags);
        }
        Op::Link { oldnodeid, newname } => call!(req, ops.link, oldnodeid, node, newname.as_ptr()),
        Op::Open(args) => open(session, req, &args, false),
        Op::Opendir(args) => open(session, req, &args, true),
        Op::Create { args, name } => {
            set_umask(req, args.umask);
            let mut fi = file_info(0, args.flags);
            fi.set(FileBit::KillSuidgid, args.open_flags & OPEN_KILL_SUIDGID != 0);
            call!(req, ops.create, node, name.as_ptr(), args.mode, &mut fi);
        }
        Op::Tmpfile(args) => {
            set_umask(req, args.umask);
            let mut fi = file_info(0, args.flags);
            call!(req, ops.tmpfile, node, args.mode, &mut fi);
        }
        Op::Read(args) => {
            let mut fi = read_info(&args);
            call!(req, ops.read, node, args.size as usize, args.offset as i64, &mut fi);
        }
        Op::Readdir(args) => {
            let mut fi = read_info(&args);
            call!(req, ops.readdir, node, args.size as usize, args.offset as i64, &mut fi);
        }
        Op::Readdirplus(args) => {
            let mut fi = read_info(&args);
            call!(req, ops.readdirplus, node, args.size as usize, args.offset as i64, &mut fi);
        }
        Op::Write { args, data } => write(session, req, &args, data),
        Op::Statfs => match ops.statfs {
            Some(_) => call!(req, ops.statfs, node),
            None => {
                let _ = super::reply::statfs(req, 0, 512, 255);
            }
        },
        Op::Release(args) => {
            let mut fi = release_info(&args);
            match ops.release {
                Some(_) => call!(req, ops.release, node, &mut fi),
                None => error(req, 0),
            }
        }
        Op::Releasedir(args) => {
            let mut fi = release_info(&args);
            match ops.releasedir {
                Some(_) => call!(req, ops.releasedir, node, &mut fi),
                None => error(req, 0),
            }
        }
        Op::Fsync(args) => {
            let mut fi = file_info(args.fh, 0);
            call!(req, ops.fsync, node, (args.fsync_flags & FSYNC_FDATASYNC) as i32, &mut fi);
        }
        Op::Fsyncdir(args) => {
            let mut fi = file_info(args.fh, 0);
            call!(req, ops.fsyncdir, node, (args.fsync_flags & FSYNC_FDATASYNC) as i32, &mut fi);
        }
        Op::Setxattr { args, name, value } => {
            let value_start = value.as_ptr().cast();
            call!(
                req,
                ops.setxattr,
                node,
                name.as_ptr(),
                value_start,
                value.len(),
                args.flags as i32
            );
        }
        Op::Getxattr { size, name } => call!(req, ops.getxattr, node, name.as_ptr(), size as usize),
        Op::Listxattr { size } => call!(req, ops.listxattr, node, size as usize),
        Op::Removexattr { name } => call!(req, ops.removexattr, node, name.as_ptr()),
        Op::Flush(args) => {
            let mut fi = file_info(args.fh, 0);
            fi.set(FileBit::Flush, true);
            fi.lock_owner = args.lock_owner;
            call!(req, ops.flush, node, &mut fi);
        }
        Op::Init { args, flags2 } => init::handle(session, req, args, flags2),
        Op::CuseInit(args) => cuse::init(session, req, &args),
        Op::Getlk(args) => {
            let mut fi = lock_info(&args);
            let mut lock = lock_of(&args.lk);
            call!(req, ops.getlk, node, &mut fi, &mut lock);
        }
        Op::Setlk { args, wait } => setlk(session, req, &args, wait),
        Op::Access { mask } => call!(req, ops.access, node, mask as i32),
        Op::Interrupt { unique } => interrupt(session, req, unique),
        Op::Bmap(args) => call!(req, ops.bmap, node, args.blocksize as usize, args.block),
        Op::Destroy => {
            session.handle_destroy();
            error(req, 0);
        }
        Op::Ioctl { args, data } => ioctl(session, req, &args, data),
        Op::Poll(args) => poll(session, req, &args),
        Op::NotifyReply { args, data } => notify::retrieved(session, req, &args, data),
        Op::Fallocate(args) => {
            let mut fi = file_info(args.fh, 0);
            let (offset, length) = (args.offset as i64, args.length as i64);
            call!(req, ops.fallocate, node, args.mode as i32, offset, length, &mut fi);
        }
        Op::Lseek(args) => {
            let mut fi = file_info(args.fh, 0);
            call!(req, ops.lseek, node, args.offset as i64, args.whence as i32, &mut fi);
        }
        Op::CopyFileRange { args } => {
            let (mut from, mut to) = (file_info(args.fh_in, 0), file_info(args.fh_out, 0));
            call!(
                req,
                ops.copy_file_range,
                node,
                args.off_in as i64,
                &mut from,
                args.nodeid_out,
                args.off_out as i64,
                &mut to,
                args.len.min(MAX_COPY) as usize,
                args.flags as i32,
            );
        }
        Op::Syncfs => call!(req, ops.syncfs, node),
        Op::Statx(args) => {
            let mut fi = (args.getattr_flags & GETATTR_FH != 0).then(|| file_info(args.fh, 0));
            let fi = fi.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
            call!(req, ops.statx, node, args.sx_flags as i32, args.sx_mask as i32, fi);
        }
    }
}

/// The kernel's 32-bit device number: minor's low byte, 12 bits major, the rest
/// of minor.
fn decode_device(rdev: u32) -> libc::dev_t {
    libc::makedev((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00))
}

fn forget(session: &Session, req: &Request, entries: &[ForgetOne], batch: bool) {
    let ops = session.ops();
    match (ops.forget_multi, ops.forget, entries) {
        (Some(forget_multi), _, _) if batch || ops.forget.is_none() => {
            let mut data: Vec<ForgetData> = entries
                .iter()
                .map(|one| ForgetData { ino: one.nodeid, nlookup: one.nlookup })
                .collect();
            // SAFETY: the filesystem's own function; the array outlives the call.
            unsafe { forget_multi(req.as_c(), data.len(), data.as_mut_ptr()) };
        }
        // SAFETY: the filesystem's own function.
        (_, Some(forget), [one]) => unsafe { forget(req.as_c(), one.nodeid, one.nlookup) },
        (_, Some(forget), _) => {
            // Each gets a request of its own, as each ends with fuse_reply_none.
            let header = InHeader { opcode: Opcode::Forget as u32, ..InHeader::new_zeroed() };
            for one in entries {
                transport::dev::with_slot(session, &header, |single| {
                    // SAFETY: the filesystem's own function.
                    unsafe { forget(single.as_c(), one.nodeid, one.nlookup) };
                });
            }
            transport::no_answer(req);
        }
        _ => transport::no_answer(req),
    }
}

fn setattr(session: &Session, req: &Request, args: &SetattrIn) {
    let Some(op) = session.ops().setattr else {
        return error(req, libc::ENOSYS);
    };
    let mut attr: libc::stat64 = FromStat::zeroed();
    attr.st_mode = args.mode;
    attr.st_uid = args.uid;
    attr.st_gid = args.gid;
    attr.st_size = args.size as i64;
    attr.st_atime = args.atime as _;
    attr.st_mtime = args.mtime as _;
    attr.st_ctime = args.ctime as _;
    attr.st_atime_nsec = args.atimensec as _;
    attr.st_mtime_nsec = args.mtimensec as _;
    attr.st_ctime_nsec = args.ctimensec as _;
    let mut fi = file_info(args.fh, 0);
    let fi =
        if args.valid & FATTR_FH != 0 { std::ptr::from_mut(&mut fi) } else { std::ptr::null_mut() };
    let to_set = (args.valid & SETATTR_VISIBLE) as i32;
    // SAFETY: the filesystem's own function; the pointers outlive the call.
    unsafe { op(req.as_c(), req.nodeid(), &mut attr, to_set, fi) };
}

/// An all-zero C structure.
struct FromStat;
impl FromStat {
    fn zeroed<T: Copy>() -> T {
        // SAFETY: used for `stat` and `flock` only: plain numbers.
        unsafe { std::mem::zeroed() }
    }
}

fn open(session: &Session, req: &Request, args: &OpenIn, directory: bool) {
    let ops = session.ops();
    let (op, unneeded) = if directory {
        (ops.opendir, cap::NO_OPENDIR_SUPPORT)
    } else {
        (ops.open, cap::NO_OPEN_SUPPORT)
    };
    let mut fi = file_info(0, args.flags);
    fi.set(FileBit::KillSuidgid, args.open_flags & OPEN_KILL_SUIDGID != 0);
    match op {
        // SAFETY: the filesystem's own function; `fi` outlives the call.
        Some(op) => unsafe { op(req.as_c(), req.nodeid(), &mut fi) },
        None if session.negotiated().want & unneeded != 0 => error(req, libc::ENOSYS),
        None => {
            let _ = super::reply::open(req, &fi);
        }
    }
}

fn read_info(args: &ReadIn) -> FileInfo {
    let mut fi = file_info(args.fh, args.flags);
    if args.read_flags & READ_LOCKOWNER != 0 {
        fi.lock_owner = args.lock_owner;
    }
    fi
}

fn write(session: &Session, req: &Request, args: &WriteIn, data: &[u8]) {
    let ops = session.ops();
    let mut fi = file_info(args.fh, args.flags);
    fi.set(FileBit::Writepage, args.write_flags & WRITE_CACHE != 0);
    fi.set(FileBit::KillSuidgid, args.write_flags & WRITE_KILL_SUIDGID != 0);
    if args.write_flags & WRITE_LOCKOWNER != 0 {
        fi.lock_owner = args.lock_owner;
    }
    let offset = args.offset as i64;
    if ops.write_buf.is_some() {
        let mut bufv = memory_bufvec(data);
        call!(req, ops.write_buf, req.nodeid(), &mut bufv, offset, &mut fi);
    } else {
        call!(req, ops.write, req.nodeid(), data.as_ptr().cast(), data.len(), offset, &mut fi);
    }
}

/// A vector of one buffer over received data, which callbacks only read.
pub fn memory_bufvec(data: &[u8]) -> Bufvec {
    let memory = data.as_ptr().cast_mut().cast::<c_void>();
    Bufvec::memory(memory, data.len())
}

fn release_info(args: &ReleaseIn) -> FileInfo {
    let mut fi = file_info(args.fh, args.flags);
    fi.set(FileBit::Flush, args.release_flags & RELEASE_FLUSH != 0);
    fi.set(FileBit::FlockRelease, args.release_flags & RELEASE_FLOCK_UNLOCK != 0);
    fi.lock_owner = args.lock_owner;
    fi
}

fn lock_info(args: &LkIn) -> FileInfo {
    let mut fi = file_info(args.fh, 0);
    fi.lock_owner = args.owner;
    fi
}

fn lock_of(lk: &FileLock) -> libc::flock64 {
    let mut lock: libc::flock64 = FromStat::zeroed();
    lock.l_type = lk.kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = lk.start as i64;
    // The kernel's end is inclusive, and the largest offset means "to the end".
    lock.l_len = if lk.end == i64::MAX as u64 {
        0
    } else {
        lk.end.wrapping_sub(lk.start).wrapping_add(1) as i64
    };
    lock.l_pid = lk.pid as i32;
    lock
}

fn setlk(session: &Session, req: &Request, args: &LkIn, wait: bool) {
    let ops = session.ops();
    let mut fi = lock_info(args);
    if args.lk_flags & LK_FLOCK != 0 {
        let operation = match args.lk.kind as i32 {
            libc::F_RDLCK => libc::LOCK_SH,
            libc::F_WRLCK => libc::LOCK_EX,
            _ => libc::LOCK_UN,
        };
        let operation = if wait { operation } else { operation | libc::LOCK_NB };
        call!(req, ops.flock, req.nodeid(), &mut fi, operation);
    } else {
        let mut lock = lock_of(&args.lk);
        call!(req, ops.setlk, req.nodeid(), &mut fi, &mut lock, i32::from(wait));
    }
}

fn interrupt(session: &Session, req: &Request, unique: u64) {
    if session.refuses_interrupts() {
        return error(req, libc::ENOSYS);
    }
    if session.is_debugged() {
        crate::log_debug!("   interrupts request {unique}");
    }
    let found = session.slots.any(|request| request.interrupt(unique))
        || session
            .engine()
            .is_some_and(|engine| engine.any_request(|request| request.interrupt(unique)));
    if !found {
        session.interrupts.remember(unique);
        // It may have arrived between the search and now.
        if session.slots.any(|request| request.interrupt(unique))
            || session
                .engine()
                .is_some_and(|engine| engine.any_request(|request| request.interrupt(unique)))
        {
            session.interrupts.forget(unique);
        }
    }
    transport::no_answer(req);
}

fn ioctl(session: &Session, req: &Request, args: &IoctlIn, data: &[u8]) {
    if args.flags & IOCTL_DIR != 0 && session.negotiated().want & cap::IOCTL_DIR == 0 {
        return error(req, libc::ENOTTY);
    }
    let wide = cfg!(target_pointer_width = "32") && args.flags & IOCTL_32BIT == 0;
    req.wide_ioctl.store(wide, Ordering::Relaxed);
    let mut fi = file_info(args.fh, 0);
    let input: *const c_void =
        if args.in_size != 0 { data.as_ptr().cast() } else { std::ptr::null() };
    call!(
        req,
        session.ops().ioctl,
        req.nodeid(),
        args.cmd,
        args.arg as usize as *mut c_void,
        &mut fi,
        args.flags,
        input,
        args.in_size as usize,
        args.out_size as usize,
    );
}

fn poll(session: &Session, req: &Request, args: &PollIn) {
    let mut fi = file_info(args.fh, 0);
    fi.poll_events = args.events;
    let Some(op) = session.ops().poll else {
        return error(req, libc::ENOSYS);
    };
    let handle = if args.flags & POLL_SCHEDULE_NOTIFY != 0 {
        // The filesystem frees it with fuse_pollhandle_destroy.
        Box::into_raw(Box::new(PollHandle { session, kh: args.kh }))
    } else {
        std::ptr::null_mut()
    };
    // SAFETY: the filesystem's own function; `fi` outlives the call.
    unsafe { op(req.as_c(), req.nodeid(), &mut fi, handle) };
}
