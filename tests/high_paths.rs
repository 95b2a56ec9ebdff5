//! What the path API promises its operations about each other, on real mounts:
//! who waits for whom, and that a path is true as long as its operation runs.
//! And, with a kernel of our own, that no node is lost.
//!
//! Nothing here is timed: an operation is held up inside the filesystem until the
//! test has seen what it wanted to see.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use rustix::fs::{mknodat, FileType, Mode, CWD};
use support::mount::{built, with_library_under_test};
use support::*;
use tempfile::TempDir;

/// A mount of `paths_block`, nothing of which the kernel caches.
struct Fs {
    mount: Mount,
    _source: TempDir,
}

impl Fs {
    /// `files` exist, in their directories.
    fn mount(on: Transport, files: &[&str]) -> Fs {
        let source = TempDir::with_prefix("ringfuse-paths-").expect("a temporary directory");
        for file in files {
            let path = source.path().join(file);
            fs::create_dir_all(path.parent().expect("inside")).expect("mkdir");
            fs::write(path, file).expect("a file");
        }
        let mount = Server::new("paths_block")
            .option(&format!("source={}", source.path().display()))
            .option("attr_timeout=0,entry_timeout=0")
            .mount(on);
        Fs { mount, _source: source }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.mount.at(name)
    }

    fn open(&self, name: &str) -> File {
        File::open(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs `meanwhile` while a client's `work` stays inside operation `op` on
    /// `path`; then frees it and gives what `work` gave.
    fn held<T: Send>(
        &self,
        op: &str,
        path: &str,
        work: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        self.mount.command(&format!("block {op} {path}"));
        thread::scope(|scope| {
            let freed = Freed(&self.mount);
            let client = scope.spawn(work);
            self.mount.until("inside", 1);
            meanwhile();
            assert_eq!(self.mount.command("inside"), 1, "it was inside all the time");
            drop(freed);
            client.join().expect("the client")
        })
    }

    /// Where the first such operation is in the trace.
    fn position(lines: &[Line], op: &str, path: &str) -> usize {
        let found = lines.iter().position(|line| line.op == op && line.text("path") == path);
        found.unwrap_or_else(|| panic!("no {op} {path} in {lines:#?}"))
    }

    fn ends(self) {
        assert_eq!(self.mount.command("wrong"), 0, "paths that were not true any more");
        if !stock() {
            assert_eq!(self.mount.command("waiting"), 0);
        }
        self.mount.unmount();
        let ending = self.mount.ended();
        assert_eq!(ending.result, Some(0), "{ending:?}");
    }
}

/// Frees what is held up, also when the test fails.
struct Freed<'a>(&'a Mount);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        match thread::panicking() {
            true => self.0.last_command("free"),
            false => _ = self.0.command("free"),
        }
    }
}

/// Everything that clients can do beside what is held up in `a/x`.
fn elsewhere(fs: &Fs) {
    let read = |name: &str| fs::read_to_string(fs.at(name)).expect("read");
    assert_eq!(read("b/z"), "b/z");
    File::create_new(fs.at("b/created")).expect("create");
    fs::remove_file(fs.at("b/created")).expect("unlink");
    // Never opened: its release, which may come later, would have it hidden in a
    // directory that is to be empty.
    mknodat(CWD, fs.at("b/new"), FileType::RegularFile, Mode::RUSR, 0).expect("mknod");
    fs::rename(fs.at("b/new"), fs.at("b/newer")).expect("rename");
    fs::create_dir(fs.at("b/dir")).expect("mkdir");
    fs::rename(fs.at("b/newer"), fs.at("b/dir/newest")).expect("rename");
    fs::rename(fs.at("b/dir"), fs.at("dir")).expect("rename");
    assert_eq!(fs::metadata(fs.at("dir/newest")).expect("stat").len(), 0);
    fs::remove_file(fs.at("dir/newest")).expect("unlink");
    fs::remove_dir(fs.at("dir")).expect("rmdir");
}

each_transport! {
    /// While an operation on a/x lasts, all else goes on: in other directories, and
    /// on other names of its own.
    fn others_go_on(on) {
        let fs = Fs::mount(on, &["a/x", "a/y", "b/z"]);
        let opened = fs.held("open", "/a/x", || fs.open("a/x"), || {
            elsewhere(&fs);
            assert_eq!(fs::read_to_string(fs.at("a/y")).expect("read"), "a/y");
            File::create_new(fs.at("a/new")).expect("create");
            fs::rename(fs.at("a/new"), fs.at("b/new")).expect("rename");
            fs::rename(fs.at("a/y"), fs.at("a/w")).expect("rename");
            fs::remove_file(fs.at("a/w")).expect("unlink");
            // Another operation on the same name that changes nothing, too.
            assert_eq!(fs::read_to_string(fs.at("a/x")).expect("read"), "a/x");
        });
        drop(opened);
        fs.ends();
    }

    /// The same while a name is being removed or moved: of its own directory only
    /// what the kernel itself does not keep apart.
    fn others_go_on_beside_changes(on) {
        let fs = Fs::mount(on, &["a/x", "a/y", "b/z", "c/m"]);
        let y = fs.open("a/y");
        let other_name = || {
            elsewhere(&fs);
            assert_eq!(y.metadata().expect("fstat").len(), 3);
            y.read_at(&mut [0; 3], 0).expect("read");
        };
        let moved = || fs::rename(fs.at("a/x"), fs.at("a/moved"));
        fs.held("rename", "/a/x", moved, other_name).expect("rename");
        fs.held("unlink", "/a/moved", || fs::remove_file(fs.at("a/moved")), other_name)
            .expect("unlink");
        drop(y);
        fs.ends();
    }

    /// A directory is renamed when what runs inside of it is done; what comes
    /// later and leads through it waits for that, and gets the new path.
    fn a_rename_waits_and_is_waited_for(on) {
        if stock() {
            return skip("who waits is told by ringfuse.h");
        }
        let fs = Fs::mount(on, &["a/d/x", "a/d/y", "b/z", "c/m"]);
        let mount = &fs.mount;
        let _none_else_flushes = process::none_starts();
        let y = fs.open("a/d/y");
        mount.trace.take();
        mount.command("block open /a/d/x");
        thread::scope(|scope| {
            let freed = Freed(mount);
            let opened = scope.spawn(|| fs.open("a/d/x"));
            mount.until("inside", 1);
            // Held up as soon as it comes in.
            mount.command("block rename /a/d");
            let renamed = scope.spawn(|| fs::rename(fs.at("a/d"), fs.at("c/e")));
            mount.until("waiting", 1);
            let later = scope.spawn(|| y.metadata().expect("fstat").len());
            mount.until("waiting", 2);
            // Others go on, but for renames, which the kernel keeps apart.
            let others = || {
                assert_eq!(fs::read_to_string(fs.at("b/z")).expect("read"), "b/z");
                File::create_new(fs.at("b/new")).expect("create");
                fs::remove_file(fs.at("b/new")).expect("unlink");
            };
            others();
            assert_eq!(mount.command("inside"), 1, "the rename is not inside");
            mount.command("free");
            // Open until the end: a release would wait, too.
            let opened = opened.join().expect("the client");
            // Now it is inside, and what came later waits for it.
            mount.until("inside", 1);
            mount.until("waiting", 1);
            others();
            drop(freed);
            renamed.join().expect("the client").expect("rename");
            assert_eq!(later.join().expect("the client"), 5);
            drop(opened);
        });
        let lines = mount.trace.take();
        let order = [
            ("open", "/a/d/x"),
            ("open-end", "/a/d/x"),
            ("rename", "/a/d"),
            ("rename-end", "/a/d"),
            ("getattr", "/c/e/y"),
        ];
        let positions = order.map(|(op, path)| Fs::position(&lines, op, path));
        assert!(positions.is_sorted(), "{positions:?} in {lines:#?}");
        drop(y);
        fs.ends();
    }

    /// Renames across the same directories in both directions, renames of these
    /// directories, and readers of open files in them: all get done, and no path
    /// is wrong while it is used.
    fn renames_under_load(on) {
        const ROUNDS: usize = 60;
        let names = ["a/x", "a/w", "b/y", "b/z", "a/m/f", "b/n/f"];
        let fs = Fs::mount(on, &names);
        let files = ["a/m/f", "b/n/f"].map(|name| fs.open(name));
        let moving = AtomicUsize::new(0);
        let try_rename = |from: &str, to: &str| fs::rename(fs.at(from), fs.at(to)).is_ok();
        thread::scope(|scope| {
            // Everybody moves the same names; now and then one is there.
            for (from, to) in [("a/x", "b/y"), ("b/z", "a/w"), ("b/y", "a/x"), ("a/w", "b/z")] {
                let (moving, try_rename) = (&moving, &try_rename);
                moving.fetch_add(1, Relaxed);
                scope.spawn(move || {
                    (0..ROUNDS).for_each(|_| _ = try_rename(from, to));
                    moving.fetch_sub(1, Relaxed);
                });
            }
            for (here, there) in [("a/m", "b/m"), ("b/n", "a/n"), ("b", "c")] {
                let (moving, try_rename) = (&moving, &try_rename);
                moving.fetch_add(1, Relaxed);
                scope.spawn(move || {
                    let done = (0..ROUNDS).filter(|_| {
                        try_rename(here, there) | try_rename(there, here)
                    });
                    assert!(done.count() > 0, "{here} was never moved");
                    moving.fetch_sub(1, Relaxed);
                });
            }
            for file in &files {
                scope.spawn(|| {
                    while moving.load(Relaxed) > 0 {
                        let mut data = [0; 5];
                        assert_eq!(file.read_at(&mut data, 0).expect("read"), 5);
                        assert_eq!(file.metadata().expect("fstat").len(), 5);
                    }
                });
            }
        });
        drop(files);
        let count = |dir: &Path| {
            fn walk(dir: &Path) -> usize {
                let entries = fs::read_dir(dir).expect("a directory").flatten();
                entries.map(|entry| match entry.path().is_dir() {
                    true => walk(&entry.path()),
                    false => 1,
                }).sum()
            }
            walk(dir)
        };
        let left = count(fs._source.path());
        assert!((4..=6).contains(&left), "{left} files of 6");
        fs.ends();
    }
}

/// A million operations, with forgets, removals of open files, renames of
/// directories and hard links: at the end there are as many nodes as before.
#[test]
fn no_node_is_lost() {
    if stock() {
        return skip("nodes are counted by ringfuse.h");
    }
    for threads in [1, 4] {
        let seed = fastrand::u32(..);
        let mut command = Command::new(built("paths_storm"));
        command.args(["1000000", &threads.to_string(), &seed.to_string()]);
        with_library_under_test(&mut command);
        command.stdout(Stdio::piped());
        let storm = process::start(&mut command).expect("paths_storm");
        let output = storm.wait_with_output().expect("paths_storm");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "seed {seed}, {threads} threads: {output:?}");
        println!("seed {seed}, {threads} threads:\n{said}");
        let number = |name: &str| -> u64 {
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
        };
        assert!(number("full") > 100, "there were nodes");
        assert_eq!(number("end"), number("start"), "seed {seed}, {threads} threads");
        for operation in ["lookup", "forget", "create", "remove", "rename", "exchange", "link"] {
            assert!(number(operation) > 1000, "{operation}");
        }
    }
}
