//! What a system can refuse, at each step: then `/dev/fuse` serves, and a line says
//! why; or the session ends, and nobody waits any more. Never does anything hang.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use support::machine::{device, is_root, rings, rings_stay_on, with_setting};
use support::mount::built;
use support::*;

/// The arguments for a loop with threads, and for a serial one.
const SHAPES: [&str; 2] = ["-ofsname=x", "-s"];

/// Skips tests that need ringfuse, a mount and rings.
fn possible() -> bool {
    let reason = device().and_then(|()| rings());
    reason.inspect_err(|reason| skip(reason)).is_ok()
}

/// How many CPUs there may be, of which each has an entry registered at first.
fn possible_cpus() -> usize {
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible").expect("CPUs");
    possible.trim().rsplit(['-', ',']).next().unwrap().parse::<usize>().expect("a number") + 1
}

/// Sessions one after the other in one process, of which each serves, on `on`, and
/// says why.
fn serve_in_turn(server: Server, rounds: usize, on: Transport, why: &str) {
    let _stays_on = rings_stay_on();
    let fs = server.option(&format!("mounts={rounds}")).mount_expecting(on);
    for round in 0..rounds {
        if round > 0 {
            fs.event("mounted");
        }
        assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "contents\n");
        fs.unmount();
        if rounds > 1 {
            fs.event("ended 0 ");
        }
    }
    let log = fs.log();
    assert_eq!(fs.ended().result, Some(0));
    let lines: Vec<_> = log.lines().filter(|line| line.contains("transport")).collect();
    assert_eq!(lines.len(), rounds, "{log}");
    let start = format!("ringfuse: transport {}: ", on.name());
    for line in lines {
        assert!(line.starts_with(&start) && line.contains(why), "'{why}' is not said: {line}");
    }
}

/// A filesystem whose io_uring calls of the kind `call` are answered with `errno`.
fn filtered(program: &str, call: &str, errno: i32) -> Server {
    let filtered = built("filtered");
    Server::new(program).under(&[filtered.to_str().expect("UTF-8"), &format!("{errno}:{call}")])
}

/// A filesystem some of whose ring entries are refused; see `ring_faults.c`.
fn refusing(program: &str, errno: i32, from: usize, every: usize) -> Server {
    let library = built("ring_faults.so");
    Server::new(program)
        .env("LD_PRELOAD", library.to_str().expect("UTF-8"))
        .env("RING_FAULTS", &format!("{errno}:{from}:{every}"))
}

/// Whether entries can be refused here.
fn can_refuse() -> bool {
    let reason = match () {
        () if !possible() => return false,
        () if narrow() => "the library that refuses entries is for 64 bits",
        () if machine::checked() => "a checker's library has to be loaded first",
        () => return true,
    };
    skip(reason);
    false
}

fn read(file: &File) -> std::io::Result<String> {
    let mut data = [0; 64];
    let length = file.read_at(&mut data, 0)?;
    Ok(String::from_utf8_lossy(&data[..length]).into_owned())
}

/// Clients of one CPU that read `name`, or get the error with which that was opened.
fn readers(fs: &Mount, name: &str, count: usize) -> Vec<Pinned<std::io::Result<String>>> {
    let file = Arc::new(File::open(fs.at(name)));
    let reader = |_| {
        let file = file.clone();
        pinned(cpus()[0], move || match &*file {
            Ok(file) => read(file),
            Err(error) => Err(error.kind().into()),
        })
    };
    (0..count).map(reader).collect()
}

/// The filesystem ends by itself with `errno`, and its clients get errors.
fn ends(fs: Mount, clients: Vec<Pinned<std::io::Result<String>>>, errno: i32) {
    for client in clients {
        client.join().unwrap().expect_err("the session has ended");
    }
    let path = fs.path.clone();
    let ending = fs.ended();
    assert_eq!((ending.result, ending.status.code()), (Some(-errno), Some(0)), "{ending:?}");
    assert!(!process::mounted(&path));
}

/// By a seccomp filter, each of io_uring's calls, from the beginning.
#[test]
fn calls_are_refused() {
    if !possible() {
        return;
    }
    for (call, errno, why) in [
        ("setup", libc::EPERM, "io_uring is forbidden to this process"),
        ("setup", libc::ENOSYS, "io_uring is not there"),
        ("setup", libc::ENOMEM, "io_uring got no memory"),
        ("setup", libc::EMFILE, "io_uring got no descriptor"),
        ("register", libc::EPERM, "io_uring is forbidden to this process"),
        ("register", libc::ENOMEM, "io_uring got no memory"),
        ("enter", libc::EPERM, "io_uring is forbidden to this process"),
        ("enter", libc::ENOSYS, "io_uring is not there"),
    ] {
        for shape in SHAPES {
            let rounds = if call == "setup" { rounds() } else { rounds().div_ceil(2) };
            let server = filtered("lifecycle_ll", call, errno).arg(shape);
            serve_in_turn(server, rounds, Transport::Dev, why);
        }
    }
}

/// By the administrator, to all.
#[test]
fn the_sysctl_is_off() {
    if !possible() {
        return;
    }
    let sysctl = Path::new("/proc/sys/kernel/io_uring_disabled");
    if !is_root() || !sysctl.exists() {
        return skip("only root may change kernel.io_uring_disabled, which this kernel may lack");
    }
    let fs = with_setting(sysctl, "2", || Server::new("engine_ll").mount_while_off());
    let line = fs.transport_line();
    assert!(line.contains("sysctl kernel.io_uring_disabled = 2"), "{line}");
}

/// Rings are locked memory, of which a user has so much: none, or enough for a few.
#[test]
fn little_memory_may_be_locked() {
    if !possible() {
        return;
    }
    let setpriv = ["setpriv", "--bounding-set=-ipc_lock"];
    let works = Command::new(setpriv[0]).args([setpriv[1], "true"]).output();
    if !is_root() || !works.is_ok_and(|output| output.status.success()) {
        return skip("it takes root, and a setpriv(1) that gives up the right to lock memory");
    }
    let limited = |bytes: usize| {
        let limit = format!("--memlock={bytes}:{bytes}");
        Server::new("engine_ll").under(&[setpriv[0], setpriv[1], "prlimit", &limit])
    };
    let fs = limited(0).mount_expecting(Transport::Dev);
    assert!(fs.transport_line().contains("no memory (see ulimit -l)"), "{}", fs.log());
    // By pages, as it is not told what a ring takes.
    let mut enough = 0;
    let least = loop {
        enough += 16 << 10;
        let fs = limited(enough).mount_and_no_more();
        let line = fs.transport_line();
        if line.contains("transport ring") {
            break fs;
        }
        assert!(line.contains("no memory") && enough < 1 << 20, "{enough}: {line}");
    };
    keeps_and_blocks(&least);
}

/// Requests are kept, and others wait inside for long, whatever threads there can be.
fn keeps_and_blocks(fs: &Mount) {
    let parked = readers(fs, "park", 100);
    fs.until("parked", 100);
    let inside = readers(fs, "block", 3);
    fs.until("blocked", 3);
    assert_eq!(read(&File::open(fs.at("fast")).unwrap()).unwrap(), "fast@0");
    fs.command("unblock");
    fs.command("release");
    for client in parked.into_iter().chain(inside) {
        client.join().unwrap().expect("an answer");
    }
}

/// The kernel takes none of the first entries, or not all.
#[test]
fn entries_are_refused_at_first() {
    if !can_refuse() {
        return;
    }
    for shape in SHAPES {
        // By the kernel itself, each time.
        let server = refusing("lifecycle_ll", 0, 0, 0).arg(shape);
        serve_in_turn(server, rounds(), Transport::Dev, "refused to register ring entries: ");
        // All from one on, but not what takes the connection back.
        for from in 0..possible_cpus() {
            let every = possible_cpus() - from + 1;
            let server = refusing("lifecycle_ll", libc::ENOMEM, from, every).arg(shape);
            serve_in_turn(server, 1, Transport::Dev, "refused to register ring entries: ");
        }
    }
}

/// Before INIT has got through, as with synchronous INIT: entries are offered again.
#[test]
fn entries_come_too_early() {
    if !can_refuse() {
        return;
    }
    for shape in SHAPES {
        let server = refusing("lifecycle_ll", libc::EAGAIN, 0, 5).arg(shape);
        serve_in_turn(server, rounds(), Transport::Ring, "");
    }
}

/// Nothing about rings gets through to the kernel's FUSE, which waits for them: no
/// request would ever be served.
#[test]
fn no_entry_comes_through() {
    if !can_refuse() {
        return;
    }
    for shape in SHAPES {
        for _ in 0..rounds().div_ceil(2) {
            let fs = refusing("engine_ll", libc::EACCES, 0, 0).arg(shape).mount_and_no_more();
            let path = fs.at("fast");
            let client = std::thread::spawn(move || fs::metadata(path).is_err());
            eventually("the line that says so", || {
                fs.log().contains("the kernel waits for ring entries that it does not take")
            });
            assert!(client.join().unwrap(), "there is nothing to be served");
            ends(fs, Vec::new(), libc::EACCES);
        }
    }
}

/// Requests are kept, so that there must be more entries, and the kernel takes none.
#[test]
fn entries_are_refused_later() {
    if !can_refuse() {
        return;
    }
    for errno in [0, libc::ENOMEM, libc::EOPNOTSUPP] {
        for shape in SHAPES {
            for _ in 0..rounds().div_ceil(6) {
                let fs =
                    refusing("engine_ll", errno, possible_cpus(), 0).arg(shape).mount_and_no_more();
                // Few requests: on a slow machine a callback lasts, and brings the refusal.
                let clients = readers(&fs, "park", 3);
                let errno = if errno == 0 { libc::EINVAL } else { errno };
                ends(fs, clients, errno);
            }
        }
    }
}

/// A program locks itself up when its rings run.
#[test]
fn rings_may_not_be_used_any_more() {
    if !possible() {
        return;
    }
    for errno in [libc::EPERM, libc::ENOSYS] {
        for shape in SHAPES {
            for _ in 0..rounds().div_ceil(4) {
                let fs = Server::new("engine_ll").arg(shape).mount(Transport::Ring);
                let waiting = readers(&fs, "park", 5);
                fs.until("parked", 5);
                assert_eq!(fs.command(&format!("forbid enter {errno}")), 0);
                // The next request is the last one that comes through.
                let _ = fs::metadata(fs.at("fast"));
                ends(fs, waiting, errno);
            }
        }
    }
}

/// A program locks itself up, and needs more rings later: those that there are serve.
#[test]
fn no_ring_is_made_any_more() {
    if !possible() {
        return;
    }
    for (call, errno) in
        [("setup", libc::EPERM), ("setup", libc::ENOMEM), ("register", libc::ENOMEM)]
    {
        let fs = Server::new("engine_ll").mount(Transport::Ring);
        assert_eq!(fs.command(&format!("forbid {call} {errno}")), 0);
        keeps_and_blocks(&fs);
    }
}
