//! Tables of operations that lack some, or have another size than ours.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use rustix::fs::{statvfs, Access, AtFlags, Mode, CWD};
use rustix::io::Errno;

use crate::shown::Show;
use crate::support::raw;
use crate::support::*;

fn code<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

each_transport! {
    fn what_is_missing_fails_or_succeeds(on) {
        let missing = "readlink:mknod:mkdir:unlink:rmdir:symlink:rename:link:chmod:chown:truncate:\
                       open:release:opendir:releasedir:statfs:flush:fsync:setxattr:getxattr:\
                       listxattr:removexattr:fsyncdir:access:create:utimens:ioctl:poll:\
                       fallocate:copy_file_range:lseek:lock:flock";
        let fs = Show::plain().option(&format!("without={missing}")).file("file", "contents").dir("dir").mount(on);
        std::os::unix::fs::symlink("x", fs.behind("link")).unwrap();
        let enosys = Some(libc::ENOSYS);
        assert_eq!(code(fs::read_link(fs.at("link"))), enosys);
        assert_eq!(code(fs::create_dir(fs.at("new"))), enosys);
        assert_eq!(code(fs::remove_dir(fs.at("dir"))), enosys);
        assert_eq!(code(fs::remove_file(fs.at("file"))), enosys);
        assert_eq!(code(std::os::unix::fs::symlink("a", fs.at("new"))), enosys);
        assert_eq!(code(fs::rename(fs.at("file"), fs.at("new"))), Some(libc::ENOSYS));
        assert_eq!(code(fs::hard_link(fs.at("file"), fs.at("new"))), Some(libc::EPERM));
        assert_eq!(rustix::fs::chmod(fs.at("file"), Mode::RWXU), Err(Errno::NOSYS));
        assert_eq!(code(File::create(fs.at("new"))), enosys);
        // The kernel takes these answers for "not supported".
        let mut value = [0u8; 8];
        assert_eq!(rustix::fs::getxattr(fs.at("file"), "user.x", &mut value[..]), Err(Errno::OPNOTSUPP));
        assert_eq!(rustix::fs::listxattr(fs.at("file"), &mut value[..]), Err(Errno::OPNOTSUPP));
        // Succeeds without.
        rustix::fs::accessat(CWD, fs.at("file"), Access::READ_OK, AtFlags::empty()).unwrap();
        let numbers = statvfs(fs.at("")).unwrap();
        assert_eq!((numbers.f_namemax, numbers.f_bsize), (255, 512));
        File::open(fs.at("file")).unwrap();
        let dir = File::open(fs.at("dir")).unwrap();
        dir.sync_all().unwrap();
    }

    /// Without opendir readdir has no handle, so this filesystem cannot list.
    fn files_without_read_and_write(on) {
        let fs = Show::plain().option("without=read:read_buf:write:write_buf").file("file", "contents").mount(on);
        let file = OpenOptions::new().read(true).write(true).open(fs.at("file")).unwrap();
        assert_eq!(code(file.read_at(&mut [0; 4], 0)), Some(libc::ENOSYS));
        assert_eq!(code(file.write_at(b"x", 0)), Some(libc::ENOSYS));
        file.sync_all().unwrap();
        raw::close(file.into()).unwrap();
    }

    fn without_readdir_nothing_is_listed(on) {
        let fs = Show::plain().option("without=readdir").mount(on);
        let listed = fs::read_dir(fs.at("")).unwrap().next().unwrap();
        assert_eq!(code(listed), Some(libc::ENOSYS));
    }

    /// The tables of 3.0, 3.4, 3.8 and 3.18, and one from the future. A slot
    /// behind the end is no operation, whatever is in memory there.
    fn tables_of_every_size(on) {
        for (size, has_lseek, has_copy) in [(320, false, false), (328, false, true), (336, true, true), (344, true, true), (512, true, true)] {
            if narrow() {
                return skip("the sizes are those of 64-bit programs");
            }
            // Behind libfuse 3.14's own table there is only what does not matter.
            let fs = Show::new().option(&format!("op_size={size}")).file("file", "contents").file("to", "").mount(on);
            assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "contents");
            let file = OpenOptions::new().read(true).write(true).open(fs.at("file")).unwrap();
            let to = OpenOptions::new().write(true).open(fs.at("to")).unwrap();
            fs.trace.take();
            let _ = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0));
            let _ = rustix::fs::copy_file_range(&file, Some(&mut 0), &to, Some(&mut 0), 4);
            let lines = fs.trace.take();
            assert_eq!(lines.iter().any(|line| line.op == "lseek"), has_lseek, "{size}");
            assert_eq!(lines.iter().any(|line| line.op == "copy_file_range"), has_copy, "{size}");
            fs::metadata(fs.at("file")).unwrap();
            if size == 512 && !stock() {
                assert!(fs.log().contains("newer than this library (512 bytes"), "{}", fs.log());
            }
        }
    }
}
