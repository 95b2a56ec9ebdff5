//! Open files: data, what beside data can be asked of them, events.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{copy_file_range, fallocate, fdatasync, fsync, seek, FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::shown::{from_me, handle_of, Show, Shown};
use crate::support::client::pattern;
use crate::support::raw;
use crate::support::*;

fn both(fs: &Shown, name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(fs.at(name)).expect("open")
}

each_transport! {
    fn open_and_release_have_the_flags_and_one_handle(on) {
        let fs = Show::new().file("file", "12345").mount(on);
        let file = OpenOptions::new().append(true).open(fs.at("file")).unwrap();
        let line = fs.mine("open");
        assert_eq!(line.text("path"), "/file");
        let flags = line.hex("flags") as i32;
        assert_eq!(flags & (libc::O_ACCMODE | libc::O_APPEND), libc::O_WRONLY | libc::O_APPEND);
        assert_eq!(flags & libc::O_CREAT, 0);
        assert_eq!(line.hex("fh"), 0);
        drop(file);
        let lines = fs.trace.take();
        let flush = lines.iter().find(|line| line.op == "flush" && line.dec("pid") == me()).expect("flush");
        from_me(flush);
        let handle = handle_of(flush);
        let release = match lines.into_iter().find(|line| line.op == "release") {
            Some(line) => line,
            None => fs.trace.wait("release"),
        };
        assert_eq!(handle_of(&release), handle);
        assert_eq!(release.text("path"), "/file");
        assert_eq!(release.hex("flags") as i32 & libc::O_ACCMODE, libc::O_WRONLY);
        let error = File::open(fs.at("missing")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        fs::write(fs.behind("fail_open_27"), "").unwrap();
        assert_eq!(File::open(fs.at("fail_open_27")).unwrap_err().raw_os_error(), Some(27));
    }

    /// read_buf and write_buf are preferred; without them read and write get the
    /// same in one piece.
    fn data_goes_both_ways(on) {
        for (without, read_op, write_op) in [
            ("lock", "read_buf", "write_buf"),
            ("read_buf:write_buf", "read", "write"),
            ("read:write", "read_buf", "write_buf"),
            ("read_buf", "read", "write_buf"),
        ] {
            let fs = Show::new().option(&format!("without={without}")).file("file", "").file("null", "").mount(on);
            for name in ["file", "null"] {
                let file = both(&fs, name);
                let data = pattern(300_000, 4);
                fs.trace.take();
                file.write_all_at(&data, 5).unwrap();
                let lines = fs.trace.take();
                let writes: Vec<_> = lines.iter().filter(|line| line.op == write_op).collect();
                assert!(!lines.iter().any(|line| line.op.starts_with("write") && line.op != write_op));
                assert_eq!(writes.iter().map(|line| line.dec("size")).sum::<i128>(), 300_000);
                assert_eq!(writes[0].dec("off"), 5);
                assert_eq!(writes[0].text("path"), format!("/{name}"));
                from_me(writes[0]);
                assert_eq!(&fs::read(fs.behind(name)).unwrap()[5..], data);
                drop(file);
                fs.trace.wait("release");
                let mut back = Vec::new();
                File::open(fs.at(name)).unwrap().read_to_end(&mut back).unwrap();
                assert!(back[5..] == data, "{without}");
                let lines = fs.trace.take();
                let reads: Vec<_> = lines.iter().filter(|line| line.op == read_op).collect();
                assert!(!reads.is_empty() && !lines.iter().any(|line| line.op.starts_with("read") && line.op != read_op));
                assert_eq!((reads[0].dec("off"), reads[0].text("path")), (0, &*format!("/{name}")));
            }
        }
    }

    fn errors_of_open_files(on) {
        let fs = Show::new().file("fail_flush_122", "").file("fail_fsync_5", "").mount(on);
        let file = both(&fs, "fail_flush_122");
        assert_eq!(raw::close(file.into()), Err(Errno::DQUOT));
        assert_eq!(fsync(both(&fs, "fail_fsync_5")), Err(Errno::IO));
    }

    fn syncs_say_whether_data_alone(on) {
        let fs = Show::new().file("file", "").dir("dir").mount(on);
        let file = both(&fs, "file");
        fs.trace.take();
        fsync(&file).unwrap();
        let line = fs.mine("fsync");
        assert_eq!((line.text("path"), line.dec("datasync")), ("/file", 0));
        handle_of(&line);
        fdatasync(&file).unwrap();
        assert_eq!(fs.mine("fsync").dec("datasync"), 1);
        let dir = File::open(fs.at("dir")).unwrap();
        fsync(&dir).unwrap();
        let line = fs.mine("fsyncdir");
        assert_eq!((line.text("path"), line.dec("datasync"), line.dec("fh")), ("/dir", 0, 1));
        fdatasync(&dir).unwrap();
        assert_eq!(fs.mine("fsyncdir").dec("datasync"), 1);
    }

    fn space_holes_and_copies(on) {
        let fs = Show::new().file("file", "").file("to", "").mount(on);
        let file = both(&fs, "file");
        fs.trace.take();
        fallocate(&file, FallocateFlags::empty(), 4096, 8192).unwrap();
        let line = fs.mine("fallocate");
        assert_eq!((line.text("path"), line.dec("mode")), ("/file", 0));
        assert_eq!((line.dec("off"), line.dec("len")), (4096, 8192));
        handle_of(&line);
        assert_eq!(file.metadata().unwrap().len(), 12288);
        let keep = FallocateFlags::KEEP_SIZE;
        fallocate(&file, keep, 0, 40960).unwrap();
        assert_eq!(fs.mine("fallocate").dec("mode"), i128::from(keep.bits()));
        assert_eq!(file.metadata().unwrap().len(), 12288);

        file.write_all_at(b"copied", 100).unwrap();
        let to = both(&fs, "to");
        fs.trace.take();
        let (mut from_at, mut to_at) = (100, 50);
        assert_eq!(copy_file_range(&file, Some(&mut from_at), &to, Some(&mut to_at), 6), Ok(6));
        let line = fs.mine("copy_file_range");
        assert_eq!((line.text("path"), line.text("to")), ("/file", "/to"));
        assert_eq!((line.dec("off"), line.dec("off_to"), line.dec("size")), (100, 50, 6));
        assert_eq!(line.dec("copyflags"), 0);
        assert_eq!(&fs::read(fs.behind("to")).unwrap()[50..], b"copied");

        let sparse = File::create(fs.behind("sparse")).unwrap();
        sparse.write_all_at(b"x", 1 << 20).unwrap();
        let file = both(&fs, "sparse");
        fs.trace.take();
        assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(1 << 20));
        let line = fs.mine("lseek");
        assert_eq!((line.text("path"), line.dec("off")), ("/sparse", 0));
        assert_eq!(line.dec("whence"), i128::from(libc::SEEK_DATA));
        assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(0));
        assert_eq!(seek(&file, SeekFrom::Data(1 << 21)), Err(Errno::NXIO));
    }

    fn commands_share_one_area(on) {
        const NONE: u32 = 0x5401;
        const WRITE: u32 = 1 << 30 | 4 << 16 | 0x5402;
        const READ: u32 = 2 << 30 | 4 << 16 | 0x5403;
        const BOTH: u32 = 3 << 30 | 4 << 16 | 0x5404;
        let fs = Show::new().file("file", "").dir("dir").mount(on);
        let file = both(&fs, "file");
        fs.trace.take();
        let mut data = [7u8; 4];
        assert_eq!(raw::ioctl(&file, NONE, 0), Ok(42));
        let line = fs.mine("ioctl");
        assert_eq!((line.text("path"), line.hex("cmd")), ("/file", u64::from(NONE)));
        assert_eq!((line.dec("data"), line.hex("flags")), (0, line.hex("flags") & !0x13));
        handle_of(&line);
        assert_eq!(raw::ioctl_data(&file, WRITE, &mut data), Ok(42));
        let line = fs.mine("ioctl");
        assert_eq!((line.dec("data"), line.dec("first"), data), (1, 7, [7; 4]));
        assert_eq!(raw::ioctl_data(&file, READ, &mut data), Ok(42));
        assert_eq!((fs.mine("ioctl").dec("data"), data), (1, [1; 4]));
        assert_eq!(raw::ioctl_data(&file, BOTH, &mut data), Ok(42));
        assert_eq!((fs.mine("ioctl").dec("first"), data), (1, [2; 4]));
        assert_eq!(raw::ioctl(&file, 0x5801, 0), Err(Errno::NOTTY));
        // A directory's: with the filesystem's own handle.
        let dir = File::open(fs.at("dir")).unwrap();
        fs.trace.take();
        assert_eq!(raw::ioctl_data(&dir, BOTH, &mut data), Ok(42));
        let line = fs.mine("ioctl");
        assert_eq!((line.text("path"), data), ("/dir", [3; 4]));
    }

    fn pollers_are_woken(on) {
        let fs = Show::new().file("file", "data").mount(on);
        let file = both(&fs, "file");
        fs.trace.take();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ask = |timeout: Option<&Timespec>| {
            let mut fds = [PollFd::new(&file, PollFlags::IN)];
            poll(&mut fds, timeout).map(|count| (count, fds[0].revents()))
        };
        assert_eq!(ask(Some(&now)), Ok((0, PollFlags::empty())));
        let line = fs.mine("poll");
        assert_eq!(line.text("path"), "/file");
        handle_of(&line);
        assert_eq!(ask(Some(&now)), Ok((1, PollFlags::IN)));
        // Without anybody to wake.
        while fs.command("notify") == 0 {}
        assert_eq!(fs.command("notify"), -i64::from(libc::ENOENT));
    }

    fn a_waiting_poller_is_woken(on) {
        let fs = Show::new().file("file", "data").mount(on);
        let path = fs.at("file");
        fs.trace.take();
        let poller = std::thread::spawn(move || {
            let file = File::open(path).unwrap();
            let mut fds = [PollFd::new(&file, PollFlags::IN)];
            poll(&mut fds, None).map(|count| (count, fds[0].revents()))
        });
        let line = fs.trace.wait("poll");
        assert_eq!(line.dec("handle"), 1);
        assert_ne!(line.hex("events") & u64::from(PollFlags::IN.bits()), 0);
        eventually("the handle", || fs.command("notify") == 0);
        assert_eq!(poller.join().unwrap(), Ok((1, PollFlags::IN)));
    }

    /// fuse_interrupted() tells; with `intr` a signal comes as well.
    fn a_read_is_interrupted(on) {
        raw::catch_interrupts();
        for (config, signals) in [("intr=0", 0), ("intr=1", 1), ("intr=1:intr_signal=12", 1)] {
            if signals == 1 && stock() {
                skip("libfuse 3.14 handles the signal only if intr was set before init");
                continue;
            }
            let fs = Show::config(&format!("{config}:direct_io=1")).option("without=read_buf").option("attr_timeout=100")
                .file("wait", "0123456789").mount(on);
            let path = fs.at("wait");
            let reader = std::thread::spawn(move || {
                File::open(path).unwrap().read_at(&mut [0; 4], 0).map_err(|e| e.raw_os_error())
            });
            fs.trace.wait("read");
            while !reader.is_finished() {
                raw::interrupt(&reader);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let read = reader.join().unwrap();
            assert_eq!(read, Err(Some(libc::EINTR)), "{config}");
            assert_eq!(fs.trace.wait("interrupted").dec("signals"), signals, "{config}");
        }
    }
}

/// Only a filesystem on a block device is asked for blocks.
mod blocks {
    use super::*;

    each_transport! {
        fn are_numbered(on) {
            let device = match raw::LoopDevice::new() {
                Ok(device) => device,
                Err(reason) => return skip(&reason),
            };
            let fs = Show::new().option("blkdev").option("blksize=512")
                .option(&format!("fsname={}", device.path)).file("file", "12345").mount(on);
            let file = both(&fs, "file");
            assert_eq!(raw::fibmap(&file, 7), Ok(1007));
            let line = fs.mine("bmap");
            assert_eq!((line.text("path"), line.dec("idx")), ("/file", 7));
            // The kernel's choice.
            assert!([512, 1024, 2048, 4096].contains(&line.dec("blocksize")), "{line:?}");
        }
    }
}
