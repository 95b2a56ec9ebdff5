//! Attributes, extended ones, access, the filesystem's numbers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::{
    accessat, chownat, ftruncate, statvfs, statx, utimensat, Access, AtFlags, Gid, StatxFlags,
    Timespec, Timestamps, Uid, XattrFlags, CWD, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::Errno;

use crate::shown::{from_me, handle_of, Show};
use crate::support::*;

each_transport! {
    fn attributes_are_told(on) {
        let fs = Show::new().file("file", "12345").mount(on);
        let (told, real) =
            (fs::metadata(fs.at("file")).unwrap(), fs::metadata(fs.behind("file")).unwrap());
        assert_eq!(told.size(), 5);
        assert_eq!(told.mode(), real.mode());
        assert_eq!((told.uid(), told.gid()), (real.uid(), real.gid()));
        assert_eq!((told.mtime(), told.mtime_nsec()), (real.mtime(), real.mtime_nsec()));
        assert_eq!((told.blocks(), told.nlink()), (real.blocks(), 1));
        assert_ne!(told.ino(), real.ino());
        let line = fs.trace.take().into_iter().find(|line| {
            line.op == "getattr" && line.text("path") == "/file"
        });
        let line = line.expect("getattr");
        from_me(&line);
        assert_eq!((line.text("path"), line.text("fi")), ("/file", "NULL"));
        assert_eq!(fs::metadata(fs.at("fail_getattr_5")).unwrap_err().raw_os_error(), Some(5));
    }

    fn modes_owners_and_sizes_are_changed(on) {
        let fs = Show::new().file("file", "12345").mount(on);
        let at = fs.at("file");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o4751)).unwrap();
        let line = fs.mine("chmod");
        assert_eq!((line.text("path"), line.oct("mode")), ("/file", 0o104751));
        assert_eq!(line.text("fi"), "NULL");
        assert_eq!(fs::metadata(&at).unwrap().mode(), 0o104751);
        fs.trace.take();
        // Only one of the two: the other is -1.
        chownat(CWD, &at, Some(Uid::from_raw(12)), None, AtFlags::empty()).unwrap();
        let lines = fs.trace.take();
        let line = lines.iter().find(|line| line.op == "chown").expect("chown");
        assert_eq!((line.dec("owner"), line.dec("group")), (12, -1));
        chownat(CWD, &at, None, Some(Gid::from_raw(34)), AtFlags::empty()).unwrap();
        let line = fs.mine("chown");
        assert_eq!((line.dec("owner"), line.dec("group")), (-1, 34));
        let now = fs::metadata(fs.behind("file")).unwrap();
        assert_eq!((now.uid(), now.gid()), (12, 34));
        fs.trace.take();
        rustix::fs::open(&at, rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty())
            .and_then(|file| ftruncate(file, 2))
            .unwrap();
        let line = fs.trace.wait("truncate");
        assert_eq!((line.text("path"), line.dec("size"), line.text("fi")), ("/file", 2, "1"));
        handle_of(&line);
        assert_eq!(fs::metadata(fs.behind("file")).unwrap().size(), 2);
        let failing = fs.at("fail_chmod_1");
        fs::write(&failing, "").unwrap();
        let error = fs::set_permissions(&failing, fs::Permissions::from_mode(0o600)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
    }

    fn times_are_set_to_what_is_given_to_now_or_not_at_all(on) {
        let fs = Show::new().file("file", "").mount(on);
        let set = |atime: (i64, i64), mtime: (i64, i64)| {
            let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
            let times =
                Timestamps { last_access: time(atime), last_modification: time(mtime) };
            utimensat(CWD, fs.at("file"), &times, AtFlags::empty()).unwrap();
            let line = fs.mine("utimens");
            (line.text("atime").to_string(), line.text("mtime").to_string())
        };
        assert_eq!(set((1, 2), (3_000_000_000, 4)), ("1.2".into(), "3000000000.4".into()));
        let now = fs::metadata(fs.behind("file")).unwrap();
        assert_eq!((now.atime(), now.atime_nsec()), (1, 2));
        assert_eq!((now.mtime(), now.mtime_nsec()), (3_000_000_000, 4));
        let omitted = format!("0.{UTIME_OMIT}");
        assert_eq!(set((7, 8), (0, UTIME_OMIT)), ("7.8".into(), omitted));
        assert_eq!(fs::metadata(fs.behind("file")).unwrap().mtime(), 3_000_000_000);
        let (atime, mtime) = set((0, UTIME_NOW), (5, 6));
        assert_eq!(atime, format!("0.{UTIME_NOW}"));
        assert_eq!(mtime, "5.6");
    }

    fn access_is_asked(on) {
        // Without default_permissions, which is the kernel's own check.
        let fs = Show::plain().file("file", "").file("fail_access_13", "").mount(on);
        accessat(CWD, fs.at("file"), Access::READ_OK | Access::WRITE_OK, AtFlags::empty()).unwrap();
        let line = fs.mine("access");
        assert_eq!((line.text("path"), line.dec("mask")), ("/file", 6));
        // fuse_getgroups() counts them.
        let groups = rustix::process::getgroups().unwrap().len();
        assert_eq!(line.dec("groups"), groups as i128);
        let refused = accessat(CWD, fs.at("fail_access_13"), Access::READ_OK, AtFlags::empty());
        assert_eq!(refused, Err(Errno::ACCESS));
    }

    fn numbers_of_the_filesystem(on) {
        let fs = Show::new().dir("dir").mount(on);
        let (told, real) = (statvfs(fs.at("dir")).unwrap(), statvfs(fs.behind("dir")).unwrap());
        assert_eq!(fs.mine("statfs").text("path"), "/dir");
        assert_eq!((told.f_blocks, told.f_bsize), (real.f_blocks, real.f_bsize));
        assert_eq!((told.f_files, told.f_namemax), (real.f_files, real.f_namemax));
    }

    fn extended_attributes(on) {
        let fs = Show::new().file("file", "").mount(on);
        let at = fs.at("file");
        rustix::fs::setxattr(&at, "user.one", b"value", XattrFlags::CREATE).unwrap();
        let line = fs.mine("setxattr");
        assert_eq!((line.text("path"), line.text("name")), ("/file", "user.one"));
        assert_eq!((line.text("value"), line.dec("size"), line.dec("xflags")), ("value", 5, 1));
        let again = rustix::fs::setxattr(&at, "user.one", b"value", XattrFlags::CREATE);
        assert_eq!(again, Err(Errno::EXIST));
        let get = |name: &str, size: usize| {
            let mut value = vec![0u8; size];
            let got = rustix::fs::getxattr(&at, name, &mut value[..])?;
            value.truncate(got);
            Ok::<_, Errno>((got, value))
        };
        fs.trace.take();
        assert_eq!(get("user.one", 100), Ok((5, b"value".to_vec())));
        assert_eq!(fs.mine("getxattr").dec("size"), 100);
        assert_eq!(rustix::fs::getxattr_query(&at, "user.one"), Ok(5));
        assert_eq!(fs.mine("getxattr").dec("size"), 0);
        assert_eq!(get("user.one", 2), Err(Errno::RANGE));
        assert_eq!(get("user.two", 2), Err(Errno::NODATA));
        fs.trace.take();
        assert_eq!(rustix::fs::listxattr_query(&at), Ok(9));
        assert_eq!(fs.mine("listxattr").dec("size"), 0);
        let mut list = [0u8; 100];
        let got = rustix::fs::listxattr(&at, &mut list[..]).unwrap();
        assert_eq!(&list[..got], b"user.one\0");
        assert_eq!(fs.mine("listxattr").dec("size"), 100);
        rustix::fs::removexattr(&at, "user.one").unwrap();
        let line = fs.mine("removexattr");
        assert_eq!((line.text("path"), line.text("name")), ("/file", "user.one"));
        assert_eq!(rustix::fs::listxattr(&at, &mut list[..]), Ok(0));
    }

    /// Only the time of birth is not in what getattr answers.
    fn statx_is_asked_for_what_getattr_lacks(on) {
        if stock() {
            return skip("libfuse 3.14 has no statx");
        }
        let fs = Show::new().file("file", "12345").mount(on);
        let wanted = StatxFlags::BTIME | StatxFlags::SIZE;
        let told = statx(CWD, fs.at("file"), AtFlags::empty(), wanted).unwrap();
        let real = statx(CWD, fs.behind("file"), AtFlags::empty(), wanted).unwrap();
        let line = fs.mine("statx");
        assert_eq!((line.text("path"), line.text("fi")), ("/file", "NULL"));
        assert_ne!(line.hex("mask") & u64::from(StatxFlags::BTIME.bits()), 0);
        assert_eq!(told.stx_btime.tv_sec, real.stx_btime.tv_sec);
        assert_eq!(told.stx_size, 5);
        assert_ne!(told.stx_mask & StatxFlags::BTIME.bits(), 0);
    }
}
