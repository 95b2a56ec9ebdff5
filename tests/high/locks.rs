//! POSIX and BSD locks, and what a flush ends.

use std::fs::{File, OpenOptions};

use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;

use crate::shown::{handle_of, Show, Shown};
use crate::support::raw::{self, fcntl_lock, lock_of};

fn opened(fs: &Shown, name: &str) -> File {
    let file = OpenOptions::new().read(true).write(true).open(fs.at(name)).expect("open");
    fs.trace.take();
    file
}

each_transport! {
    fn posix_locks_have_their_arguments(on) {
        let fs = Show::new().file("file", "").mount(on);
        let file = opened(&fs, "file");
        for (kind, start, length) in
            [(libc::F_RDLCK, 0, 10), (libc::F_WRLCK, 7, 1), (libc::F_WRLCK, 5, 0), (libc::F_UNLCK, 0, 0)]
        {
            fcntl_lock(&file, libc::F_SETLK, &mut lock_of(kind, start, length)).unwrap();
            let line = fs.mine("lock");
            assert_eq!((line.text("path"), line.text("cmd")), ("/file", "setlk"));
            assert_eq!((line.dec("type"), line.dec("whence")), (kind.into(), 0));
            assert_eq!((line.dec("start"), line.dec("len")), (start.into(), length.into()));
            handle_of(&line);
            assert_ne!(line.hex("owner"), 0);
        }
        fcntl_lock(&file, libc::F_SETLKW, &mut lock_of(libc::F_WRLCK, 0, 1)).unwrap();
        assert_eq!(fs.mine("lock").text("cmd"), "setlkw");
        let mut lock = lock_of(libc::F_WRLCK, 3, 4);
        fcntl_lock(&file, libc::F_GETLK, &mut lock).unwrap();
        let line = fs.mine("lock");
        assert_eq!((line.text("cmd"), line.dec("start"), line.dec("len")), ("getlk", 3, 4));
        assert_eq!(lock.l_type, libc::F_UNLCK as i16);
        // What the filesystem answers.
        let busy = { drop(file); std::fs::write(fs.behind("busy"), "").unwrap(); opened(&fs, "busy") };
        fcntl_lock(&busy, libc::F_GETLK, &mut lock_of(libc::F_WRLCK, 3, 4)).unwrap();
        let mut lock = lock_of(libc::F_RDLCK, 0, 0);
        fcntl_lock(&busy, libc::F_GETLK, &mut lock).unwrap();
        assert_eq!((lock.l_type, lock.l_start, lock.l_len), (libc::F_WRLCK as i16, 100, 7));
    }

    /// A flush takes back the locks of the owner that closes a descriptor: the
    /// filesystem is asked to, and a lock that was seen is told without it.
    fn a_flush_ends_the_locks_of_its_owner(on) {
        let fs = Show::new().file("file", "").mount(on);
        let (one, other) = (opened(&fs, "file"), opened(&fs, "file"));
        fcntl_lock(&one, libc::F_SETLK, &mut lock_of(libc::F_WRLCK, 10, 5)).unwrap();
        let owner = fs.mine("lock").hex("owner");
        // Another owner is told by the library, which has seen the lock granted.
        let mut lock = lock_of(libc::F_WRLCK, 0, 0);
        fcntl_lock(&other, libc::F_OFD_GETLK, &mut lock).unwrap();
        assert_eq!((lock.l_type, lock.l_start, lock.l_len), (libc::F_WRLCK as i16, 10, 5));
        assert!(!fs.asked().iter().any(|line| line.op == "lock"));
        // Closing any descriptor ends all of the process's locks on the file.
        raw::close(rustix::io::dup(&other).unwrap()).unwrap();
        let lines = fs.asked();
        let flush = lines.iter().position(|line| line.op == "flush").expect("flush");
        assert_eq!(lines[flush].hex("owner"), owner);
        let unlock = lines.iter().find(|line| line.op == "lock").expect("lock");
        assert_eq!((unlock.text("cmd"), unlock.hex("owner")), ("setlk", owner));
        assert_eq!(unlock.dec("type"), i128::from(libc::F_UNLCK));
        assert_eq!((unlock.dec("start"), unlock.dec("len")), (0, 0));
        // The library's record is gone, so the filesystem is asked.
        fcntl_lock(&other, libc::F_OFD_GETLK, &mut lock_of(libc::F_WRLCK, 0, 0)).unwrap();
        assert_eq!(fs.mine("lock").text("cmd"), "getlk");
        drop(one);
    }

    fn bsd_locks_have_their_operation(on) {
        let fs = Show::new().file("file", "").mount(on);
        let (one, other) = (opened(&fs, "file"), opened(&fs, "file"));
        flock(&one, FlockOperation::LockExclusive).unwrap();
        let line = fs.mine("flock");
        assert_eq!((line.text("path"), line.dec("op")), ("/file", libc::LOCK_EX.into()));
        let handle = handle_of(&line);
        assert_eq!(flock(&other, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
        let line = fs.mine("flock");
        assert_eq!(line.dec("op"), (libc::LOCK_SH | libc::LOCK_NB).into());
        assert_ne!(handle_of(&line), handle);
        flock(&one, FlockOperation::Unlock).unwrap();
        assert_eq!(fs.mine("flock").dec("op"), libc::LOCK_UN.into());
        flock(&other, FlockOperation::NonBlockingLockShared).unwrap();
        fs.trace.take();
        drop(other);
        assert_eq!(fs.trace.wait("release").dec("flockrelease"), 1);
    }

    /// Without the operations the kernel does locks by itself.
    fn without_operations_locks_are_the_kernels(on) {
        let fs = Show::new().option("without=lock:flock").file("file", "").mount(on);
        let (one, other) = (opened(&fs, "file"), opened(&fs, "file"));
        fcntl_lock(&one, libc::F_OFD_SETLK, &mut lock_of(libc::F_WRLCK, 0, 0)).unwrap();
        let refused = fcntl_lock(&other, libc::F_OFD_SETLK, &mut lock_of(libc::F_RDLCK, 0, 0));
        assert_eq!(refused, Err(Errno::AGAIN));
        flock(&one, FlockOperation::LockExclusive).unwrap();
        assert_eq!(flock(&other, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
        assert!(!fs.ops().iter().any(|op| op.contains("lock")));
    }
}
