//! What init() is offered, what it may change, and what the kernel is told then.
//!
//! A session whose kernel is this test (by the functions of custom io) is sent an
//! INIT of any kernel, and its answer is looked at byte by byte. What can be seen
//! of it on a real mount is in `tests/capabilities.rs`.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

use libc::{c_char, c_int, c_void};
use ringfuse::abi::kernel::{
    init as wire, notify, InHeader, InitIn, InitInExt, InitOut, NotifyPruneOut, Opcode, OutHeader,
};
use ringfuse::abi::public::{cap, Buf, ConnInfo, CustomIo, LowlevelOps, Req};
use ringfuse::ffi::common::{fuse_set_conn_flag, fuse_set_feature_flag, fuse_unset_feature_flag};
use ringfuse::ffi::notify::fuse_lowlevel_notify_prune;
use ringfuse::ffi::reply::fuse_reply_err;
use ringfuse::ffi::secctx::{fuse_req_secctx_count, fuse_req_secctx_next, fuse_req_secctx_reset};
use ringfuse::ffi::session::{fuse_session_process_buf, fuse_session_set_debug};
use ringfuse::session::options::SessionOptions;
use ringfuse::session::Session;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::IntoRawFd;
use std::sync::{Arc, Mutex};
use zerocopy::{FromBytes, IntoBytes};

/// A session, with this test in place of the kernel.
struct Wire {
    session: Arc<Session>,
    /// What callbacks share with the test; owned by the box.
    shared: Box<Shared>,
}

/// What init() does.
type Init = Box<dyn FnMut(&mut ConnInfo) + Send>;

#[derive(Default)]
struct Shared {
    init: Mutex<Option<Init>>,
    sent: Mutex<Vec<Vec<u8>>>,
    /// What the other callbacks saw.
    seen: Mutex<Vec<String>>,
}

unsafe extern "C" fn init(userdata: *mut c_void, conn: *mut ConnInfo) {
    let shared = unsafe { &*userdata.cast::<Shared>() };
    if let Some(init) = shared.init.lock().unwrap().as_mut() {
        init(unsafe { &mut *conn });
    }
}

unsafe extern "C" fn writev(
    _fd: c_int,
    iov: *const libc::iovec,
    count: c_int,
    userdata: *mut c_void,
) -> isize {
    let iov = unsafe { std::slice::from_raw_parts(iov, count as usize) };
    let bytes = iov.iter().flat_map(|part| unsafe {
        std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len)
    });
    let message: Vec<u8> = bytes.copied().collect();
    let length = message.len() as isize;
    unsafe { &*userdata.cast::<Shared>() }.sent.lock().unwrap().push(message);
    length
}

unsafe extern "C" fn read(_: c_int, _: *mut c_void, _: usize, _: *mut c_void) -> isize {
    unreachable!("messages are given to fuse_session_process_buf")
}

/// Goes through the security contexts twice, and answers.
unsafe extern "C" fn mkdir(req: Req, parent: u64, name: *const c_char, mode: libc::mode_t) {
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    unsafe { contexts(req, format!("mkdir {parent} {name} {mode:o}")) };
}

unsafe extern "C" fn symlink(req: Req, target: *const c_char, _: u64, name: *const c_char) {
    let (target, name) = unsafe { (CStr::from_ptr(target), CStr::from_ptr(name)) };
    unsafe {
        contexts(req, format!("symlink {} {}", target.to_string_lossy(), name.to_string_lossy()))
    };
}

unsafe fn contexts(req: Req, mut seen: String) {
    seen += &format!(" count={}", unsafe { fuse_req_secctx_count(req) });
    for _ in 0..2 {
        loop {
            let (mut name, mut label, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            match unsafe { fuse_req_secctx_next(req, &mut name, &mut label, &mut size) } {
                0 => {
                    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
                    let label =
                        unsafe { std::slice::from_raw_parts(label.cast::<u8>(), size as usize) };
                    seen += &format!(" {name}={}", label.escape_ascii());
                }
                end => {
                    seen += &format!(" {end}");
                    break;
                }
            }
        }
        unsafe { fuse_req_secctx_reset(req) };
    }
    let shared = unsafe { (*req).session().userdata().cast::<Shared>().as_ref() }.unwrap();
    shared.seen.lock().unwrap().push(seen);
    unsafe { fuse_reply_err(req, libc::EPERM) };
}

unsafe extern "C" fn syncfs(req: Req, ino: u64) {
    let shared = unsafe { (*req).session().userdata().cast::<Shared>().as_ref() }.unwrap();
    shared.seen.lock().unwrap().push(format!("syncfs {ino}"));
    unsafe { fuse_reply_err(req, 0) };
}

unsafe extern "C" fn splice(
    _fd_in: c_int,
    _off_in: *mut libc::off_t,
    _fd_out: c_int,
    _off_out: *mut libc::off_t,
    _len: usize,
    _flags: libc::c_uint,
    _userdata: *mut c_void,
) -> isize {
    unreachable!("nothing is spliced here")
}

/// An INIT of kernel 7.`minor` that offers `flags`.
fn init_body(minor: u32, flags: u64) -> Vec<u8> {
    let flags = if flags >> 32 != 0 { flags | wire::INIT_EXT } else { flags };
    let args = InitIn { major: 7, minor, max_readahead: 131072, flags: flags as u32 };
    let ext = InitInExt { flags2: (flags >> 32) as u32, ..InitInExt::default() };
    [args.as_bytes(), ext.as_bytes()].concat()
}

impl Wire {
    fn new(ops: LowlevelOps) -> Wire {
        ringfuse::log::set_sink(collect);
        let shared = Box::new(Shared::default());
        let userdata = std::ptr::from_ref::<Shared>(&shared).cast_mut().cast();
        let ops = LowlevelOps { init: Some(init), ..ops };
        let session = Session::new(ops, userdata, SessionOptions::default()).unwrap();
        // Without functions that splice, the capabilities would not be there.
        let io = CustomIo {
            writev: Some(writev),
            read: Some(read),
            splice_receive: Some(splice),
            splice_send: Some(splice),
            ..CustomIo::default()
        };
        session.set_custom_io(io, File::open("/dev/null").unwrap().into_raw_fd()).unwrap();
        Wire { session, shared }
    }

    /// Sends a request; returns the error and the data of its answer.
    fn request(&self, opcode: Opcode, body: &[u8]) -> (i32, Vec<u8>) {
        let header = InHeader {
            len: (size_of::<InHeader>() + body.len()) as u32,
            opcode: opcode as u32,
            unique: 77,
            nodeid: 1,
            ..InHeader::default()
        };
        let mut message = [header.as_bytes(), body].concat();
        let buf = Buf::memory(message.as_mut_ptr().cast(), message.len());
        unsafe { fuse_session_process_buf(Arc::as_ptr(&self.session), &buf) };
        let answer = self.shared.sent.lock().unwrap().pop().expect("an answer");
        let (head, data) = OutHeader::read_from_prefix(&answer).unwrap();
        assert_eq!((head.len as usize, head.unique), (answer.len(), 77));
        (head.error, data.to_vec())
    }

    /// Sends INIT; `change` is what init() does.
    fn init(
        &self,
        minor: u32,
        flags: u64,
        change: impl FnMut(&mut ConnInfo) + Send + 'static,
    ) -> Result<InitOut, i32> {
        *self.shared.init.lock().unwrap() = Some(Box::new(change));
        match self.request(Opcode::Init, &init_body(minor, flags)) {
            (0, data) => Ok(InitOut::read_from_bytes(&data).expect("a whole answer")),
            (error, _) => Err(error),
        }
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }
}

/// INIT on a session of its own.
fn negotiate(
    minor: u32,
    flags: u64,
    change: impl FnMut(&mut ConnInfo) + Send + 'static,
) -> Result<InitOut, i32> {
    Wire::new(LowlevelOps::default()).init(minor, flags, change)
}

fn flags_of(out: &InitOut) -> u64 {
    u64::from(out.flags) | u64::from(out.flags2) << 32
}

/// The kernel's bit, the library's bit, and whether wanting it is told the kernel.
const OFFERED_BY_A_BIT: &[(u32, u64, bool)] = &[
    (0, cap::ASYNC_READ, true),
    (1, cap::POSIX_LOCKS, true),
    (3, cap::ATOMIC_O_TRUNC, true),
    (4, cap::EXPORT_SUPPORT, true),
    (6, cap::DONT_MASK, true),
    (10, cap::FLOCK_LOCKS, true),
    (12, cap::AUTO_INVAL_DATA, true),
    (13, cap::READDIRPLUS, true),
    (14, cap::READDIRPLUS_AUTO, true),
    (15, cap::ASYNC_DIO, true),
    (16, cap::WRITEBACK_CACHE, true),
    (17, cap::NO_OPEN_SUPPORT, false),
    (18, cap::PARALLEL_DIROPS, true),
    (19, cap::HANDLE_KILLPRIV, true),
    (20, cap::POSIX_ACL, true),
    (23, cap::CACHE_SYMLINKS, true),
    (24, cap::NO_OPENDIR_SUPPORT, false),
    (25, cap::EXPLICIT_INVAL_DATA, true),
    (28, cap::HANDLE_KILLPRIV_V2, true),
    (29, cap::SETXATTR_EXT, true),
    (32, cap::SECURITY_CTX, true),
    (35, cap::EXPIRE_ONLY, false),
    (36, cap::DIRECT_IO_ALLOW_MMAP, true),
    (37, cap::PASSTHROUGH, true),
    (38, cap::NO_EXPORT_SUPPORT, true),
    (40, cap::ALLOW_IDMAP, true),
    // Only a session that the library itself serves gets rings.
    (41, cap::OVER_IO_URING, false),
];

/// What every kernel of the last years can do, without a bit for it.
const ALWAYS: u64 = cap::SPLICE_READ | cap::SPLICE_WRITE | cap::SPLICE_MOVE | cap::IOCTL_DIR;

#[test]
fn every_capability_can_be_wanted_and_given_up() {
    for &(bit, capability, told) in OFFERED_BY_A_BIT {
        let flag = 1 << bit;
        // Of a minor number that does not bring capabilities by itself.
        let on = negotiate(37, flag, move |conn| {
            assert_eq!(conn.capable_ext, ALWAYS | capability, "bit {bit}");
            assert_eq!(conn.capable, conn.capable_ext as u32);
            assert!(unsafe { fuse_set_feature_flag(conn, capability) });
            assert_eq!(conn.want_ext & capability, capability);
        });
        assert_eq!(flags_of(&on.unwrap()) & flag != 0, told, "bit {bit} wanted");
        let off =
            negotiate(37, flag, move |conn| unsafe { fuse_unset_feature_flag(conn, capability) });
        assert_eq!(flags_of(&off.unwrap()) & flag, 0, "bit {bit} not wanted");
        // Not offered: not to be had, and an error if taken all the same.
        let others = negotiate(37, 0, move |conn| {
            assert_eq!(conn.capable_ext, ALWAYS);
            assert!(!unsafe { fuse_set_feature_flag(conn, capability) });
            assert_eq!(conn.want_ext & capability, 0);
        });
        assert_eq!(flags_of(&others.unwrap()) & flag, 0);
        let taken = negotiate(37, 0, move |conn| conn.want_ext |= capability);
        assert_eq!(taken.unwrap_err(), -libc::EPROTO, "bit {bit} taken");
    }
    let covered = OFFERED_BY_A_BIT.iter().fold(ALWAYS, |all, (_, capability, _)| all | capability);
    // Bits 2, 5 and 22 of the library's have never had a meaning.
    assert_eq!(covered, ((1 << 34) - 1) & !(1 << 2 | 1 << 5 | 1 << 22));
}

#[test]
fn capabilities_without_a_bit_come_with_the_version() {
    for (minor, capable) in [
        (13, 0),
        (14, ALWAYS & !cap::IOCTL_DIR),
        (17, ALWAYS & !cap::IOCTL_DIR),
        (18, ALWAYS),
        (37, ALWAYS),
        (38, ALWAYS | cap::EXPIRE_ONLY),
    ] {
        let wire = Wire::new(LowlevelOps::default());
        let check = move |conn: &mut ConnInfo| {
            assert_eq!(conn.capable_ext, capable, "minor {minor}");
            conn.want_ext = capable;
        };
        *wire.shared.init.lock().unwrap() = Some(Box::new(check));
        let (error, data) = wire.request(Opcode::Init, &init_body(minor, 0));
        assert_eq!(error, 0);
        // None of them is told the kernel.
        let flags = u32::read_from_bytes(&data[12..16]).unwrap();
        assert_eq!(u64::from(flags), wire::BIG_WRITES, "minor {minor}");
        assert_eq!(data.len(), if minor < 23 { 24 } else { 64 });
    }
}

#[test]
fn defaults_are_those_that_are_documented() {
    let all = OFFERED_BY_A_BIT.iter().fold(0, |all, (bit, _, _)| all | 1u64 << bit);
    let plain = cap::ASYNC_READ
        | cap::AUTO_INVAL_DATA
        | cap::ASYNC_DIO
        | cap::IOCTL_DIR
        | cap::ATOMIC_O_TRUNC
        | cap::OVER_IO_URING;
    negotiate(45, all, move |conn| assert_eq!(conn.want_ext, plain)).unwrap();
}

#[test]
fn numbers_reach_the_kernel() {
    let out = negotiate(45, wire::MAX_PAGES, |conn| {
        assert_eq!((conn.proto_major, conn.proto_minor), (7, 45));
        assert_eq!((conn.max_readahead, conn.max_background, conn.time_gran), (131072, 0, 1));
        (conn.max_readahead, conn.time_gran) = (65536, 1000);
        (conn.max_background, conn.max_write) = (40, 65536);
    });
    let out = out.unwrap();
    assert_eq!((out.major, out.max_readahead, out.time_gran), (7, 65536, 1000));
    assert_eq!((out.max_background, out.congestion_threshold), (40, 30));
    assert_eq!((out.max_write, out.max_pages), (65536, 16));

    let out =
        negotiate(45, 0, |conn| (conn.max_background, conn.congestion_threshold) = (70000, 80000));
    let out = out.unwrap();
    assert_eq!((out.max_background, out.congestion_threshold), (65535, 65535));

    // Left to the kernel, and MAX_PAGES not offered.
    let out = negotiate(45, 0, |_| {}).unwrap();
    assert_eq!((out.max_background, out.congestion_threshold, out.max_write), (0, 0, 131072));
}

#[test]
fn a_timeout_is_told_a_kernel_that_has_one() {
    let ask = |conn: &mut ConnInfo| conn.request_timeout = 20;
    let out = negotiate(45, wire::REQUEST_TIMEOUT, ask).unwrap();
    assert_eq!((flags_of(&out) & wire::REQUEST_TIMEOUT != 0, out.request_timeout), (true, 20));
    let out = negotiate(45, wire::REQUEST_TIMEOUT, |_| {}).unwrap();
    assert_eq!((flags_of(&out) & wire::REQUEST_TIMEOUT != 0, out.request_timeout), (false, 0));
    let out = negotiate(41, 0, ask).unwrap();
    assert_eq!((flags_of(&out) & wire::REQUEST_TIMEOUT != 0, out.request_timeout), (false, 0));
}

#[test]
fn passthrough_tells_the_depth() {
    for (depth, told) in [(0, 1), (1, 2)] {
        let out = negotiate(45, wire::PASSTHROUGH, move |conn| {
            unsafe { fuse_set_feature_flag(conn, cap::PASSTHROUGH) };
            conn.max_backing_stack_depth = depth;
        });
        assert_eq!(out.unwrap().max_stack_depth, told);
    }
    let out = negotiate(45, wire::PASSTHROUGH, |conn| conn.max_backing_stack_depth = 1);
    assert_eq!(out.unwrap().max_stack_depth, 0, "not wanted");
}

#[test]
fn connection_flags() {
    const SINGLE_ISSUER: u64 = 1;
    const NO_INTERRUPT: u64 = 2;
    let interrupted = |flags: u64, known: bool| {
        let wire = Wire::new(LowlevelOps::default());
        let init = wire.init(45, 0, move |conn| {
            assert_eq!(unsafe { fuse_set_conn_flag(conn, flags) }, known);
            assert_eq!(u64::from(conn.bits), if known { (flags & 1) << 1 | flags >> 1 } else { 0 });
        });
        init.unwrap();
        // An INTERRUPT of a request that is not there has no answer unless refused.
        let header = InHeader {
            len: 48,
            opcode: Opcode::Interrupt as u32,
            unique: 3,
            ..InHeader::default()
        };
        let mut message = [header.as_bytes(), &99u64.to_ne_bytes()].concat();
        let buf = Buf::memory(message.as_mut_ptr().cast(), message.len());
        unsafe { fuse_session_process_buf(Arc::as_ptr(&wire.session), &buf) };
        let answer = wire.shared.sent.lock().unwrap().pop();
        answer.map(|answer| OutHeader::read_from_prefix(&answer).unwrap().0.error)
    };
    assert_eq!(interrupted(SINGLE_ISSUER, true), None);
    assert_eq!(interrupted(NO_INTERRUPT, true), Some(-libc::ENOSYS));
    assert_eq!(interrupted(NO_INTERRUPT | SINGLE_ISSUER, true), Some(-libc::ENOSYS));
    assert_eq!(interrupted(4, false), None);
    assert_eq!(interrupted(NO_INTERRUPT | 1 << 40, false), None);
}

/// One security context on the wire.
fn context(name: &str, label: &[u8]) -> Vec<u8> {
    let mut bytes = [(label.len() as u32).to_ne_bytes(), [0; 4]].concat();
    bytes.extend(name.bytes().chain([0]).chain(label.iter().copied()));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// An extension on the wire: `kind` up to 31 is the number of contexts in it.
fn extension(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = [(body.len() as u32 + 8).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(body);
    bytes
}

#[test]
fn security_contexts_of_new_files() {
    let ops = LowlevelOps { mkdir: Some(mkdir), symlink: Some(symlink), ..LowlevelOps::default() };
    let want =
        |conn: &mut ConnInfo| assert!(unsafe { fuse_set_feature_flag(conn, cap::SECURITY_CTX) });
    let wire = Wire::new(ops);
    wire.init(45, wire::SECURITY_CTX, want).unwrap();
    let mkdir = |wire: &Wire, extensions: &[u8]| {
        let body = [&0o755u32.to_ne_bytes()[..], &[0; 4], b"name\0", extensions].concat();
        assert_eq!(wire.request(Opcode::Mkdir, &body).0, -libc::EPERM);
        wire.seen().pop().expect("called")
    };
    let (first, second) = (context("security.selinux", b"user_t\0"), context("security.x", b""));
    let (end, bad) = (-libc::ENOENT, -libc::EIO);

    let one = extension(1, &first);
    let whole = r"security.selinux=user_t\x00";
    assert_eq!(mkdir(&wire, &one), format!("mkdir 1 name 755 count=1 {whole} {end} {whole} {end}"));
    let two = extension(2, &[first.clone(), second.clone()].concat());
    let both = format!("{whole} security.x=");
    assert_eq!(mkdir(&wire, &two), format!("mkdir 1 name 755 count=2 {both} {end} {both} {end}"));
    // Behind another extension (32: a group), which is 12 bytes and 4 to fill up.
    let groups = [extension(32, &[1, 0, 0, 0]), vec![0; 4], one.clone()].concat();
    assert_eq!(
        mkdir(&wire, &groups),
        format!("mkdir 1 name 755 count=1 {whole} {end} {whole} {end}")
    );
    // None at all, and none left from the last request.
    assert_eq!(mkdir(&wire, &[]), format!("mkdir 1 name 755 count=0 {end} {end}"));
    assert_eq!(mkdir(&wire, &extension(0, &[])), format!("mkdir 1 name 755 count=0 {end} {end}"));
    // Two names come before them here.
    let body = [b"name\0target\0", &one[..]].concat();
    assert_eq!(wire.request(Opcode::Symlink, &body).0, -libc::EPERM);
    assert_eq!(wire.seen(), [format!("symlink target name count=1 {whole} {end} {whole} {end}")]);

    // Nonsense: fewer than announced, a label beyond the end, no end of a name.
    let fewer = extension(2, &first);
    assert_eq!(
        mkdir(&wire, &fewer),
        format!("mkdir 1 name 755 count=2 {whole} {bad} {whole} {bad}")
    );
    let mut long = one.clone();
    long[8] = 200;
    assert_eq!(mkdir(&wire, &long), format!("mkdir 1 name 755 count=1 {bad} {bad}"));
    assert_eq!(
        mkdir(&wire, &extension(1, &[0, 0, 0, 0, 0, 0, 0, 0, b'a', b'b'])),
        format!("mkdir 1 name 755 count=1 {bad} {bad}")
    );
    // Every cut of a good one is either good or said to be bad.
    for length in 0..two.len() {
        mkdir(&wire, &two[..length]);
    }

    // Not wanted: whatever comes is not looked at.
    let wire = Wire::new(ops);
    wire.init(45, wire::SECURITY_CTX, |_| {}).unwrap();
    assert_eq!(mkdir(&wire, &one), format!("mkdir 1 name 755 count=0 {end} {end}"));
}

#[test]
fn syncfs_is_an_operation() {
    let wire = Wire::new(LowlevelOps { syncfs: Some(syncfs), ..LowlevelOps::default() });
    wire.init(45, 0, |_| {}).unwrap();
    assert_eq!(wire.request(Opcode::Syncfs, &[0; 8]), (0, vec![]));
    assert_eq!(wire.seen(), ["syncfs 1"]);
    let wire = Wire::new(LowlevelOps::default());
    wire.init(45, 0, |_| {}).unwrap();
    assert_eq!(wire.request(Opcode::Syncfs, &[0; 8]).0, -libc::ENOSYS);
}

#[test]
fn pruning_names_nodes() {
    let mut nodes = [5, 6, 1 << 40];
    let prune = |wire: &Wire, nodes: &mut [u64]| unsafe {
        fuse_lowlevel_notify_prune(
            Arc::as_ptr(&wire.session),
            nodes.as_mut_ptr(),
            nodes.len() as u32,
        )
    };
    let wire = Wire::new(LowlevelOps::default());
    assert_eq!(prune(&wire, &mut nodes), -libc::ENOTCONN);
    wire.init(45, 0, |_| {}).unwrap();
    assert_eq!(prune(&wire, &mut nodes), 0);
    let message = wire.shared.sent.lock().unwrap().pop().expect("a message");
    let (head, rest) = OutHeader::read_from_prefix(&message).unwrap();
    assert_eq!((head.error, head.unique, head.len), (notify::PRUNE, 0, 16 + 16 + 24));
    let (prune_out, list) = NotifyPruneOut::read_from_prefix(rest).unwrap();
    assert_eq!(prune_out, NotifyPruneOut { count: 3, padding: 0, spare: 0 });
    assert_eq!(list, nodes.as_bytes());
    assert_eq!(prune(&wire, &mut []), -libc::EINVAL);
    unsafe {
        assert_eq!(
            fuse_lowlevel_notify_prune(Arc::as_ptr(&wire.session), std::ptr::null_mut(), 1),
            -libc::EINVAL
        );
        assert_eq!(
            fuse_lowlevel_notify_prune(std::ptr::null(), nodes.as_mut_ptr(), 3),
            -libc::EINVAL
        );
    }
    let old = Wire::new(LowlevelOps::default());
    old.init(44, 0, |_| {}).unwrap();
    assert_eq!(prune(&old, &mut nodes), -libc::ENOSYS);
}

static LOG: Mutex<String> = Mutex::new(String::new());

extern "C" fn collect(_level: c_int, message: *const c_char) {
    let message = unsafe { CStr::from_ptr(message) };
    LOG.lock().unwrap().push_str(&message.to_string_lossy());
}

#[test]
fn debugging_can_be_switched_on_late() {
    let wire = Wire::new(LowlevelOps::default());
    wire.init(45, 0, |_| {}).unwrap();
    let logged = |number: u64| {
        let body = [&0u64.to_ne_bytes()[..], &number.to_ne_bytes()].concat();
        wire.request(Opcode::Syncfs, &body);
        LOG.lock().unwrap().contains("request 77: Syncfs")
    };
    assert!(!logged(1));
    unsafe { fuse_session_set_debug(Arc::as_ptr(&wire.session)) };
    assert!(logged(2));
}
