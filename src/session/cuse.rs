//! Character devices (CUSE): a session whose other side is a device in `/dev`,
//! not a mount.
//!
//! The kernel talks through `/dev/cuse` as through `/dev/fuse`, by read and
//! write; it has no rings there. CUSE_INIT stands in the place of INIT, and its
//! answer makes the device, which lives until the session's descriptor is
//! closed. Everything else is a session like any other: the device's operations
//! become a table for [`super::dispatch`], without the node, which a device
//! does not have.
#![allow(unsafe_code)] // the device's operations are C functions

use super::init::{BUFFER_HEADER, CUSTOM_IO};
use super::options::SessionOptions;
use super::workers::{self, Threads};
use super::{Negotiated, Session};
use crate::abi::args::ArgVec;
use crate::abi::kernel::{
    CuseInitIn, CuseInitOut, CUSE_INIT_INFO_MAX, CUSE_UNRESTRICTED_IOCTL, KERNEL_MINOR_VERSION,
    KERNEL_VERSION,
};
use crate::abi::public::{
    CmdlineOpts, ConnInfo, CuseInfo, CuseOps, FileInfo, LowlevelOps, PollHandle, Req,
};
use crate::errno::{Errno, Result};
use crate::mount::Mounted;
use crate::session::request::Request;
use crate::sys::{self, process};
use crate::{cmdline, daemonize, log_error, opt, signals, transport};
use libc::{c_char, c_int, c_uint, c_void, off64_t, size_t};
use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// What makes a connection of this kind, and whose descriptor it is.
const CUSE: &str = "/dev/cuse";

/// Bytes that a read may ask for; libfuse's number.
const MAX_READ: u32 = 128 * 1024;

/// What the program wants in `/dev`, and its operations.
pub struct Device {
    ops: CuseOps,
    number: (u32, u32),
    flags: u32,
    /// `dev_info`: each line with its NUL.
    lines: Vec<u8>,
}

impl Device {
    /// Copies what the program says of its device. A refusal has been logged.
    ///
    /// # Safety
    /// `info` is NULL or valid with all its lines; `ops` is NULL or has
    /// `ops_size` bytes.
    pub unsafe fn read(
        info: *const CuseInfo,
        ops: *const CuseOps,
        ops_size: usize,
    ) -> Result<Self> {
        // SAFETY: the caller's promises.
        let Some((info, ops)) = (unsafe { info.as_ref().zip(CuseOps::read(ops, ops_size)) }) else {
            log_error!("cuse: a device needs a struct cuse_info and a table of operations");
            return Err(Errno(libc::EINVAL));
        };
        let mut lines = Vec::new();
        let count = if info.dev_info_argv.is_null() { 0 } else { info.dev_info_argc };
        for index in 0..count as usize {
            // SAFETY: the caller's promise: that many C strings.
            let line = unsafe { CStr::from_ptr(*info.dev_info_argv.add(index)) };
            lines.extend_from_slice(line.to_bytes_with_nul());
        }
        if lines.len() > CUSE_INIT_INFO_MAX {
            log_error!(
                "cuse: dev_info ({} bytes) too large, limit={CUSE_INIT_INFO_MAX}",
                lines.len()
            );
            return Err(Errno(libc::EINVAL));
        }
        let (number, flags) = ((info.dev_major, info.dev_minor), info.flags);
        let device = Self { ops, number, flags, lines };
        if device.name().is_none() {
            log_error!(
                "cuse: dev_info has no line DEVNAME=..., the name that the device gets in /dev"
            );
            return Err(Errno(libc::EINVAL));
        }
        Ok(device)
    }

    /// The value of DEVNAME, the last one as for the kernel. Lenient about blanks:
    /// the kernel decides.
    fn name(&self) -> Option<String> {
        self.lines.split(|&byte| byte == 0).rev().find_map(|line| {
            let line = String::from_utf8_lossy(line);
            let (name, value) = line.split_once('=')?;
            let value = value.trim();
            (name.trim() == "DEVNAME" && !value.is_empty()).then(|| value.to_owned())
        })
    }

    /// The table for the session: for each operation that the device has, one
    /// that passes on all but the node.
    fn table(&self) -> LowlevelOps {
        macro_rules! table {
            ($($op:ident($($argument:ident: $type:ty),*);)*) => {
                LowlevelOps {
                    destroy: self.ops.destroy,
                    $($op: self.ops.$op.map(|_| {
                        unsafe extern "C" fn pass_on(req: Req, _node: u64, $($argument: $type),*) {
                            // SAFETY: a live request; dispatch calls this with
                            // what the device's own function is to get.
                            unsafe {
                                if let Some(op) = (*req).session().device().and_then(|it| it.ops.$op) {
                                    op(req, $($argument),*);
                                }
                            }
                        }
                        pass_on as unsafe extern "C" fn(Req, u64, $($type),*)
                    }),)*
                    ..LowlevelOps::default()
                }
            };
        }
        table! {
            open(fi: *mut FileInfo);
            read(size: size_t, offset: off64_t, fi: *mut FileInfo);
            write(data: *const c_char, size: size_t, offset: off64_t, fi: *mut FileInfo);
            flush(fi: *mut FileInfo);
            release(fi: *mut FileInfo);
            fsync(datasync: c_int, fi: *mut FileInfo);
            ioctl(
                command: c_uint, argument: *mut c_void, fi: *mut FileInfo, flags: c_uint,
                input: *const c_void, input_size: size_t, output_size: size_t
            );
            poll(fi: *mut FileInfo, handle: *mut PollHandle);
        }
    }
}

/// A session for `device`, not connected yet.
pub fn new(args: &mut ArgVec, device: Device, userdata: *mut c_void) -> Result<Arc<Session>> {
    let options = SessionOptions::parse(args)?;
    Session::with_device(device.table(), userdata, options, Some(device))
}

/// Takes the options of main() out of `args`. A device has no mount point and
/// no subtype: those that every command line may have are dropped.
pub fn parse(args: &mut ArgVec) -> Result<CmdlineOpts> {
    struct NoSubtype;
    impl opt::Receiver<()> for NoSubtype {
        fn matched(
            &mut self,
            (): &(),
            _: &opt::Matched<'_>,
            _: &mut ArgVec,
        ) -> Result<opt::Verdict> {
            Ok(opt::Verdict::Drop)
        }
    }
    let mut opts = cmdline::DEFAULTS;
    let parsed = cmdline::parse(args, &mut opts)
        .and_then(|()| opt::parse(args, &[opt::template(c"subtype=", ())], &mut NoSubtype));
    // SAFETY: NULL, or malloc memory that is nobody's from here on.
    unsafe { libc::free(std::mem::replace(&mut opts.mountpoint, std::ptr::null_mut()).cast()) };
    parsed.map(|()| opts)
}

/// Prints what the command line asks to be shown; whether it did.
pub fn show(opts: &CmdlineOpts) -> bool {
    match (opts.show_help != 0, opts.show_version != 0) {
        (true, _) => process::print(HELP),
        (_, true) => cmdline::print_lowlevel_version(),
        _ => return false,
    }
    true
}

/// The options of main() that a device heeds.
const HELP: &CStr = c"    -h   --help            show this help
    -V   --version         show versions
    -d   -o debug          log every request (stays in the foreground)
    -f                     stay in the foreground
    -s                     serve one request at a time
    -o max_idle_threads=N  end threads beyond N when they are idle
                           (default: never)
    -o max_threads=N       serve at most N requests at a time (default: 10)
";

/// A session that a loop may serve: connected, with signal handlers, and in the
/// background if it is to be.
pub struct Ready {
    /// To be ended by [`teardown`].
    pub session: Arc<Session>,
    /// What the command line says about the loop.
    pub opts: CmdlineOpts,
}

/// All that comes between the command line and the loop.
pub fn setup(
    args: &mut ArgVec,
    opts: CmdlineOpts,
    device: Device,
    userdata: *mut c_void,
) -> Result<Ready> {
    sys::mount::open_standard_descriptors()?;
    let session = new(args, device, userdata)?;
    session.connect(open()?);
    let pointer = Arc::as_ptr(&session);
    signals::set(pointer.cast_mut())
        .and_then(|()| daemonize::daemonize(opts.foreground != 0))
        .inspect_err(|_| signals::remove(pointer))?;
    Ok(Ready { session, opts })
}

/// Serves until the end, and ends the session: the exit status of main(), 1 if
/// the loop failed.
pub fn serve(Ready { session, opts }: Ready) -> i32 {
    let result = match opts.singlethread != 0 {
        true => workers::run_serial(&session),
        false => workers::run_threads(&session, threads(&opts)),
    };
    teardown(&session);
    i32::from(result < 0)
}

fn threads(opts: &CmdlineOpts) -> Threads {
    Threads {
        // Every descriptor of /dev/cuse is a device of its own.
        clone_fd: false,
        max_idle: (opts.max_idle_threads != cmdline::DEFAULTS.max_idle_threads)
            .then_some(opts.max_idle_threads),
        max: opts.max_threads,
        explicit: cmdline::max_threads_was_given(),
    }
}

/// Takes the signal handlers away and ends the session.
pub fn teardown(session: &Session) {
    signals::remove(session);
    session.destroy();
}

fn open() -> Result<Mounted> {
    match OpenOptions::new().read(true).write(true).open(CUSE) {
        Ok(file) => Ok(Mounted { fd: file.into(), mount: None }),
        Err(error) => {
            let errno = Errno::from(error);
            match errno.0 {
                libc::ENOENT | libc::ENODEV | libc::ENXIO => log_error!(
                    "cuse: device not found: {CUSE}: try `modprobe cuse' as root first ({errno})"
                ),
                libc::EACCES | libc::EPERM => log_error!(
                    "cuse: failed to open {CUSE}: {errno}: only root may, or whom root gives the right to"
                ),
                _ => log_error!("cuse: failed to open {CUSE}: {errno}"),
            }
            Err(errno)
        }
    }
}

/// Answers CUSE_INIT. Any error that makes the session unusable ends its loop.
pub fn init(session: &Session, req: &Request, args: &CuseInitIn) {
    let Some(device) = session.device() else {
        return; // dispatch lets CUSE_INIT through to devices only
    };
    if let Err(errno) = negotiate(session, device, req, args) {
        session.fail(errno);
    }
}

fn negotiate(session: &Session, device: &Device, req: &Request, args: &CuseInitIn) -> Result<()> {
    if session.is_debugged() {
        crate::log_debug!(
            "CUSE_INIT: kernel {}.{}, flags {:#x}",
            args.major,
            args.minor,
            args.flags
        );
    }
    if args.major < KERNEL_VERSION {
        log_error!(
            "cuse: unsupported protocol version {}.{}: this kernel's CUSE is too old",
            args.major,
            args.minor
        );
        let _ = transport::answer_error(req, libc::EPROTO);
        return Err(Errno(libc::EPROTO));
    }
    let max_write = (session.buffer_size() - BUFFER_HEADER) as u32;
    let mut conn = ConnInfo {
        proto_major: args.major,
        proto_minor: args.minor,
        max_write,
        max_readahead: u32::MAX,
        ..ConnInfo::default()
    };
    if let Some(init) = device.ops.init {
        // SAFETY: the device's own function and data; `conn` is 128 bytes in
        // every release.
        unsafe { init(session.userdata(), &mut conn) };
    }
    conn.max_write = conn.max_write.min(max_write);
    let out = CuseInitOut {
        major: KERNEL_VERSION,
        minor: KERNEL_MINOR_VERSION,
        flags: device.flags & CUSE_UNRESTRICTED_IOCTL,
        max_read: MAX_READ,
        max_write: conn.max_write,
        dev_major: device.number.0,
        dev_minor: device.number.1,
        ..CuseInitOut::default()
    };
    if session.is_debugged() {
        crate::log_debug!(
            "   CUSE_INIT: flags {:#x}, max_write {}, device {}:{}, {}",
            out.flags,
            out.max_write,
            out.dev_major,
            out.dev_minor,
            String::from_utf8_lossy(&device.lines).replace('\0', " ")
        );
    }
    *session.negotiated.write() = Negotiated { conn, ..Negotiated::default() };
    session.destroyed.store(false, Ordering::Release);
    session.initialized.store(true, Ordering::Release);
    let route = req.route();
    transport::answer(req, &[IoSlice::new(out.as_bytes()), IoSlice::new(&device.lines)])?;
    // The kernel makes the device before the answer's write(2) returns.
    if matches!(route, transport::Route::Dev(_)) && is_disconnected(session) {
        refused(device);
        return Err(Errno(libc::ENODEV));
    }
    let over = format!("a character device is served over {CUSE}, which has no rings");
    session.settle_on_dev(session.custom_io().map_or(over.as_str(), |_| CUSTOM_IO));
    if let Some(init_done) = device.ops.init_done {
        // SAFETY: the device's own function and data.
        unsafe { init_done(session.userdata()) };
    }
    Ok(())
}

fn is_disconnected(session: &Session) -> bool {
    // SAFETY: the session's descriptor, which stays open while a callback runs.
    sys::mount::is_disconnected(unsafe { BorrowedFd::borrow_raw(session.fd()) })
}

fn refused(device: &Device) {
    let name = device.name().unwrap_or_default();
    let number = match device.number {
        (0, 0) => String::new(),
        (major, minor) => format!(" with number {major}:{minor}"),
    };
    log_error!(
        "cuse: the kernel did not make the device /dev/{name}{number}: its name or its number may \
         be in use already; dmesg says more"
    );
}
