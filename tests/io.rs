//! Operations on open files: their arguments, every way to answer a read,
//! and reads and writes at the limits of size and alignment.

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::{copy_file_range, fallocate, open, seek, FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::{dup, Errno};
use support::raw::{close, ioctl, ioctl_data};
use support::*;

const MIB: usize = 1 << 20;

fn options() -> OpenOptions {
    OpenOptions::new().read(true).write(true).create(true).clone()
}

fn direct() -> OpenOptions {
    options().custom_flags(libc::O_DIRECT).clone()
}

/// A file with `data` in it, written without the page cache.
fn filled(fs: &Mount, name: &str, data: &[u8]) -> File {
    let file = options().open(fs.at(name)).expect("create");
    file.write_all_at(data, 0).expect("write");
    file
}

/// Reads `size` bytes at `off` and compares them with `data`.
fn check_read(file: &File, data: &[u8], off: usize, size: usize) {
    let mut got = vec![0xa5; size];
    let there = &data[off.min(data.len())..(off + size).min(data.len())];
    let length = file.read_at(&mut got, off as u64).expect("read");
    assert_eq!(length, there.len(), "{size} bytes at {off}");
    assert!(got[..length] == *there, "wrong data: {size} bytes at {off}");
    assert!(got[length..].iter().all(|&b| b == 0xa5), "written behind the end");
}

/// Places and sizes around every limit: pages, what one request carries, the
/// end of the file.
fn edges(length: usize) -> Vec<(usize, usize)> {
    let sizes =
        [1, 2, 511, 4095, 4096, 4097, 65536, 131071, 131073, MIB - 1, MIB, MIB + 1, 2 * MIB + 3];
    let places = [0, 1, 4095, 4096, 100_003, length - 4097, length - 1, length, length + 5];
    sizes.iter().flat_map(|&size| places.iter().map(move |&off| (off, size))).collect()
}

/// Every way to answer a read gives the same bytes.
fn answer_kind(on: Transport, kind: &str) {
    let fs = Server::new("trace_ll").mount(on);
    let data = client::pattern(3 * MIB + 777, 5);
    let file = filled(&fs, &format!("{kind}_direct"), &data);
    for (off, size) in edges(data.len()) {
        check_read(&file, &data, off, size);
    }
    // And through the page cache.
    let file = filled(&fs, kind, &data);
    check_read(&file, &data, 0, data.len());
}

each_transport! {
    fn open_flags_and_handles(on) {
        let fs = Server::new("trace_ll").mount(on);
        for (name, flags) in [
            ("file", OFlags::WRONLY),
            ("file", OFlags::RDWR | OFlags::APPEND),
            ("file", OFlags::RDONLY | OFlags::NONBLOCK),
            ("file", OFlags::RDONLY | OFlags::DIRECT | OFlags::SYNC),
        ] {
            drop(options().open(fs.at(name)).unwrap());
            fs.trace.wait("release");
            let file = open(fs.at(name), flags, Mode::empty()).unwrap();
            let traced = fs.trace.one("open").oct("flags");
            // The kernel adds O_LARGEFILE, and keeps O_CREAT and the like to itself.
            assert_eq!(traced & !0o100000, u64::from(flags.bits()), "{flags:?}");
            drop(file);
            let release = fs.trace.wait("release");
            assert_eq!(release.hex("fh") >> 48, 0xfeed);
            assert_eq!(release.oct("flags") & !0o100000, u64::from(flags.bits()));
        }
        open(fs.at("file"), OFlags::WRONLY | OFlags::TRUNC, Mode::empty()).unwrap();
        assert_ne!(fs.trace.one("open").oct("flags") & u64::from(OFlags::TRUNC.bits()), 0);
    }

    fn create(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = open(fs.at("new"), OFlags::CREATE | OFlags::EXCL | OFlags::RDWR, Mode::from_raw_mode(0o604)).unwrap();
        let line = fs.trace.one("create");
        assert_eq!((line.dec("parent"), line.text("name")), (1, "new"));
        let umask = line.oct("umask");
        assert_eq!(line.oct("mode"), 0o100604 & !umask);
        assert_eq!(line.oct("flags") as u32 & 3, OFlags::RDWR.bits());
        // What create answered is what the handle is.
        let stat = rustix::fs::fstat(&file).unwrap();
        assert_eq!(stat.st_ino as i64, fs.command("node new"));
        assert_eq!(u64::from(stat.st_mode), 0o100604 & !umask);
    }

    fn flush_for_every_close_release_for_the_last(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = options().open(fs.at("file")).unwrap();
        let second = dup(&file).unwrap();
        fs.trace.take();
        drop(second);
        let flushes: Vec<_> =
            fs.trace.all("flush").into_iter().filter(|line| line.dec("pid") == me()).collect();
        let [flush] = &flushes[..] else { panic!("not exactly one flush of ours in {flushes:#?}") };
        assert_eq!((flush.dec("flush"), flush.hex("fh") >> 48), (1, 0xfeed));
        assert_ne!(flush.hex("owner"), 0);
        drop(file);
        let release = fs.trace.wait("release");
        assert_eq!(release.hex("fh"), flush.hex("fh"));
        assert_eq!((release.dec("flush"), release.dec("flock_release")), (0, 0));
    }

    fn noflush(on) {
        let fs = Server::new("trace_ll").mount(on);
        drop(options().open(fs.at("noflush")).unwrap());
        client::eventually("the release", || {
            let lines = fs.trace.take();
            assert!(lines.iter().all(|line| line.op != "flush"));
            lines.iter().any(|line| line.op == "release")
        });
    }

    fn flush_errors_come_out_of_close(on) {
        let fs = Server::new("trace_ll").mount(on);
        let fd = open(fs.at("fail_flush_122"), OFlags::WRONLY, Mode::empty()).unwrap();
        assert_eq!(close(fd), Err(Errno::DQUOT));
    }

    fn fsync(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = options().open(fs.at("file")).unwrap();
        for (sync, datasync) in [(true, 0), (false, 1)] {
            if sync { file.sync_all().unwrap() } else { file.sync_data().unwrap() }
            let line = fs.trace.one("fsync");
            assert_eq!((line.dec("datasync"), line.hex("fh") >> 48), (datasync, 0xfeed));
        }
        let file = open(fs.at("fail_fsync_5"), OFlags::WRONLY, Mode::empty()).unwrap();
        assert_eq!(rustix::fs::fsync(file), Err(Errno::IO));
    }

    fn reply_buf(on) { answer_kind(on, "buf") }
    fn reply_iov(on) { answer_kind(on, "iov") }
    fn reply_data_memory(on) { answer_kind(on, "databuf") }
    fn reply_data_vector(on) { answer_kind(on, "datavec") }
    fn reply_data_descriptor(on) { answer_kind(on, "datafd") }
    fn reply_data_mixed(on) { answer_kind(on, "datamix") }

    fn read_arguments(on) {
        let fs = Server::new("trace_ll").mount(on);
        let data = client::pattern(10_000, 7);
        let file = filled(&fs, "direct", &data);
        fs.trace.take();
        check_read(&file, &data, 1234, 5678);
        let line = fs.trace.one("read");
        assert_eq!((line.dec("size"), line.dec("off")), (5678, 1234));
        assert_eq!(line.oct("flags") as u32 & 3, OFlags::RDWR.bits());
        // At and behind the end: an empty answer.
        check_read(&file, &data, 10_000, 100);
        assert_eq!(fs.trace.one("read").dec("off"), 10_000);
        // An offset beyond 32 bits.
        check_read(&file, &data, 0x1_2345_6789, 1);
        assert_eq!(fs.trace.one("read").dec("off"), 0x1_2345_6789);
        // An "error" of 0 is an empty success.
        let file = File::open(fs.at("fail_read_0_direct")).unwrap();
        assert_eq!(file.read_at(&mut [0; 9], 0).unwrap(), 0);
        let file = File::open(fs.at("fail_read_5_direct")).unwrap();
        assert_eq!(file.read_at(&mut [0; 9], 0).unwrap_err().raw_os_error(), Some(libc::EIO));
    }

    fn write_arguments(on) {
        for (option, op) in [("no_splice_read", "write"), ("write_buf", "write_buf")] {
            let fs = Server::new("trace_ll").option(option).mount(on);
            let file = options().open(fs.at("direct")).unwrap();
            for (off, size) in edges(3 * MIB + 777) {
                let data = client::pattern(size, off as u64 + 1);
                fs.trace.take();
                assert_eq!(file.write_at(&data, off as u64).unwrap(), size);
                let mut at = 0;
                for line in fs.trace.all(op) {
                    let length = line.dec("size") as usize;
                    assert_eq!(line.dec("off"), (off + at) as i128);
                    assert_eq!(line.hex("fnv"), fnv(&data[at..at + length]), "{size} bytes at {off}");
                    assert_eq!(line.dec("writepage"), 0);
                    at += length;
                }
                assert_eq!(at, size);
            }
            fs.trace.take();
            assert_eq!(file.write_at(&[], 5).unwrap(), 0);
            assert_eq!(fs.trace.all(op).len(), 0);
            let file = OpenOptions::new().write(true).open(fs.at("fail_write_28_direct")).unwrap();
            assert_eq!(file.write_at(b"data", 0).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        }
    }

    fn short_writes_are_reported(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = options().open(fs.at("short_direct")).unwrap();
        assert_eq!(file.write_at(&[1; 1000], 0).unwrap(), 500);
        assert_eq!(file.write_at(&[1; 200_000], 0).unwrap(), 100_000);
    }

    fn o_direct(on) {
        let fs = Server::new("trace_ll").mount(on);
        let data = client::pattern(2 * MIB + 4096, 11);
        let file = direct().open(fs.at("file")).unwrap();
        file.write_all_at(&data, 0).unwrap();
        let biggest = fs.trace.all("write").iter().map(|line| line.dec("size")).max();
        assert_eq!(biggest, Some(MIB as i128), "a request carries max_write");
        for (off, size) in edges(data.len()) {
            check_read(&file, &data, off, size);
        }
    }

    fn writeback_cache(on) {
        let fs = Server::new("trace_ll").option("writeback_cache").mount(on);
        let data = client::pattern(MIB + 5, 13);
        let file = filled(&fs, "hold", &data);
        file.sync_all().unwrap();
        let lines = fs.trace.all("write");
        assert!(lines.iter().all(|line| line.dec("writepage") == 1), "{lines:?}");
        assert_eq!(lines.iter().map(|line| line.dec("size")).sum::<i128>(), data.len() as i128);
        let again = direct().open(fs.at("hold")).unwrap();
        check_read(&again, &data, 0, data.len());
    }

    fn small_max_write(on) {
        if on == Transport::Ring {
            return skip("rings are not used with a small max_write; transport.rs has the test");
        }
        let fs = Server::new("trace_ll").option("max_write=8192").mount(on);
        let data = client::pattern(100_001, 17);
        let file = filled(&fs, "direct", &data);
        let lines = fs.trace.all("write");
        assert!(lines.iter().all(|line| line.dec("size") <= 8192));
        assert_eq!(lines.len(), 13);
        check_read(&file, &data, 0, data.len());
        check_read(&file, &data, 99, 77_777);
    }

    fn max_write_above_a_mebibyte(on) {
        let limit = Path::new("/proc/sys/fs/fuse/max_pages_limit");
        if stock() {
            return skip("libfuse before 3.17 has a buffer of one mebibyte");
        }
        if let Err(reason) = machine::hold(limit, "1024") {
            return skip(&reason);
        }
        let fs = Server::new("trace_ll").option("max_write=4194304").mount(on);
        let data = client::pattern(9 * MIB + 1, 19);
        let file = filled(&fs, "direct", &data);
        let biggest = fs.trace.all("write").iter().map(|line| line.dec("size")).max();
        assert_eq!(biggest, Some(4 * MIB as i128));
        for (off, size) in [(0, 9 * MIB + 1), (4097, 4 * MIB), (1, 4 * MIB + 1), (5 * MIB, 8 * MIB)] {
            check_read(&file, &data, off, size);
        }
    }

    fn concurrent_clients(on) {
        let fs = Server::new("trace_ll").mount(on);
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for id in 0..8u64 {
                let (fs, done) = (&fs, &done);
                scope.spawn(move || {
                    let random = &mut fastrand::Rng::with_seed(id);
                    let mut data = client::pattern(300_000, id);
                    let file = filled(fs, &format!("direct{id}"), &data);
                    for _ in 0..100 {
                        let off = random.usize(..data.len());
                        let size = random.usize(1..100_000);
                        if random.bool() {
                            check_read(&file, &data, off, size);
                        } else {
                            let new = client::pattern(size.min(data.len() - off), random.u64(..));
                            file.write_all_at(&new, off as u64).unwrap();
                            data[off..off + new.len()].copy_from_slice(&new);
                        }
                        fs::metadata(fs.at(&format!("direct{}", (id + 1) % 8))).ok();
                    }
                    check_read(&file, &data, 0, data.len());
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(done.into_inner(), 8);
    }

    fn fallocate_modes(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = options().open(fs.at("file")).unwrap();
        for (mode, off, length, size) in [
            (FallocateFlags::empty(), 100, 5000, 5100),
            (FallocateFlags::KEEP_SIZE, 0, 1_000_000, 5100),
            (FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 10, 20, 5100),
        ] {
            fs.trace.take();
            fallocate(&file, mode, off, length).unwrap();
            let line = fs.trace.one("fallocate");
            assert_eq!((line.dec("off"), line.dec("length")), (off.into(), length.into()));
            assert_eq!((line.hex("mode"), line.hex("fh") >> 48), (mode.bits().into(), 0xfeed));
            assert_eq!(file.metadata().unwrap().len(), size);
        }
        let file = open(fs.at("fail_fallocate_28"), OFlags::WRONLY, Mode::empty()).unwrap();
        assert_eq!(fallocate(file, FallocateFlags::empty(), 0, 1), Err(Errno::NOSPC));
    }

    fn copy(on) {
        let fs = Server::new("trace_ll").mount(on);
        let data = client::pattern(100_000, 23);
        let from = filled(&fs, "direct_from", &data);
        let to = options().open(fs.at("direct_to")).unwrap();
        fs.trace.take();
        let (mut off_in, mut off_out) = (77, 3);
        assert_eq!(copy_file_range(&from, Some(&mut off_in), &to, Some(&mut off_out), 70_000), Ok(70_000));
        let line = fs.trace.one("copy_file_range");
        assert_eq!((line.dec("off"), line.dec("off_out"), line.dec("len")), (77, 3, 70_000));
        assert_eq!(i64::try_from(line.dec("ino")), Ok(fs.command("node direct_from")));
        assert_eq!(i64::try_from(line.dec("ino_out")), Ok(fs.command("node direct_to")));
        assert_ne!(line.hex("fh_in"), line.hex("fh_out"));
        assert_eq!((off_in, off_out), (70_077, 70_003));
        let mut copied = vec![0; 3];
        copied.extend_from_slice(&data[77..70_077]);
        check_read(&to, &copied, 0, 100_000);
    }

    fn lseek(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = filled(&fs, "file", &[1; 40_000]);
        for (from, whence, found) in [
            (SeekFrom::Data(0), libc::SEEK_DATA, 4096),
            (SeekFrom::Data(5000), libc::SEEK_DATA, 5000),
            (SeekFrom::Hole(5000), libc::SEEK_HOLE, 8192),
            (SeekFrom::Hole(8192), libc::SEEK_HOLE, 8192),
        ] {
            fs.trace.take();
            assert_eq!(seek(&file, from), Ok(found));
            let line = fs.trace.one("lseek");
            assert_eq!((line.dec("whence"), line.hex("fh") >> 48), (whence.into(), 0xfeed));
        }
        let file = open(fs.at("fail_lseek_6"), OFlags::RDONLY, Mode::empty()).unwrap();
        assert_eq!(seek(file, SeekFrom::Data(0)), Err(Errno::NXIO));
    }

    fn ioctls(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = options().open(fs.at("file")).unwrap();
        fs.trace.take();
        const SIZE: u32 = 64 << 16;
        let argument = if narrow() { 0x1234_5678 } else { 0x1234_5678_9abc };
        assert_eq!(ioctl(&file, 0x5401, argument), Ok(7));
        let line = fs.trace.one("ioctl");
        assert_eq!((line.hex("cmd"), line.hex("arg")), (0x5401, argument as u64));
        assert_eq!((line.dec("in"), line.dec("out"), line.hex("ioctl_flags")), (0, 0, 0));

        let mut data = [0; 64];
        assert_eq!(ioctl_data(&file, 0x8000_5402 | SIZE, &mut data), Ok(8));
        assert!(data.iter().enumerate().all(|(i, &b)| b == (i * 3) as u8));
        let line = fs.trace.one("ioctl");
        assert_eq!((line.dec("in"), line.dec("out")), (0, 64));

        let sent: Vec<u8> = client::pattern(64, 29);
        data.copy_from_slice(&sent);
        assert_eq!(ioctl_data(&file, 0x4000_5403 | SIZE, &mut data), Ok(9));
        let line = fs.trace.one("ioctl");
        assert_eq!((line.dec("in"), line.dec("out"), line.hex("fnv")), (64, 0, fnv(&sent)));

        assert_eq!(ioctl_data(&file, 0xc000_5404 | SIZE, &mut data), Ok(10));
        assert!(data.iter().eq(sent.iter().rev()), "both halves of the vector arrived");
        // The kernel refuses a retry of what is not a device; before that, the library
        // one for a caller with wider pointers than the filesystem's.
        let refused = if narrow() { Errno::INVAL } else { Errno::IO };
        assert_eq!(ioctl(&file, 0x5405, 0), Err(refused));
        assert_eq!(ioctl(&file, 0x5499, 0), Err(Errno::NOTTY));

        let directory = File::open(&fs.path).unwrap();
        fs.trace.take();
        assert_eq!(ioctl(&directory, 0x5401, 0), Ok(7));
        assert_eq!(fs.trace.one("ioctl").hex("ioctl_flags"), 16);
    }

    fn poll_answers(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = options().open(fs.at("file")).unwrap();
        let wanted = PollFlags::IN | PollFlags::OUT;
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::from_borrowed_fd(file.as_fd(), wanted)];
        assert_eq!(poll(&mut fds, Some(&now)), Ok(0));
        assert_eq!(fs.trace.one("poll").hex("fh") >> 48, 0xfeed);
        fs.command("ready file");
        assert_eq!(poll(&mut fds, Some(&now)), Ok(1));
        assert_eq!(fds[0].revents(), PollFlags::IN);
        assert_ne!(fs.trace.one("poll").hex("events") & u64::from(PollFlags::IN.bits()), 0);
    }

    fn nonseekable(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = options().open(fs.at("nonseek_direct")).unwrap();
        assert_eq!(seek(&file, SeekFrom::Start(1)), Err(Errno::SPIPE));
    }

    fn keep_cache(on) {
        let fs = Server::new("trace_ll").mount(on);
        for (name, reads) in [("hold_keep", 0), ("hold", 1)] {
            drop(filled(&fs, name, b"contents"));
            assert_eq!(fs::read(fs.at(name)).unwrap(), b"contents");
            fs.trace.take();
            assert_eq!(fs::read(fs.at(name)).unwrap(), b"contents");
            assert_eq!(fs.trace.all("read").len().min(1), reads, "{name}");
        }
    }

    fn tmpfile(on) {
        if stock() {
            return skip("libfuse before 3.17 has no tmpfile");
        }
        let fs = Server::new("trace_ll").mount(on);
        let file = open(&fs.path, OFlags::TMPFILE | OFlags::RDWR, Mode::from_raw_mode(0o600)).unwrap();
        let line = fs.trace.one("tmpfile");
        assert_eq!((line.dec("parent"), line.oct("mode") & 0o777), (1, 0o600));
        let file = File::from(file);
        file.write_all_at(b"no name", 0).unwrap();
        check_read(&file, b"no name", 0, 100);
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_nlink, 0);
    }

    fn statx_with_birth_time(on) {
        if stock() {
            return skip("libfuse before 3.18 has no statx");
        }
        let fs = Server::new("trace_ll").mount(on);
        let file = filled(&fs, "file", b"12345");
        fs.trace.take();
        let wanted = rustix::fs::StatxFlags::BASIC_STATS | rustix::fs::StatxFlags::BTIME;
        let got = rustix::fs::statx(&file, "", rustix::fs::AtFlags::EMPTY_PATH, wanted).unwrap();
        let line = fs.trace.one("statx");
        assert_ne!(line.hex("mask") & u64::from(rustix::fs::StatxFlags::BTIME.bits()), 0);
        assert_eq!((got.stx_size, got.stx_blocks, got.stx_nlink), (5, 1, 1));
        assert_eq!((got.stx_mtime.tv_sec, got.stx_mtime.tv_nsec), (1_000_000_000, 123_456_789));
        assert_eq!((got.stx_btime.tv_sec, got.stx_btime.tv_nsec), (999_999_999, 123_456_789));
    }
}
