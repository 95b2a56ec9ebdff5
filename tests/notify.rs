//! Notifications from the filesystem to the kernel. They go through /dev/fuse
//! on either transport.

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::event::{poll, PollFd, PollFlags};
use support::*;

const ENOENT: i64 = -(libc::ENOENT as i64);

/// A file whose data and attributes the kernel keeps.
fn cached(fs: &Mount, name: &str, contents: &str) -> File {
    fs::write(fs.at(name), contents).expect("write");
    fs.trace.wait("release"); // which comes after the writer's close
    let file = File::open(fs.at(name)).expect("open");
    assert_eq!(text(&file), contents);
    fs.trace.take();
    file
}

fn text(file: &File) -> String {
    let mut data = [0; 100];
    let length = file.read_at(&mut data, 0).expect("read");
    String::from_utf8_lossy(&data[..length]).into_owned()
}

each_transport! {
    fn inval_inode(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = cached(&fs, "hold_keep", "old contents");
        assert_eq!(fs.command("content hold_keep new"), 0);
        assert_eq!(text(&file), "old contents");
        assert_eq!(fs.trace.take().len(), 0);
        // A negative offset leaves the data alone and drops the attributes.
        assert_eq!(fs.command("inval_inode hold_keep -1 0"), 0);
        assert_eq!(text(&file), "old contents");
        rustix::fs::fstat(&file).unwrap();
        assert_eq!(fs.trace.all("getattr").len(), 1);
        assert_eq!(fs.command("inval_inode hold_keep 0 0"), 0);
        assert_eq!(text(&file), "new contents");
    }

    fn inval_inode_that_the_kernel_does_not_know(on) {
        let fs = Server::new("trace_ll").mount(on);
        cached(&fs, "file", "x");
        fs::remove_file(fs.at("file")).unwrap();
        fs::write(fs.at("other"), "x").unwrap();
        assert_eq!(fs.command("inval_inode file 0 0"), ENOENT);
    }

    fn inval_entry(on) {
        let fs = Server::new("trace_ll").mount(on);
        drop(cached(&fs, "hold", "x"));
        fs::metadata(fs.at("hold")).unwrap();
        assert_eq!(fs.trace.all("lookup").len(), 0);
        assert_eq!(fs.command("inval_entry hold"), 0);
        fs::metadata(fs.at("hold")).unwrap();
        assert_eq!(fs.trace.all("lookup").len(), 1);
        assert_eq!(fs.command("inval_entry unknown"), ENOENT);
    }

    fn expire_entry(on) {
        let fs = Server::new("trace_ll").mount(on);
        drop(cached(&fs, "hold", "x"));
        assert_eq!(fs.command("expire_entry hold"), 0);
        fs::metadata(fs.at("hold")).unwrap();
        assert_eq!(fs.trace.all("lookup").len(), 1);
    }

    fn delete(on) {
        let fs = Server::new("trace_ll").mount(on);
        drop(cached(&fs, "other_hold", "x"));
        assert_eq!(fs.command("delete other_hold 99"), ENOENT, "the kernel knows another child");
        drop(cached(&fs, "hold", "x"));
        assert_eq!(fs.command("delete hold"), 0);
        fs::metadata(fs.at("hold")).unwrap();
        assert_eq!(fs.trace.all("lookup").len(), 1);
    }

    fn store(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = cached(&fs, "hold_keep", "0123456789");
        assert_eq!(fs.command("store hold_keep 3 abc"), 0);
        assert_eq!(text(&file), "012abc6789");
        assert_eq!(fs.command("store_fd hold_keep 8 XYZ"), 0);
        assert_eq!(text(&file), "012abc67XYZ", "the file has grown");
        assert_eq!(fs.trace.all("read").len(), 0);
    }

    fn retrieve(on) {
        let fs = Server::new("trace_ll").mount(on);
        let contents = "0123456789".repeat(5000);
        fs::write(fs.at("hold_keep"), &contents).unwrap();
        fs::read(fs.at("hold_keep")).unwrap(); // all of it in the page cache
        fs.trace.take();
        let ino = i128::from(fs.command("node hold_keep"));
        let long = if narrow() { "deadbeef" } else { "deadbeefcafe" };
        for (size, off, cookie) in [(10, 0, long), (40_000, 5003, "1"), (100_000, 49_990, "2")] {
            assert_eq!(fs.command(&format!("retrieve hold_keep {size} {off} {cookie}")), 0);
            let line = fs.trace.wait("retrieve_reply");
            assert_eq!((line.dec("ino"), line.dec("off"), line.text("cookie")), (ino, off as i128, cookie));
            let wanted = &contents[off..contents.len().min(off + size)];
            assert_eq!(line.dec("size"), wanted.len() as i128);
            assert_eq!(line.hex("fnv"), fnv(wanted.as_bytes()));
        }
    }

    fn many_retrieves_at_once(on) {
        let fs = Server::new("trace_ll").mount(on);
        let _file = cached(&fs, "hold_keep", "0123456789");
        for cookie in 0..100 {
            assert_eq!(fs.command(&format!("retrieve hold_keep 10 0 {cookie:x}")), 0);
        }
        let mut missing: Vec<u64> = (0..100).collect();
        client::eventually("all answers", || {
            let came: Vec<_> = fs.trace.all("retrieve_reply").iter().map(|l| l.hex("cookie")).collect();
            missing.retain(|cookie| !came.contains(cookie));
            missing.is_empty()
        });
    }

    fn poll_wakeup(on) {
        let fs = Server::new("trace_ll").mount(on);
        fs::write(fs.at("file"), "x").unwrap();
        let file = File::open(fs.at("file")).unwrap();
        fs.trace.take();
        let waiting = std::thread::spawn(move || {
            let mut fds = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)];
            let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
            let ready = poll(&mut fds, Some(&limit));
            (ready, fds[0].revents())
        });
        assert_eq!(fs.trace.wait("poll").dec("notify"), 1);
        assert_eq!(fs.command("ready file"), 0);
        assert_eq!(waiting.join().unwrap(), (Ok(1), PollFlags::IN));
    }

    fn epoch(on) {
        if stock() {
            return skip("libfuse before 3.18 has no epochs");
        }
        let fs = Server::new("trace_ll").mount(on);
        drop(cached(&fs, "hold", "x"));
        let text = fs::read_to_string(fs.path.with_file_name("trace")).unwrap();
        let minor = text.split("proto=7.").nth(1).unwrap().split(' ').next().unwrap();
        if minor.parse::<u32>().unwrap() < 44 {
            assert_eq!(fs.command("epoch"), -i64::from(libc::ENOSYS));
            return;
        }
        assert_eq!(fs.command("epoch"), 0);
        fs::metadata(fs.at("hold")).unwrap();
        assert_eq!(fs.trace.all("lookup").len(), 1, "what was cached before is looked up again");
    }

    /// Notifications do not disturb the requests that run beside them.
    fn under_load(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = cached(&fs, "hold_keep", "0123456789");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for id in 0..4 {
                let (fs, stop) = (&fs, &stop);
                scope.spawn(move || {
                    let path = fs.at(&format!("direct{id}"));
                    let file = OpenOptions::new().read(true).write(true).create(true)
                        .custom_flags(libc::O_DIRECT).open(path).unwrap();
                    let data = client::pattern(70_000, id);
                    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                        file.write_all_at(&data, 0).unwrap();
                        let mut got = vec![0; data.len()];
                        file.read_exact_at(&mut got, 0).unwrap();
                        assert!(got == data);
                    }
                });
            }
            for i in 0..300 {
                assert_eq!(fs.command("inval_inode hold_keep 0 0"), 0);
                fs.command("inval_entry hold_keep");
                assert_eq!(fs.command(&format!("store hold_keep {} abc", i % 7)), 0);
            }
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        assert_eq!(text(&file).len(), 10);
    }
}
