//! Every way for a session to end, and to begin again.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::mount::UnmountFlags;
use rustix::process::{kill_process, Pid, Signal};
use support::*;

/// A client that reads `name` on the first CPU.
fn reader(fs: &Mount, name: &str) -> Pinned<std::io::Result<String>> {
    let file = Arc::new(File::open(fs.at(name)).expect("open"));
    pinned(cpus()[0], move || {
        let mut data = [0; 64];
        let length = file.read_at(&mut data, 0)?;
        Ok(String::from_utf8_lossy(&data[..length]).into_owned())
    })
}

/// Clients that ask without end until they get an error.
fn load(fs: &Mount) -> Vec<Pinned<()>> {
    let clients = cpus().into_iter().cycle().take(2 * cpus().len()).map(|cpu| {
        let file = File::open(fs.at("fast")).expect("open");
        pinned(cpu, move || while file.read_at(&mut [0; 64], 0).is_ok() {})
    });
    let clients: Vec<_> = clients.collect();
    client::eventually("requests", || fs.command("reads") > 100);
    clients
}

fn force_unmount(fs: &Mount) {
    rustix::mount::unmount(&fs.path, UnmountFlags::FORCE | UnmountFlags::DETACH).expect("umount");
}

/// Ends the connection by the control filesystem, mounted where nobody else is.
fn abort(fs: &Mount) {
    use std::os::unix::fs::MetadataExt;
    let device = rustix::fs::minor(fs::metadata(&fs.path).expect("stat").dev());
    let dir = tempfile::tempdir().expect("a directory");
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("fusectl", dir.path(), "fusectl", none, None).expect("fusectl");
    let written = fs::write(dir.path().join(format!("{device}/abort")), "1");
    rustix::mount::unmount(dir.path(), UnmountFlags::DETACH).expect("umount");
    written.expect("abort");
}

/// Ends by `signal`; the loop returns its number.
fn end_by_signal(on: Transport, arg: &str, signal: Signal) {
    let fs = Server::new("engine_ll").arg(arg).mount(on);
    assert_eq!(reader(&fs, "fast").join().unwrap().unwrap(), "fast@0");
    let path = fs.path.clone();
    fs.signal(signal);
    let ending = fs.ended();
    assert_eq!(
        (ending.result, ending.status.code()),
        (Some(signal.as_raw()), Some(0)),
        "{ending:?}"
    );
    assert!(!process::mounted(&path));
}

each_transport! {
    fn unmount(on) {
        for arg in ["-s", "-ofsname=x", "-omax_threads=1", "-oclone_fd"].repeat(rounds().div_ceil(4)) {
            let fs = Server::new("engine_ll").arg(arg).mount(on);
            assert_eq!(reader(&fs, "fast").join().unwrap().unwrap(), "fast@0");
            fs.unmount();
            let ending = fs.ended();
            assert_eq!((ending.result, ending.status.code()), (Some(0), Some(0)), "{arg} {ending:?}");
        }
    }

    fn lazy_unmount_serves_on_until_the_last_close(on) {
        let fs = Server::new("engine_ll").mount(on);
        let file = File::open(fs.at("fast")).unwrap();
        fs.unmount_lazily();
        assert_eq!(file.read_at(&mut [0; 64], 3).unwrap(), "fast@3".len());
        assert!(process::alive(fs.pid));
        drop(file);
        assert_eq!(fs.ended().result, Some(0));
    }

    fn signals(on) {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP].repeat(rounds().div_ceil(3)) {
            end_by_signal(on, "-ofsname=x", signal);
        }
    }

    fn signals_in_a_serial_loop(on) {
        for arg in ["-s", "-omax_threads=1"].repeat(rounds().div_ceil(4)) {
            end_by_signal(on, arg, Signal::TERM);
        }
    }

    fn signal_under_load(on) {
        let fs = Server::new("engine_ll").mount(on);
        let clients = load(&fs);
        fs.signal(Signal::TERM);
        assert_eq!(fs.ended().result, Some(Signal::TERM.as_raw()));
        clients.into_iter().for_each(|client| client.join().unwrap());
    }

    fn exit_from_another_thread_while_idle(on) {
        if stock() {
            return skip("libfuse before 3.18 notices it with the next request");
        }
        for arg in ["-s", "-ofsname=x", "-omax_threads=1", "-oclone_fd"] {
            let fs = Server::new("engine_ll").arg(arg).mount(on);
            fs.last_command("exit");
            assert_eq!(fs.ended().result, Some(0), "{arg}");
        }
    }

    fn exit_from_another_thread_under_load(on) {
        let fs = Server::new("engine_ll").mount(on);
        let clients = load(&fs);
        fs.last_command("exit");
        assert_eq!(fs.ended().result, Some(0));
        clients.into_iter().for_each(|client| client.join().unwrap());
    }

    fn exit_inside_a_handler(on) {
        for _ in 0..rounds().div_ceil(2) {
            let fs = Server::new("engine_ll").mount(on);
            assert_eq!(reader(&fs, "exit").join().unwrap().unwrap(), "exit@0");
            if stock() {
                let _ = fs::metadata(fs.at("another_request"));
            }
            assert_eq!(fs.ended().result, Some(0));
        }
    }

    fn exit_waits_for_handlers(on) {
        let fs = Server::new("engine_ll").mount(on);
        let client = reader(&fs, "sleep_300");
        fs.until("inside", 1);
        fs.signal(Signal::TERM);
        assert_eq!(client.join().unwrap().unwrap(), "sleep_300@0");
        assert_eq!(fs.ended().result, Some(Signal::TERM.as_raw()));
    }

    fn exit_with_parked_requests(on) {
        // Once with very many, of which 32 bits have the addresses for fewer.
        let many = if narrow() { 450 } else { 1000 };
        for count in [many].into_iter().chain([20; 10]) {
            let fs = Server::new("engine_ll").mount(on);
            let file = Arc::new(File::open(fs.at("park")).unwrap());
            let park = || {
                let file = file.clone();
                pinned(cpus()[0], move || file.read_at(&mut [0; 64], 0))
            };
            let clients: Vec<_> = (0..count).map(|_| park()).collect();
            fs.until("parked", count);
            fs.signal(Signal::TERM);
            assert_eq!(fs.ended().result, Some(Signal::TERM.as_raw()));
            for client in clients {
                client.join().unwrap().expect_err("nobody answered");
            }
        }
    }

    /// The loop is over, the session is not: who calls now is served by another
    /// loop, or gets an error at the end.
    fn end_after_the_loop(on) {
        if stock() {
            return skip("libfuse before 3.18 notices an exit with the next request");
        }
        for round in 0..rounds().div_ceil(2) {
            let arg = ["-ofsname=x", "-s"][round % 2];
            let fs = Server::new("lifecycle_ll").arg(arg).option("loops=2").mount(on);
            let callers = |count| {
                let caller = |i: usize| {
                    let path = fs.at("file");
                    pinned(cpus()[i % cpus().len()], move || fs::read_to_string(path))
                };
                (0..count).map(caller).collect::<Vec<_>>()
            };
            // Some call while it ends, of which some are served; some then.
            let early = callers(4);
            fs.command("exit");
            fs.event("loop 0 exited 1");
            let late = callers(4);
            fs.command("end");
            for caller in early.into_iter().chain(late) {
                let text = caller.join().unwrap();
                assert!(text.is_err() || text.unwrap() == "contents\n");
            }
            assert_eq!(fs.ended().result, Some(0));
        }
    }

    /// The kernel ends what it waits for on a descriptor that is closed.
    fn parked_requests_outlive_their_workers(on) {
        let options = "clone_fd,max_idle_threads=1";
        let fs = Server::new("engine_ll").option(options).mount(on);
        let clients: Vec<_> = (1..=20)
            .map(|i| {
                let client = reader(&fs, "park");
                fs.until("parked", i);
                client
            })
            .collect();
        // On rings they stay.
        client::eventually("idle threads to end", || {
            on == Transport::Ring || process::threads(fs.pid) <= 6
        });
        fs.command("release");
        for client in clients {
            assert_eq!(client.join().unwrap().unwrap(), "park@0");
        }
    }

    /// The descriptors' numbers are those of other files then.
    fn an_answer_after_the_unmount(on) {
        for arg in ["-s", "-ofsname=x", "-oclone_fd"] {
            let fs = Server::new("lifecycle_ll").arg(arg).mount(on);
            let client = reader(&fs, "late");
            fs.until("late", 1);
            fs.signal(Signal::TERM);
            let said = fs.event("late ");
            let refused = if on == Transport::Dev { -libc::EBADF } else { 0 };
            assert_eq!(said, format!("late {refused} 0"), "{arg}");
            client.join().unwrap().expect_err("it came too late");
            assert!(fs.ended().status.success());
        }
    }

    fn abort_with_requests_in_every_state(on) {
        if !machine::is_root() {
            return skip("only root may end a connection by force");
        }
        for round in 0..rounds().div_ceil(2) {
            let fs = Server::new("engine_ll").mount(on);
            // Some of them with other requests going on.
            let clients = if round % 4 == 0 { load(&fs) } else { Vec::new() };
            let waiting: Vec<_> = (0..20)
                .map(|i| reader(&fs, if i % 4 == 0 { "block" } else { "park" }))
                .collect();
            fs.until("parked", 15);
            // Not "inside", which the load's handlers are for moments: one that only
            // begins after "unblock" would wait for another one.
            fs.until("blocked", 5);
            match round % 3 {
                0 => force_unmount(&fs),
                // Open files keep the mount, but not the connection.
                1 => drop(rustix::mount::unmount(&fs.path, UnmountFlags::FORCE)),
                _ => abort(&fs),
            }
            for client in waiting {
                client.join().unwrap().expect_err("the connection was aborted");
            }
            clients.into_iter().for_each(|client| client.join().unwrap());
            // Answers to what is gone do no harm.
            fs.command("release");
            fs.last_command("unblock");
            let ending = fs.ended();
            // libfuse sometimes takes the end of the connection for a failed read.
            if !stock() {
                let result = (ending.result, ending.status.code());
                assert_eq!(result, (Some(0), Some(0)), "{round}: {ending:?}");
            }
        }
    }

    /// Such as no more threads for a queue whose threads are all inside.
    fn nothing_is_done_for_what_is_gone(on) {
        if !machine::is_root() {
            return skip("only root may unmount by force");
        }
        let fs = Server::new("engine_ll").mount(on);
        let client = reader(&fs, "block");
        fs.until("blocked", 1);
        force_unmount(&fs);
        client.join().unwrap().expect_err("the connection was aborted");
        let (mut seen, mut same) = (Vec::new(), 0);
        client::eventually("threads that sleep", || {
            let mut now = process::switches(fs.pid);
            // The loop, which looks whether the handler has returned.
            now.retain(|&(thread, _)| thread != fs.pid);
            same = if now == seen { same + 1 } else { 0 };
            seen = now;
            same == 5
        });
        fs.last_command("unblock");
        assert_eq!(fs.ended().result, Some(0));
    }

    fn kill_9(on) {
        for name in ["park", "block"] {
            let fs = Server::new("engine_ll").mount(on);
            let clients: Vec<_> = (0..10).map(|_| reader(&fs, name)).collect();
            fs.until(if name == "park" { "parked" } else { "inside" }, 10);
            let path = fs.path.clone();
            fs.signal(Signal::KILL);
            for client in clients {
                client.join().unwrap().expect_err("the server is dead");
            }
            fs::metadata(path.join("another")).expect_err("the server is dead");
            let ending = fs.ended();
            assert_eq!((ending.result, ending.status.signal()), (None, Some(9)));
        }
    }

    /// Whatever the engine does at that moment for requests that wait.
    fn kill_9_again_and_again(on) {
        for _ in 0..rounds() {
            let fs = Server::new("engine_ll").mount(on);
            let clients: Vec<_> = (0..10).map(|_| reader(&fs, "park")).collect();
            fs.until("parked", 10);
            fs.signal(Signal::KILL);
            for client in clients {
                client.join().unwrap().expect_err("the server is dead");
            }
            assert_eq!(fs.ended().status.signal(), Some(9));
        }
    }

    fn kill_9_under_load(on) {
        for _ in 0..rounds().div_ceil(4) {
            let fs = Server::new("engine_ll").mount(on);
            let clients = load(&fs);
            fs.signal(Signal::KILL);
            clients.into_iter().for_each(|client| client.join().unwrap());
            assert_eq!(fs.ended().status.signal(), Some(9));
        }
    }

    /// A child that a handler forked, and that has closed all descriptors, or the
    /// only one it knows of, must not keep clients of the dead server waiting; on
    /// rings nor one that has closed none.
    fn kill_9_with_a_forked_child(on) {
        for name in ["hold_child", "hold_child_fd", "hold_child_all"] {
            if on == Transport::Dev && name == "hold_child_all" {
                // As libfuse's: it could answer, and notify.
                return skip("children have the descriptor of the connection there");
            }
            for arg in ["-ofsname=x", "-s"] {
                let fs = Server::new("engine_ll").arg(arg).mount(on);
                let child = reader(&fs, name).join().unwrap().unwrap();
                let client = reader(&fs, "park");
                fs.until("parked", 1);
                let child = Pid::from_raw(child.parse().unwrap()).unwrap();
                fs.signal(Signal::KILL);
                client.join().unwrap().expect_err("the server is dead");
                fs::metadata(fs.at("another")).expect_err("the server is dead");
                assert!(process::alive(child.as_raw_nonzero().get() as u32), "{name} {arg}");
                kill_process(child, Signal::KILL).expect("kill");
                assert_eq!(fs.ended().status.signal(), Some(9));
            }
        }
    }

    fn loop_exit_reset_loop_again(on) {
        if stock() {
            return skip("libfuse before 3.18 notices an exit with the next request");
        }
        for arg in ["-ofsname=x", "-s", "-omax_threads=1"] {
            let mut fs = Server::new("lifecycle_ll").arg(arg).option("loops=4").mount(on);
            for round in 0..3 {
                assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "contents\n");
                if round == 1 {
                    fs.signal(Signal::TERM);
                    fs.event("loop 15 exited 1");
                } else {
                    fs.command("exit");
                    fs.event("loop 0 exited 1");
                }
                // Nobody serves now; whoever asks waits for the next loop.
                let path = fs.at("file");
                let waiting = std::thread::spawn(move || fs::read_to_string(path));
                std::thread::sleep(std::time::Duration::from_millis(20));
                assert!(!waiting.is_finished());
                fs.command("go");
                assert_eq!(waiting.join().unwrap().unwrap(), "contents\n");
                fs.prove(64);
            }
        }
    }

    fn loops_of_both_kinds_in_turn(on) {
        if stock() {
            return skip("libfuse before 3.18 notices an exit with the next request");
        }
        for arg in ["-ofsname=x", "-s"] {
            let mut fs = Server::new("lifecycle_ll")
                .arg(arg)
                .option("loops=4")
                .option("alternate")
                .mount(on);
            for _ in 0..3 {
                assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "contents\n");
                fs.command("exit");
                fs.event("loop 0 exited 1");
                fs.command("go");
                fs.prove(64);
            }
        }
    }

    /// A request that was fetched when the loop was told to exit is served by the next
    /// one, and whatever was answered before has arrived.
    fn requests_between_two_loops(on) {
        if stock() {
            return skip("libfuse before 3.18 notices an exit with the next request");
        }
        let (first, last) = (cpus()[0], *cpus().last().unwrap());
        let fs = Server::new("lifecycle_ll").arg("-s").option("loops=6").mount(on);
        for _ in 0..5 {
            let held = |cpu| {
                let path = fs.at("held");
                pinned(cpu, move || {
                    let direct = fs::OpenOptions::new()
                        .read(true)
                        .custom_flags(libc::O_DIRECT)
                        .open(path)
                        .expect("open");
                    let length = direct.read_at(&mut [0; 512], 0).expect("read");
                    // Closed by who joins: that is a request, which would help.
                    (length, direct)
                })
            };
            let one_before = held(first);
            fs.until("inside", 1);
            // These are delivered together, once that one has returned.
            let two = [held(first), held(last)];
            std::thread::sleep(Duration::from_millis(50));
            fs.command("let");
            let one_before = one_before.join().unwrap();
            fs.until("inside", 1);
            fs.command("exit");
            fs.command("let");
            fs.event("loop 0 exited 1");
            client::eventually("one of two to have its answer", || {
                two.iter().any(|client| client.is_finished())
            });
            fs.command("go");
            fs.until("inside", 1);
            fs.command("let");
            let two = two.map(|client| client.join().unwrap());
            assert!(two.into_iter().chain([one_before]).all(|(length, _)| length == 9));
            assert_eq!(fs::metadata(fs.at("file")).unwrap().len(), 9);
        }
    }

    /// Who comes first is luck.
    fn an_exit_together_with_a_request(on) {
        if stock() {
            return skip("libfuse before 3.18 notices an exit with the next request");
        }
        const ROUNDS: usize = 40;
        let loops = format!("loops={}", ROUNDS + 1);
        let fs = Server::new("lifecycle_ll").arg("-s").option(&loops).mount(on);
        for _ in 0..ROUNDS {
            fs.stop();
            let path = fs.at("file");
            let client = pinned(cpus()[0], move || fs::metadata(path).map(|file| file.len()));
            std::thread::sleep(Duration::from_millis(10));
            fs.last_command("exit");
            fs.signal(Signal::CONT);
            fs.event("loop 0 exited 1");
            // That also answers 0, so it does not matter which answer is whose.
            fs.command("go");
            client::eventually("the answer", || client.is_finished());
            assert_eq!(client.join().unwrap().unwrap(), 9);
            // Only the next loop answers this: it runs.
            assert_eq!(fs::metadata(fs.at("file")).unwrap().len(), 9);
        }
    }

    fn two_hundred_mounts_in_one_process(on) {
        // One arena that gives everything back at once: what it then still
        // has is in use.
        let fs = Server::new("lifecycle_ll")
            .option("mounts=200")
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_MMAP_THRESHOLD_", "65536")
            .env("MALLOC_TRIM_THRESHOLD_", "65536")
            .mount(on);
        let mut usage = Vec::new();
        for round in 0..200 {
            if round > 0 {
                fs.event("mounted");
            }
            assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "contents\n");
            if round % 2 == 0 && !stock() {
                fs.command("exit");
            } else {
                fs.unmount();
            }
            let line = fs.event("ended 0 ");
            let number = |key: &str| -> i64 {
                let value = line.split(key).nth(1).expect("the key").split(' ').next();
                value.expect("a value").parse().expect("a number")
            };
            usage.push(["fds=", "threads=", "maps=", "kbytes="].map(number));
        }
        assert_eq!(fs.ended().result, Some(0));
        // What the first rounds set up once may stay. A thread that was joined is
        // still seen for a moment, hence the least of ten rounds.
        let least = |rounds: &[[i64; 4]]| -> [i64; 4] {
            std::array::from_fn(|i| rounds.iter().map(|round| round[i]).min().expect("rounds"))
        };
        let (early, late) = (least(&usage[11..21]), least(&usage[190..200]));
        assert_eq!((late[0], late[1]), (early[0], early[1]), "descriptors, threads: {early:?} {late:?}");
        if machine::checked() {
            return skip("memory: the checker that watches the filesystem keeps what is freed");
        }
        assert!(late[2] <= early[2] + 4, "mappings: {early:?} {late:?}");
        assert!(late[3] <= early[3] + 256, "memory: {early:?} {late:?}");
    }

    fn many_mounts_at_once(on) {
        let mounts: Vec<_> = (0..12).map(|_| Server::new("engine_ll").mount(on)).collect();
        for fs in &mounts {
            assert_eq!(reader(fs, "fast").join().unwrap().unwrap(), "fast@0");
        }
    }

    fn daemon(on) {
        let fs = Server::new("engine_ll").mount_daemon(on);
        for _ in 0..10 {
            assert_eq!(reader(&fs, "fast").join().unwrap().unwrap(), "fast@0");
        }
    }
}
