//! Every operation on names and attributes, with its arguments checked on both
//! sides: what the client passed is what the filesystem saw, and what the
//! filesystem answered is what the client got.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    accessat, linkat, mkdirat, mknodat, open, readlink, renameat_with, statvfs, symlink, unlink,
    Access, AtFlags, Dev, FileType, Mode, OFlags, RenameFlags, Stat, Timestamps, XattrFlags, CWD,
};
use rustix::io::Errno;
use rustix::process::Signal;
use support::*;

const ROOT: i128 = 1;

fn create(fs: &Mount, name: &str) -> i128 {
    let file = open(fs.at(name), OFlags::CREATE | OFlags::RDWR, Mode::from_raw_mode(0o644));
    drop(file.expect("create"));
    let ino = fs.command(&format!("node {name}"));
    fs.trace.wait("release");
    ino.into()
}

fn stat(path: &Path) -> Stat {
    rustix::fs::lstat(path).expect("lstat")
}

/// Has the kernel forget 200 inodes while the filesystem stands still, so that
/// it sends them in batches; returns the calls of forget_multi.
fn forget_many(fs: &Mount) -> Vec<Line> {
    let mut inodes = BTreeSet::new();
    let mut held = Vec::new();
    for i in 0..200 {
        let name = format!("file{i}");
        inodes.insert(create(fs, &name));
        held.push(open(fs.at(&name), OFlags::PATH, Mode::empty()).unwrap());
        unlink(fs.at(&name)).unwrap();
    }
    fs.stop();
    drop(held);
    fs.signal(Signal::CONT);
    let mut batches = Vec::new();
    client::eventually("all to be forgotten", || {
        for line in fs.trace.take() {
            match &*line.op {
                "forget" => assert!(inodes.remove(&line.dec("ino")), "{line:?}"),
                "forget_multi" => batches.push(line),
                _ => {}
            }
        }
        inodes.is_empty()
    });
    batches
}

each_transport! {
    fn init(on) {
        let fs = Server::new("trace_ll").mount(on);
        // The trace was read up to the proof of the transport; init is before.
        let text = fs::read_to_string(fs.path.with_file_name("trace")).unwrap();
        let init = text.lines().next().unwrap();
        assert!(init.starts_with("init userdata=1 proto=7."), "{init}");
        assert!(init.contains(" max_write=1048576 max_read=0"), "{init}");
    }

    fn lookup(on) {
        let fs = Server::new("trace_ll").mount(on);
        let ino = create(&fs, "file");
        let got = stat(&fs.at("file"));
        let line = fs.trace.one("lookup");
        assert_eq!((line.dec("parent"), line.text("name")), (ROOT, "file"));
        let then = (1_000_000_000, 123_456_789);
        assert_eq!(got.st_ino as i128, ino);
        assert_eq!(got.st_mode, 0o100644);
        assert_eq!((got.st_nlink, got.st_size, got.st_blksize, got.st_blocks), (1, 0, 4096, 0));
        assert_eq!((got.st_atime, got.st_atime_nsec as u32), then);
        assert_eq!((got.st_mtime, got.st_mtime_nsec as u32), then);
        assert_eq!((got.st_ctime, got.st_ctime_nsec as u32), then);

        assert_eq!(fs::metadata(fs.at("absent")).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(fs.trace.one("lookup").text("name"), "absent");
    }

    fn context(on) {
        let fs = Server::new("trace_ll").mount(on);
        let old = raw::own_umask(0o027);
        raw::own_umask(old);
        let _ = fs::metadata(fs.at("absent"));
        let line = fs.trace.one("lookup");
        assert_eq!(line.dec("uid"), rustix::process::geteuid().as_raw().into());
        assert_eq!(line.dec("gid"), rustix::process::getegid().as_raw().into());
        assert_eq!(line.dec("pid"), me());
        // The umask comes with what creates, and only there.
        mkdirat(CWD, fs.at("dir"), Mode::from_raw_mode(0o755)).unwrap();
        assert_eq!(fs.trace.one("mkdir").oct("umask"), u64::from(old));
    }

    fn longest_and_odd_names(on) {
        let fs = Server::new("trace_ll").mount(on);
        let long = "n".repeat(1000); // FUSE allows more than NAME_MAX
        for (name, traced) in [
            (long.as_bytes(), long.as_str()),
            (b"x", "x"),
            (b"\xff\x01 =%", "%FF%01%20%3D%25"),
        ] {
            let path = fs.path.join(std::ffi::OsStr::from_bytes(name));
            mkdirat(CWD, &path, Mode::from_raw_mode(0o755)).unwrap();
            assert_eq!(fs.trace.one("mkdir").text("name"), traced);
            assert_eq!(stat(&path).st_mode, 0o40755);
            assert_eq!(fs.trace.one("lookup").text("name"), traced);
        }
    }

    fn negative_entries_are_remembered(on) {
        let fs = Server::new("trace_ll").mount(on);
        for _ in 0..3 {
            assert!(fs::metadata(fs.at("negative")).is_err());
        }
        assert_eq!(fs.trace.all("lookup").len(), 1);
        for _ in 0..3 {
            assert!(fs::metadata(fs.at("absent")).is_err());
        }
        assert_eq!(fs.trace.all("lookup").len(), 3);
    }

    fn timeouts(on) {
        let fs = Server::new("trace_ll").mount(on);
        create(&fs, "hold");
        create(&fs, "fleeting");
        fs.trace.take();
        for _ in 0..3 {
            stat(&fs.at("hold"));
        }
        assert_eq!(fs.trace.take().len(), 0);
        for _ in 0..3 {
            stat(&fs.at("fleeting"));
        }
        assert_eq!(fs.trace.all("lookup").len(), 3);
    }

    fn getattr(on) {
        let fs = Server::new("trace_ll").mount(on);
        stat(&fs.path);
        let line = fs.trace.one("getattr");
        assert_eq!(line.dec("ino"), ROOT);
        assert!(!line.has("fh"));
    }

    fn forget(on) {
        let fs = Server::new("trace_ll").mount(on);
        let ino = create(&fs, "file");
        stat(&fs.at("file"));
        stat(&fs.at("file"));
        unlink(fs.at("file")).unwrap();
        // The kernel gives back as many as it was given: one by the creation,
        // one by each lookup.
        let mut owed = 1;
        client::eventually("all to be forgotten", || {
            for line in fs.trace.take() {
                match &*line.op {
                    "lookup" => owed += 1,
                    "forget" if line.dec("ino") == ino => owed -= line.dec("nlookup"),
                    _ => {}
                }
            }
            owed == 0
        });
    }

    fn forgets_in_batches_one_by_one(on) {
        forget_many(&Server::new("trace_ll").mount(on));
    }

    fn forgets_in_batches_at_once(on) {
        let fs = Server::new("trace_ll").option("forget_multi").mount(on);
        // A process that another test is starting may have the descriptors for longer
        // than the filesystem stands still: then they come one by one.
        let batches = || forget_many(&fs).into_iter().map(|line| line.dec("count"));
        assert!((0..20).any(|_| batches().any(|count| count > 1)), "never more than one");
    }

    fn setattr(on) {
        let fs = Server::new("trace_ll").mount(on);
        let ino = create(&fs, "file");
        let path = fs.at("file");
        let one = |mask: u64| {
            let line = fs.trace.one("setattr");
            assert_eq!(line.dec("ino"), ino);
            assert_eq!(line.hex("to_set") & mask, mask, "{line:?}");
            line
        };
        rustix::fs::chmodat(CWD, &path, Mode::from_raw_mode(0o4751), AtFlags::empty()).unwrap();
        assert_eq!(one(1).oct("mode") & 0o7777, 0o4751);
        assert_eq!(stat(&path).st_mode, 0o104751);

        raw::truncate(&path, 12345).unwrap();
        assert_eq!(one(8).dec("size"), 12345);
        assert_eq!(stat(&path).st_size, 12345);
        assert_eq!(stat(&path).st_blocks, 25);

        let late = if narrow() { i32::MAX.into() } else { 4_294_967_299 };
        let times = Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: -5, tv_nsec: 999_999_999 },
            last_modification: rustix::fs::Timespec { tv_sec: late, tv_nsec: 1 },
        };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        let line = one(16 | 32);
        assert_eq!(line.hex("to_set") & (128 | 256), 0);
        assert_eq!(line.text("atime"), "-5.999999999");
        assert_eq!(line.text("mtime"), format!("{late}.000000001"));
        let got = stat(&path);
        assert_eq!((got.st_atime, got.st_atime_nsec as u32), (-5, 999_999_999));
        assert_eq!((got.st_mtime, got.st_mtime_nsec as u32), (late, 1));

        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        one(16 | 32 | 128 | 256);

        if machine::is_root() {
            let (uid, gid) = (rustix::fs::Uid::from_raw(12), rustix::fs::Gid::from_raw(3456));
            rustix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
            let line = one(2 | 4);
            assert_eq!((line.dec("owner_uid"), line.dec("owner_gid")), (12, 3456));
            assert_eq!((stat(&path).st_uid, stat(&path).st_gid), (12, 3456));
        }

        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        fs.trace.take();
        file.set_len(7).unwrap();
        let line = one(8);
        assert_eq!(line.dec("size"), 7);
        assert_eq!(line.hex("fh") >> 48, 0xfeed);
    }

    fn mknod_and_rdev(on) {
        let fs = Server::new("trace_ll").mount(on);
        mknodat(CWD, fs.at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        let line = fs.trace.one("mknod");
        assert_eq!((line.dec("parent"), line.text("name")), (ROOT, "fifo"));
        assert_eq!(line.oct("mode"), 0o010640);
        assert_eq!(stat(&fs.at("fifo")).st_mode, 0o010640);
        if machine::is_root() {
            let dev: Dev = rustix::fs::makedev(0x123, 0x45678);
            mknodat(CWD, fs.at("node"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), dev).unwrap();
            let line = fs.trace.one("mknod");
            assert_eq!((line.oct("mode"), line.hex("rdev")), (0o020600, dev));
            assert_eq!(stat(&fs.at("node")).st_rdev, dev);
        }
    }

    fn mkdir_rmdir_unlink(on) {
        let fs = Server::new("trace_ll").mount(on);
        mkdirat(CWD, fs.at("dir"), Mode::from_raw_mode(0o711)).unwrap();
        let line = fs.trace.one("mkdir");
        assert_eq!((line.dec("parent"), line.text("name"), line.oct("mode")), (ROOT, "dir", 0o711));
        let dir = fs.command("node dir");
        create(&fs, "file");
        fs::rename(fs.at("file"), fs.at("dir/file")).unwrap();
        fs.trace.take();
        unlink(fs.at("dir/file")).unwrap();
        let line = fs.trace.one("unlink");
        assert_eq!((line.dec("parent"), line.text("name")), (dir.into(), "file"));
        fs::remove_dir(fs.at("dir")).unwrap();
        let line = fs.trace.one("rmdir");
        assert_eq!((line.dec("parent"), line.text("name")), (ROOT, "dir"));
        assert_eq!(unlink(fs.at("dir")), Err(Errno::NOENT));
    }

    fn symlink_and_readlink(on) {
        let fs = Server::new("trace_ll").mount(on);
        // The longest target a link may have: a page with its NUL.
        for target in ["t".into(), "/a/../b%".to_string(), "x".repeat(4095)] {
            let path = fs.at(&format!("link{}", target.len()));
            symlink(target.as_str(), &path).unwrap();
            let line = fs.trace.one("symlink");
            assert_eq!(line.dec("parent"), ROOT);
            if target.len() < 100 {
                assert_eq!(line.text("link"), target.replace('%', "%25"));
            }
            let ino = stat(&path).st_ino;
            fs.trace.take();
            assert_eq!(readlink(&path, Vec::with_capacity(5000)).unwrap().as_bytes(), target.as_bytes());
            assert_eq!(fs.trace.one("readlink").dec("ino"), ino.into());
        }
    }

    fn link(on) {
        let fs = Server::new("trace_ll").mount(on);
        let ino = create(&fs, "file");
        linkat(CWD, fs.at("file"), CWD, fs.at("second"), AtFlags::empty()).unwrap();
        let line = fs.trace.one("link");
        assert_eq!((line.dec("ino"), line.dec("newparent"), line.text("newname")), (ino, ROOT, "second"));
        assert_eq!(stat(&fs.at("file")).st_nlink, 2);
    }

    fn rename(on) {
        let fs = Server::new("trace_ll").mount(on);
        let a = create(&fs, "a");
        let b = create(&fs, "b");
        mkdirat(CWD, fs.at("dir"), Mode::from_raw_mode(0o755)).unwrap();
        let dir: i128 = fs.command("node dir").into();
        let rename = |from: &str, to: &str, flags, traced: u64| {
            fs.trace.take();
            let result = renameat_with(CWD, fs.at(from), CWD, fs.at(to), flags);
            let line = fs.trace.one("rename");
            assert_eq!(line.text("name"), Path::new(from).file_name().unwrap());
            assert_eq!(line.text("newname"), Path::new(to).file_name().unwrap());
            assert_eq!(line.hex("flags"), traced);
            (result, line)
        };
        let (result, line) = rename("a", "dir/moved", RenameFlags::empty(), 0);
        result.unwrap();
        assert_eq!((line.dec("parent"), line.dec("newparent")), (ROOT, dir));
        let (result, line) = rename("dir/moved", "b", RenameFlags::EXCHANGE, 2);
        result.unwrap();
        assert_eq!((line.dec("parent"), line.dec("newparent")), (dir, ROOT));
        assert_eq!(stat(&fs.at("b")).st_ino as i128, a);
        assert_eq!(stat(&fs.at("dir/moved")).st_ino as i128, b);
        // NOREPLACE over what exists is refused by the kernel itself.
        rename("b", "fresh", RenameFlags::NOREPLACE, 1).0.unwrap();
        let (result, _) = rename("fail_rename_39", "x", RenameFlags::empty(), 0);
        assert_eq!(result, Err(Errno::NOTEMPTY));
    }

    fn statfs(on) {
        let fs = Server::new("trace_ll").mount(on);
        let got = statvfs(&fs.path).unwrap();
        assert_eq!(fs.trace.one("statfs").dec("ino"), ROOT);
        assert_eq!((got.f_bsize, got.f_frsize), (4096, 512));
        assert_eq!((got.f_blocks, got.f_bfree, got.f_bavail), (1_000_001, 900_002, 800_003));
        assert_eq!((got.f_files, got.f_ffree, got.f_namemax), (700_004, 600_005, 255));
    }

    fn access(on) {
        let fs = Server::new("trace_ll").mount(on);
        let ino = create(&fs, "file");
        for (access, mask) in [
            (Access::READ_OK, 4),
            (Access::WRITE_OK, 2),
            (Access::READ_OK | Access::WRITE_OK, 6),
        ] {
            accessat(CWD, fs.at("file"), access, AtFlags::empty()).unwrap();
            let line = fs.trace.one("access");
            assert_eq!((line.dec("ino"), line.oct("mask")), (ino, mask));
        }
        let path = fs.at("fail_access_13");
        assert_eq!(accessat(CWD, path, Access::READ_OK, AtFlags::empty()), Err(Errno::ACCESS));
    }

    fn xattrs(on) {
        let fs = Server::new("trace_ll").mount(on);
        let ino = create(&fs, "file");
        let path = fs.at("file");
        let get = |name: &str, size: usize| {
            let mut value = vec![0u8; size];
            let got = match size {
                0 => rustix::fs::getxattr_query(&path, name),
                _ => rustix::fs::getxattr(&path, name, value.as_mut_slice()),
            };
            let line = fs.trace.one("getxattr");
            assert_eq!((line.dec("ino"), line.text("name"), line.dec("size")), (ino, name, size as i128));
            got.map(|length| {
                value.truncate(if size == 0 { 0 } else { length });
                (length, value)
            })
        };
        assert_eq!(get("user.small", 100), Ok((9, b"the value".to_vec())));
        assert_eq!(get("user.small", 9), Ok((9, b"the value".to_vec())));
        assert_eq!(get("user.small", 8), Err(Errno::RANGE));
        assert_eq!(get("user.small", 0), Ok((9, Vec::new())));
        assert_eq!(get("user.empty", 100), Ok((0, Vec::new())));
        assert_eq!(get("user.big", 65536), Ok((65536, vec![b'b'; 65536])));
        assert_eq!(get("user.none", 100), Err(Errno::NODATA));

        let names = b"user.small\0user.big\0user.empty\0";
        let mut list = [0u8; 1000];
        assert_eq!(rustix::fs::listxattr(&path, list.as_mut_slice()), Ok(names.len()));
        assert_eq!(&list[..names.len()], names);
        assert_eq!(fs.trace.one("listxattr").dec("size"), 1000);
        assert_eq!(rustix::fs::listxattr_query(&path), Ok(names.len()));
        assert_eq!(rustix::fs::listxattr(&path, &mut list[..3]), Err(Errno::RANGE));

        // Names of 1 to 12 characters: the first eight must not get lost.
        for name in ["user.a", "user.abcdefg", "user.x=y"] {
            fs.trace.take();
            rustix::fs::setxattr(&path, name, b"some value", XattrFlags::empty()).unwrap();
            let line = fs.trace.one("setxattr");
            assert_eq!((line.text("name"), line.dec("size")), (&*name.replace('=', "%3D"), 10));
            assert_eq!((line.hex("fnv"), line.hex("xattr_flags")), (fnv(b"some value"), 0));
        }
        let value = client::pattern(65536, 3);
        rustix::fs::setxattr(&path, "user.big", &value, XattrFlags::REPLACE).unwrap();
        let line = fs.trace.one("setxattr");
        assert_eq!((line.dec("size"), line.hex("fnv"), line.hex("xattr_flags")), (65536, fnv(&value), 2));
        rustix::fs::setxattr(&path, "user.zero", b"", XattrFlags::empty()).unwrap();
        assert_eq!(fs.trace.one("setxattr").dec("size"), 0);
        assert_eq!(rustix::fs::setxattr(&path, "user.full", b"v", XattrFlags::empty()), Err(Errno::NOSPC));
        assert_eq!(rustix::fs::setxattr(&path, "user.a", b"v", XattrFlags::CREATE), Err(Errno::EXIST));

        fs.trace.take();
        rustix::fs::removexattr(&path, "user.small").unwrap();
        let line = fs.trace.one("removexattr");
        assert_eq!((line.dec("ino"), line.text("name")), (ino, "user.small"));
        assert_eq!(rustix::fs::removexattr(&path, "user.none"), Err(Errno::NODATA));
    }

    fn errors_of_every_operation(on) {
        let fs = Server::new("trace_ll").mount(on);
        let mode = Mode::from_raw_mode(0o755);
        let at = |name: &str| fs.at(name);
        let errors = [
            ("lookup", rustix::fs::lstat(at("fail_lookup_5")).err()),
            ("mkdir", mkdirat(CWD, at("fail_mkdir_28"), mode).err()),
            ("mknod", mknodat(CWD, at("fail_mknod_1"), FileType::Fifo, mode, 0).err()),
            ("symlink", symlink("t", at("fail_symlink_30")).err()),
            ("unlink", unlink(at("fail_unlink_26")).err()),
            ("rmdir", rustix::fs::rmdir(at("fail_rmdir_39")).err()),
            ("create", open(at("fail_create_122"), OFlags::CREATE | OFlags::WRONLY, mode).err()),
            ("open", open(at("fail_open_6"), OFlags::RDONLY, mode).err()),
            ("opendir", open(at("fail_opendir_24"), OFlags::DIRECTORY, mode).err()),
            ("readlink", readlink(at("fail_readlink_117"), Vec::new()).err()),
            ("setattr", rustix::fs::chmodat(CWD, at("fail_setattr_1"), mode, AtFlags::empty()).err()),
        ];
        let wanted = [5, 28, 1, 30, 26, 39, 122, 6, 24, 117, 1];
        for ((op, error), wanted) in errors.into_iter().zip(wanted) {
            assert_eq!(error.map(Errno::raw_os_error), Some(wanted), "{op}");
        }
        // The highest errno that has a name.
        assert_eq!(rustix::fs::lstat(at("fail_lookup_133")).err(), Some(Errno::HWPOISON));
        create(&fs, "file");
        let linked = linkat(CWD, at("file"), CWD, at("fail_link_31"), AtFlags::empty());
        assert_eq!(linked, Err(Errno::MLINK));
        let attributes = rustix::fs::lstat(at("fail_getattr_5"));
        assert_eq!(attributes.err(), Some(Errno::IO));
    }

    fn destroy(on) {
        for end in ["umount", "exit"] {
            let fs = Server::new("trace_ll").mount(on);
            let trace = fs::File::open(fs.path.with_file_name("trace")).unwrap();
            if end == "umount" || stock() {
                fs.unmount();
            } else {
                fs.last_command("exit");
            }
            assert_eq!(fs.ended().result, Some(0));
            let text = std::io::read_to_string(trace).unwrap();
            let destroyed: Vec<_> = text.lines().filter(|line| line.starts_with("destroy ")).collect();
            assert_eq!(destroyed, ["destroy userdata=1"], "after {end}");
        }
    }
}
