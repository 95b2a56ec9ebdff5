//! `fuse_session_new` and what needs no mount, in this process, beside an
//! installed libfuse3.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]
// Each pointer's type stands at the field it goes to.
#![allow(clippy::missing_transmute_annotations, clippy::type_complexity)]

mod api_support;

use api_support::{load_stock, logged, Command, Stock};
use libc::{c_char, c_int, c_void, stat64};
use ringfuse::abi::public::{Args, CustomIo, EntryParam, LoopConfig, LowlevelOps};
use ringfuse::ffi;
use std::ffi::CStr;
use std::mem::{offset_of, size_of, zeroed};
use std::ptr::{null, null_mut};

type Session = *mut c_void;
type New = unsafe extern "C" fn(*mut Args, *const LowlevelOps, usize, *mut c_void) -> Session;

/// The functions of one library.
struct Api {
    new: New,
    fd: unsafe extern "C" fn(Session) -> c_int,
    destroy: unsafe extern "C" fn(Session),
    loop_mt: unsafe extern "C" fn(Session, *const LoopConfig) -> c_int,
    custom_io: unsafe extern "C" fn(Session, *const CustomIo, c_int) -> c_int,
    add: unsafe extern "C" fn(
        *mut c_void,
        *mut c_char,
        usize,
        *const c_char,
        *const stat64,
        i64,
    ) -> usize,
    add_plus: unsafe extern "C" fn(
        *mut c_void,
        *mut c_char,
        usize,
        *const c_char,
        *const EntryParam,
        i64,
    ) -> usize,
}

fn ours() -> Api {
    use ffi::reply::{fuse_add_direntry, fuse_add_direntry_plus};
    use ffi::session::*;
    unsafe {
        // Requests and sessions are opaque to a program.
        Api {
            new: std::mem::transmute::<*const (), New>(fuse_session_new as *const ()),
            fd: std::mem::transmute(fuse_session_fd as *const ()),
            destroy: std::mem::transmute(fuse_session_destroy as *const ()),
            loop_mt: std::mem::transmute(fuse_session_loop_mt_312 as *const ()),
            custom_io: std::mem::transmute(fuse_session_custom_io_30 as *const ()),
            add: std::mem::transmute(fuse_add_direntry as *const ()),
            add_plus: std::mem::transmute(fuse_add_direntry_plus as *const ()),
        }
    }
}

fn theirs(stock: &Stock) -> Api {
    Api {
        new: stock.function(c"fuse_session_new", c"FUSE_3.0"),
        fd: stock.function(c"fuse_session_fd", c"FUSE_3.0"),
        destroy: stock.function(c"fuse_session_destroy", c"FUSE_3.0"),
        loop_mt: stock.function(c"fuse_session_loop_mt", c"FUSE_3.12"),
        custom_io: stock.function(c"fuse_session_custom_io", c"FUSE_3.0"),
        add: stock.function(c"fuse_add_direntry", c"FUSE_3.0"),
        add_plus: stock.function(c"fuse_add_direntry_plus", c"FUSE_3.0"),
    }
}

/// Size of the table of 3.14, which both know.
const OPS: usize = offset_of!(LowlevelOps, tmpfile);

fn table() -> LowlevelOps {
    unsafe { zeroed() }
}

/// Whether there is a session, its descriptor, and what is left of the arguments.
fn session(api: &Api, arguments: &[&str]) -> (bool, c_int, Vec<String>) {
    let mut command = Command::new(arguments);
    unsafe {
        let session = (api.new)(&mut command.args, &table(), OPS, null_mut());
        let fd = if session.is_null() { 0 } else { (api.fd)(session) };
        let left = command.arguments();
        if !session.is_null() {
            (api.destroy)(session);
        }
        (!session.is_null(), fd, left)
    }
}

/// Both libraries do the same with these arguments; the log lines are ours.
#[test]
fn arguments_of_a_session() {
    let stock = load_stock("arguments_of_a_session").map(|stock| theirs(&stock));
    let left = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let cases: [(&[&str], (bool, c_int, Vec<String>), &str); 9] = [
        (&["fs"], (true, -1, left(&["fs"])), ""),
        (&["fs", "-oallow_other,fsname=a,subtype=b"], (true, -1, left(&["fs"])), ""),
        (&["fs", "-oallow_root", "-r"], (true, -1, left(&["fs"])), ""),
        (&["-fs"], (true, -1, left(&["-fs"])), "looks like an option"),
        (&[], (false, 0, left(&[])), "empty argv"),
        (&["fs", "-ounknown"], (false, 0, left(&[])), "unknown option(s): `unknown'"),
        (&["fs", "-x", "more"], (false, 0, left(&[])), "unknown option(s): `-x more'"),
        (&["fs", "-omax_write=4096"], (false, 0, left(&[])), "unknown option(s)"),
        (&["fs", "-omax_read=x"], (false, 0, left(&["fs", "-omax_read=x"])), "invalid parameter"),
    ];
    for (arguments, expected, message) in cases {
        let (outcome, log) = logged(|| session(&ours(), arguments));
        // What a failure leaves of a numeric option is each library's own.
        let comparable = message != "invalid parameter";
        if comparable {
            assert_eq!(outcome, expected, "{arguments:?}");
        }
        assert_eq!(outcome.0, expected.0, "{arguments:?}");
        assert!(log.contains(message) && (!message.is_empty() || log.is_empty()), "{log:?}");
        if let Some(stock) = &stock {
            let theirs = session(stock, arguments);
            assert_eq!(theirs.0, outcome.0, "libfuse, {arguments:?}");
            if comparable {
                assert_eq!(theirs, outcome, "libfuse, {arguments:?}");
            }
        }
    }
}

/// With `debug` the version is told at once.
#[test]
fn debug_tells_the_version() {
    for debug in ["-d", "-odebug", "--debug"] {
        let (outcome, log) = logged(|| session(&ours(), &["fs", debug]));
        assert!(outcome.0 && log.contains("FUSE library version"), "{debug}: {log:?}");
    }
}

/// Tables and versions that are missing, as of 3.18. Earlier releases crash.
#[test]
fn sessions_without_a_table() {
    let api = ours();
    let mut command = Command::new(&["fs"]);
    unsafe {
        let session = (api.new)(&mut command.args, null(), 0, null_mut());
        assert!(!session.is_null());
        (api.destroy)(session);
        let mut version = zeroed();
        let versioned = ffi::session::fuse_session_new_versioned;
        let (args, table) = (&raw mut command.args, table());
        for (op, size, version) in [
            (null(), size_of::<LowlevelOps>(), &raw mut version),
            (&raw const table, 0, &raw mut version),
            (&raw const table, OPS, null_mut()),
        ] {
            assert!(versioned(args, op, size, version, null_mut()).is_null());
        }
        assert!((api.new)(null_mut(), &table, OPS, null_mut()).is_null());
    }
}

#[test]
fn mounting_nowhere() {
    let mut command = Command::new(&["fs"]);
    unsafe {
        let session = ffi::session::fuse_session_new(&mut command.args, &table(), OPS, null_mut());
        let ((), log) = logged(|| {
            assert_eq!(ffi::session::fuse_session_mount(session, null()), -1);
        });
        assert!(log.contains("without a mount point"), "{log:?}");
        let (served, log) = logged(|| ffi::session::fuse_session_loop(session));
        assert_eq!(served, -libc::EBADF);
        assert!(log.contains("not mounted"), "{log:?}");
        // Nothing is mounted: both do nothing, also again.
        ffi::session::fuse_session_unmount(session);
        ffi::session::fuse_session_unmount(session);
        ffi::session::fuse_session_destroy(session);
    }
}

extern "C" fn never(_: c_int, _: *mut c_void, _: usize, _: *mut c_void) -> isize {
    unreachable!("nothing is served")
}

/// What cannot be a transport is refused.
#[test]
fn custom_functions_that_are_missing() {
    let stock = load_stock("custom_functions_that_are_missing").map(|stock| theirs(&stock));
    for api in [Some(ours()), stock].into_iter().flatten() {
        let mut command = Command::new(&["fs"]);
        unsafe {
            let session = (api.new)(&mut command.args, &table(), OPS, null_mut());
            let mut io: CustomIo = zeroed();
            assert_eq!((api.custom_io)(session, &io, -1), -libc::EBADF);
            assert_eq!((api.custom_io)(session, null(), 0), -libc::EINVAL);
            assert_eq!((api.custom_io)(session, &io, 0), -libc::EINVAL);
            io.read = Some(never);
            assert_eq!((api.custom_io)(session, &io, 0), -libc::EINVAL, "no writev");
            (api.destroy)(session);
        }
    }
}

/// The bytes of directory entries, for names of every length and buffers that
/// are too small.
#[test]
fn directory_entries() {
    let stock = load_stock("directory_entries").map(|stock| theirs(&stock));
    let mut attributes: stat64 = unsafe { zeroed() };
    (attributes.st_ino, attributes.st_mode) = (77, libc::S_IFDIR | 0o755);
    let mut entry: EntryParam = unsafe { zeroed() };
    (entry.ino, entry.generation, entry.attr) = (5, 6, attributes);
    (entry.attr_timeout, entry.entry_timeout) = (1.5, -1.0);
    let build = |api: &Api, plus: bool, name: &CStr, room: usize| {
        let mut buffer = [0x55u8; 512];
        let at = buffer.as_mut_ptr().cast();
        let size = unsafe {
            if plus {
                (api.add_plus)(null_mut(), at, room, name.as_ptr(), &entry, 9)
            } else {
                (api.add)(null_mut(), at, room, name.as_ptr(), &attributes, 9)
            }
        };
        (size, buffer)
    };
    for length in 1..=40 {
        let name = std::ffi::CString::new(vec![b'n'; length]).expect("no NUL");
        for (plus, header) in [(false, 24), (true, 152)] {
            let needed = (header + length).next_multiple_of(8);
            for room in [0, needed - 1, needed, 512] {
                let (size, bytes) = build(&ours(), plus, &name, room);
                assert_eq!(size, needed);
                assert_eq!(bytes == [0x55; 512], room < needed, "written only if it fits");
                if let Some(stock) = &stock {
                    assert!((size, bytes) == build(stock, plus, &name, room), "{length} {plus}");
                }
            }
        }
    }
}

/// A configuration is made by the library, or it is none.
#[test]
fn a_configuration_of_another_origin() {
    let stock = load_stock("a_configuration_of_another_origin").map(|stock| theirs(&stock));
    for api in [Some(ours()), stock].into_iter().flatten() {
        let mut command = Command::new(&["fs"]);
        let config = LoopConfig { version_id: 0, ..LoopConfig::default() };
        unsafe {
            let session = (api.new)(&mut command.args, &table(), OPS, null_mut());
            assert_eq!((api.loop_mt)(session, &config), -libc::EINVAL);
            (api.destroy)(session);
        }
    }
}
