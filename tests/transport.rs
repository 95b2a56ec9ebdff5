//! Which transport serves, who decides it, and how one learns of it.

mod support;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;

use support::machine::{device, is_root, rings, with_rings_off};
use support::mount::built;
use support::*;

/// Skips tests that need ringfuse, a mount and rings.
fn possible() -> bool {
    let reason = if stock() {
        Err("the library under test is libfuse".to_string())
    } else {
        device().and_then(|()| rings())
    };
    reason.inspect_err(|reason| skip(reason)).is_ok()
}

/// Mounts, checks from outside who serves, and that the log says so and why.
fn check(server: Server, on: Transport, why: &str) {
    let fs = server.mount_expecting(on);
    let line = fs.transport_line();
    assert!(line.starts_with(&format!("ringfuse: transport {}: ", on.name())), "{line}");
    assert!(line.contains(why), "'{why}' is not the reason in: {line}");
}

fn server() -> Server {
    Server::new("engine_ll")
}

#[test]
fn rings_are_on_by_themselves() {
    if possible() {
        check(server(), Transport::Ring, "");
        check(server().env("RINGFUSE_TRANSPORT", "auto"), Transport::Ring, "");
    }
}

#[test]
fn asked_for() {
    if possible() {
        check(server().env("RINGFUSE_TRANSPORT", "ring"), Transport::Ring, "");
        check(server().option("io_uring"), Transport::Ring, "");
        check(server().env("FUSE_URING_ENABLE", "1"), Transport::Ring, "");
    }
}

#[test]
fn refused() {
    if possible() {
        check(server().env("RINGFUSE_TRANSPORT", "dev"), Transport::Dev, "RINGFUSE_TRANSPORT");
        check(server().option("no_io_uring"), Transport::Dev, "no_io_uring");
        check(server().env("FUSE_URING_ENABLE", "0"), Transport::Dev, "FUSE_URING_ENABLE");
    }
}

#[test]
fn a_small_max_write_leaves_room_for_attributes() {
    if possible() {
        let small = || Server::new("trace_ll").option("max_write=8192");
        check(small(), Transport::Dev, "max_write");
        check(Server::new("trace_ll").option("max_write=131072"), Transport::Ring, "");
    }
}

#[test]
fn the_program_is_told() {
    if possible() {
        let queues = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
        let queues: i64 =
            queues.trim().rsplit(['-', ',']).next().unwrap().parse::<i64>().unwrap() + 1;
        let told = |fs: Mount| fs.command("told");
        assert_eq!(told(server().mount(Transport::Ring)), 2000 + queues);
        assert_eq!(told(server().mount(Transport::Dev)), 1000);
    }
}

#[test]
fn queue_depths() {
    if possible() {
        for depth in ["1", "4", "32"] {
            check(server().option(&format!("io_uring_q_depth={depth}")), Transport::Ring, "");
            check(server().env("FUSE_URING_QUEUE_DEPTH", depth), Transport::Ring, "");
        }
    }
}

/// An option that means nothing is an error; a variable is told, and ignored.
#[test]
fn bounds_of_what_is_parked() {
    if !possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for value in ["0", "many", ""] {
        let option = format!("io_uring_max_parked={value}");
        let output = Command::new(built("engine_ll"))
            .arg(directory.path())
            .args(["-f", "-o", &option])
            .output()
            .expect("engine_ll");
        assert_eq!(output.status.code(), Some(1), "{option}: {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(&format!("invalid parameter in option `{option}'")), "{text}");
    }
    for value in ["0", "-1", "many"] {
        let fs = server().env("RINGFUSE_MAX_PARKED", value).mount(Transport::Ring);
        let line = format!("RINGFUSE_MAX_PARKED={value}: must be a number");
        assert!(fs.log().contains(&line), "{}", fs.log());
    }
    check(server().option("io_uring_max_parked=1"), Transport::Ring, "");
}

#[test]
fn the_module_parameter_is_off() {
    if !possible() {
        return;
    }
    if !is_root() {
        return skip("only root may switch enable_uring off");
    }
    for word in ["auto", "ring"] {
        let fs = with_rings_off(|| server().env("RINGFUSE_TRANSPORT", word).mount_while_off());
        let line = fs.transport_line();
        assert!(line.starts_with("ringfuse: transport dev: "), "{line}");
        assert!(line.contains("enable_uring"), "{line}");
    }
}

/// What forbids rings leads to /dev/fuse, and to a line that says so.
#[test]
fn too_few_descriptors() {
    if possible() {
        // What stdio, the trace and /dev/fuse need, and one more.
        check(server().under(&["prlimit", "--nofile=6:6"]), Transport::Dev, "");
    }
}

/// Rings that started serve on when there is no descriptor for another one.
#[test]
fn descriptors_run_out_later() {
    if !possible() {
        return;
    }
    let fs = server().under(&["prlimit", "--nofile=11:11"]).mount(Transport::Ring);
    let file = Arc::new(File::open(fs.at("park")).unwrap());
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let file = file.clone();
            pinned(cpus()[0], move || file.read_at(&mut [0; 64], 0).unwrap())
        })
        .collect();
    fs.until("parked", 100);
    assert_eq!(File::open(fs.at("fast")).unwrap().read_at(&mut [0; 64], 0).unwrap(), 6);
    fs.command("release");
    assert!(clients.into_iter().all(|client| client.join().unwrap() == 6));
}

each_transport! {
    /// Descriptors are for threads, of which there are few, not for CPUs.
    fn few_descriptors_for_many_cpus(on) {
        let possible = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
        let last = possible.trim().rsplit(['-', ',']).next().unwrap().parse::<usize>().unwrap();
        if stock() || last < 63 {
            return skip("fewer than 64 CPUs are possible (the lab has a machine), or libfuse");
        }
        let fs = server().under(&["prlimit", "--nofile=64:64"]).mount(on);
        let file = |name: &str| Arc::new(File::open(fs.at(name)).unwrap());
        let (park, block) = (file("park"), file("block"));
        for cpu in cpus() {
            let client = |file: &Arc<File>| {
                let file = file.clone();
                pinned(cpu, move || file.read_at(&mut [0; 64], 0).unwrap())
            };
            let parked: Vec<_> = (0..50).map(|_| client(&park)).collect();
            fs.until("parked", 50);
            let inside: Vec<_> = (0..4).map(|_| client(&block)).collect();
            fs.until("blocked", 4);
            fs.command("release");
            fs.command("unblock");
            assert!(parked.into_iter().all(|client| client.join().unwrap() == 6));
            assert!(inside.into_iter().all(|client| client.join().unwrap() == 7));
        }
    }

    fn statistics_at_the_end(on) {
        if stock() {
            return skip("only ringfuse has statistics");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stats");
        let fs = server().env("RINGFUSE_STATS", path.to_str().unwrap()).mount(on);
        fs.unmount();
        assert_eq!(fs.ended().result, Some(0));
        let text = fs::read_to_string(&path).unwrap();
        let values: HashMap<_, _> = text.lines().filter_map(|line| line.split_once(' ')).collect();
        assert_eq!(values["transport"], on.name());
        assert!(!values["reason"].is_empty());
        let requests = |name: &str| values[name].parse::<u64>().unwrap();
        assert!(requests("threads_peak") >= 1, "{text}");
        match on {
            Transport::Dev => {
                assert!(requests("dev_requests") >= 64, "{text}");
                assert_eq!((requests("ring_requests"), requests("queues")), (0, 0));
            }
            Transport::Ring => {
                assert!(requests("ring_requests") >= 64, "{text}");
                assert!(requests("queues") >= cpus().len() as u64);
            }
        }
    }
}
