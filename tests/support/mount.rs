//! A test filesystem on a real mount, as a guard: when it is dropped, the
//! filesystem has ended well and its mount is gone, or the test fails.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::{env, iter, panic};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{kill_process, Pid, Signal};
use tempfile::TempDir;

use super::client::{eventually, PATIENCE};
use super::machine::{rings_stay_on, Transport};
use super::process::{self, RingCounts};
use super::record::Record;
use super::trace::Trace;

/// Requests that prove the transport of a new mount.
const PROOF: u64 = 64;

/// The filesystem `program` of `tests/fs`.
pub fn built(program: &str) -> PathBuf {
    let program = programs().join(program);
    assert!(program.exists(), "{} is not built: run `ninja -C build`", program.display());
    program
}

/// Has a program use the library that RINGFUSE_TEST_LIBDIR names; where else it
/// is to look for libraries has been set before.
pub fn with_library_under_test(command: &mut Command) {
    if let Some(libdir) = env::var_os("RINGFUSE_TEST_LIBDIR") {
        let variable = "LD_LIBRARY_PATH";
        let set = command.get_envs().find(|(name, _)| *name == variable);
        let others = set.and_then(|(_, value)| value).unwrap_or_default().to_owned();
        let all = iter::once(PathBuf::from(libdir)).chain(env::split_paths(&others));
        let all = env::join_paths(all.filter(|path| !path.as_os_str().is_empty()));
        command.env(variable, all.expect("no colons in paths"));
    }
}

/// Where the test filesystems are.
fn programs() -> PathBuf {
    env::var_os("RINGFUSE_TEST_BUILD")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("build/tests/fs"), PathBuf::from)
}

/// Whether the test filesystems are 32-bit programs, whose `long`, `time_t` and
/// pointers are too small for some of what 64-bit clients send.
pub fn narrow() -> bool {
    const CLASS: usize = 4;
    const CLASS_32: u8 = 1;
    fs::read(programs().join("trace_ll")).is_ok_and(|elf| elf[CLASS] == CLASS_32)
}

/// How a filesystem is to be started.
pub struct Server {
    program: PathBuf,
    args: Vec<String>,
    options: Vec<String>,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Server {
    /// `program` is the name of a filesystem in `tests/fs`.
    pub fn new(program: &str) -> Server {
        Server {
            program: built(program),
            args: Vec::new(),
            options: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// A program (with arguments) that execs the filesystem, such as prlimit.
    pub fn under(mut self, wrapper: &[&str]) -> Server {
        self.wrapper = wrapper.iter().map(|word| word.to_string()).collect();
        self
    }

    pub fn arg(mut self, arg: &str) -> Server {
        self.args.push(arg.into());
        self
    }

    /// One `-o` option.
    pub fn option(mut self, option: &str) -> Server {
        self.options.push(option.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Server {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Mounts and proves from outside that `on` serves the mount.
    pub fn mount(self, on: Transport) -> Mount {
        let name = on.name();
        self.env("RINGFUSE_TRANSPORT", name).mount_expecting(on)
    }

    /// The same without asking for a transport.
    pub fn mount_expecting(self, on: Transport) -> Mount {
        let _stays_on = rings_stay_on();
        self.mounted(on)
    }

    /// Inside of `with_rings_off`, which has the lock.
    pub fn mount_while_off(self) -> Mount {
        self.mounted(Transport::Dev)
    }

    /// Mounts, and asks nothing of the filesystem, which may serve nothing; it has said
    /// what it serves by.
    pub fn mount_and_no_more(self) -> Mount {
        let _stays_on = rings_stay_on();
        let mount = self.start(Transport::Ring);
        mount.event("mounted");
        mount.transport_line();
        mount
    }

    fn mounted(self, on: Transport) -> Mount {
        let mut mount = self.start(on);
        mount.event("mounted");
        mount.prove(PROOF);
        mount
    }

    fn start(self, on: Transport) -> Mount {
        let (mut command, dir) = self.command(&["-f"]);
        // A wrapper may limit descriptors, of which a record takes one.
        let record =
            self.wrapper.is_empty().then(|| Record::begin(&mut command, &self.program, on));
        let mut child = process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
            .unwrap_or_else(|e| panic!("{}: {e}", self.program.display()));
        let (answers_in, answers) = channel();
        let (events_in, events) = channel();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || sort_output(output, answers_in, events_in));
        let control = Control { input: child.stdin.take().expect("piped"), answers };
        let pid = child.id();
        let mut mount = Mount::new(dir, pid, on, Some(child), Some(control), events);
        mount.record = record.flatten();
        mount
    }

    /// The daemon form of `engine_ll`: waits until the parent has ended, and
    /// finds the daemon by asking it.
    pub fn mount_daemon(self, on: Transport) -> Mount {
        let _stays_on = rings_stay_on();
        let server = self.env("RINGFUSE_TRANSPORT", on.name());
        let (mut command, dir) = server.command(&[]);
        let record = Record::begin(&mut command, &server.program, on);
        let status = command.status().expect("started");
        assert!(status.success(), "the parent of the daemon ended with {status}");
        let mut text = [0; 20];
        let file = File::open(dir.path().join("mnt/pid")).expect("open");
        let length = file.read_at(&mut text, 0).expect("the daemon's pid");
        let text = std::str::from_utf8(&text[..length]).expect("text");
        let pid = text.parse().expect("a number");
        let mut mount = Mount::new(dir, pid, on, None, None, channel().1);
        mount.record = record;
        mount.prove(PROOF);
        mount
    }

    fn command(&self, args: &[&str]) -> (Command, TempDir) {
        let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
        let mountpoint = dir.path().join("mnt");
        fs::create_dir(&mountpoint).expect("mkdir");
        let mut options = vec![format!("trace={}", dir.path().join("trace").display())];
        options.extend(self.options.iter().cloned());
        let mut words = self.wrapper.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().expect("the program"));
        command
            .args(words)
            .arg(mountpoint)
            .args(args)
            .args(&self.args)
            .args(["-o", &options.join(",")])
            .stderr(File::create(dir.path().join("log")).expect("log"))
            .envs(self.env.iter().map(|(k, v)| (k, v)));
        with_library_under_test(&mut command);
        (command, dir)
    }
}

/// Answers to commands begin with "= "; everything else is an event.
fn sort_output(output: impl BufRead, answers: Sender<i64>, events: Sender<String>) {
    for line in output.lines().map_while(Result::ok) {
        let sent = match line.strip_prefix("= ") {
            Some(number) => answers.send(number.parse().expect("a number")).is_ok(),
            None => events.send(line).is_ok(),
        };
        if !sent {
            return;
        }
    }
}

struct Control {
    input: ChildStdin,
    answers: Receiver<i64>,
}

/// Aborts a mount that lasts for more than LIMIT seconds, which is taken for
/// hung. It is a process of its own: clients that hang cannot be killed, and
/// with them this process could not end, nor abort anything.
pub struct Watchdog {
    process: Child,
}

/// In seconds.
const LIMIT: u32 = 60;

impl Watchdog {
    const FIRED: i32 = 3;

    pub fn new(pid: u32, mountpoint: &Path) -> Watchdog {
        let script = format!(
            "timeout {LIMIT} cat >/dev/null; [ $? -eq 124 ] || exit 0; kill -9 {pid}; \
             umount -f \"$1\"; umount -l \"$1\" || fusermount3 -u -z \"$1\"; exit {}",
            Self::FIRED
        );
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-c", &script, "watchdog"])
            .arg(mountpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = process::start(&mut command).expect("setsid");
        Watchdog { process }
    }

    /// Ends it.
    pub fn has_fired(mut self) -> bool {
        drop(self.process.stdin.take());
        self.process.wait().expect("wait").code() == Some(Self::FIRED)
    }
}

/// How a filesystem ended.
#[derive(Debug)]
pub struct Ending {
    /// What its loop returned; None if it did not get that far.
    pub result: Option<i32>,
    pub status: ExitStatus,
}

pub struct Mount {
    /// The transport that has to serve.
    pub on: Transport,
    pub path: PathBuf,
    pub trace: Trace,
    /// Of the filesystem.
    pub pid: u32,
    child: Option<Child>,
    control: Mutex<Option<Control>>,
    events: Mutex<Receiver<String>>,
    watchdog: Option<Watchdog>,
    record: Option<Record>,
    dir: TempDir,
}

impl Mount {
    fn new(
        dir: TempDir,
        pid: u32,
        on: Transport,
        child: Option<Child>,
        control: Option<Control>,
        events: Receiver<String>,
    ) -> Mount {
        let path = dir.path().join("mnt");
        Mount {
            on,
            trace: Trace::new(dir.path().join("trace")),
            pid,
            child,
            control: Mutex::new(control),
            events: Mutex::new(events),
            watchdog: Some(Watchdog::new(pid, &path)),
            path,
            record: None,
            dir,
        }
    }

    /// A name in the root directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Has the filesystem serve a command; returns its answer.
    pub fn command(&self, command: &str) -> i64 {
        let mut control = self.control.lock().expect("lock");
        let control = control.as_mut().expect("a filesystem with a control channel");
        writeln!(control.input, "{command}").expect("the filesystem reads commands");
        control
            .answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no answer to the command {command}\n{}", self.log()))
    }

    /// A command after which the filesystem may end before it answers.
    pub fn last_command(&self, command: &str) {
        let mut control = self.control.lock().expect("lock");
        let control = control.as_mut().expect("a filesystem with a control channel");
        writeln!(control.input, "{command}").expect("the filesystem reads commands");
    }

    /// Waits until the answer to `command` is `wanted`, for as long as it
    /// changes: a guest under emulation gets there, but slowly.
    pub fn until(&self, command: &str, wanted: i64) {
        let mut last = None;
        let mut changed = std::time::Instant::now();
        while last != Some(wanted) {
            assert!(changed.elapsed() < PATIENCE, "{command}: {last:?}, never {wanted}");
            let now = Some(self.command(command));
            if last != now {
                (last, changed) = (now, std::time::Instant::now());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The next line of the filesystem, which has to begin with `prefix`.
    pub fn event(&self, prefix: &str) -> String {
        let events = self.events.lock().expect("lock");
        match events.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with(prefix) => line,
            other => panic!("expected '{prefix}', got {other:?}\n{}", self.log()),
        }
    }

    /// What the filesystem wrote to its standard error.
    pub fn log(&self) -> String {
        let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The line that tells which transport serves, and why.
    pub fn transport_line(&self) -> String {
        let lines = || -> Vec<String> {
            let log = self.log();
            let about = log.lines().filter(|line| line.starts_with("ringfuse: transport "));
            about.map(String::from).collect()
        };
        eventually("the line about the transport", || !lines().is_empty());
        match &lines()[..] {
            [line] => line.clone(),
            _ => panic!("more than one line about the transport in:\n{}", self.log()),
        }
    }

    pub fn ring_counts(&self) -> RingCounts {
        process::ring_counts(self.pid)
    }

    /// Sends `requests` requests and has the kernel's own counters tell who
    /// served them.
    pub fn prove(&mut self, requests: u64) {
        let before = self.ring_counts();
        for _ in 0..requests {
            rustix::fs::statvfs(&self.path)
                .unwrap_or_else(|e| panic!("statvfs: {e}\n{}", self.log()));
        }
        self.check_served(before, requests);
        self.trace.take();
    }

    /// Panics unless about `requests` requests since `before` went through
    /// io_urings, or none if the transport is /dev/fuse.
    pub fn check_served(&self, before: RingCounts, requests: u64) {
        let after = self.ring_counts();
        if self.on == Transport::Dev {
            assert_eq!(after.rings, 0, "an io_uring although /dev/fuse was asked for");
            return;
        }
        let submitted = after.submitted.saturating_sub(before.submitted);
        let completed = after.completed.saturating_sub(before.completed);
        // A request costs one of each; the library's own wake-ups come on top.
        let about = requests..=3 * requests + 100;
        assert!(
            after.rings > 0 && about.contains(&submitted) && about.contains(&completed),
            "{requests} requests were not served by rings: {before:?} before, {after:?} after\n{}",
            self.log(),
        );
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid as i32).expect("a pid");
        kill_process(pid, signal).expect("kill");
    }

    /// Stops the filesystem: none of its threads runs when this returns.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = |status: &str| status.contains("\nState:\tT");
        eventually("all threads to stop", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("threads");
            threads.flatten().all(|thread| {
                fs::read_to_string(thread.path().join("status")).is_ok_and(|s| stopped(&s))
            })
        });
    }

    /// Unmounts as a user would; waits for what is still being closed.
    pub fn unmount(&self) {
        eventually("the end of use of the mount", || {
            match umount(&self.path, UnmountFlags::empty()) {
                Ok(()) => true,
                Err(Errno::BUSY) => false,
                Err(e) => panic!("umount: {e}\n{}", self.log()),
            }
        });
    }

    /// Takes the mount away although files are open.
    pub fn unmount_lazily(&self) {
        umount(&self.path, UnmountFlags::DETACH).expect("umount -l");
    }

    /// Waits until the filesystem has ended by itself.
    pub fn ended(mut self) -> Ending {
        self.finish()
    }

    fn finish(&mut self) -> Ending {
        let mut child = self.child.take().expect("not yet ended, and no daemon");
        let mut status = None;
        eventually("the end of the filesystem", || {
            status = child.try_wait().expect("wait");
            status.is_some()
        });
        let events = self.events.lock().expect("lock");
        let result = events.iter().find_map(|line| line.strip_prefix("loop ")?.parse().ok());
        Ending { result, status: status.expect("ended") }
    }

    fn end_well(&mut self) {
        if process::mounted(&self.path) {
            self.unmount();
        }
        if self.child.is_some() {
            let ending = self.finish();
            assert!(
                ending.result == Some(0) && ending.status.success(),
                "ended with {ending:?}\n{}",
                self.log(),
            );
        } else {
            eventually("the end of the daemon", || !process::alive(self.pid));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let over = self.child.is_none() && self.control.lock().is_ok_and(|c| c.is_some());
        let failed = thread::panicking();
        let result = if failed || over {
            Ok(())
        } else {
            panic::catch_unwind(panic::AssertUnwindSafe(|| self.end_well()))
        };
        if failed {
            eprintln!("log of the filesystem:\n{}", self.log());
        }
        if failed || result.is_err() {
            abort(self.pid, &self.path);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        if process::mounted(&self.path) {
            let _ = umount(&self.path, UnmountFlags::DETACH);
        }
        if let Some(record) = self.record.take() {
            record.end(&self.dir.path().join("trace"));
        }
        let late = self.watchdog.take().is_some_and(Watchdog::has_fired);
        if let Err(cause) = result {
            panic::resume_unwind(cause);
        }
        assert!(failed || !late, "the mount was aborted after {LIMIT} seconds");
    }
}

/// Ends a filesystem and whatever waits for it. MNT_FORCE aborts the
/// connection, which the death of the server alone need not.
pub fn abort(pid: u32, mountpoint: &Path) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = rustix::mount::unmount(mountpoint, UnmountFlags::FORCE);
    let _ = umount(mountpoint, UnmountFlags::DETACH);
}

pub fn umount(mountpoint: &Path, flags: UnmountFlags) -> Result<(), Errno> {
    match rustix::mount::unmount(mountpoint, flags) {
        Err(Errno::PERM) => {
            let lazy = flags.contains(UnmountFlags::DETACH).then_some("-z");
            let status = Command::new("fusermount3").arg("-u").args(lazy).arg(mountpoint).status();
            if status.is_ok_and(|s| s.success()) {
                Ok(())
            } else {
                Err(Errno::BUSY)
            }
        }
        other => other,
    }
}
