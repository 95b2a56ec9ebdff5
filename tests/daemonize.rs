//! Going to the background before mounting, synchronous INIT, and the teardown
//! watchdog: what the process that was started tells by its exit status, and
//! what is left behind.

#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]

mod support;

use libc::{c_int, c_void};
use ringfuse::abi::public::{CustomIo, LowlevelOps};
use ringfuse::ffi::session::{
    fuse_session_start_teardown_watchdog as start_watchdog,
    fuse_session_stop_teardown_watchdog as stop_watchdog,
};
use ringfuse::session::options::SessionOptions;
use ringfuse::session::Session;
use std::fs::{self, File};
use std::os::fd::IntoRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr::null_mut;
use std::sync::Arc;

use rustix::mount::UnmountFlags;
use rustix::process::{kill_process, Pid, Signal};
use support::machine::{is_root, rings_stay_on};
use support::mount::built;
use support::process::{alive, mounted, ring_counts, threads_named};
use support::trace::Trace;
use support::{eventually, skip, stock, Transport};
use tempfile::TempDir;

/// `fuse_daemonize_early_start(0)`.
const BACKGROUND: &str = "early=0";

/// Whether this machine can run these tests; if not, that is said.
fn possible() -> bool {
    let reason = match () {
        () if stock() => "libfuse has no early daemonize functions before 3.19",
        () if !is_root() => "only root mounts by itself",
        () => return true,
    };
    skip(reason);
    false
}

/// Whether the kernel answers mount(2) when INIT is answered, if asked to (6.18).
fn sync_init() -> bool {
    const SYNC_INIT: u32 = 0xe503;
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
    support::raw::ioctl(device, SYNC_INIT, 0).is_ok()
}

/// One `init_ll`, started as its user would; whatever it leaves is cleared away.
struct Filesystem {
    dir: TempDir,
    path: PathBuf,
    trace: Trace,
    started: Child,
}

impl Filesystem {
    fn start(on: Transport, options: &[&str]) -> Filesystem {
        let _stays_on = rings_stay_on();
        let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
        let path = dir.path().join("mnt");
        fs::create_dir(&path).expect("mkdir");
        let trace = dir.path().join("trace");
        let file = |name: &str| File::create(dir.path().join(name)).expect("a file");
        let started = Command::new(built("init_ll"))
            .arg(&path)
            .args(["-o", &format!("trace={}", trace.display())])
            .args(options.iter().flat_map(|option| ["-o", option]))
            .env("RINGFUSE_TRANSPORT", on.name())
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn()
            .expect("started");
        Filesystem { dir, path, trace: Trace::new(trace), started }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).expect("text")
    }

    fn log(&self) -> String {
        self.read("log")
    }

    /// The end of the process that was started.
    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the process that was started", || {
            status = self.started.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("ended")
    }

    fn status(&mut self) -> Option<i32> {
        self.ended().code()
    }

    /// The process of the filesystem.
    fn pid(&self) -> u32 {
        let trace = self.read("trace");
        let pid = trace.lines().find_map(|line| line.strip_prefix("process pid="));
        pid.and_then(|pid| pid.split(' ').next()?.parse().ok()).expect("a pid in the trace")
    }

    fn wait_for(&self, line: &str) {
        eventually(&format!("`{line}' in the trace"), || {
            fs::read_to_string(self.dir.path().join("trace"))
                .is_ok_and(|trace| trace.lines().any(|one| one.starts_with(line)))
        });
    }

    fn unmount(&self) {
        rustix::mount::unmount(&self.path, UnmountFlags::DETACH).expect("umount");
    }

    fn is_gone(&self) {
        let pid = self.pid();
        eventually("the end of the filesystem", || !alive(pid));
        assert!(!mounted(&self.path), "the mount is still there");
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        let _ = self.started.kill();
        let _ = self.started.wait();
        if let Ok(trace) = fs::read_to_string(self.dir.path().join("trace")) {
            let pid = trace.lines().find_map(|line| line.strip_prefix("process pid="));
            let pid = pid.and_then(|pid| pid.split(' ').next()?.parse().ok());
            let ours = |pid: &i32| {
                fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|name| name == "init_ll\n")
            };
            if let Some(pid) = pid.filter(ours).and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if mounted(&self.path) {
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::FORCE);
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        }
        if std::thread::panicking() {
            eprintln!("log of the filesystem:\n{}", self.log());
        }
    }
}

each_transport! {
    fn the_process_that_was_started_ends_when_the_filesystem_works(on) {
        if !possible() {
            return;
        }
        let mut fs = Filesystem::start(on, &[BACKGROUND]);
        assert_eq!(fs.status(), Some(0), "{}", fs.log());
        assert_eq!(fs::read_to_string(fs.path.join("file")).expect("read"), "contents\n");
        let pid = fs.pid();
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("a link");
        assert_ne!(pid, fs.started.id());
        assert_eq!(link("cwd"), PathBuf::from("/"));
        for descriptor in 0..3 {
            assert_eq!(link(&format!("fd/{descriptor}")), PathBuf::from("/dev/null"));
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let session = stat.rsplit(") ").next().expect("numbers").split(' ').nth(3).expect("session");
        assert_eq!(session, pid.to_string(), "it does not lead a session");
        assert_eq!(threads_named(pid, "fuse_parent"), 0, "the watch goes on");
        // INIT decides on rings: with them it must not be answered too early.
        let rings = ring_counts(pid).rings;
        assert_eq!(rings > 0, on == Transport::Ring, "{rings} rings\n{}", fs.log());
        let init = fs.trace.one("init");
        match on {
            Transport::Dev if sync_init() => assert_eq!(init.text("thread"), "fuse_init"),
            _ => assert_ne!(init.text("thread"), "fuse_init"),
        }
        fs.unmount();
        fs.wait_for("loop result=0");
        fs.is_gone();
    }

    fn a_failed_init_is_the_starters_failure(on) {
        if !possible() {
            return;
        }
        // Once in the loop, and once while mounting.
        for sync in ["sync=0", "sync=1"] {
            let mut fs = Filesystem::start(on, &[BACKGROUND, sync, "set=1000000000000000"]);
            assert_eq!(fs.status(), Some(1), "{}", fs.log());
            assert!(fs.log().contains("unknown connection want flags"), "{}", fs.log());
            fs.is_gone();
            let lines = fs.trace.take();
            let has = |op: &str| lines.iter().filter(|line| line.op == op).count();
            assert_eq!(has("init"), 1, "{lines:?}");
            let sync = if sync_init() { sync } else { "sync=0" };
            assert_eq!((has("mounted"), has("mount")), if sync == "sync=0" { (1, 0) } else { (0, 1) });
            if sync == "sync=1" {
                assert!(fs.log().contains("mount failed"), "{}", fs.log());
                assert!(fs.log().contains("INIT failed"), "{}", fs.log());
            }
        }
    }

    fn a_refused_mount_is_the_starters_failure(on) {
        if !possible() {
            return;
        }
        // The kernel takes a block size for block devices only.
        for sync in ["sync=0", "sync=1"] {
            let mut fs = Filesystem::start(on, &[BACKGROUND, sync, "blksize=512"]);
            assert_eq!(fs.status(), Some(1), "{}", fs.log());
            assert!(fs.log().contains("mount failed"), "{}", fs.log());
            fs.is_gone();
            assert!(fs.trace.all("init").is_empty());
        }
    }

    fn synchronous_init_on_order(on) {
        if !possible() {
            return;
        }
        if !sync_init() {
            return skip("this kernel has no synchronous INIT");
        }
        let fs = Filesystem::start(on, &["sync=1"]);
        fs.wait_for("mounted");
        let lines = fs.trace.take();
        let order: Vec<_> = lines.iter().map(|line| line.op.as_str()).collect();
        assert_eq!(order, ["process", "init", "mounted"]);
        assert_eq!(lines[1].text("thread"), "fuse_init");
        eventually("requests", || fs::metadata(fs.path.join("file")).is_ok());
        assert_eq!(threads_named(fs.pid(), "fuse_init"), 0);
        assert_eq!(ring_counts(fs.pid()).rings, 0);
        let reason = match on {
            Transport::Dev => "RINGFUSE_TRANSPORT=dev",
            Transport::Ring => "INIT was answered while mounting, before the loop was known",
        };
        assert!(fs.log().contains(&format!("transport dev: {reason}")), "{}", fs.log());
        fs.unmount();
        fs.wait_for("loop result=0");
        fs.is_gone();
    }

    fn the_watchdog_ends_a_process_whose_callback_hangs(on) {
        if !possible() {
            return;
        }
        for bark in [false, true] {
            let mut options = vec!["watchdog=0", "twice"];
            options.extend(bark.then_some("bark"));
            let mut fs = Filesystem::start(on, &options);
            let client = hang(&fs);
            fs.unmount();
            abort(client.device);
            assert_eq!(fs.status(), Some(if bark { 5 } else { 1 }), "{}", fs.log());
            assert_eq!(fs.read("out").contains("bark loudly"), bark);
            assert_eq!(fs.trace.one("second").dec("watchdog"), 0);
            assert!(fs.log().contains("has a teardown watchdog already"));
            assert!(fs.log().contains("the filesystem is gone"), "{}", fs.log());
            client.thread.join().expect("the client's request has ended");
        }
    }

    fn the_watchdog_leaves_a_process_alone_that_ends(on) {
        if !possible() {
            return;
        }
        // An hour: whoever waits for it is noticed.
        let mut fs = Filesystem::start(on, &["watchdog=3600"]);
        eventually("requests", || fs::metadata(fs.path.join("file")).is_ok());
        fs.unmount();
        assert_eq!(fs.status(), Some(0), "{}", fs.log());
        let mut fs = Filesystem::start(on, &["watchdog=3600"]);
        eventually("requests", || fs::metadata(fs.path.join("file")).is_ok());
        kill(fs.pid(), Signal::TERM);
        assert_eq!(fs.status(), Some(7), "{}", fs.log());
        assert!(!mounted(&fs.path));
    }
}

/// A client whose request is never answered.
struct Hanging {
    thread: std::thread::JoinHandle<()>,
    /// The mount's number below /sys/fs/fuse/connections.
    device: u32,
}

fn hang(fs: &Filesystem) -> Hanging {
    use std::os::unix::fs::MetadataExt;
    eventually("requests", || fs::metadata(fs.path.join("file")).is_ok());
    let device = rustix::fs::minor(fs::metadata(&fs.path).expect("stat").dev());
    let path = fs.path.join("hang");
    let thread = std::thread::spawn(move || {
        fs::metadata(path).expect_err("a request that nobody answers");
    });
    fs.wait_for("hang ino=4");
    Hanging { thread, device }
}

/// Ends a connection by the control filesystem, mounted where nobody else is.
fn abort(device: u32) {
    let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("fusectl", dir.path(), "fusectl", none, None).expect("fusectl");
    let written = fs::write(dir.path().join(format!("{device}/abort")), "1");
    rustix::mount::unmount(dir.path(), UnmountFlags::DETACH).expect("umount");
    written.expect("abort");
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), signal).expect("kill");
}

#[test]
fn a_failure_has_the_status_it_is_given() {
    if !possible() {
        return;
    }
    let mut fs = Filesystem::start(Transport::Dev, &[BACKGROUND, "fail=7"]);
    assert_eq!(fs.status(), Some(7), "{}", fs.log());
    fs.wait_for("failed active=0");
    // It goes on, and may come after that.
    let mut fs = Filesystem::start(Transport::Dev, &[BACKGROUND, "fail=256"]);
    assert_eq!(fs.status(), Some(1), "{}", fs.log());
    // Without a start, it is the process's own end.
    let mut fs = Filesystem::start(Transport::Dev, &["fail=9"]);
    assert_eq!(fs.status(), Some(9), "{}", fs.log());
    assert!(fs.trace.all("failed").is_empty());
}

/// For programs with a transport of their own, which do not mount.
#[test]
fn a_success_is_reported_by_the_program() {
    if !possible() {
        return;
    }
    let mut fs = Filesystem::start(Transport::Dev, &[BACKGROUND, "succeed"]);
    assert_eq!(fs.status(), Some(0), "{}", fs.log());
    fs.wait_for("succeeded active=0");
}

#[test]
fn a_signal_that_kills_is_a_failure() {
    if !possible() {
        return;
    }
    let mut fs = Filesystem::start(Transport::Dev, &[BACKGROUND, "die"]);
    assert_eq!(fs.status(), Some(1), "{}", fs.log());
}

#[test]
fn parent_and_child_die_together() {
    if !possible() {
        return;
    }
    for (place, line) in [("stop=mount", "stopped at=mount"), ("stop=loop", "stopped at=loop")] {
        let mut fs = Filesystem::start(Transport::Dev, &[BACKGROUND, "sync=0", place]);
        fs.wait_for(line);
        assert!(fs.started.try_wait().expect("wait").is_none(), "the parent does not wait");
        assert_eq!(threads_named(fs.pid(), "fuse_parent"), 1);
        kill(fs.started.id(), Signal::INT);
        assert_eq!(fs.ended().signal(), Some(libc::SIGINT));
        fs.is_gone();
        assert!(fs.log().contains("the process that started this one has ended"), "{}", fs.log());
    }
}

#[test]
fn in_the_foreground_nothing_changes_but_the_directory() {
    if !possible() {
        return;
    }
    // FUSE_DAEMONIZE_NO_BACKGROUND, with and without FUSE_DAEMONIZE_NO_CHDIR.
    for (option, directory) in [("early=2", Some("/")), ("early=3", None)] {
        let mut fs = Filesystem::start(Transport::Dev, &[option, "sync=0"]);
        eventually("requests", || fs::metadata(fs.path.join("file")).is_ok());
        let pid = fs.pid();
        assert_eq!(pid, fs.started.id());
        let now = fs::read_link(format!("/proc/{pid}/cwd")).expect("cwd");
        let expected =
            directory.map_or_else(|| std::env::current_dir().expect("cwd"), PathBuf::from);
        assert_eq!(now, expected);
        // Active from the start to INIT; and fuse_daemonize() is refused.
        assert_eq!(fs.trace.one("mounted").dec("daemonize"), -1);
        assert!(fs.log().contains("after fuse_daemonize_early_start()"), "{}", fs.log());
        fs.unmount();
        assert_eq!(fs.status(), Some(0), "{}", fs.log());
        assert_eq!(fs.read("out"), "mounted\nloop 0\n");
    }
}

#[test]
fn a_watchdog_needs_a_mounted_session() {
    extern "C" fn read(_: c_int, _: *mut c_void, _: usize, _: *mut c_void) -> isize {
        0
    }
    extern "C" fn writev(_: c_int, _: *const libc::iovec, _: c_int, _: *mut c_void) -> isize {
        0
    }
    let new = || Session::new(LowlevelOps::default(), null_mut(), SessionOptions::default());
    let session = new().expect("a session");
    let start = |session: &Arc<Session>, seconds| unsafe {
        start_watchdog(Arc::as_ptr(session), seconds, None, null_mut())
    };
    assert!(unsafe { start_watchdog(std::ptr::null(), 1, None, null_mut()) }.is_null());
    assert!(start(&session, 1).is_null(), "not mounted");
    let io = CustomIo { read: Some(read), writev: Some(writev), ..CustomIo::default() };
    let fd = File::open("/dev/null").expect("open").into_raw_fd();
    session.set_custom_io(io, fd).expect("custom io");
    assert!(start(&session, 1).is_null(), "no connection of the kernel's");
    unsafe { stop_watchdog(null_mut()) };

    // A descriptor that was handed over is watched like any other; this one
    // stays as it is until it is closed.
    let (keep, watched) = ringfuse::sys::process::pipe(0).expect("a pipe");
    let session = new().expect("a session");
    let path = format!("/dev/fd/{}", keep.into_raw_fd());
    session.mount(&std::ffi::CString::new(path).expect("a path")).expect("taken over");
    assert!(start(&session, -1).is_null(), "negative");
    let first = start(&session, 0);
    assert!(!first.is_null());
    assert!(start(&session, 0).is_null(), "there is one already");
    unsafe { stop_watchdog(first) };
    let second = start(&session, 0);
    assert!(!second.is_null(), "the first one was stopped");
    // It does not look at a descriptor that is closed; if it did, with no time to
    // wait this process would end now.
    session.unmount();
    eventually("the end of the watch", || threads_named(std::process::id(), "fuse_watchdog") == 0);
    drop(watched);
    unsafe { stop_watchdog(second) };
    assert!(!session.exited());
}

#[test]
fn an_order_that_cannot_be_followed_is_said_to() {
    if !possible() {
        return;
    }
    if sync_init() {
        return skip("this kernel has synchronous INIT");
    }
    let fs = Filesystem::start(Transport::Dev, &["sync=1"]);
    eventually("requests", || fs::metadata(fs.path.join("file")).is_ok());
    assert!(fs.log().contains("INIT will be answered in the loop"), "{}", fs.log());
    fs.unmount();
    fs.wait_for("loop result=0");
    fs.is_gone();
}
