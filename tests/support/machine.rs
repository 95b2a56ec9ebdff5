//! What this machine offers to the tests, and what they change on it.
//!
//! A setting of the machine (`enable_uring`, a sysctl) is changed for as long
//! as any test process wants it and set back after the last one, however that
//! one ends: a small process of its own waits for the end of each test
//! process, and a file lock tells it whether it is the last.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs, thread};

use rustix::fs::{flock, FlockOperation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Dev,
    Ring,
}

impl Transport {
    /// The word that `RINGFUSE_TRANSPORT` and the log line use.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Dev => "dev",
            Transport::Ring => "ring",
        }
    }
}

/// Runs `test` unless this machine cannot, which is said.
pub fn on(transport: Transport, test: fn(Transport)) {
    let possible = match transport {
        Transport::Dev => device(),
        Transport::Ring => device().and_then(|()| rings()),
    };
    match possible {
        Ok(()) => test(transport),
        Err(reason) => skip(&reason),
    }
}

/// Says that the test of this thread is skipped. It goes past the capture of
/// the test harness, which hides the output of tests that pass.
pub fn skip(reason: &str) {
    let thread = thread::current();
    let line = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("?"));
    io::stderr().write_all(line.as_bytes()).expect("stderr");
}

/// Whether the library under test is libfuse.
pub fn stock() -> bool {
    env::var_os("RINGFUSE_TEST_STOCK").is_some_and(|v| v == OsStr::new("1"))
}

/// Whether the filesystems run under a checker such as a sanitizer, which uses
/// memory of its own.
pub fn checked() -> bool {
    env::var_os("RINGFUSE_TEST_CHECKED").is_some()
}

/// How a program that a test compiles is linked for the checker, if there is one.
pub fn checker_link_args() -> Vec<String> {
    let args = env::var("RINGFUSE_TEST_CHECKED").unwrap_or_default();
    args.split_whitespace().map(str::to_owned).collect()
}

/// How often a test does what takes no time, over both transports: 100 times or more,
/// but in guests, which are slow.
pub fn rounds() -> usize {
    let rounds = env::var("RINGFUSE_TEST_ROUNDS").ok();
    rounds.map_or(100, |rounds| rounds.parse().expect("RINGFUSE_TEST_ROUNDS: a number"))
}

/// The CPUs this process may use.
pub fn cpus() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).expect("sched_getaffinity");
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this user can mount at all; if not, why.
pub fn device() -> Result<(), String> {
    match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("/dev/fuse cannot be opened: {e}")),
    }
}

pub const ENABLE_URING: &str = "/sys/module/fuse/parameters/enable_uring";

static RINGS: OnceLock<Result<(), String>> = OnceLock::new();

/// Whether the kernel offers rings; switches them on where this user may. If
/// not, why.
pub fn rings() -> Result<(), String> {
    RINGS.get_or_init(offer_rings).clone()
}

fn offer_rings() -> Result<(), String> {
    if stock() {
        return Err("the library under test is libfuse".into());
    }
    let now = fs::read_to_string(ENABLE_URING)
        .map_err(|_| format!("this kernel has no FUSE over io_uring (no {ENABLE_URING})"))?;
    if !is_root() {
        return match now.trim() {
            "Y" => Ok(()),
            _ => Err(format!("{ENABLE_URING} is N, and only root may change it")),
        };
    }
    hold(Path::new(ENABLE_URING), "Y")
}

/// Keeps the setting `path` at `value` until this process ends.
pub fn hold(path: &Path, value: &str) -> Result<(), String> {
    try_hold(path, value).map_err(|e| format!("cannot set {}: {e}", path.display()))
}

fn try_hold(path: &Path, value: &str) -> io::Result<()> {
    let memo = memo_of(path);
    loop {
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&memo)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && file.metadata()?.nlink() > 0
        {
            // The first, or the memo of processes that were all killed: then
            // it still has the value to go back to.
            if file.metadata()?.len() == 0 {
                fs::write(&memo, fs::read(path)?)?;
            }
            fs::write(path, value)?;
        }
        flock(&file, FlockOperation::LockShared)?;
        if file.metadata()?.nlink() > 0 && fs::read_to_string(path)?.trim() == value {
            return restore_at_exit(path, &memo, file);
        }
    }
}

/// Where the value to go back to is kept while tests run.
fn memo_of(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("setting");
    Path::new("/run").join(format!("ringfuse-tests.{name}"))
}

/// Starts the process that sets `path` back. It holds `lock` from now on, and
/// notices our end by the end of its input. `setsid`: a Ctrl-C is not for it.
fn restore_at_exit(path: &Path, memo: &Path, lock: File) -> io::Result<()> {
    static KEPT: std::sync::Mutex<Vec<Child>> = std::sync::Mutex::new(Vec::new());
    const SCRIPT: &str =
        "cat >/dev/null; if flock -n -x 1; then cat \"$1\" >\"$2\"; rm -f \"$1\"; fi";
    let child = Command::new("setsid")
        .args(["sh", "-c", SCRIPT, "restore"])
        .args([memo, path])
        .stdin(Stdio::piped())
        .stdout(lock)
        .spawn()?;
    KEPT.lock().expect("lock").push(child);
    Ok(())
}

/// Runs `f` while no other test begins a mount on rings, with `enable_uring`
/// off. Only after `rings()` was Ok, and as root.
pub fn with_rings_off<T>(f: impl FnOnce() -> T) -> T {
    with_setting(Path::new(ENABLE_URING), "N", f)
}

/// The same with `value` in the setting `path`, which is set back.
pub fn with_setting<T>(path: &Path, value: &str, f: impl FnOnce() -> T) -> T {
    struct Back<'a>(&'a Path, String);
    impl Drop for Back<'_> {
        fn drop(&mut self) {
            fs::write(self.0, &self.1).expect("the setting");
        }
    }
    let _alone = parameter_lock(FlockOperation::LockExclusive);
    let _back = Back(path, fs::read_to_string(path).expect("the setting"));
    fs::write(path, value).expect("the setting");
    f()
}

/// To be held while a mount begins: the kernel looks at the parameter then,
/// and only then. Sets it again if some other program has set it back.
pub fn rings_stay_on() -> Option<File> {
    let lock = parameter_lock(FlockOperation::LockShared);
    let wanted = RINGS.get().is_some_and(Result::is_ok);
    if wanted && is_root() && fs::read_to_string(ENABLE_URING).is_ok_and(|now| now.trim() == "N") {
        fs::write(ENABLE_URING, "Y").expect("enable_uring");
    }
    lock
}

/// The lock is on the parameter's own file, so it holds between processes as
/// well and leaves nothing behind.
fn parameter_lock(operation: FlockOperation) -> Option<File> {
    let file = File::open(ENABLE_URING).ok()?;
    flock(&file, operation).expect("flock");
    Some(file)
}
