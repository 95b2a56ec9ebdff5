//! Every operation through a module: each has its arguments and its result, and
//! the layer below its own private data.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{
    accessat, chownat, copy_file_range, fallocate, flock, mknodat, seek, statvfs, Access, AtFlags,
    FallocateFlags, FileType, FlockOperation, Mode, SeekFrom, Uid, XattrFlags, CWD,
};

use crate::shown::{from_me, Show, Shown};
use crate::support::{raw, *};

fn both(fs: &Shown, name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(fs.at(name)).expect("open")
}

/// What there is to do with names and files; all of it succeeds.
fn everything(fs: &Shown) {
    let at = |name: &str| fs.at(name);
    fs::create_dir(at("DIR")).unwrap();
    fs::create_dir(at("GONE")).unwrap();
    fs::remove_dir(at("GONE")).unwrap();
    mknodat(CWD, at("FIFO"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    std::os::unix::fs::symlink("Target", at("LINK")).unwrap();
    assert_eq!(fs::read_link(at("LINK")).unwrap().to_str(), Some("Target"));
    fs::write(at("NEW"), "created").unwrap();
    fs::hard_link(at("NEW"), at("SECOND")).unwrap();
    fs::rename(at("SECOND"), at("THIRD")).unwrap();
    fs::remove_file(at("THIRD")).unwrap();
    rustix::fs::chmod(at("FILE"), Mode::from_raw_mode(0o600)).unwrap();
    chownat(CWD, at("FILE"), Some(Uid::ROOT), None, AtFlags::empty()).unwrap();
    accessat(CWD, at("FILE"), Access::READ_OK, AtFlags::empty()).unwrap();
    statvfs(at("FILE")).unwrap();
    rustix::fs::setxattr(at("FILE"), "user.x", b"value", XattrFlags::empty()).unwrap();
    let mut value = [0u8; 64];
    assert_eq!(rustix::fs::getxattr(at("FILE"), "user.x", &mut value[..]), Ok(5));
    assert_eq!(rustix::fs::listxattr(at("FILE"), &mut value[..]), Ok(7));
    rustix::fs::removexattr(at("FILE"), "user.x").unwrap();
    assert_eq!(fs::metadata(at("FILE")).unwrap().size(), 8);

    let file = both(fs, "FILE");
    let mut data = [0; 8];
    assert_eq!(file.read_at(&mut data, 0).unwrap(), 8);
    assert_eq!(&data, b"contents");
    assert_eq!(file.write_at(b"CON", 0).unwrap(), 3);
    file.sync_all().unwrap();
    file.set_len(4096).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 8192).unwrap();
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(0));
    flock(&file, FlockOperation::LockShared).unwrap();
    raw::fcntl_lock(&file, libc::F_SETLK, &mut raw::lock_of(libc::F_WRLCK, 0, 1)).unwrap();
    assert_eq!(raw::ioctl(&file, 0x5401, 0), Ok(42));
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&now)).unwrap();
    let to = both(fs, "NEW");
    assert_eq!(copy_file_range(&file, Some(&mut 0), &to, Some(&mut 0), 4), Ok(4));
    assert_eq!(fs::read(fs.behind("new")).unwrap(), b"CONtted");

    let mut names: Vec<_> = fs::read_dir(at(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["DIR", "FIFO", "FILE", "LINK", "NEW"]);
    File::open(at("DIR")).unwrap().sync_all().unwrap();
}

each_transport! {
    fn every_operation_goes_through(on) {
        if stock() {
            return skip("libfuse 3.14 unloads a module before its destroy, and crashes");
        }
        for without in ["bmap", "read_buf:write_buf"] {
            let option = format!("without={without}");
            let fs = Show::plain().option(&option).upper().file("file", "contents").mount(on);
            everything(&fs);
            let mut lines = fs.trace.take();
            eventually("all to be closed", || {
                lines.extend(fs.trace.take());
                lines.iter().filter(|line| line.op == "release").count() >= 3
            });
            for line in lines.iter().filter(|line| line.dec("pid") != 0) {
                assert_eq!(line.text("private"), "after", "{line:?}");
                let path = line.text("path");
                assert_eq!(path, path.to_lowercase(), "{line:?}");
            }
            from_me(lines.iter().find(|line| line.op == "mkdir").unwrap());
            let seen: BTreeSet<_> = lines.iter().map(|line| &*line.op).collect();
            let data = if without == "bmap" { ["read_buf", "write_buf"] } else { ["read", "write"] };
            for op in [
                "getattr", "readlink", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link",
                "chmod", "chown", "truncate", "open", "statfs", "flush", "release", "fsync", "setxattr",
                "getxattr", "listxattr", "removexattr", "opendir", "readdir", "releasedir", "fsyncdir",
                "access", "create", "lock", "utimens", "ioctl", "poll", "flock", "fallocate",
                "copy_file_range", "lseek",
            ].into_iter().chain(data).chain((!stock()).then_some("statx")) {
                assert!(seen.contains(op), "{op} of {seen:?}");
            }
            let (_, lines, _) = fs.unmounted();
            assert_eq!(lines.iter().filter(|line| line.op == "destroy").count(), 1);
        }
    }

    fn also_block_numbers(on) {
        let device = match raw::LoopDevice::new() {
            Ok(device) => device,
            Err(reason) => return skip(&reason),
        };
        let name = format!("fsname={}", device.path);
        let fs = Show::new().upper().option("blkdev").option("blksize=512").option(&name)
            .file("file", "12345").mount(on);
        assert_eq!(raw::fibmap(both(&fs, "FILE"), 7), Ok(1007));
        assert_eq!(fs.mine("bmap").text("path"), "/file");
    }
}
