//! `ringfuse status`: the mounts there are, in the sessions' own words.

#[path = "support/command.rs"]
mod command;
mod support;
#[path = "tool_status/theirs.rs"]
mod theirs;
#[path = "tool_status/waiting.rs"]
mod waiting;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use command::*;
use serde_json::Value;
use support::client::PATIENCE;
use support::machine::{device, is_root, rings};
use support::*;
use tempfile::TempDir;
use theirs::{Theirs, NOBODY};
use waiting::{init, Waiting};

/// What the session's log line gives as its reason.
fn reason(fs: &Mount) -> String {
    let line = fs.transport_line();
    line.splitn(3, ": ").nth(2).expect("a reason").to_owned()
}

fn number(row: &Value, name: &str) -> u64 {
    row["counters"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {row:#}"))
}

fn requests(row: &Value) -> u64 {
    number(row, "dev_requests") + number(row, "ring_requests")
}

/// The row about `fs` is what the session itself says.
fn in_its_own_words(fs: &Mount) -> Value {
    let row = row(&fs.path).expect("a row of this mount");
    assert_eq!(row["pid"], fs.pid, "{row:#}");
    assert_eq!(row["transport"], fs.on.name(), "{row:#}");
    assert_eq!(row["reason"], reason(fs), "{row:#}");
    row
}

each_transport! {
    /// A distribution's filesystem, on ours: served, and in the list.
    fn a_filesystem_is_run_and_listed(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let program = match stock_filesystem() {
            Ok(program) => program,
            Err(reason) => return skip(&reason),
        };
        let script = format!("shift; exec {} run {} \"$@\"", tool().display(), program.display());
        let fs = Server::new("engine_ll").under(&["sh", "-c", &script, "sh"]).mount(on);
        assert!(fs.transport_line().contains(on.name()));
        let row = in_its_own_words(&fs);
        assert_eq!(row["program"], program.to_str().unwrap());
        // Known where fusectl is mounted.
        let waiting = format!("/sys/fs/fuse/connections/{}/waiting", row["connection"]);
        assert_eq!(row.get("waiting").is_some(), Path::new(&waiting).exists(), "{row}");
        assert!(row["handler_threads"].as_u64().unwrap() > 0, "{row}");
        match on {
            Transport::Ring => {
                let possible = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
                let last = possible.trim().rsplit(['-', ',']).next().unwrap().parse::<u64>().unwrap();
                assert_eq!(row["queues"], last + 1);
                let rings = process::ring_counts(fs.pid);
                assert_eq!(row["rings"]["descriptors"], rings.rings as u64);
                assert!(row["rings"]["completed"].as_u64().unwrap() >= 64, "{row}");
                assert!(number(&row, "ring_requests") >= 64, "{row}");
                let queues = row["counters"]["queues"].as_array().unwrap();
                assert_eq!(queues.len() as u64, last + 1);
                let sum: u64 = queues.iter().map(|queue| queue["requests"].as_u64().unwrap()).sum();
                assert_eq!(sum, number(&row, "ring_requests"));
                assert!(number(&row, "entries") > last, "{row}");
            }
            Transport::Dev => {
                assert_eq!(reason(&fs), "RINGFUSE_TRANSPORT=dev");
                assert_eq!(row["queues"], 0);
                assert!(row.get("rings").is_none(), "{row}");
                assert!(number(&row, "dev_requests") >= 64, "{row}");
                assert_eq!(number(&row, "ring_requests"), 0);
            }
        }
    }

    /// The numbers are those of now, also while the session serves.
    fn the_numbers_go_on(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let fs = Server::new("engine_ll").mount(on);
        let before = in_its_own_words(&fs);
        const MORE: u64 = 500;
        for _ in 0..MORE {
            rustix::fs::statvfs(&fs.path).unwrap();
        }
        let after = in_its_own_words(&fs);
        let more = requests(&after) - requests(&before);
        // A few more may be FORGETs and kicks.
        assert!((MORE..MORE + 100).contains(&more), "{before:#} {after:#}");
        assert_eq!(number(&after, "parked"), 0);

        let clients: Vec<_> = (0..20).map(|i| reader(&fs, "park", i)).collect();
        fs.until("parked", 20);
        eventually("20 parked requests", || {
            number(&in_its_own_words(&fs), "parked") == 20
        });
        fs.command("release");
        clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
        let row = in_its_own_words(&fs);
        assert_eq!(number(&row, "parked"), 0, "{row:#}");
        if on == Transport::Ring {
            assert_eq!(number(&row, "foreign_answers"), 20, "{row:#}");
        }
    }

    fn in_a_serial_loop(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let fs = Server::new("engine_ll").arg("-s").mount(on);
        let row = in_its_own_words(&fs);
        assert_eq!(row["handler_threads"], 1, "{row:#}");
        assert!(requests(&row) >= 64, "{row:#}");
    }

    /// What keeps the session from showing itself keeps nothing else from working,
    /// and nothing is made up.
    fn what_is_not_shown_is_not_known(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let dir = TempDir::with_prefix("ringfuse-tool-").unwrap();
        let filtered = compiled(dir.path(), "filtered", "tool/filtered.c");
        let filtered = filtered.to_str().unwrap();
        for (wrapper, env) in [
            (&["env"][..], Some(("RINGFUSE_STATUS", "no"))),
            (&[filtered, "1:memfd"], None),
            (&[filtered, "38:memfd"], None),
            (&["prlimit", "--fsize=4096"], None),
            (&["prlimit", "--nofile=60"], None),
        ] {
            let mut server = Server::new("engine_ll").under(wrapper);
            if let Some((name, value)) = env {
                server = server.env(name, value);
            }
            let fs = server.mount(on);
            let row = row(&fs.path).expect("a row of this mount");
            assert_eq!(row["pid"], fs.pid, "{row:#}");
            assert_eq!(row["transport"], on.name(), "{wrapper:?}: {row:#}");
            assert_eq!(row["reason"], Value::Null, "{wrapper:?}: {row:#}");
            assert!(row.get("counters").is_none(), "{wrapper:?}: {row:#}");
        }
    }

    /// Of each queue, too.
    fn the_queues_in_their_own_words(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        const SLEEP: u64 = 20_000_000;
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        let files = ["zeros", "sleep_20"].map(|name| File::open(fs.at(name)).expect("open"));
        let files = Arc::new(files);
        let its_files = files.clone();
        let client = pinned(cpu, move || {
            (0..100).for_each(|_| its_files[0].read_exact_at(&mut [0; 4096], 0).expect("read"));
            its_files[1].read_at(&mut [0; 64], 0).expect("read")
        });
        assert!(client.join().unwrap() > 0);
        let name = if on == Transport::Ring { cpu as i64 } else { -1 };
        // On /dev/fuse a client has its answer before the operation has returned.
        fs.until(&format!("queue {name} handling"), 0);
        let row = in_its_own_words(&fs);
        let queue = match on {
            Transport::Ring => &row["counters"]["queues"][cpu],
            Transport::Dev => &row["counters"]["dev"],
        };
        let count = |name: &str| queue[name].as_u64().expect("a number");
        assert!(count("requests") >= 101, "{queue:#}");
        assert!(count("bytes_in") >= 101 * (40 + 40), "{queue:#}");
        assert!(count("bytes_out") >= 100 * 4096, "{queue:#}");
        assert!(count("threads") >= 1 && count("threads_peak") >= 1, "{queue:#}");
        // It may be more by now: other tests start children, which close our files.
        for what in ["requests", "bytes_in", "bytes_out", "entries", "entries_used_peak"] {
            assert!(fs.command(&format!("queue {name} {what}")) as u64 >= count(what), "{what}");
        }
        assert!(count("handler_time") >= SLEEP, "{queue:#}");
        let times = queue["handler_times"].as_array().expect("classes");
        let slow = |class: &&Value| class["below"].as_u64().is_none_or(|below| below > SLEEP);
        let slow: u64 = times.iter().filter(slow).filter_map(|class| class["operations"].as_u64()).sum();
        assert!(slow >= 1, "{queue:#}");
    }

    /// What is written comes in.
    fn written_bytes(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        const BYTES: u64 = 3 << 20;
        let fs = Server::new("trace_ll").mount(on);
        let bytes_in = || {
            let row = in_its_own_words(&fs);
            let counters = &row["counters"];
            let queues = counters["queues"].as_array().cloned().unwrap_or_default();
            let bytes = |queue: &Value| queue["bytes_in"].as_u64().expect("bytes");
            queues.iter().map(bytes).sum::<u64>() + bytes(&counters["dev"])
        };
        let before = bytes_in();
        fs::write(fs.at("new"), vec![7; BYTES as usize]).unwrap();
        let more = bytes_in() - before;
        assert!((BYTES..BYTES + (1 << 20)).contains(&more), "{more} bytes");
    }

    /// The descriptor is gone, the memory is not.
    fn a_program_that_closes_all_descriptors(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        if !is_root() {
            return skip("only root may look into any process");
        }
        let fs = Server::new("shown_ll").env("SHOWN", "closed").mount(on);
        assert!(page_of(fs.pid).is_none(), "the descriptor is still there");
        assert!(requests(&in_its_own_words(&fs)) >= 64);
    }

    /// Each of the sessions of a process has its own.
    fn two_sessions_in_a_process(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let dir = TempDir::with_prefix("ringfuse-tool-").unwrap();
        let _lazily = Lazily(dir.path().to_owned());
        let fs = Server::new("shown_ll")
            .env("SHOWN", "two")
            .env("SHOWN_SECOND", dir.path().to_str().unwrap())
            .mount(on);
        let status = status();
        let first = row_in(&status, &fs.path).expect("a row of the first");
        let second = row_in(&status, dir.path()).expect("a row of the second");
        assert_eq!((&first["pid"], &second["pid"]), (&fs.pid.into(), &fs.pid.into()));
        assert_eq!(first["transport"], on.name());
        assert_eq!((&second["transport"], &second["reason"]), (&"dev".into(), &"option no_io_uring".into()));
        assert!(requests(&first) >= 64 && requests(&second) < 64, "{status:#}");
    }
}

fn reader(fs: &Mount, name: &str, i: u64) -> Pinned<usize> {
    let file = Arc::new(File::open(fs.at(name)).expect("open"));
    pinned(cpus()[0], move || file.read_at(&mut [0; 64], i).expect("read"))
}

/// The descriptor that status looks for.
fn page_of(pid: u32) -> Option<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc/PID/fd").flatten();
    let is_one = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|target| {
            target.to_str().is_some_and(|name| name.starts_with("/memfd:ringfuse-status"))
        })
    };
    entries.map(|entry| entry.path()).find(is_one)
}

#[test]
fn status_lists_each_mount_with_its_own() {
    if let Err(reason) = device().and_then(|()| rings()) {
        return skip(&reason);
    }
    let on_rings = Server::new("engine_ll").mount(Transport::Ring);
    let on_dev = Server::new("trace_ll").option("no_io_uring").mount_expecting(Transport::Dev);
    for fs in [&on_rings, &on_dev] {
        in_its_own_words(fs);
    }
    assert_eq!(row(&on_dev.path).unwrap()["reason"], "option no_io_uring");
    let output = Command::new(tool()).arg("status").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains('\x1b'), "colours without a terminal: {text}");
    for fs in [&on_rings, &on_dev] {
        let lines = format!("{}  {}  ", fs.path.display(), fs.on.name());
        let of_this = text.split_once(&lines).unwrap_or_else(|| panic!("{text}")).1;
        assert_eq!(of_this.lines().nth(1).unwrap().trim(), reason(fs));
        let amounts = of_this.lines().nth(4).unwrap();
        assert!(amounts.contains(" bytes out, half of the operations took <"), "{text}");
    }
    let path = on_rings.path.clone();
    drop(on_rings);
    assert!(row(&path).is_none());
}

/// Mounts of libfuse are none of ours.
#[test]
fn status_leaves_out_other_libraries() {
    if let Err(reason) = device() {
        return skip(&reason);
    }
    let program = match stock_filesystem() {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let script = format!("shift; exec {} \"$@\"", program.display());
    let fs = Server::new("engine_ll")
        .under(&["sh", "-c", &script, "sh"])
        .mount_expecting(Transport::Dev);
    if fs.log().contains("ringfuse: transport") {
        return skip("ringfuse is installed in the place of the system's libfuse3");
    }
    assert!(row(&fs.path).is_none());
    assert!(status()["other_mounts"].as_u64().unwrap() >= 1);
}

/// A daemon: the session was made before the fork, its loop is the child's.
#[test]
fn a_daemon() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    let fs = Server::new("engine_ll").mount_daemon(Transport::Dev);
    let row = row(&fs.path).expect("a row of this mount");
    assert_eq!((&row["pid"], &row["transport"]), (&fs.pid.into(), &"dev".into()));
    assert_eq!(row["reason"], "RINGFUSE_TRANSPORT=dev");
    assert!(requests(&row) >= 64, "{row:#}");
}

/// Programs with loops of their own, also in children of theirs.
#[test]
fn own_loops() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    for kind in ["block", "threads", "fork", "late"] {
        let fs = Server::new("loop_ll").env("LOOP", kind).mount_expecting(Transport::Dev);
        let row = row(&fs.path).expect("a row of this mount");
        assert_eq!(row["transport"], "dev", "{kind}: {row:#}");
        assert_eq!(row["reason"], reason(&fs), "{kind}: {row:#}");
        assert_eq!(row["handler_threads"], 0, "{kind}: {row:#}");
        assert!(requests(&row) >= 64, "{kind}: {row:#}");
        if kind == "fork" || kind == "block" {
            let mut text = [0; 20];
            let file = File::open(fs.at("pid")).expect("open");
            let length = file.read_at(&mut text, 0).expect("the pid of who serves");
            assert_eq!(row["pid"].to_string().as_bytes(), &text[..length], "{kind}: {row:#}");
        }
    }
}

/// Messages by the program's own functions, from a mount that it made itself.
#[test]
fn custom_io() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    if !is_root() {
        return skip("only root may call mount(2)");
    }
    let fs = Server::new("custom_ll").mount_expecting(Transport::Dev);
    let row = row(&fs.path).expect("a row of this mount");
    assert_eq!((&row["transport"], &row["pid"]), (&"custom".into(), &fs.pid.into()));
    assert_eq!(row["reason"], reason(&fs));
    assert!(number(&row, "dev_requests") >= 64, "{row:#}");
}

/// The same without a mount: here the test is the kernel. The session is in the list
/// all the same.
#[test]
fn custom_io_without_a_mount() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    let (kernel, theirs) = UnixDatagram::pair().unwrap();
    kernel.set_read_timeout(Some(PATIENCE)).unwrap();
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
    let dir = TempDir::with_prefix("ringfuse-tool-").unwrap();
    let log = dir.path().join("log");
    let mut child = Command::new(mount::built("custom_ll"))
        .arg(dir.path())
        .arg("-f")
        .env("CUSTOM_FD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .expect("custom_ll");
    let input = child.stdin.take();
    drop(theirs);
    kernel.send(&init()).unwrap();
    let mut answer = [0; 4096];
    let answered = kernel.recv(&mut answer);
    let status = status();
    drop((kernel, input));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answered.is_ok(), "{answered:?}: {}", fs::read_to_string(&log).unwrap());
    let rows = status["mounts"].as_array().expect("mounts");
    let row = rows.iter().find(|row| row["pid"] == child.id()).expect("a row");
    assert!(row["mount_point"].is_null() && row["connection"].is_null(), "{row:#}");
    assert_eq!(row["transport"], "custom");
    let line = format!("ringfuse: transport custom: {}", row["reason"].as_str().expect("text"));
    assert!(fs::read_to_string(&log).unwrap().contains(&line), "{row:#}");
    assert_eq!(number(row, "dev_requests"), 1, "{row:#}");
}

/// Mounted, and nobody has answered INIT.
#[test]
fn before_the_loop() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    let fs = Waiting::start("late");
    eventually("a row", || row(&fs.point).is_some_and(|row| row["transport"] == "none"));
    let before = row(&fs.point).unwrap();
    assert_eq!((&before["reason"], &before["pid"]), (&Value::Null, &fs.pid().into()));
    fs.go_on();
    eventually("the loop", || row(&fs.point).is_some_and(|row| row["transport"] == "dev"));
    fs.ends();
}

/// A process that has lost its mount has none, though the number of its connection is
/// another mount's by now.
#[test]
fn after_the_loop() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    let old = Waiting::start("stays");
    eventually("the loop", || row(&old.point).is_some_and(|row| row["transport"] == "dev"));
    eventually("the unmount", || {
        mount::umount(&old.point, rustix::mount::UnmountFlags::empty()).is_ok()
    });
    let shows = |status: &Value| {
        let rows = status["mounts"].as_array().expect("mounts").clone();
        rows.iter().any(|row| row["pid"] == old.pid())
    };
    eventually("the end of the loop", || is_gone(old.pid()));
    let new = Server::new("engine_ll").mount(Transport::Dev);
    let status = status();
    assert!(!shows(&status), "{status:#}");
    assert_eq!(row_in(&status, &new.path).expect("a row")["pid"], new.pid);
    old.go_on();
    old.ends();
}

/// What the process's page says of its connection.
fn is_gone(pid: u32) -> bool {
    const GONE: usize = 32;
    let page = page_of(pid).and_then(|path| fs::read(path).ok()).expect("a page");
    page[GONE] == 1
}

/// A user sees their own, and is told that there are others.
#[test]
fn of_another_user() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    if !is_root() {
        return skip("only root can be somebody else");
    }
    let fs = Server::new("engine_ll").mount(Transport::Dev);
    let status = status_under(&NOBODY);
    assert!(row_in(&status, &fs.path).is_none(), "{status:#}");
    assert!(status["other_mounts"].as_u64().unwrap() >= 1, "{status:#}");
    assert_eq!(status["as_root"], false);
    let output = Command::new(NOBODY[0]).args(&NOBODY[1..]).arg(tool()).arg("status").output();
    let text = String::from_utf8(output.expect("setpriv").stdout).unwrap();
    assert!(text.contains("only root may look into"), "{text}");
}

/// Who is not root sees what their own processes serve.
#[test]
fn of_an_ordinary_user() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    if !is_root() {
        return skip("only root can be somebody else, and mount for them");
    }
    let theirs = Theirs::mount();
    let row = || row_in(&status_under(&NOBODY), &theirs.point);
    // Before it has a session, its transport is what it looks like from outside.
    eventually("INIT", || row().is_some_and(|row| row["reason"] == "RINGFUSE_TRANSPORT=dev"));
    let row = row().unwrap();
    assert_eq!((&row["pid"], &row["transport"]), (&theirs.pid().into(), &"dev".into()));
    assert!(number(&row, "dev_requests") >= 1, "{row:#}");
}

/// Anybody may name a piece of memory so; it is not believed about a mount that its
/// process has no descriptor of.
#[test]
fn a_page_of_somebody_elses() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    let fs = Server::new("engine_ll").mount(Transport::Dev);
    let mine = in_its_own_words(&fs);
    let file =
        rustix::fs::memfd_create("ringfuse-status", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(file);
    let page = page_of(fs.pid).expect("a page");
    let mut bytes = fs::read(page).unwrap();
    assert_eq!(&bytes[..8], b"ringfuse");
    // By which it is found where the kernel does not tell a descriptor's connection.
    const MOUNT_POINT: usize = 592;
    assert!(bytes[MOUNT_POINT..].starts_with(fs.path.to_str().unwrap().as_bytes()));
    const REASON: usize = 80;
    bytes[REASON..REASON + 5].copy_from_slice(b"lies\0");
    file.write_all_at(&bytes, 0).unwrap();
    assert_eq!(in_its_own_words(&fs)["reason"], mine["reason"]);
}
