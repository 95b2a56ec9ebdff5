//! Programs that drive the session themselves, with fuse_session_receive_buf()
//! and fuse_session_process_buf(). Rings are on meanwhile where the kernel has
//! them: such a session must not use them.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use support::*;

const LOOPS: [&str; 8] = ["block", "epoll", "own", "threads", "cancel", "fork", "late", "pipe"];

fn server(kind: &str) -> Server {
    server_of("loop_ll".as_ref(), kind)
}

fn server_of(program: &Path, kind: &str) -> Server {
    if machine::device().is_ok() && !stock() {
        let _ = machine::rings();
    }
    Server::new(program.to_str().expect("UTF-8"))
        .env("LOOP", kind)
        .env("RINGFUSE_TRANSPORT", "ring")
}

/// Whether mounts can be made here.
fn ready() -> bool {
    match machine::device() {
        Ok(()) => true,
        Err(reason) => {
            skip(&reason);
            false
        }
    }
}

fn read(fs: &Mount, name: &str) -> std::io::Result<String> {
    let file = File::open(fs.at(name))?;
    let mut data = [0; 64];
    let length = file.read_at(&mut data, 0)?;
    Ok(String::from_utf8_lossy(&data[..length]).into_owned())
}

/// A client that reads `name`.
fn reader(fs: &Mount, name: &str) -> Pinned<std::io::Result<String>> {
    let file = Arc::new(File::open(fs.at(name)).expect("open"));
    pinned(cpus()[0], move || {
        let mut data = [0; 64];
        let length = file.read_at(&mut data, 0)?;
        Ok(String::from_utf8_lossy(&data[..length]).into_owned())
    })
}

/// `loop_ll` as it was compiled against libfuse 3.16 or older: its `struct
/// fuse_buf` has 40 bytes. It runs on our libfuse3.so.3.
fn old_binary() -> Result<PathBuf, String> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ask = |what: &[&str]| {
        let mut command = Command::new("pkg-config");
        command.args(what).arg("fuse3").env_remove("PKG_CONFIG_PATH");
        match command.output() {
            Ok(output) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            _ => Err("libfuse3-dev and pkg-config are not installed".to_string()),
        }
    };
    let version = ask(&["--modversion"])?;
    let minor = version.trim().split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor >= 17) {
        return Err(format!("the installed libfuse3-dev is {}, not 3.16 or older", version.trim()));
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loop_ll-so3");
    let sources = ["loop_ll.c", "engine_ll.c", "serve.c"].map(|f| project.join("tests/fs").join(f));
    let output = Command::new("cc")
        .args(["-O1", "-w", "-o"])
        .arg(&program)
        .args(sources)
        .args(ask(&["--cflags", "--libs"])?.split_whitespace())
        .args(machine::checker_link_args())
        .arg("-pthread")
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}

/// Serves, parks, and answers from another thread.
fn exercise(fs: &Mount, kind: &str) {
    assert_eq!(read(fs, "fast").unwrap(), "fast@0");
    // A large answer, which is one message.
    let file = File::open(fs.at("zeros")).unwrap();
    let mut data = vec![1; 1 << 20];
    file.read_exact_at(&mut data, 0).unwrap();
    assert!(data.iter().all(|&byte| byte == 0));
    drop(file);
    let forked = ["fork", "late"].contains(&kind);
    if forked {
        // The child has its own memory: commands do not reach it.
        assert_ne!(read(fs, "pid").unwrap(), fs.pid.to_string());
    } else {
        assert_eq!(read(fs, "pid").unwrap(), fs.pid.to_string());
        let parked: Vec<_> = (0..3).map(|_| reader(fs, "park")).collect();
        fs.until("parked", 3);
        assert_eq!(read(fs, "fast").unwrap(), "fast@0");
        fs.command("release");
        parked.into_iter().for_each(|client| assert_eq!(client.join().unwrap().unwrap(), "park@0"));
    }
    if ["threads", "cancel"].contains(&kind) {
        // Two callbacks that wait for each other.
        let (a, b) = (reader(fs, "pair_a"), reader(fs, "pair_b"));
        assert_eq!(
            (a.join().unwrap().unwrap(), b.join().unwrap().unwrap()),
            ("pair_a@0".into(), "pair_b@0".into())
        );
    }
    if !stock() {
        let line = fs.transport_line();
        assert!(line.ends_with("transport dev: the program drives its own loop"), "{line}");
    }
    assert_eq!(process::ring_counts(fs.pid).rings, 0);
}

fn ends_well(fs: Mount, kind: &str) {
    let ending = fs.ended();
    assert_eq!((ending.result, ending.status.code()), (Some(0), Some(0)), "{kind}: {ending:?}");
}

#[test]
fn every_loop_until_the_unmount() {
    if !ready() {
        return;
    }
    for kind in LOOPS {
        let fs = server(kind).mount_expecting(Transport::Dev);
        exercise(&fs, kind);
        fs.unmount();
        ends_well(fs, kind);
    }
}

#[test]
fn programs_of_libfuse_3_16_and_older() {
    if !ready() {
        return;
    }
    if stock() {
        return skip("libfuse is such a library itself");
    }
    let program = match old_binary() {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let libraries = std::env::var("RINGFUSE_TEST_LIBDIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/build").into());
    for kind in ["block", "own", "threads", "pipe"] {
        let fs = server_of(&program, kind).env("LD_LIBRARY_PATH", &libraries);
        let fs = fs.mount_expecting(Transport::Dev);
        exercise(&fs, kind);
        fs.unmount();
        ends_well(fs, kind);
    }
}

/// With an idle mount, with a parked request, and under load.
#[test]
fn exit_in_every_state() {
    if !ready() {
        return;
    }
    for kind in ["block", "epoll", "own", "threads", "cancel", "pipe"] {
        let idle = server(kind).mount_expecting(Transport::Dev);
        idle.last_command("stop");
        ends_well(idle, kind);

        let busy = server(kind).mount_expecting(Transport::Dev);
        let parked = reader(&busy, "park");
        busy.until("parked", 1);
        let file = File::open(busy.at("fast")).expect("open");
        let load = pinned(cpus()[0], move || while file.read_at(&mut [0; 64], 0).is_ok() {});
        let before = busy.command("reads");
        eventually("reads", || busy.command("reads") > before + 50);
        busy.last_command("stop");
        ends_well(busy, kind);
        load.join().unwrap();
        assert!(parked.join().unwrap().is_err());
    }
}

#[test]
fn exit_inside_a_callback() {
    if !ready() {
        return;
    }
    for kind in ["block", "epoll", "threads"] {
        let fs = server(kind).mount_expecting(Transport::Dev);
        assert_eq!(read(&fs, "exit").unwrap(), "exit@0");
        ends_well(fs, kind);
    }
}

#[test]
fn a_signal_interrupts() {
    if !ready() {
        return;
    }
    let fs = server("block").mount_expecting(Transport::Dev);
    eventually("an interrupted receive", || {
        fs.signal(Signal::USR1);
        assert_eq!(read(&fs, "fast").unwrap(), "fast@0");
        fs.command("interrupted") > 0
    });
    fs.unmount();
    ends_well(fs, "block");
}

#[test]
fn a_descriptor_that_does_not_block_beside_a_timer() {
    if !ready() {
        return;
    }
    let fs = server("epoll").mount_expecting(Transport::Dev);
    exercise(&fs, "epoll");
    fs.unmount();
    let words = fs.event("events");
    let mut numbers = words.split(' ').skip(2).map(|word| word.parse::<u32>().unwrap());
    assert!(numbers.next() > Some(0), "no EAGAIN: {words}");
    assert!(numbers.next() > Some(0), "no timer: {words}");
    ends_well(fs, "epoll");
}

/// The program has mounted by itself and passes the descriptor as /dev/fd/N.
#[test]
fn a_descriptor_that_was_mounted_by_somebody_else() {
    if !ready() {
        return;
    }
    if !machine::is_root() {
        return skip("only root may call mount(2)");
    }
    for kind in ["block", "epoll", "threads", "fork"] {
        let fs = server(kind).env("FD", "1").mount_expecting(Transport::Dev);
        exercise(&fs, kind);
        let path = fs.path.clone();
        fs.unmount();
        ends_well(fs, kind);
        assert!(!process::mounted(&path));
    }
    // The library's loop serves such a descriptor, too.
    let fs = server("session").env("FD", "1").env("RINGFUSE_TRANSPORT", "dev");
    let fs = fs.mount_expecting(Transport::Dev);
    assert_eq!(read(&fs, "fast").unwrap(), "fast@0");
    fs.unmount();
    ends_well(fs, "session");
}

each_transport! {
    /// On rings this cannot work, which is told instead of waiting for ever.
    fn after_the_loop_of_the_library(on) {
        let fs = server("after").mount(on);
        assert_eq!(read(&fs, "fast").unwrap(), "fast@0");
        if stock() {
            return skip("libfuse before 3.18 notices the exit with the next request");
        }
        fs.command("stop");
        fs.event("library's loop 0");
        if on == Transport::Dev {
            assert_eq!(read(&fs, "fast").unwrap(), "fast@0");
            fs.unmount();
            ends_well(fs, "after");
        } else {
            fs.event("events");
            assert!(fs.log().contains("cannot take over a session"), "{}", fs.log());
            assert_eq!(fs.ended().result, Some(-libc::EOPNOTSUPP));
        }
    }
}
