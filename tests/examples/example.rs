//! An example on a real mount, as a guard: when it is dropped, the example has
//! ended well and its mount is gone, or the test fails.

#![allow(dead_code)] // each test program uses a part of it

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, panic, thread};

use rustix::mount::UnmountFlags;
use tempfile::TempDir;

use super::support::mount::{abort, umount, Watchdog};
use super::support::{eventually, machine, process, skip, Transport};

/// What an example runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Ours(Transport),
    /// The libfuse of this system, which it is also compiled against.
    Stock,
}

pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples-c")
}

/// Where our libraries and the examples are: RINGFUSE_TEST_BUILD names `tests/fs`
/// in it.
pub fn built() -> PathBuf {
    env::var_os("RINGFUSE_TEST_BUILD").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("build"),
        |tests| Path::new(&tests).join("../.."),
    )
}

/// The flags for the libfuse of this system; None if it is not installed.
pub fn stock_flags() -> Option<Vec<String>> {
    let output = Command::new("pkg-config")
        .args(["--cflags", "--libs", "fuse3"])
        .env_remove("PKG_CONFIG_PATH")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let flags = String::from_utf8(output.stdout).expect("flags");
    Some(flags.split_whitespace().map(String::from).collect())
}

pub const NO_STOCK: &str = "libfuse3-dev and pkg-config are not installed";

/// Runs `test` unless this machine cannot, which is said.
pub fn on(on: On, test: fn(On)) {
    let possible = match on {
        On::Ours(_) if machine::stock() => Err("the library under test is libfuse".into()),
        On::Ours(Transport::Dev) => machine::device(),
        On::Ours(Transport::Ring) => machine::device().and_then(|()| machine::rings()),
        On::Stock => {
            machine::device().and(stock_flags().map(|_| ()).ok_or_else(|| NO_STOCK.to_string()))
        }
    };
    match possible {
        Ok(()) => test(on),
        Err(reason) => skip(&reason),
    }
}

/// Compiles an example against the libfuse of this system, a program or a module.
fn compile_for_stock(source: &str, output: &Path, flags: &[&str]) {
    let result = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-o"])
        .arg(output)
        .args(flags)
        .arg(sources().join(format!("{source}.c")))
        .args(stock_flags().expect(NO_STOCK))
        .output()
        .expect("cc");
    assert!(result.status.success(), "{source}: {}", String::from_utf8_lossy(&result.stderr));
}

fn stock_program(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-stock");
    fs::create_dir_all(&directory).expect("mkdir");
    let program = directory.join(format!("{name}-{:?}", thread::current().id()));
    compile_for_stock(name, &program, &[]);
    program
}

/// The directory of the module `name`, in `scratch` if it has to be compiled.
pub fn module_dir(name: &str, on: On, scratch: &Path) -> PathBuf {
    if on != On::Stock {
        return built().join("examples-c");
    }
    let module = scratch.join(format!("libfusemod_{name}.so"));
    compile_for_stock(name, &module, &["-shared", "-fPIC", "-Wl,-z,nodelete"]);
    scratch.to_path_buf()
}

pub struct Example {
    pub pid: u32,
    path: PathBuf,
    child: Child,
    watchdog: Option<Watchdog>,
    dir: TempDir,
}

impl Example {
    pub fn mount(name: &str, on: On) -> Example {
        Example::mount_with(name, on, "")
    }

    /// `options` as after `-o`.
    pub fn mount_with(name: &str, on: On, options: &str) -> Example {
        let mut command = Example::program(name, on);
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        Example::run(command, on)
    }

    /// An example without arguments, for `run`.
    pub fn program(name: &str, on: On) -> Command {
        Command::new(match on {
            On::Stock => stock_program(name),
            On::Ours(_) => built().join("examples-c").join(name),
        })
    }

    /// Mounts with any program, which gets `-f` and a mount point.
    pub fn run(command: Command, on: On) -> Example {
        let dir = TempDir::with_prefix("ringfuse-example-").expect("a temporary directory");
        fs::create_dir(dir.path().join("mnt")).expect("mkdir");
        Example::run_in(dir, command, on)
    }

    /// The same on a file.
    pub fn run_on_file(command: Command, on: On) -> Example {
        let dir = TempDir::with_prefix("ringfuse-example-").expect("a temporary directory");
        File::create(dir.path().join("mnt")).expect("create");
        Example::run_in(dir, command, on)
    }

    fn run_in(dir: TempDir, mut command: Command, on: On) -> Example {
        let _stays_on = machine::rings_stay_on();
        let path = dir.path().join("mnt");
        if let On::Ours(transport) = on {
            command.env("RINGFUSE_TRANSPORT", transport.name());
            if let Some(mut path) = env::var_os("RINGFUSE_TEST_LIBDIR") {
                // Where modules are, if the test has said that.
                if let Some((_, Some(more))) =
                    command.get_envs().find(|(name, _)| *name == "LD_LIBRARY_PATH")
                {
                    path.push(":");
                    path.push(more);
                }
                command.env("LD_LIBRARY_PATH", path);
            }
        }
        let child = command
            .arg("-f")
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(File::create(dir.path().join("log")).expect("log"))
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e} (is it built: ninja -C build?)"));
        let pid = child.id();
        let watchdog = Some(Watchdog::new(pid, &path));
        let mut example = Example { pid, path, child, watchdog, dir };
        eventually("the mount", || {
            let status = example.child.try_wait().expect("wait");
            assert!(status.is_none(), "it ended with {status:?}: {}", example.log());
            process::mounted(&example.path)
        });
        example.prove(on);
        example
    }

    /// Makes requests and has the kernel's own counters tell what served them.
    fn prove(&self, on: On) {
        const REQUESTS: u64 = 64;
        let serve = || {
            rustix::fs::statvfs(&self.path).expect("statvfs");
        };
        serve(); // it comes after INIT, so the transport is decided
        let before = process::ring_counts(self.pid);
        (0..REQUESTS).for_each(|_| serve());
        let after = process::ring_counts(self.pid);
        if on == On::Ours(Transport::Ring) {
            let served = after.submitted.saturating_sub(before.submitted);
            assert!(after.rings > 0 && served >= REQUESTS, "not on rings: {}", self.log());
        } else {
            assert_eq!(after.rings, 0, "an io_uring, although {on:?} was asked for");
        }
    }

    /// A name in the root directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.path
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn end_well(&mut self) {
        eventually("the end of use of the mount", || {
            umount(&self.path, UnmountFlags::empty()).is_ok()
        });
        let mut status = None;
        eventually("the end of the example", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        assert!(status.is_some_and(|s| s.success()), "ended with {status:?}\n{}", self.log());
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let failed = thread::panicking();
        let result = match failed {
            true => Ok(()),
            false => panic::catch_unwind(panic::AssertUnwindSafe(|| self.end_well())),
        };
        if failed || result.is_err() {
            eprintln!("log of the example:\n{}", self.log());
            abort(self.pid, &self.path);
            let _ = self.child.wait();
        }
        let late = self.watchdog.take().is_some_and(Watchdog::has_fired);
        if let Err(cause) = result {
            panic::resume_unwind(cause);
        }
        assert!(failed || !late, "the mount was aborted as hung");
    }
}
