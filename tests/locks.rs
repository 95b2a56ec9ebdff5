//! Record locks and flock: their arguments, conflicts, waiting, and what
//! happens to them when a file is closed.

mod support;

use std::fs::{File, OpenOptions};

use rustix::fs::{flock, FlockOperation};
use rustix::io::{dup, Errno};
use support::raw::{catch_interrupts, fcntl_lock, interrupt, lock_of};
use support::*;

fn opened(fs: &Mount, name: &str) -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(fs.at(name))
        .expect("open");
    fs.trace.take();
    file
}

each_transport! {
    fn setlk_arguments(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = opened(&fs, "file");
        for (kind, start, length) in [
            (libc::F_RDLCK, 0, 10),
            (libc::F_WRLCK, 7, 1),
            (libc::F_WRLCK, 5, 0), // to the end
            (libc::F_WRLCK, 0, 0),
            (libc::F_UNLCK, 0, 10),
        ] {
            fcntl_lock(&file, libc::F_SETLK, &mut lock_of(kind, start, length)).unwrap();
            let line = fs.trace.one("setlk");
            assert_eq!((line.dec("type"), line.dec("start"), line.dec("len")), (kind.into(), start.into(), length.into()));
            assert_eq!((line.dec("sleep"), line.dec("whence")), (0, 0));
            assert_eq!(line.hex("fh") >> 48, 0xfeed);
            assert_ne!(line.hex("owner"), 0);
            if kind != libc::F_UNLCK {
                assert_eq!(line.dec("lock_pid"), std::process::id().into());
            }
        }
        let taken = fcntl_lock(&file, libc::F_SETLK, &mut lock_of(libc::F_WRLCK, 2000, 1));
        assert_eq!(taken, Err(Errno::AGAIN));
    }

    fn getlk(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = opened(&fs, "file");
        let mut lock = lock_of(libc::F_WRLCK, 900, 500);
        fcntl_lock(&file, libc::F_GETLK, &mut lock).unwrap();
        let line = fs.trace.one("getlk");
        assert_eq!((line.dec("start"), line.dec("len")), (900, 500));
        assert_eq!(line.dec("type"), libc::F_WRLCK.into());
        assert_eq!((lock.l_start, lock.l_len, i32::from(lock.l_type)), (1000, 100, libc::F_WRLCK));
        let mut lock = lock_of(libc::F_WRLCK, 5000, 0);
        fcntl_lock(&file, libc::F_GETLK, &mut lock).unwrap();
        assert_eq!(fs.trace.one("getlk").dec("len"), 0);
        assert_eq!(i32::from(lock.l_type), libc::F_UNLCK);
    }

    fn open_file_description_locks(on) {
        let fs = Server::new("trace_ll").mount(on);
        let (a, b) = (opened(&fs, "file"), opened(&fs, "file"));
        let mut owners = Vec::new();
        for file in [&a, &b] {
            fcntl_lock(file, libc::F_OFD_SETLK, &mut lock_of(libc::F_RDLCK, 0, 10)).unwrap();
            owners.push(fs.trace.one("setlk").hex("owner"));
        }
        assert_ne!(owners[0], owners[1]);
    }

    fn waiting_for_a_lock(on) {
        let fs = Server::new("trace_ll").mount(on);
        let files: Vec<_> = (0..20).map(|_| opened(&fs, "file")).collect();
        let waiting: Vec<_> = files
            .into_iter()
            .map(|file| pinned(cpus()[0], move || {
                fcntl_lock(&file, libc::F_SETLKW, &mut lock_of(libc::F_WRLCK, 3000, 10))
            }))
            .collect();
        fs.until("waiting", 20);
        let lines = fs.trace.all("setlk");
        assert!(lines.iter().all(|line| line.dec("sleep") == 1 && line.dec("start") == 3000));
        assert!(waiting.iter().all(|thread| !thread.is_finished()));
        assert_eq!(fs.command("grant"), 20);
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    }

    fn interrupted_while_waiting(on) {
        catch_interrupts();
        let fs = Server::new("trace_ll").mount(on);
        let file = opened(&fs, "file");
        let waiting = pinned(cpus()[0], move || {
            fcntl_lock(&file, libc::F_SETLKW, &mut lock_of(libc::F_WRLCK, 3000, 10))
        });
        fs.until("waiting", 1);
        interrupt(&waiting);
        assert_eq!(waiting.join().unwrap(), Err(Errno::INTR));
        fs.until("waiting", 0);
    }

    fn flock_operations(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = opened(&fs, "file");
        for (operation, traced) in [
            (FlockOperation::NonBlockingLockShared, libc::LOCK_SH | libc::LOCK_NB),
            (FlockOperation::NonBlockingLockExclusive, libc::LOCK_EX | libc::LOCK_NB),
            (FlockOperation::LockExclusive, libc::LOCK_EX),
            // Unlocking never waits, which the kernel says with LOCK_NB.
            (FlockOperation::Unlock, libc::LOCK_UN | libc::LOCK_NB),
        ] {
            flock(&file, operation).unwrap();
            let line = fs.trace.one("flock");
            assert_eq!(line.dec("op") | i128::from(libc::LOCK_NB), i128::from(traced | libc::LOCK_NB));
            if operation == FlockOperation::LockExclusive {
                assert_eq!(line.dec("op"), traced.into());
            }
            assert_eq!(line.hex("fh") >> 48, 0xfeed);
        }
        let file = opened(&fs, "fail_flock_11");
        assert_eq!(flock(file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
    }

    fn release_tells_of_a_flock(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = opened(&fs, "file");
        flock(&file, FlockOperation::LockShared).unwrap();
        let owner = fs.trace.one("flock").hex("owner");
        drop(file);
        let line = fs.trace.wait("release");
        assert_eq!((line.dec("flock_release"), line.hex("owner")), (1, owner));
    }

    fn flush_names_the_owner_of_record_locks(on) {
        let fs = Server::new("trace_ll").mount(on);
        let file = opened(&fs, "file");
        fcntl_lock(&file, libc::F_SETLK, &mut lock_of(libc::F_WRLCK, 0, 10)).unwrap();
        let owner = fs.trace.one("setlk").hex("owner");
        drop(dup(&file).unwrap());
        let flushes = fs.trace.all("flush").into_iter().filter(|line| line.dec("pid") == me());
        let owners: Vec<_> = flushes.map(|line| line.hex("owner")).collect();
        assert_eq!(owners, [owner]);
    }

    fn without_lock_operations_the_kernel_locks(on) {
        let fs = Server::new("trace_ll").option("no_lock").mount(on);
        let (a, b) = (opened(&fs, "file"), opened(&fs, "file"));
        flock(&a, FlockOperation::LockExclusive).unwrap();
        assert_eq!(flock(&b, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
        fcntl_lock(&a, libc::F_OFD_SETLK, &mut lock_of(libc::F_WRLCK, 2000, 10)).unwrap();
        let taken = fcntl_lock(&b, libc::F_OFD_SETLK, &mut lock_of(libc::F_WRLCK, 2005, 1));
        assert_eq!(taken, Err(Errno::AGAIN));
        assert!(fs.trace.take().iter().all(|line| !line.op.contains("lk") && line.op != "flock"));
    }
}
