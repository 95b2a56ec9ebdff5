//! FUSE_INIT: what the kernel offers, what the filesystem wants, what is agreed.
//!
//! Also the moment at which the transport is chosen: rings if the kernel offers
//! them, nothing forbids them, and the library owns the loop
//! ([`Session::shape`]). The engine must be able to serve *before* the answer
//! is written, as from then on the kernel holds every request back until all
//! queues have an entry.
#![allow(unsafe_code)] // runs the filesystem's init

use super::{LoopShape, Negotiated, Session};
use crate::abi::kernel::{
    init as wire, InitIn, InitOut, COMPAT_22_INIT_OUT_SIZE, COMPAT_INIT_OUT_SIZE,
    KERNEL_MINOR_VERSION, KERNEL_VERSION, MIN_READ_BUFFER,
};
use crate::abi::public::{cap, layout, ConnInfo, Layout, CONN_NO_INTERRUPT};
use crate::errno::{Errno, Result};
use crate::session::request::Request;
use crate::sys;
use crate::sys::fork::Withheld;
use crate::transport::ring::{self, Engine};
use crate::{conn, transport};
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Pages of one request before `init` may say otherwise.
const DEFAULT_MAX_PAGES: usize = 256;
/// Pages of one request where the kernel cannot be told.
const OLD_MAX_PAGES: usize = 32;
/// What a receive buffer holds beside the data.
pub(super) const BUFFER_HEADER: usize = 4096;

/// What a ring's payload must hold whatever `max_write` is: the largest extended
/// attribute with its name.
const SMALLEST_PAYLOAD: usize = 64 * 1024 + BUFFER_HEADER;

/// Why a session with `fuse_session_custom_io` has no rings.
pub(super) const CUSTOM_IO: &str =
    "the program carries the messages itself (fuse_session_custom_io)";

/// Bytes of a receive buffer before INIT.
pub fn default_buffer_size() -> usize {
    DEFAULT_MAX_PAGES * sys::page_size() + BUFFER_HEADER
}

/// Kernel flag to capability, for those that are offered by a bit of their own.
const CAPABILITIES: &[(u64, u64)] = &[
    (wire::ASYNC_READ, cap::ASYNC_READ),
    (wire::POSIX_LOCKS, cap::POSIX_LOCKS),
    (wire::ATOMIC_O_TRUNC, cap::ATOMIC_O_TRUNC),
    (wire::EXPORT_SUPPORT, cap::EXPORT_SUPPORT),
    (wire::DONT_MASK, cap::DONT_MASK),
    (wire::FLOCK_LOCKS, cap::FLOCK_LOCKS),
    (wire::AUTO_INVAL_DATA, cap::AUTO_INVAL_DATA),
    (wire::DO_READDIRPLUS, cap::READDIRPLUS),
    (wire::READDIRPLUS_AUTO, cap::READDIRPLUS_AUTO),
    (wire::ASYNC_DIO, cap::ASYNC_DIO),
    (wire::WRITEBACK_CACHE, cap::WRITEBACK_CACHE),
    (wire::NO_OPEN_SUPPORT, cap::NO_OPEN_SUPPORT),
    (wire::PARALLEL_DIROPS, cap::PARALLEL_DIROPS),
    (wire::POSIX_ACL, cap::POSIX_ACL),
    (wire::HANDLE_KILLPRIV, cap::HANDLE_KILLPRIV),
    (wire::HANDLE_KILLPRIV_V2, cap::HANDLE_KILLPRIV_V2),
    (wire::CACHE_SYMLINKS, cap::CACHE_SYMLINKS),
    (wire::NO_OPENDIR_SUPPORT, cap::NO_OPENDIR_SUPPORT),
    (wire::EXPLICIT_INVAL_DATA, cap::EXPLICIT_INVAL_DATA),
    (wire::HAS_EXPIRE_ONLY, cap::EXPIRE_ONLY),
    (wire::SETXATTR_EXT, cap::SETXATTR_EXT),
    (wire::DIRECT_IO_ALLOW_MMAP, cap::DIRECT_IO_ALLOW_MMAP),
    (wire::PASSTHROUGH, cap::PASSTHROUGH),
    (wire::NO_EXPORT_SUPPORT, cap::NO_EXPORT_SUPPORT),
    (wire::OVER_IO_URING, cap::OVER_IO_URING),
    (wire::ALLOW_IDMAP, cap::ALLOW_IDMAP),
    (wire::SECURITY_CTX, cap::SECURITY_CTX),
];

/// Offers that need no answer: the kernel learns from ENOSYS or just knows.
const NEVER_ECHOED: u64 = cap::NO_OPEN_SUPPORT | cap::NO_OPENDIR_SUPPORT | cap::EXPIRE_ONLY;

fn capable(offered: u64, minor: u32) -> u64 {
    let mut capable = CAPABILITIES
        .iter()
        .filter(|(flag, _)| offered & flag != 0)
        .fold(0, |all, (_, capability)| all | capability);
    if minor >= 14 {
        capable |= cap::SPLICE_READ | cap::SPLICE_WRITE | cap::SPLICE_MOVE;
    }
    if minor >= 18 {
        capable |= cap::IOCTL_DIR;
    }
    if minor >= 38 {
        capable |= cap::EXPIRE_ONLY;
    }
    capable
}

/// What the program's own functions cannot do.
fn without_splice(session: &Session) -> u64 {
    let missing = |there: bool, capability: u64| if there { 0 } else { capability };
    session.custom_io().map_or(0, |io| {
        missing(io.splice_receive.is_some(), cap::SPLICE_READ)
            | missing(io.splice_send.is_some(), cap::SPLICE_WRITE | cap::SPLICE_MOVE)
    })
}

/// What is wanted before the filesystem says so.
fn default_want(session: &Session, capable: u64) -> u64 {
    let ops = session.ops();
    let mut want = cap::ASYNC_READ
        | cap::AUTO_INVAL_DATA
        | cap::ASYNC_DIO
        | cap::IOCTL_DIR
        | cap::ATOMIC_O_TRUNC
        | cap::OVER_IO_URING;
    if ops.write_buf.is_some() {
        want |= cap::SPLICE_READ;
    }
    if ops.getlk.is_some() && ops.setlk.is_some() {
        want |= cap::POSIX_LOCKS;
    }
    if ops.flock.is_some() {
        want |= cap::FLOCK_LOCKS;
    }
    if ops.readdirplus.is_some() {
        want |= cap::READDIRPLUS;
        if ops.readdir.is_some() {
            want |= cap::READDIRPLUS_AUTO;
        }
    }
    want & capable
}

/// Answers INIT. Any error that makes the session unusable ends its loop.
pub fn handle(session: &Session, req: &Request, args: InitIn, flags2: u32) {
    match negotiate(session, req, args, flags2) {
        Ok(()) => session.note_ready(),
        Err(errno) => {
            let _ = transport::answer_error(req, errno.0);
            session.fail(errno);
        }
    }
}

fn negotiate(session: &Session, req: &Request, args: InitIn, flags2: u32) -> Result<()> {
    if session.is_debugged() {
        crate::log_debug!(
            "INIT: kernel {}.{}, flags {:#x}, flags2 {flags2:#x}",
            args.major,
            args.minor,
            args.flags
        );
    }
    if args.major < KERNEL_VERSION {
        crate::log_error!(
            "unsupported protocol version {}.{}: this kernel's FUSE is too old",
            args.major,
            args.minor
        );
        return Err(Errno(libc::EPROTO));
    }
    let mut out =
        InitOut { major: KERNEL_VERSION, minor: KERNEL_MINOR_VERSION, ..InitOut::default() };
    if args.major > KERNEL_VERSION {
        // The kernel will send another INIT in our version.
        return transport::answer(req, &[IoSlice::new(out.as_bytes())]);
    }

    let offered = u64::from(args.flags) | u64::from(flags2) << 32;
    let page = sys::page_size();
    let capable = capable(offered, args.minor) & !without_splice(session);
    let defaults = default_want(session, capable);
    let mut conn = ConnInfo {
        proto_major: args.major,
        proto_minor: args.minor,
        max_write: (DEFAULT_MAX_PAGES * page) as u32,
        max_readahead: args.max_readahead,
        capable: capable as u32,
        want: defaults as u32,
        time_gran: 1,
        ..ConnInfo::default()
    };
    if offered & wire::MAX_PAGES == 0 {
        conn.max_write = (OLD_MAX_PAGES * page) as u32;
    }
    if layout() == Layout::V317 {
        (conn.capable_ext, conn.want_ext) = (capable, defaults);
    }
    session.destroyed.store(false, Ordering::Release);
    let want = conn::negotiate(&mut conn, |conn| {
        if let Some(init) = session.ops().init {
            // SAFETY: the filesystem's own function and data; `conn` is 128
            // bytes in every release.
            unsafe { init(session.userdata(), conn) };
        }
    });
    if want & !capable != 0 {
        crate::log_error!(
            "unknown connection want flags: {:#x} wanted, {capable:#x} offered by the kernel",
            want
        );
        return Err(Errno(libc::EPROTO));
    }
    if conn.max_read != session.options.mount.max_read() {
        crate::log_error!(
            "different maximum read size: init() set {}, the mount has max_read={}",
            conn.max_read,
            session.options.mount.max_read()
        );
        return Err(Errno(libc::EPROTO));
    }

    limit_sizes(session, &mut conn, offered, page);
    if conn.max_background >= 1 << 16 {
        conn.max_background = (1 << 16) - 1;
    }
    conn.congestion_threshold = conn.congestion_threshold.min(conn.max_background);
    if conn.max_background != 0 && conn.congestion_threshold == 0 {
        conn.congestion_threshold = conn.max_background * 3 / 4;
    }

    let mut flags = wire::BIG_WRITES;
    for (flag, capability) in CAPABILITIES {
        if want & capability & !NEVER_ECHOED & !cap::OVER_IO_URING != 0 {
            flags |= flag;
        }
    }
    flags |= offered & wire::INIT_EXT;
    if offered & wire::MAX_PAGES != 0 {
        flags |= wire::MAX_PAGES;
        out.max_pages = ((conn.max_write as usize - 1) / page + 1) as u16;
    }
    if conn.request_timeout != 0 && offered & wire::REQUEST_TIMEOUT != 0 && layout() == Layout::V317
    {
        flags |= wire::REQUEST_TIMEOUT;
        out.request_timeout = conn.request_timeout;
    }
    out.max_readahead = conn.max_readahead;
    out.max_write = conn.max_write;
    out.time_gran = conn.time_gran;
    out.max_background = conn.max_background as u16;
    out.congestion_threshold = conn.congestion_threshold as u16;
    if want & cap::PASSTHROUGH != 0 {
        out.max_stack_depth = conn.max_backing_stack_depth + 1;
    }

    let negotiated = Negotiated {
        conn,
        dialect: super::decode::Dialect { setxattr_ext: want & cap::SETXATTR_EXT != 0 },
        want,
    };
    *session.negotiated.write() = negotiated;
    session.setxattr_ext.store(negotiated.dialect.setxattr_ext, Ordering::Relaxed);
    session.security_ctx.store(want & cap::SECURITY_CTX != 0, Ordering::Relaxed);

    let payload = payload_size(&conn, out.max_pages as usize, page);
    let engine = match choose_rings(
        session,
        offered & wire::OVER_IO_URING != 0,
        (defaults, want),
        payload,
    ) {
        Ok(engine) => {
            flags |= wire::OVER_IO_URING;
            if out.max_background == 0 {
                (out.max_background, out.congestion_threshold) = engine.background_limits();
            }
            Some(engine)
        }
        Err(reason) => {
            session.settle_on_dev(&reason);
            None
        }
    };
    out.flags = flags as u32;
    out.flags2 = (flags >> 32) as u32;
    if session.is_debugged() {
        crate::log_debug!(
            "   INIT: flags {:#x}, max_write {}, max_readahead {}, max_background {}",
            flags,
            out.max_write,
            out.max_readahead,
            out.max_background
        );
    }

    let size = match args.minor {
        0..=4 => COMPAT_INIT_OUT_SIZE,
        5..=22 => COMPAT_22_INIT_OUT_SIZE,
        _ => size_of::<InitOut>(),
    };
    session.initialized.store(true, Ordering::Release);
    let sent = transport::answer(req, &[IoSlice::new(&out.as_bytes()[..size])]);
    match engine {
        Some(engine) if sent.is_ok() => session.settle_on_rings(engine),
        Some(engine) => engine.stop(),
        None => {}
    }
    Ok(())
}

/// Keeps `max_write` within what the buffers of this session can take.
fn limit_sizes(session: &Session, conn: &mut ConnInfo, offered: u64, page: usize) {
    if offered & wire::MAX_PAGES == 0 {
        conn.max_write = conn.max_write.min((OLD_MAX_PAGES * page) as u32);
    }
    conn.max_write =
        conn.max_write.clamp(page as u32, (u16::MAX as usize * page).min(1 << 30) as u32);
    let needed = conn.max_write as usize + BUFFER_HEADER;
    if session.shape().is_some() || session.is_mounting() {
        // The library's own loops allocate their buffers by this size, and so
        // does whoever begins to receive later.
        session.buffer_size.store(needed.max(MIN_READ_BUFFER), Ordering::Release);
    } else if needed > session.buffer_size() {
        // The program's own loop has its buffers already.
        conn.max_write = (session.buffer_size() - BUFFER_HEADER) as u32;
    }
}

/// The largest payload that the kernel may ask a ring entry to hold.
fn payload_size(conn: &ConnInfo, max_pages: usize, page: usize) -> usize {
    let max_pages = if max_pages == 0 { OLD_MAX_PAGES } else { max_pages };
    MIN_READ_BUFFER.max(conn.max_write as usize).max(max_pages * page)
}

/// Builds the ring engine, or says why there is none.
fn choose_rings(
    session: &Session,
    offered: bool,
    (defaults, want): (u64, u64),
    payload: usize,
) -> std::result::Result<Arc<Engine>, String> {
    use super::options::Transport;
    let shape = session.shape();
    if session.custom_io().is_some() {
        return Err(CUSTOM_IO.into());
    }
    let Some(shape) = shape else {
        return Err(match session.options.transport {
            _ if !session.is_mounting() => "the program drives its own loop".into(),
            Transport::Dev(why) => why.into(),
            _ if !offered => ring::why_not_offered(),
            _ => "INIT was answered while mounting, before the loop was known".into(),
        });
    };
    match session.options.transport {
        Transport::Dev(why) => return Err(why.into()),
        Transport::Auto | Transport::Ring => {}
    }
    if offered && refused_by_init(defaults, want) {
        return Err("the filesystem's init() cleared FUSE_CAP_OVER_IO_URING".into());
    }
    if !offered {
        return Err(ring::why_not_offered());
    }
    if payload < SMALLEST_PAYLOAD {
        return Err(format!(
            "max_write is {} bytes, and rings would limit extended attributes and ioctls to little more",
            session.negotiated().conn.max_write
        ));
    }
    ring::Engine::new(session, shape, payload)
}

/// Whether `init` cleared the rings' bit on purpose. A program older than the
/// bit that assigns `want` outright drops every default with it.
fn refused_by_init(defaults: u64, want: u64) -> bool {
    let others = defaults & !cap::OVER_IO_URING;
    layout() == Layout::V317 && want & cap::OVER_IO_URING == 0 && want & others != 0
}

impl Session {
    /// The loop that starts now; INIT decides by it.
    pub fn set_shape(&self, shape: Option<LoopShape>) {
        *self.shape.lock() = shape;
    }

    fn settle_on_rings(&self, engine: Arc<Engine>) {
        *self.engine.lock() = Some(engine.clone());
        match engine.start() {
            Ok(()) => {
                // A forked child could do nothing with it but keep the mount alive.
                *self.withheld.lock() = Withheld::new(self.fd());
                self.settle("ring", &engine.describe());
            }
            Err(ring::NotBegun { errno, can_go_back }) => {
                *self.engine.lock() = None;
                engine.stop();
                self.page().begin_rings();
                let reason = format!("the kernel refused to register ring entries: {errno}");
                self.settle_on_dev(&reason);
                if !can_go_back {
                    crate::log_error!(
                        "ringfuse: the kernel waits for ring entries that it does not take \
                         ({errno}): the session ends"
                    );
                    self.fail(errno);
                }
            }
        }
    }

    pub(super) fn settle_on_dev(&self, reason: &str) {
        let kind = if self.custom_io().is_some() { "custom" } else { "dev" };
        self.settle(kind, reason);
    }

    /// Whether an INTERRUPT is answered with "do not send these".
    pub fn refuses_interrupts(&self) -> bool {
        self.negotiated.read().conn.bits & CONN_NO_INTERRUPT != 0
    }
}
