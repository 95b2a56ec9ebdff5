//! Programs with `fuse_main` (`tests/fs/path_main.c`): exit statuses, help,
//! options that are known and not, and the modules. `make test-stock` runs the
//! same on libfuse.
#![allow(missing_docs)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{kill_process, Pid, Signal};
use support::mount::{self, umount, Watchdog};
use support::*;
use tempfile::TempDir;

/// The program, with what is to be done first.
fn program(what: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "60"]).arg(mount::built("path_main")).arg(what);
    // Modules of the tests' own.
    command.env("LD_LIBRARY_PATH", mount::built("path_main").parent().expect("a directory"));
    mount::with_library_under_test(&mut command);
    command
}

fn output_of(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("timeout")
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A mount by fuse_main() in the foreground; the directory `root` is shown.
struct Served {
    child: Option<Child>,
    path: PathBuf,
    root: PathBuf,
    watchdog: Option<Watchdog>,
    _dir: TempDir,
}

fn serve(on: Transport, prepare: impl FnOnce(&Path), args: &[&str]) -> Served {
    let dir = TempDir::with_prefix("ringfuse-main-").expect("a directory");
    let (path, root) = (dir.path().join("mnt"), dir.path().join("root"));
    fs::create_dir(&path).unwrap();
    fs::create_dir(&root).unwrap();
    prepare(&root);
    let child = program("main")
        .env("PATH_ROOT", &root)
        .env("RINGFUSE_TRANSPORT", on.name())
        .arg("-f")
        .args(args)
        .arg(&path)
        .stdin(Stdio::null())
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .expect("timeout");
    let watchdog = Some(Watchdog::new(child.id(), &path));
    let mut served = Served { child: Some(child), path, root, watchdog, _dir: dir };
    eventually("the mount", || {
        let ended = served.child.as_mut().unwrap().try_wait().expect("wait");
        assert!(ended.is_none(), "ended with {ended:?}: {}", served.log());
        process::mounted(&served.path)
    });
    served
}

impl Served {
    fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(Path::new(name.as_ref()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path.with_file_name("log")).unwrap_or_default()
    }

    fn names(&self, dir: &str) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.at(dir)).expect("readdir");
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect();
        names.sort();
        names
    }

    /// The exit status after an unmount.
    fn unmounted(mut self) -> i32 {
        eventually("the end of use of the mount", || {
            umount(&self.path, UnmountFlags::empty()) == Ok(())
        });
        self.status()
    }

    fn status(&mut self) -> i32 {
        let mut child = self.child.take().expect("running");
        let mut status = None;
        eventually("the end of the program", || {
            status = child.try_wait().expect("wait");
            status.is_some()
        });
        status.unwrap().code().expect("no signal")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = umount(&self.path, UnmountFlags::DETACH);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        let late = self.watchdog.take().is_some_and(Watchdog::has_fired);
        assert!(!late || std::thread::panicking(), "the mount was aborted");
    }
}

#[test]
fn statuses_say_what_failed() {
    let dir = TempDir::new().unwrap();
    let at = dir.path().to_str().unwrap();
    for (status, args, message) in [
        (1, &["-f", "/nonexistent/x"][..], "/nonexistent/x"),
        (1, &["-f", at, "/second"], "/second"),
        (2, &["-f"], "mountpoint"),
        (3, &["-f", at, "-o", "no_such_option"], "no_such_option"),
        (3, &["-f", at, "-o", "modules=no_such_module"], "no_such_module"),
        (3, &["-f", at, "-o", "modules=subdir"], "subdir"),
        (3, &["-f", at, "-o", "modules=iconv,from_code=no_such_code"], "no_such_code"),
        (4, &["-f", at, "-o", "blkdev,fsname=/nonexistent/device"], ""),
        (0, &["-h"], ""),
        (0, &["-V"], ""),
    ] {
        let output = output_of(program("main").args(args));
        let (_, errors) = texts(&output);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {errors}");
        assert!(errors.contains(message), "{args:?}: {errors}");
    }
}

#[test]
fn loops_of_no_filesystem() {
    let output = output_of(&mut program("nothing"));
    assert_eq!((output.status.code(), &*texts(&output).0), (Some(0), "-1 -1\n"));
}

#[test]
fn help_and_version() {
    for what in ["-h", "--help"] {
        let (text, _) = texts(&output_of(program("main").arg(what)));
        for option in [
            "kernel_cache",
            "remember=",
            "modules=",
            "subdir=",
            "from_code=",
            "max_threads",
            "allow_other",
            "usage: ",
        ] {
            assert!(text.contains(option), "{what}: no {option} in {text}");
        }
    }
    let (text, _) = texts(&output_of(program("main").arg("-V")));
    assert!(text.contains("FUSE library version "), "{text}");
    assert!(text.contains("kernel interface version 7."), "{text}");
    // And of the program that mounts for users, where there is one.
    if Command::new("fusermount3").arg("-V").output().is_ok() {
        assert!(text.contains("fusermount3 version: "), "{text}");
    }
    // That of modules which are named as well.
    let (text, _) = texts(&output_of(program("help").args(["-o", "modules=upper"])));
    assert!(text.contains("kernel_cache") && text.contains("subdir="), "{text}");
    if !stock() {
        assert!(text.contains("Options of the module upper: none"), "{text}");
    }
    // fuse_new() of 3.0 has help among its options, that of 3.1 has not.
    let output = output_of(program("new30").arg("--help"));
    assert_eq!(output.status.code(), Some(1));
    assert!(texts(&output).0.contains("kernel_cache"));
    let output = output_of(program("new").arg("--help"));
    assert_eq!(output.status.code(), Some(1));
    assert!(!texts(&output).0.contains("kernel_cache"));
    assert!(texts(&output).1.contains("--help"));
}

#[test]
fn options_of_fuse_new() {
    for option in [
        "kernel_cache",
        "auto_cache",
        "noauto_cache",
        "no_rofd_flush",
        "umask=022",
        "uid=1",
        "gid=1",
        "entry_timeout=1.5",
        "attr_timeout=1",
        "negative_timeout=0",
        "ac_attr_timeout=2",
        "noforget",
        "remember=5",
        "debug",
        "modules=subdir,subdir=/x",
        "modules=iconv,to_code=UTF-8",
        "allow_other",
        "max_read=4096",
        "fsname=x",
    ] {
        for what in ["new", "new30"] {
            let output = output_of(program(what).args(["-o", option]));
            assert_eq!(output.status.code(), Some(0), "{option}: {}", texts(&output).1);
            assert_eq!(
                texts(&output).0.lines().count(),
                1,
                "{option}: only the program's name is left"
            );
        }
    }
    if !stock() {
        for option in ["fmask=022", "dmask=022", "parallel_direct_write=1"] {
            assert_eq!(
                output_of(program("new").args(["-o", option])).status.code(),
                Some(0),
                "{option}"
            );
        }
    }
    // Settings that only init() can make, and what libfuse 2 had.
    for option in [
        "use_ino",
        "readdir_ino",
        "direct_io",
        "hard_remove",
        "nullpath_ok",
        "intr",
        "intr_signal=10",
        "nonempty",
        "big_writes",
        "large_read",
        "parallel_direct_writes=1",
        "umask=9",
        "uid=x",
        "remember=x",
        "entry_timeout=x",
    ] {
        let output = output_of(program("new").args(["-o", option]));
        assert_eq!(output.status.code(), Some(1), "{option}");
        let name = option.split('=').next().unwrap();
        assert!(texts(&output).1.contains(name), "{option}: {}", texts(&output).1);
    }
}

#[test]
fn a_channel_is_a_mount_without_a_filesystem() {
    let dir = TempDir::new().unwrap();
    for options in [None, Some("fsname=channel")] {
        if options.is_none() && stock() {
            skip("libfuse 3.14 takes NULL for a string");
            continue;
        }
        let output = output_of(program("channel").arg(dir.path()).args(options));
        assert_eq!(output.status.code(), Some(0), "{}", texts(&output).1);
        assert_eq!(texts(&output).0, "channel 1\n");
    }
    let output = output_of(program("channel").args(["/nonexistent", "fsname=x"]));
    assert_eq!(output.status.code(), Some(1));
    let output = output_of(program("channel").arg(dir.path()).arg("no_such_option"));
    if !stock() {
        // libfuse leaves what it does not know to nobody.
        assert_eq!(output.status.code(), Some(1));
        assert!(texts(&output).1.contains("no_such_option"));
    }
    let _ = umount(dir.path(), UnmountFlags::DETACH);
}

fn hello(root: &Path) {
    fs::write(root.join("hello"), "Hello\n").unwrap();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("sub/inner"), "inside").unwrap();
}

each_transport! {
    fn a_program_serves_until_it_is_unmounted(on) {
        for args in [&[][..], &["-s"], &["-d"], &["-o", "clone_fd,max_idle_threads=3"]] {
            let fs = serve(on, hello, args);
            assert_eq!(fs::read_to_string(fs.at("hello")).unwrap(), "Hello\n");
            assert_eq!(fs.names(""), [b"hello".to_vec(), b"sub".to_vec()]);
            if args == ["-d"] {
                eventually("a log of operations", || {
                    let log = fs.log();
                    log.contains("getattr") && log.contains("/hello")
                });
            }
            assert_eq!(fs.unmounted(), 0, "{args:?}");
        }
    }

    fn a_signal_ends_it_with_8(on) {
        let mut fs = serve(on, hello, &[]);
        fs::metadata(fs.at("hello")).unwrap();
        let timeout = fs.child.as_ref().unwrap().id();
        let children = fs::read_to_string(format!("/proc/{timeout}/task/{timeout}/children")).unwrap();
        let pid = children.split(' ').next().unwrap().parse().expect("the filesystem");
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        if stock() {
            let _ = fs::metadata(fs.at("hello"));
        }
        assert_eq!(fs.status(), 8);
        assert!(!process::mounted(&fs.path));
    }

    /// In the background by itself; what started it has ended with 0.
    fn it_goes_to_the_background(on) {
        let dir = TempDir::with_prefix("ringfuse-main-").unwrap();
        let status = program("main").env("PATH_ROOT", "/usr/include").env("RINGFUSE_TRANSPORT", on.name())
            .arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
            .status().unwrap();
        assert_eq!(status.code(), Some(0));
        let found = fs::metadata(dir.path().join("stdio.h")).map(|file| file.is_file());
        let unmounted = umount(dir.path(), UnmountFlags::empty());
        if unmounted.is_err() {
            let _ = umount(dir.path(), UnmountFlags::DETACH);
        }
        assert_eq!((found.ok(), unmounted), (Some(true), Ok(())));
    }

    /// As 3.17 and later have it: with a message.
    fn fuse_main_real_is_fuse_main(on) {
        let dir = TempDir::new().unwrap();
        let output = output_of(program("real").args(["-f", "-o", "no_such_option"]).arg(dir.path()).env("RINGFUSE_TRANSPORT", on.name()));
        assert_eq!(output.status.code(), Some(3));
        if !stock() {
            assert!(texts(&output).1.contains("fuse_main_real"), "{}", texts(&output).1);
        }
    }

    fn subdir_shows_a_directory_as_the_root(on) {
        {
            let links = |root: &Path| {
                hello(root);
                for (target, name) in [("/sub/x/y", "absolute"), ("/other", "elsewhere"), ("rel", "relative")] {
                    std::os::unix::fs::symlink(target, root.join("sub").join(name)).unwrap();
                }
                fs::create_dir_all(root.join("sub/d/e")).unwrap();
                std::os::unix::fs::symlink("/sub/x", root.join("sub/d/e/deep")).unwrap();
            };
            let fs = serve(on, links, &["-o", "modules=subdir,subdir=/sub,rellinks"]);
            assert_eq!(fs::read_to_string(fs.at("inner")).unwrap(), "inside");
            assert!(fs.names("").contains(&b"inner".to_vec()));
            let link = |fs: &Served, name: &str| fs::read_link(fs.at(name)).unwrap().to_str().unwrap().to_owned();
            assert_eq!(link(&fs, "absolute"), "x/y");
            assert_eq!(link(&fs, "d/e/deep"), "../../x");
            assert_eq!(link(&fs, "elsewhere"), "/other");
            assert_eq!(link(&fs, "relative"), "rel");
            fs::create_dir(fs.at("made")).unwrap();
            fs::rename(fs.at("made"), fs.at("moved")).unwrap();
            assert!(fs.root.join("sub/moved").is_dir());
            std::os::unix::fs::symlink("to", fs.at("new")).unwrap();
            assert_eq!(fs::read_link(fs.root.join("sub/new")).unwrap(), Path::new("to"));
            assert_eq!(fs.unmounted(), 0);
            let fs = serve(on, links, &["-o", "modules=subdir,subdir=/sub/,norellinks"]);
            assert_eq!(link(&fs, "absolute"), "/sub/x/y");
            assert_eq!(fs.unmounted(), 0);
        }
    }

    /// Latin-1 below, UTF-8 above.
    fn iconv_converts_names(on) {
        let latin = |root: &Path| {
            fs::write(root.join(OsStr::from_bytes(b"gr\xfcn")), "colour").unwrap();
            std::os::unix::fs::symlink(OsStr::from_bytes(b"\xe4"), root.join("link")).unwrap();
        };
        let fs = serve(on, latin, &["-o", "modules=iconv,from_code=ISO-8859-1,to_code=UTF-8"]);
        assert_eq!(fs::read_to_string(fs.at("gr\u{fc}n")).unwrap(), "colour");
        assert_eq!(fs.names(""), ["gr\u{fc}n".as_bytes(), b"link"]);
        assert_eq!(fs::read_link(fs.at("link")).unwrap().to_str(), Some("\u{e4}"));
        fs::create_dir(fs.at("\u{df}")).unwrap();
        assert!(fs.root.join(OsStr::from_bytes(b"\xdf")).is_dir());
        // No Latin-1 for that.
        let error = rustix::fs::mkdir(fs.at("\u{20ac}"), rustix::fs::Mode::RWXU);
        assert_eq!(error, Err(Errno::ILSEQ));
        assert_eq!(fs.unmounted(), 0);
    }

    /// Of the program itself, and of a shared object; one above another.
    fn modules_by_name(on) {
        if stock() {
            // Nor does it look for modules in the program itself.
            return skip("libfuse 3.14 unloads a module before its destroy, and crashes");
        }
        for modules in ["modules=upper", "modules=loud"] {
            let fs = serve(on, hello, &["-o", modules]);
            assert_eq!(fs.names(""), [b"HELLO".to_vec(), b"SUB".to_vec()], "{modules}");
            assert_eq!(fs::read_to_string(fs.at("HELLO")).unwrap(), "Hello\n");
            assert_eq!(fs::read_to_string(fs.at("SUB/Inner")).unwrap(), "inside");
            fs::create_dir(fs.at("NEW")).unwrap();
            assert!(fs.root.join("new").is_dir());
            assert_eq!(fs.unmounted(), 0, "{modules}: {modules}");
        }
        let fs = serve(on, hello, &["-o", "modules=subdir:loud,subdir=/sub"]);
        assert_eq!(fs.names(""), [b"INNER".to_vec()]);
        assert_eq!(fs.unmounted(), 0);
    }
}
