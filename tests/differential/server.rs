//! An example (`passthrough_ll`, `passthrough`), built once against the stock
//! libfuse3 of the system and started on it or on ours: which library it loads
//! is the library path's word. The bench also builds it against a libfuse with
//! rings, if there is one ([`Programs::add_rings`]).
//!
//! The differential test and the bench share this file. A [`Server`] owns its
//! process, its mount and its files; dropping it ends all three, in whatever
//! state they are.

use crate::support::machine::{checker_link_args, rings, rings_stay_on};
use crate::support::process::{mounted, ring_counts};
use rustix::mount::UnmountFlags;
use rustix::process::{kill_process, Pid, Signal};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to mount or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// A server that answers nothing for this long is considered hung.
const HUNG: Duration = Duration::from_secs(30);

/// Errors are sentences for the person who runs the test.
pub type Result<T> = std::result::Result<T, String>;

fn explain<T>(result: io::Result<T>, what: impl fmt::Display) -> Result<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Library {
    /// The distribution's libfuse3, always on /dev/fuse.
    Stock,
    /// A libfuse3 that was built with rings, without using them.
    #[allow(dead_code)] // the bench's
    BuiltOnDev,
    #[allow(dead_code)]
    BuiltOnRings,
    OursOnDev,
    OursOnRings,
}

impl Library {
    pub fn is_ours(self) -> bool {
        matches!(self, Library::OursOnDev | Library::OursOnRings)
    }

    pub fn on_rings(self) -> bool {
        matches!(self, Library::BuiltOnRings | Library::OursOnRings)
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Library::Stock => "stock",
            Library::BuiltOnDev => "stock with rings, /dev/fuse",
            Library::BuiltOnRings => "stock with rings, rings",
            Library::OursOnDev => "ours, /dev/fuse",
            Library::OursOnRings => "ours, rings",
        })
    }
}

/// A libfuse3 with rings, and the binary that was compiled against it.
struct Built {
    binary: PathBuf,
    libraries: PathBuf,
    version: String,
}

/// The binary and the libraries it can be run on.
pub struct Programs {
    example: &'static str,
    binary: PathBuf,
    ours: PathBuf,
    built: Option<Built>,
    /// The stock libfuse3 that the binary was compiled against: (3, minor).
    pub release: (u32, u32),
}

impl Programs {
    /// Compiles `examples-c/EXAMPLE.c`, which takes `-o source=DIR,stats=FILE`,
    /// against the installed stock libfuse3 into `directory`, and finds our
    /// library in `build/`, or where RINGFUSE_TEST_LIBDIR says.
    pub fn build(example: &'static str, directory: &Path) -> Result<Self> {
        Self::build_from(example, &format!("examples-c/{example}.c"), directory)
    }

    /// As `build`, from another source of this project.
    pub fn build_from(example: &'static str, source: &str, directory: &Path) -> Result<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let binary = directory.join(format!("{example}-stock"));
        compile(&project.join(source), &binary, None)?;
        let version = pkg_config(&["--modversion"], None)?;
        let mut numbers = version.trim().split('.').map_while(|number| number.parse().ok());
        let release = numbers.next().zip(numbers.next());
        let release =
            release.ok_or_else(|| format!("pkg-config calls the version of fuse3 {version:?}"))?;
        let ours = std::env::var_os("RINGFUSE_TEST_LIBDIR")
            .map_or_else(|| project.join("build"), PathBuf::from);
        Ok(Self { example, binary, ours, built: None, release })
    }

    /// Adds the libfuse3 with rings that is installed in `prefix`. Its soname may
    /// be another than that of the system's, so the same `source` is compiled
    /// once more, against its headers.
    #[allow(dead_code)] // the bench's
    pub fn add_rings(&mut self, source: &str, prefix: &Path, directory: &Path) -> Result<()> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let binary = directory.join(format!("{}-rings", self.example));
        compile(&source, &binary, Some(prefix))?;
        let version = pkg_config(&["--modversion"], Some(prefix))?;
        self.built = Some(Built { binary, libraries: prefix.join("lib"), version });
        Ok(())
    }

    /// The release of a library that is not ours, such as 3.14.
    #[allow(dead_code)]
    pub fn stock_release(&self, library: Library) -> String {
        match (&self.built, library) {
            (Some(built), Library::BuiltOnDev | Library::BuiltOnRings) => {
                built.version.split('.').take(2).map(str::trim).collect::<Vec<_>>().join(".")
            }
            _ => format!("{}.{}", self.release.0, self.release.1),
        }
    }

    fn command(&self, library: Library) -> Command {
        let built = || self.built.as_ref().expect("a libfuse with rings was added");
        let binary = match library {
            Library::BuiltOnDev | Library::BuiltOnRings => &built().binary,
            _ => &self.binary,
        };
        let mut command = Command::new(binary);
        for name in ["LD_LIBRARY_PATH", "FUSE_URING_ENABLE", "FUSE_URING_QUEUE_DEPTH"] {
            command.env_remove(name);
        }
        match library {
            Library::Stock => {}
            Library::BuiltOnDev | Library::BuiltOnRings => {
                command.env("LD_LIBRARY_PATH", &built().libraries);
            }
            Library::OursOnDev => {
                command.env("LD_LIBRARY_PATH", &self.ours).env("RINGFUSE_TRANSPORT", "dev");
            }
            Library::OursOnRings => {
                command.env("LD_LIBRARY_PATH", &self.ours).env("RINGFUSE_TRANSPORT", "ring");
            }
        }
        command
    }

    /// What the binary says about the library it runs on.
    #[allow(dead_code)] // the bench asks
    pub fn version(&self, library: Library) -> Result<String> {
        let output = self.command(library).arg("--version").output();
        let output = explain(output, format_args!("{} --version", self.example))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>().join(", "))
    }

    /// Mounts `backing` at `work/mnt` with `options` (as after -o, may be
    /// empty) and further `arguments`. Returns when the first request has been
    /// answered by the library and the transport that were asked for.
    pub fn start(
        &self,
        library: Library,
        backing: &Path,
        work: &Path,
        options: &str,
        arguments: &[&str],
    ) -> Result<Server> {
        let mountpoint = work.join("mnt");
        explain(
            fs::create_dir_all(&mountpoint),
            format_args!("cannot make {}", mountpoint.display()),
        )?;
        let paths = ["stats", "library-stats", "log"].map(|name| work.join(name));
        for path in &paths {
            let _ = fs::remove_file(path);
        }
        let [stats, library_stats, log] = paths;
        let sink = explain(File::create(&log), format_args!("cannot make {}", log.display()))?;
        let errors = explain(sink.try_clone(), "cannot duplicate a descriptor")?;
        let mut settings = format!("source={},stats={}", backing.display(), stats.display());
        if !options.is_empty() {
            settings = format!("{settings},{options}");
        }
        if library == Library::BuiltOnRings {
            settings += ",io_uring";
        }
        let _stays_on = match library.on_rings() {
            true => rings().map(|()| rings_stay_on())?,
            false => None,
        };
        let child = self
            .command(library)
            .args(["-f", "-o", &settings])
            .args(arguments)
            .arg(&mountpoint)
            .env("RINGFUSE_STATS", &library_stats)
            .stdin(Stdio::null())
            .stdout(sink)
            .stderr(errors)
            .spawn();
        let child = explain(child, format_args!("cannot start {}", self.binary.display()))?;
        let example = self.example;
        let mut server = Server { example, child, mountpoint, stats, library_stats, log, library };
        server.await_mount()?;
        server.check_library()?;
        Ok(server)
    }
}

/// A running server with its mount.
pub struct Server {
    example: &'static str,
    child: Child,
    mountpoint: PathBuf,
    stats: PathBuf,
    library_stats: PathBuf,
    log: PathBuf,
    library: Library,
}

/// `name value` lines, in the order of the file.
pub type Counts = Vec<(String, u64)>;

impl Server {
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The process, for [`watch`].
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The server's own output, for error messages.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn failed(&self, what: impl fmt::Display) -> String {
        format!("{} on {}: {what}; its output: {}", self.example, self.library, self.log())
    }

    fn await_mount(&mut self) -> Result<()> {
        let start = Instant::now();
        while !mounted(&self.mountpoint) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failed(format_args!("ended before it mounted ({status})")));
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failed("did not mount in time"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        // The first answer comes after INIT, which decides the transport. A
        // thread of its own, because it may never come.
        let (sender, receiver) = mpsc::channel();
        let path = self.mountpoint.clone();
        thread::spawn(move || drop(sender.send(fs::metadata(path).map(drop))));
        match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                Err(self.failed(format_args!("a stat of the mount point fails: {error}")))
            }
            Err(_) => Err(self.failed("does not answer a stat of the mount point")),
        }
    }

    /// Is this the library and the transport that were asked for? The answer
    /// comes from /proc, not from the library.
    fn check_library(&self) -> Result<()> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid()));
        let maps = explain(maps, "cannot read the server's maps")?;
        let loaded = maps
            .lines()
            .filter_map(|line| line.split_once('/'))
            .map(|(_, path)| PathBuf::from(format!("/{path}")));
        let loaded = loaded.into_iter().find(|path| {
            path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"libfuse3.so"))
        });
        let Some(loaded) = loaded else {
            return Err(self.failed("has no libfuse3 loaded"));
        };
        let code = explain(fs::read(&loaded), format_args!("cannot read {}", loaded.display()))?;
        let is_ours = code.windows(16).any(|text| text == b"ringfuse_version");
        if is_ours != self.library.is_ours() {
            return Err(self.failed(format_args!("has loaded {}", loaded.display())));
        }
        let rings = ring_counts(self.pid()).rings;
        if (rings > 0) != self.library.on_rings() {
            return Err(self.failed(format_args!("has {rings} io_uring descriptors")));
        }
        Ok(())
    }

    /// Unmounts, waits for the process, and gives what it counted: operations
    /// by the filesystem, and the library's own numbers (empty for stock).
    pub fn finish(mut self) -> Result<(Counts, Counts)> {
        explain(
            unmount(&self.mountpoint, UnmountFlags::empty()),
            format_args!("cannot unmount {}", self.mountpoint.display()),
        )?;
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
                Ok(None) => {
                    let threads = waiting(self.pid());
                    return Err(self.failed(format_args!(
                        "does not end after its mount is gone; its threads wait in: {threads}"
                    )));
                }
                Err(error) => return Err(self.failed(error)),
            }
        };
        // libfuse sometimes takes the end of the connection for a failed read.
        let well = status.success() || (!self.library.is_ours() && status.code() == Some(1));
        if !well {
            return Err(self.failed(format_args!("ended with {status}")));
        }
        let Some(operations) = read_counts(&self.stats) else {
            return Err(self.failed("has not written its operation counts"));
        };
        let library = read_counts(&self.library_stats).unwrap_or_default();
        if self.library.is_ours() {
            let requests = library.iter().find(|(name, _)| name == "ring_requests");
            let requests =
                requests.ok_or_else(|| self.failed("the library has not written its numbers"))?.1;
            if (requests > 0) != (self.library == Library::OursOnRings) {
                return Err(self.failed(format_args!("served {requests} requests on rings")));
            }
        }
        Ok((operations, library))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            if !mounted(&self.mountpoint) {
                return;
            }
        }
        // Killing the server ends the connection, so the unmount cannot hang.
        let _ = self.child.kill();
        let _ = unmount(&self.mountpoint, UnmountFlags::DETACH);
        let _ = self.child.wait();
    }
}

/// Asks pkg-config about the system's fuse3, or about the one in `prefix`.
fn pkg_config(what: &[&str], prefix: Option<&Path>) -> Result<String> {
    let mut command = Command::new("pkg-config");
    command.args(what).arg("fuse3").env_remove("PKG_CONFIG_PATH");
    if let Some(prefix) = prefix {
        command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    }
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        _ => Err("the comparison needs the stock libfuse3 to compile and run against: \
                  install libfuse3-dev, fuse3 and pkg-config (scripts/deps.sh does)"
            .into()),
    }
}

/// Compiles `source` against the system's libfuse3, or that in `prefix`.
fn compile(source: &Path, binary: &Path, prefix: Option<&Path>) -> Result<()> {
    let flags = pkg_config(&["--cflags", "--libs"], prefix)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-o"]).arg(binary).arg(source).args(flags.split_whitespace());
    compiler.args(checker_link_args());
    let output = explain(compiler.output(), "cannot run cc")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot compile {} against stock: {errors}", source.display()));
    }
    Ok(())
}

/// What the kernel says each thread of a process waits for.
fn waiting(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let threads =
        tasks.map(|task| read(task.path().join("comm")) + " " + &read(task.path().join("wchan")));
    threads.collect::<Vec<_>>().join(", ")
}

fn read_counts(path: &Path) -> Option<Counts> {
    let text = fs::read_to_string(path).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Some(
        lines
            .filter_map(|(name, value)| Some((name.to_string(), value.trim().parse().ok()?)))
            .collect(),
    )
}

/// Unmounts as root, or as another user through the system's helper.
fn unmount(mountpoint: &Path, flags: UnmountFlags) -> io::Result<()> {
    match rustix::mount::unmount(mountpoint, flags) {
        Err(rustix::io::Errno::PERM) => {}
        other => return Ok(other?),
    }
    let option = if flags.is_empty() { "-u" } else { "-uz" };
    match Command::new("fusermount3").arg(option).arg(mountpoint).status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("fusermount3 {option}: {status}"))),
    }
}

/// Does `work`, which counts what it gets done in `progress`. When it gets
/// nothing done for a long time, the servers are killed, which gives everybody
/// who waits for them an error, and the result is `None`.
pub fn watch<T>(servers: &[u32], progress: &AtomicU64, work: impl FnOnce() -> T) -> Option<T> {
    let (sender, receiver) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let mut seen = progress.load(Ordering::Relaxed);
            while let Err(mpsc::RecvTimeoutError::Timeout) = receiver.recv_timeout(HUNG) {
                let now = progress.load(Ordering::Relaxed);
                if now == seen {
                    // Their exit status has not been asked for yet, so the
                    // numbers are still theirs.
                    for pid in servers.iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
                        let _ = kill_process(pid, Signal::KILL);
                    }
                    return true;
                }
                seen = now;
            }
            false
        });
        let result = work();
        drop(sender);
        let hung = watchdog.join().expect("the watchdog does not panic");
        (!hung).then_some(result)
    })
}

/// A new directory on tmpfs, where O_DIRECT has no rules and no disk is slow.
pub fn scratch(name: &str) -> Result<TempDir> {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    let parent = "/dev/shm";
    if !rustix::fs::statfs(parent).is_ok_and(|stat| stat.f_type as u64 == TMPFS_MAGIC) {
        return Err(format!(
            "{parent} is not a tmpfs; mount one there: mount -t tmpfs tmpfs {parent}"
        ));
    }
    let directory = TempDir::with_prefix_in(format!("ringfuse-{name}-"), parent);
    explain(directory, format_args!("cannot make a directory in {parent}"))
}
