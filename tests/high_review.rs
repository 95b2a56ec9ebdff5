//! The path API where operations meet: listings and renames, removals and last
//! releases, the end and what is hidden still; and what operations get.
#![allow(unsafe_code)] // system calls that rustix has not

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use support::mount::{built, with_library_under_test};
use support::raw::{catch_interrupts, interrupt};
use support::*;

/// A thread of ours that does `f`, and is seen asleep in it.
fn asleep<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero()).expect("a listener");
        f()
    });
    let state = format!("/proc/self/task/{}/stat", told.recv().expect("a thread"));
    eventually("a thread asleep", || {
        let stat = fs::read_to_string(&state).expect("the thread lives");
        let rest = stat.rsplit(')').next().expect("a state").to_string();
        rest.starts_with(" S") || rest.starts_with(" D")
    });
    thread
}

/// Has the filesystem serve some requests that nothing stops.
fn others_are_served(fs: &Mount) {
    for _ in 0..20 {
        rustix::fs::statvfs(&fs.path).expect("statvfs");
    }
}

fn copy(from: &File, to: &File) -> isize {
    // SAFETY: no memory involved but for NULL.
    unsafe {
        let none = std::ptr::null_mut();
        libc::copy_file_range(from.as_raw_fd(), none, to.as_raw_fd(), none, 10, 0)
    }
}

fn new_file(path: impl AsRef<Path>) -> File {
    OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("create")
}

/// `op path fi` of each line of the trace, but for getattr's of the way there.
fn calls(fs: &Mount, wanted: &[&str]) -> Vec<String> {
    let lines = fs.trace.take().into_iter().filter(|line| wanted.contains(&line.op.as_str()));
    lines.map(|line| format!("{} {} {}", line.op, line.text("path"), line.text("fi"))).collect()
}

each_transport! {
    /// The number of ".." is told while a rename of the directory waits for the
    /// listing to end.
    fn listing_of_a_directory_that_is_to_be_renamed(on) {
        let server = Server::new("gates_high").option("readdir_ino").option("offsets");
        let fs = server.mount(on);
        for round in 0..5 {
            let (old, new) = (fs.at(&format!("d{round}")), fs.at(&format!("e{round}")));
            fs::create_dir(&old).expect("mkdir");
            fs.command("stop readdir");
            let listed = old.clone();
            let lister = thread::spawn(move || fs::read_dir(listed).expect("opendir").count());
            fs.until("inside", 1);
            let renamer = asleep(move || fs::rename(old, new));
            others_are_served(&fs);
            fs.command("go");
            assert_eq!(lister.join().unwrap(), 2);
            renamer.join().unwrap().expect("rename");
        }
    }

    /// The file is closed between the decision to hide it and the hiding. It can
    /// only be missed that it stays: a release is over when its thread says so.
    fn last_release_while_the_file_is_being_hidden(on) {
        let fs = Server::new("gates_high").option("nullpath").mount(on);
        let file = new_file(fs.at("file"));
        let path = fs.at("file");
        fs.command("stop rename");
        let remover = thread::spawn(move || fs::remove_file(path));
        fs.until("inside", 1);
        fs.trace.take();
        drop(file);
        eventually("the release", || fs.trace.take().iter().any(|line| line.op == "release"));
        others_are_served(&fs);
        fs.command("go");
        remover.join().unwrap().expect("unlink");
        fs.until("hidden", 0);
    }

    fn the_last_release_removes_a_hidden_file(on) {
        let fs = Server::new("gates_high").mount(on);
        let file = new_file(fs.at("file"));
        fs::remove_file(fs.at("file")).expect("unlink");
        assert_eq!(fs.command("hidden"), 1);
        drop(file);
        fs.until("hidden", 0);
    }

    fn the_end_removes_hidden_files(on) {
        let fs = Server::new("gates_high").mount(on);
        let _file = new_file(fs.at("file"));
        fs::remove_file(fs.at("file")).expect("unlink");
        fs.trace.take();
        fs.last_command("exit");
        let calls = calls_until_the_end(&fs);
        let last: Vec<_> = calls.iter().map(|(op, _)| op.as_str()).collect();
        assert_eq!(last[last.len() - 2..], ["unlink", "destroy"]);
        assert!(calls[last.len() - 2].1.starts_with("/.fuse_hidden"), "{calls:?}");
    }

    /// The attributes of a file that mknod(2) made are asked for while it is
    /// open, as some filesystems have them from there only.
    fn mknod_by_create(on) {
        let fs = Server::new("gates_high").option("only_open").mount(on);
        fs::create_dir(fs.at("open")).expect("mkdir");
        fs.trace.take();
        let path = std::ffi::CString::new(fs.at("open/file").to_str().unwrap()).unwrap();
        // SAFETY: a string.
        assert_eq!(unsafe { libc::mknod(path.as_ptr(), libc::S_IFREG | 0o644, 0) }, 0);
        assert_eq!(
            calls(&fs, &["create", "getattr", "release"])[2..],
            ["create /open/file given", "getattr /open/file given", "release /open/file given"]
        );
    }

    /// Operations on open directories get the handle and nothing else.
    fn handles_of_directories(on) {
        let fs = Server::new("gates_high").mount(on);
        assert_eq!(fs::read_dir(&fs.path).expect("opendir").count(), 2);
        let mut seen = Vec::new();
        eventually("releasedir", || {
            seen.extend(fs.trace.take());
            seen.iter().any(|line| line.op == "releasedir")
        });
        for line in seen.iter().filter(|line| ["readdir", "releasedir"].contains(&&*line.op)) {
            assert_eq!((line.hex("flags"), line.dec("fh")), (0, 9), "{}", line.op);
        }
    }

    /// The setting `intr`: a signal comes to the thread whose client is
    /// interrupted, on whichever thread of the library that is.
    fn signals_to_interrupted_operations(on) {
        catch_interrupts();
        let fs = Server::new("gates_high").option("intr").mount(on);
        drop(new_file(fs.at("file")));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let file = File::open(fs.at("file")).expect("open");
                asleep(move || file.read_at(&mut [0; 16], 0).map_err(|e| e.raw_os_error()))
            })
            .collect();
        let mut reads = 0;
        eventually("three reads", || {
            reads += fs.trace.all("read").len();
            reads == 3
        });
        readers.iter().for_each(interrupt);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Err(Some(libc::EINTR)));
        }
    }

    /// nullpath_ok is no matter of statfs.
    fn statfs_has_a_path(on) {
        let fs = Server::new("gates_high").option("nullpath").mount(on);
        let file = new_file(fs.at("file"));
        fs.trace.take();
        rustix::fs::fstatvfs(&file).expect("fstatvfs");
        assert_eq!(calls(&fs, &["statfs"]), ["statfs /file none"]);
    }

    /// Of two files of which one is gone, the other still has its path.
    fn copies_from_and_to_removed_files(on) {
        let fs = Server::new("gates_high").option("hard").mount(on);
        let (gone, there) = (new_file(fs.at("gone")), new_file(fs.at("there")));
        fs::remove_file(fs.at("gone")).expect("unlink");
        fs.trace.take();
        assert_eq!((copy(&gone, &there), copy(&there, &gone)), (10, 10));
        let lines = fs.trace.take();
        let copies = lines.iter().filter(|line| line.op == "copy_file_range");
        let paths: Vec<_> = copies.map(|line| (line.text("path"), line.text("to"))).collect();
        assert_eq!(paths, [("none", "/there"), ("/there", "none")]);
    }
}

fn calls_until_the_end(fs: &Mount) -> Vec<(String, String)> {
    let mut calls = Vec::new();
    eventually("destroy", || {
        for line in fs.trace.take() {
            let path = if line.has("path") { line.text("path") } else { "" };
            calls.push((line.op.clone(), path.to_string()));
        }
        calls.iter().any(|(op, _)| op == "destroy")
    });
    calls
}

/// Runs `gates_high` without a mount; what it said, whether it ended well, and
/// its trace.
fn run(args: &[&str], play: Option<&str>) -> (String, bool, String) {
    let dir = tempfile::TempDir::with_prefix("ringfuse-end-").expect("a directory");
    let trace = dir.path().join("trace");
    let mut command = Command::new(built("gates_high"));
    command
        .arg(dir.path())
        .args(["-f", "-s", "-o", &format!("trace={}", trace.display())])
        .args(args)
        .stdin(Stdio::null());
    if let Some(play) = play {
        command.env("PLAY", play);
    }
    with_library_under_test(&mut command);
    let output = command.output().expect("gates_high");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (said, output.status.success(), fs::read_to_string(trace).expect("a trace"))
}

/// The connection ends while a removed file is open: the filesystem's `destroy`
/// is the last that it sees, also below a module.
#[test]
fn nothing_comes_after_destroy() {
    for modules in [&[][..], &["-o", "modules=subdir,subdir=/below"]] {
        let (said, well, trace) = run(modules, Some("1"));
        let answers = ["26 0", "1 0", "14 0", "10 0", "38 0"].map(|of| format!("answer {of}\n"));
        assert_eq!((said, well), (answers.concat() + "end\n", true));
        assert!(trace.contains("rename path="), "the file was not hidden:\n{trace}");
        assert_eq!(trace.lines().last(), Some("destroy fi=none"), "{trace}");
    }
}

/// A transport of the program's own begins again after DESTROY: the filesystem and
/// its modules are gone, so nothing is served, and nobody crashes.
#[test]
fn init_after_destroy_serves_nothing() {
    if stock() {
        return skip("libfuse calls layers that it has freed");
    }
    for modules in [&[][..], &["-o", "modules=subdir,subdir=/below"]] {
        let (said, well, trace) = run(modules, Some("again"));
        let end = ["38 0", "26 0", "1 -5"].map(|of| format!("answer {of}\n")).concat() + "end\n";
        assert!(well && said.ends_with(&end), "{said}");
        assert_eq!(trace.lines().last(), Some("destroy fi=none"), "{trace}");
    }
}

/// `fuse_new` fails after a module was set up: the module ends, the filesystem,
/// which never began, does not.
#[test]
fn modules_end_when_there_is_no_filesystem() {
    let (said, well, trace) = run(&["-o", "modules=ending,no_such_option"], None);
    assert_eq!((said.as_str(), well), ("", false));
    assert_eq!(trace, "module_destroy fi=none\n");
}
