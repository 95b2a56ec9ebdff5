//! `struct fuse_config`: what the command line sets in it, what init() may
//! change, and what comes of it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::shown::{handle_of, Show, Shown};
use crate::support::{raw, *};

fn getattrs(fs: &Shown, path: &str) -> usize {
    let asked = |line: &Line| line.op == "getattr" && line.text("path") == path;
    fs.trace.take().iter().filter(|line| asked(line)).count()
}

fn stat(fs: &Shown, name: &str) -> rustix::fs::Stat {
    rustix::fs::stat(fs.at(name)).expect("stat")
}

/// How often the filesystem is asked for data that two opens read.
fn reads(fs: &Shown, name: &str, between: impl Fn()) -> usize {
    fs.trace.take();
    for again in [false, true] {
        if again {
            between();
        }
        let file = File::open(fs.at(name)).unwrap();
        file.read_at(&mut [0; 8], 0).unwrap();
        drop(file);
    }
    fs.trace.take().iter().filter(|line| line.op == "read_buf" && line.dec("off") == 0).count()
}

each_transport! {
    fn init_gets_what_the_command_line_says(on) {
        let fs = Show::new().mount(on);
        let (_, lines, _) = fs.unmounted();
        let init = &lines[0];
        assert_eq!(init.op, "init");
        assert_eq!(init.text("private"), "before");
        for (key, value) in [
            ("entry", "1.00"), ("attr", "1.00"), ("negative", "0.00"), ("acset", "0"),
            ("setmode", "0"), ("setuid", "0"), ("setgid", "0"), ("remember", "0"),
            ("kernelcache", "0"), ("autocache", "0"), ("norofdflush", "0"), ("intr", "0"),
            ("signal", "10"), ("debug", "0"), ("interrupted", "0"), ("uid", "0"), ("pid", "0"),
        ] {
            assert_eq!(init.text(key), value, "{key}");
        }
        // No request is being answered.
        assert_eq!(init.dec("groups"), i128::from(-libc::EINVAL));
        let fs = ["entry_timeout=2.5", "attr_timeout=3", "negative_timeout=4", "ac_attr_timeout=5",
            "umask=027", "uid=12", "gid=34", "remember=60", "kernel_cache", "auto_cache",
            "no_rofd_flush"]
            .into_iter().fold(Show::new(), Show::option).mount(on);
        let (_, lines, _) = fs.unmounted();
        for (key, value) in [
            ("entry", "2.50"), ("attr", "3.00"), ("negative", "4.00"), ("ac", "5.00"),
            ("acset", "1"), ("umask_cfg", "27"), ("setmode", "1"), ("cfguid", "12"),
            ("setuid", "1"), ("cfggid", "34"), ("setgid", "1"), ("remember", "60"),
            ("kernelcache", "1"), ("autocache", "1"), ("norofdflush", "1"),
        ] {
            assert_eq!(lines[0].text(key), value, "{key}");
        }
        let fs = Show::new().option("noforget").option("noauto_cache").mount(on);
        assert_eq!(fs.unmounted().1[0].dec("remember"), -1);
    }

    fn destroy_comes_once_with_what_init_returned(on) {
        for serial in [false, true] {
            let show = if serial { Show::new().arg("-s") } else { Show::new() };
            let (ending, lines, _) = show.mount(on).unmounted();
            assert_eq!(ending.result, Some(0));
            let destroyed: Vec<_> = lines.iter().filter(|line| line.op == "destroy").collect();
            assert_eq!(destroyed.len(), 1, "{lines:?}");
            assert_eq!(destroyed[0].text("data"), "after");
            assert_eq!(lines.last().unwrap().op, "destroy");
            assert_eq!(lines.iter().filter(|line| line.op == "init").count(), 1);
        }
        if stock() {
            return skip("fuse_exit() of libfuse 3.14 waits for one more request");
        }
        // Also if the loop is left while it is mounted.
        let fs = Show::new().mount(on);
        assert_eq!(fs.command("leave"), 0);
        let (_, lines, _) = fs.ended();
        assert_eq!(lines.iter().filter(|line| line.op == "destroy").count(), 1);
    }

    fn names_and_attributes_are_kept_for_as_long_as_set(on) {
        let fs = Show::config("entry_timeout=1000:attr_timeout=1000").file("file", "").mount(on);
        stat(&fs, "file");
        assert_eq!(getattrs(&fs, "/file"), 1);
        for _ in 0..3 {
            stat(&fs, "file");
        }
        assert_eq!(getattrs(&fs, "/file"), 0);
        let fs = Show::config("entry_timeout=0:attr_timeout=0").file("file", "").mount(on);
        stat(&fs, "file");
        fs.trace.take();
        stat(&fs, "file");
        assert!(getattrs(&fs, "/file") >= 1);
        // The absence of a name.
        let missing = |fs: &Shown| fs::symlink_metadata(fs.at("missing")).unwrap_err();
        for (timeout, asked) in [("0", 2), ("1000", 1)] {
            let fs = Show::config(&format!("negative_timeout={timeout}")).mount(on);
            for _ in 0..2 {
                assert_eq!(missing(&fs).raw_os_error(), Some(libc::ENOENT));
            }
            assert_eq!(getattrs(&fs, "/missing"), asked, "{timeout}");
        }
    }

    fn inode_numbers_are_nodes_or_the_filesystems(on) {
        let show = |config| Show::config(config).file("a", "").mount(on);
        let fs = show("use_ino=0");
        fs::hard_link(fs.at("a"), fs.at("b")).unwrap();
        assert_eq!((stat(&fs, "a").st_ino, stat(&fs, "b").st_ino), (2, 3));
        assert_eq!(fs::metadata(fs.at("a")).unwrap().ino(), 2);
        let fs = show("use_ino=1");
        fs::hard_link(fs.at("a"), fs.at("b")).unwrap();
        let real = fs::metadata(fs.behind("a")).unwrap().ino();
        assert_eq!((stat(&fs, "a").st_ino, stat(&fs, "b").st_ino), (real, real));
        assert_eq!(fs::metadata(fs.at("b")).unwrap().ino(), real);
    }

    fn owners_and_permissions_are_replaced(on) {
        let what = |fs: &Shown, name: &str| {
            let (stat, other) = (stat(fs, name), fs::metadata(fs.at(name)).unwrap());
            assert_eq!((stat.st_mode, stat.st_uid, stat.st_gid), (other.mode(), other.uid(), other.gid()));
            (stat.st_mode, stat.st_uid, stat.st_gid)
        };
        let show = |options: &[&str]| options.iter().fold(Show::plain(), |show, option| show.option(option))
            .file("file", "").dir("dir").mount(on);
        let fs = show(&["umask=027", "uid=12", "gid=34"]);
        assert_eq!(what(&fs, "file"), (0o100750, 12, 34));
        assert_eq!(what(&fs, "dir"), (0o040750, 12, 34));
        if stock() {
            return skip("fmask and dmask: libfuse has them from 3.17 on");
        }
        let fs = show(&["umask=077", "fmask=0137", "dmask=0022"]);
        assert_eq!((what(&fs, "file").0, what(&fs, "dir").0), (0o100640, 0o040755));
        // fmask alone holds for directories, too; dmask alone leaves umask to files.
        let fs = show(&["fmask=0137"]);
        assert_eq!((what(&fs, "file").0, what(&fs, "dir").0), (0o100640, 0o040640));
        let fs = show(&["umask=0007", "dmask=0022"]);
        assert_eq!((what(&fs, "file").0, what(&fs, "dir").0), (0o100770, 0o040755));
        let fs = Show::config("set_mode=1:umask=0111:set_uid=1:uid=7:set_gid=1:gid=8").file("file", "").mount(on);
        assert_eq!(what(&fs, "file"), (0o100666, 7, 8));
    }

    fn the_page_cache_is_bypassed_kept_or_dropped(on) {
        let show = |config| Show::config(config).file("file", "contents").mount(on);
        let fs = show("direct_io=1");
        assert_eq!(reads(&fs, "file", || ()), 2);
        let fs = show("kernel_cache=1");
        assert_eq!(reads(&fs, "file", || ()), 1);
        let fs = show("kernel_cache=0");
        assert_eq!(reads(&fs, "file", || ()), 2);
        // auto_cache: unless size or mtime have changed.
        let fs = show("auto_cache=1:ac_attr_timeout=0:attr_timeout=0");
        assert_eq!(reads(&fs, "file", || ()), 1);
        assert_eq!(reads(&fs, "file", || ()), 0);
        assert_eq!(reads(&fs, "file", || fs::write(fs.behind("file"), "longer than it").unwrap()), 1);
    }

    fn direct_io_writes_may_run_together(on) {
        let config = if stock() { "direct_io=1" } else { "direct_io=1:parallel_direct_writes=1" };
        let fs = Show::config(config).file("file", "contents").mount(on);
        let file = OpenOptions::new().write(true).open(fs.at("file")).unwrap();
        assert_eq!(file.write_at(b"CON", 0).unwrap(), 3);
        assert_eq!(fs.trace.one("write_buf").dec("size"), 3);
        assert_eq!(fs::read_to_string(fs.behind("file")).unwrap(), "CONtents");
    }

    fn readers_are_not_flushed_if_the_settings_say_so(on) {
        for (option, flushed) in [(0, true), (1, false)] {
            let fs = Show::config(&format!("no_rofd_flush={option}")).file("file", "").mount(on);
            drop(File::open(fs.at("file")).unwrap());
            let mut lines = fs.trace.take();
            eventually("the release", || {
                lines.extend(fs.trace.take());
                lines.iter().any(|line| line.op == "release")
            });
            assert_eq!(lines.iter().any(|line| line.op == "flush"), flushed);
            // A writer always is.
            drop(OpenOptions::new().write(true).open(fs.at("file")).unwrap());
            fs.trace.wait("flush");
        }
    }

    /// Operations on open files have no path; those by name have.
    fn without_paths(on) {
        for (null, path) in [(0, "/file"), (1, "NULL")] {
            let fs = Show::config(&format!("nullpath_ok={null}")).file("file", "contents").file("to", "").dir("dir").mount(on);
            let file = OpenOptions::new().read(true).write(true).open(fs.at("file")).unwrap();
            let to = OpenOptions::new().write(true).open(fs.at("to")).unwrap();
            assert_eq!(fs.trace.all("open")[0].text("path"), "/file");
            file.read_at(&mut [0; 4], 0).unwrap();
            file.write_at(b"x", 0).unwrap();
            file.sync_all().unwrap();
            file.set_len(5000).unwrap();
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 10).unwrap();
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared).unwrap();
            raw::fcntl_lock(&file, libc::F_SETLK, &mut raw::lock_of(libc::F_WRLCK, 0, 1)).unwrap();
            raw::ioctl(&file, 0x5401, 0).unwrap();
            rustix::fs::copy_file_range(&file, Some(&mut 0), &to, Some(&mut 0), 4).unwrap();
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            let mut fds = [rustix::event::PollFd::new(&file, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&now)).unwrap();
            drop(file);
            for entry in fs::read_dir(fs.at("dir")).unwrap() {
                entry.unwrap();
            }
            let dir = File::open(fs.at("dir")).unwrap();
            dir.sync_all().unwrap();
            drop(dir);
            let mut lines = fs.trace.take();
            eventually("both releases", || {
                lines.extend(fs.trace.take());
                lines.iter().any(|line| line.op == "release") && lines.iter().filter(|line| line.op == "releasedir").count() == 2
            });
            for (op, path) in [
                ("read_buf", path), ("write_buf", path), ("flush", path), ("release", path), ("fsync", path),
                ("truncate", path), ("fallocate", path), ("flock", path), ("lock", path), ("ioctl", path),
                ("copy_file_range", path), ("poll", path), ("opendir", "/dir"),
                ("readdir", if null == 0 { "/dir" } else { "NULL" }),
                ("releasedir", if null == 0 { "/dir" } else { "NULL" }),
                ("fsyncdir", if null == 0 { "/dir" } else { "NULL" }),
            ] {
                // A process that another test starts closes a copy of `to`, with a flush.
                let mine = |line: &&Line| op != "flush" || line.dec("pid") == me();
                let line = lines.iter().filter(mine).find(|line| line.op == op).expect(op);
                assert_eq!(line.text("path"), path, "{op}");
            }
            let copied = lines.iter().find(|line| line.op == "copy_file_range").unwrap();
            assert_eq!(copied.text("to"), if null == 0 { "/to" } else { "NULL" });
            handle_of(copied);
            // lseek always has one.
            let file = File::open(fs.at("file")).unwrap();
            let _ = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0));
            assert_eq!(fs.trace.one("lseek").text("path"), "/file");
        }
    }

    /// A node keeps its number although the kernel forgot it.
    fn nodes_are_remembered(on) {
        for (option, config, kept) in [
            ("remember=0", "intr=0", false),
            ("remember=1000", "intr=0", true),
            ("noforget", "intr=0", true),
            ("remember=0", "remember=1000", true), // by init
        ] {
            if option == "remember=0" && kept && stock() {
                skip("libfuse 3.14 crashes if init sets remember");
                continue;
            }
            let config = format!("{config}:entry_timeout=0:attr_timeout=0");
            let fs = Show::config(&config).option(option).file("a", "").file("b", "").mount(on);
            let before = (stat(&fs, "a").st_ino, stat(&fs, "b").st_ino);
            // Makes the kernel forget, by its own means.
            fs::write("/proc/sys/vm/drop_caches", "2").expect("drop_caches");
            eventually("what the kernel forgets", || {
                fs::write("/proc/sys/vm/drop_caches", "2").expect("drop_caches");
                let after = (stat(&fs, "a").st_ino, stat(&fs, "b").st_ino);
                kept || after != before
            });
            if kept {
                assert_eq!((stat(&fs, "a").st_ino, stat(&fs, "b").st_ino), before, "{option} {config}");
            }
        }
    }

    /// A thread forgets what was remembered for long enough, whoever has set that.
    fn remembering_takes_a_thread(on) {
        if stock() {
            return skip("libfuse does it in the loop, if there is one thread, and crashes if init sets remember");
        }
        let threads = |fs: &Shown| {
            let tasks = fs::read_dir(format!("/proc/{}/task", fs.pid)).unwrap().flatten();
            let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
            names.filter(|name| name.starts_with("fuse_prune")).count()
        };
        for (option, config, count) in [
            ("remember=0", "intr=0", 0),
            ("noforget", "intr=0", 0),
            ("remember=1000", "intr=0", 1),
            ("remember=0", "remember=1000", 1), // by init
        ] {
            for serial in [false, true] {
                let show = Show::config(config).option(option).file("a", "");
                let fs = if serial { show.arg("-s") } else { show }.mount(on);
                stat(&fs, "a");
                assert_eq!(threads(&fs), count, "{option} {config}");
                assert_eq!(fs.unmounted().0.result, Some(0));
            }
        }
    }

    fn functions_beside_operations(on) {
        let fs = Show::config("entry_timeout=1000:attr_timeout=1000").option("remember=1000").dir("dir").file("dir/file", "").mount(on);
        assert_eq!(fs.command("session"), 0);
        assert_eq!(fs.command("outside"), 0);
        // Seconds until the next time: a tenth, but at least a minute.
        assert_eq!(fs.command("clean"), 100);
        if !stock() {
            // Running already, which libfuse does not notice.
            assert_eq!(fs.command("start_cleanup"), 0);
            fs.command("stop_cleanup");
            assert_eq!(fs.command("start_cleanup"), 0);
        }
        stat(&fs, "dir/file");
        fs.trace.take();
        assert_eq!(fs.command("invalidate /dir/file"), 0);
        stat(&fs, "dir/file");
        assert_eq!(getattrs(&fs, "/dir/file"), 1, "the attributes are gone");
        assert_eq!(fs.command("invalidate /"), 0);
        assert_eq!(fs.command("invalidate /dir/unknown"), -i64::from(libc::ENOENT));
        assert_eq!(fs.command("invalidate dir"), if stock() { 0 } else { -i64::from(libc::EINVAL) });
    }
}
