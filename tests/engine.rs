//! No request is stuck behind a callback, whatever callbacks do. The order of
//! events is what is checked, never their time.

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use support::mount::built;
use support::*;

fn read(file: &File, off: u64) -> String {
    let mut data = [0; 64];
    let length = file.read_at(&mut data, off).expect("read");
    String::from_utf8_lossy(&data[..length]).into_owned()
}

fn opened(fs: &Mount, name: &str) -> Arc<File> {
    Arc::new(File::open(fs.at(name)).expect("open"))
}

/// A client on `cpu` that reads `name` at `off`.
fn reader(fs: &Mount, cpu: usize, name: &str, off: u64) -> Pinned<String> {
    let file = opened(fs, name);
    pinned(cpu, move || read(&file, off))
}

/// `count` clients of one CPU whose requests are all parked, and then answered
/// by a thread that ends right after.
fn park(fs: &Mount, cpu: usize, count: u64) {
    let file = opened(fs, "park");
    let clients: Vec<_> = (0..count)
        .map(|i| {
            let file = file.clone();
            pinned(cpu, move || read(&file, i) == format!("park@{i}"))
        })
        .collect();
    fs.until("parked", count as i64);
    assert!(clients.iter().all(|client| !client.is_finished()));
    assert_eq!(reader(fs, cpu, "fast", 7).join().unwrap(), "fast@7");
    fs.command("release");
    assert!(clients.into_iter().all(|client| client.join().unwrap()), "each got its own answer");
}

/// Many requests for the root directory that are parked, after `before`, where the
/// kernel knows of a regular file or not.
fn park_at_the_root(fs: &Mount, with_file: bool, before: impl Fn(&Mount)) {
    const MANY: i64 = 100;
    let root = Arc::new(File::open(&fs.path).expect("open"));
    if with_file {
        std::fs::metadata(fs.at("fast")).expect("looked up");
    }
    before(fs);
    let client = || {
        let root = root.clone();
        pinned(cpus()[0], move || {
            let mut value = [0; 64];
            let length = rustix::fs::fgetxattr(&*root, "user.park", &mut value).expect("xattr");
            assert_eq!(&value[..length], b"user.park");
        })
    };
    let clients: Vec<_> = (0..MANY).map(|_| client()).collect();
    drop(root);
    fs.until("parked", MANY);
    fs.command("release");
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// What a thread, a forked child and a started program see of the CPUs.
fn check_masks(fs: &Mount) {
    let wanted = cpus().len().to_string();
    for cpu in cpus() {
        for name in ["mask_thread", "mask_fork", "mask_nproc"] {
            assert_eq!(reader(fs, cpu, name, 0).join().unwrap(), wanted, "{name} on CPU {cpu}");
        }
    }
}

/// Handler threads of rings that may run on one CPU only.
fn bound_handlers(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .filter(|status| status.starts_with("Name:\tfuse-ring-"))
        .filter(|status| {
            let allowed =
                status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
            !allowed.contains([',', '-'])
        })
        .count()
}

/// Handler threads of rings with the policy SCHED_IDLE, says the kernel.
fn yielding_handlers(pid: u32) -> usize {
    const POLICY: usize = 41 - 3; // proc_pid_stat(5), counted behind the name
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter_map(|stat| {
            let (name, rest) = stat.rsplit_once(") ")?;
            let policy = rest.split(' ').nth(POLICY)?;
            Some(name.contains("fuse-ring-") && policy == libc::SCHED_IDLE.to_string())
        })
        .filter(|&yields| yields)
        .count()
}

each_transport! {
    fn a_slow_handler_beside_fast_requests(on) {
        let fs = Server::new("engine_ll").mount(on);
        for cpu in cpus() {
            let slow = reader(&fs, cpu, "block", 1);
            fs.until("inside", 1);
            let file = opened(&fs, "fast");
            let fast = pinned(cpu, move || (0..1000).all(|i| read(&file, i) == format!("fast@{i}")));
            assert!(fast.join().unwrap());
            assert!(!slow.is_finished());
            assert_eq!(fs.command("unblock"), 0);
            assert_eq!(slow.join().unwrap(), "block@1");
        }
    }

    fn several_slow_handlers_beside_fast_requests(on) {
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        // Fewer than the 10 threads that libfuse has by default.
        let slow: Vec<_> = (0..8).map(|i| reader(&fs, cpu, "block", i)).collect();
        fs.until("inside", 8);
        for i in 0..100 {
            assert_eq!(reader(&fs, cpu, "fast", i).join().unwrap(), format!("fast@{i}"));
        }
        assert!(slow.iter().all(|slow| !slow.is_finished()));
        fs.command("unblock");
        let answers: BTreeSet<_> = slow.into_iter().map(|slow| slow.join().unwrap()).collect();
        assert_eq!(answers, (0..8).map(|i| format!("block@{i}")).collect());
    }

    /// Requests that waited when entries were registered are delivered, however
    /// long the threads behind the entries take.
    fn slow_threads_leave_no_request_behind(on) {
        if on == Transport::Dev {
            return skip("only rings have entries to be registered");
        }
        let slow = built("slow_rings.so");
        for _ in 0..3 {
            let fs = Server::new("engine_ll")
                .env("LD_PRELOAD", slow.to_str().expect("UTF-8"))
                .mount(on);
            let readers: Vec<_> =
                (0..9).map(|i| reader(&fs, cpus()[0], "block", i)).collect();
            fs.until("inside", 9);
            fs.command("unblock");
            readers.into_iter().for_each(|reader| drop(reader.join().unwrap()));
        }
    }

    fn two_handlers_that_wait_for_each_other(on) {
        for cpu in cpus() {
            let fs = Server::new("engine_ll").mount(on);
            let a = reader(&fs, cpu, "pair_a", 0);
            let b = reader(&fs, cpu, "pair_b", 0);
            assert_eq!(a.join().unwrap(), "pair_a@0");
            assert_eq!(b.join().unwrap(), "pair_b@0");
        }
    }

    fn handlers_that_wait_for_handlers_of_another_cpu(on) {
        let fs = Server::new("engine_ll").mount(on);
        let (first, last) = (cpus()[0], *cpus().last().unwrap());
        let a = reader(&fs, first, "pair_a", 0);
        fs.until("inside", 1);
        assert_eq!(reader(&fs, last, "pair_b", 0).join().unwrap(), "pair_b@0");
        assert_eq!(a.join().unwrap(), "pair_a@0");
    }

    fn cpu_mask_after_100_000_quiet_requests(on) {
        if cpus().len() < 2 {
            return skip("with one CPU every mask is the same");
        }
        let fs = Server::new("engine_ll").mount(on);
        let clients: Vec<_> = cpus()
            .into_iter()
            .map(|cpu| {
                let file = opened(&fs, "fast");
                pinned(cpu, move || (0..110_000).for_each(|i| drop(read(&file, i))))
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        if on == Transport::Ring {
            // Bound at a look of the keeper's and the request after it.
            client::eventually("quiet handlers to be bound to their CPUs", || {
                reader(&fs, cpus()[0], "fast", 1).join().unwrap();
                bound_handlers(fs.pid) > 0
            });
        }
        // The first one may be what tells the library that there are such things.
        client::eventually("handlers to be let go", || {
            reader(&fs, cpus()[0], "mask_thread", 0).join().unwrap();
            bound_handlers(fs.pid) == 0
        });
        check_masks(&fs);
        assert_eq!(bound_handlers(fs.pid), 0);
        if on == Transport::Ring {
            let log = fs.log();
            assert!(log.contains("not bound to their CPUs: the program has started a"), "{log}");
        }
    }

    /// Handlers that are bound to their clients' CPUs yield to them while there
    /// is much to do, but not where somebody else wants the CPU.
    fn busy_handlers_yield_to_clients_only(on) {
        if on == Transport::Dev {
            return skip("no handler is bound to a CPU there");
        }
        let fs = Server::new("engine_ll").env("RINGFUSE_PIN", "yes").mount(on);
        if !machine::is_root() {
            return skip("only who may raise priorities can stop yielding");
        }
        let cpu = cpus()[0];
        let over = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let client = {
            let (over, count, file) = (over.clone(), count.clone(), opened(&fs, "fast"));
            pinned(cpu, move || {
                while !over.load(Ordering::Relaxed) {
                    read(&file, 1);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        // Twice as many requests as make a handler a busy one, all the time.
        let (start, enough) = (Instant::now(), 2 * 12);
        while yielding_handlers(fs.pid) == 0 {
            let millis = start.elapsed().as_millis() as u64;
            if millis > 20_000 {
                let rate = count.load(Ordering::Relaxed) / millis;
                over.store(true, Ordering::Relaxed);
                client.join().unwrap();
                assert!(rate < enough, "{rate} requests a millisecond, and no handler yields");
                return skip(&format!("{rate} requests a millisecond: this machine is too slow"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        let hog = {
            let over = over.clone();
            pinned(cpu, move || while !over.load(Ordering::Relaxed) {})
        };
        client::eventually("handlers to be equals of the hog", || yielding_handlers(fs.pid) == 0);
        over.store(true, Ordering::Relaxed);
        client.join().unwrap();
        hog.join().unwrap();
        client::eventually("idle handlers to be equals", || yielding_handlers(fs.pid) == 0);
    }

    /// Readahead is served beside the reader, not on its CPU, while there is
    /// another one.
    fn a_stream_is_served_beside_its_reader(on) {
        if on == Transport::Dev || cpus().len() < 2 {
            return skip("no handler is bound to a CPU there, or there is one CPU only");
        }
        let fs = Server::new("engine_ll").env("RINGFUSE_PIN", "yes").mount(on);
        let over = Arc::new(AtomicBool::new(false));
        let client = {
            let (over, path) = (over.clone(), fs.at("stream"));
            pinned(cpus()[0], move || {
                let mut data = vec![0; 128 << 10];
                while !over.load(Ordering::Relaxed) {
                    let file = File::open(&path).expect("open");
                    for i in 0..64 {
                        file.read_exact_at(&mut data, i << 17).expect("read");
                    }
                }
            })
        };
        // Asking is a small request: not while it may be known from outside.
        let handlers = || process::threads_named(fs.pid, "fuse-ring-");
        let mask = || reader(&fs, cpus()[0], "mask", 0).join().unwrap();
        client::eventually("handlers that roam", || {
            handlers() > bound_handlers(fs.pid) && mask() == cpus().len().to_string()
        });
        over.store(true, Ordering::Relaxed);
        client.join().unwrap();
        // Small requests bring back who serves them. Idle threads stay where they
        // are until they serve again.
        client::eventually("bound handlers", || {
            let file = opened(&fs, "fast");
            pinned(cpus()[0], move || (0..200).for_each(|i| drop(read(&file, i)))).join().unwrap();
            mask() == "1"
        });
    }

    fn one_parked(on) {
        let fs = Server::new("engine_ll").mount(on);
        for cpu in cpus() {
            park(&fs, cpu, 1);
        }
    }

    fn a_thousand_parked_at_once(on) {
        let fs = Server::new("engine_ll").mount(on);
        // Entries of both CPUs have to fit into the addresses that 32 bits spare for them.
        let many = if narrow() { 450 } else { 1000 };
        park(&fs, cpus()[0], many);
        // And once more, when the engine has grown, on another CPU.
        park(&fs, *cpus().last().unwrap(), many);
    }

    /// Of a mount that this process may not use, or does not see, too. Where no file was
    /// looked up there is another way to have them delivered, for which the process
    /// must be somebody who may use the mount.
    fn parked_where_the_filesystem_may_not_call(on) {
        if !machine::is_root() {
            return skip("only root can become somebody else, and have mounts of its own");
        }
        let usual = || Server::new("engine_ll");
        for arg in ["-ofsname=x", "-s"] {
            for with_file in [false, true] {
                let fs = usual().arg(arg).mount(on);
                park_at_the_root(&fs, with_file, |_| ());
                let fs = usual().arg(arg).option("hide").mount(on);
                park_at_the_root(&fs, with_file, |_| ());
                let fs = usual().arg(arg).mount(on);
                park_at_the_root(&fs, with_file, Mount::unmount_lazily);
                // It ends with the last file.
                assert_eq!(fs.ended().result, Some(0));
            }
            let fs = usual().arg(arg).mount(on);
            park_at_the_root(&fs, true, |fs| assert_eq!(fs.command("become 65534"), 0));
        }
    }

    /// Then what is kept comes with other requests of that CPU; and nobody goes on trying.
    fn parked_where_nothing_helps(on) {
        if !machine::is_root() {
            return skip("only root can become somebody else");
        }
        for how in ["become 65534", "forbid ustat 1"] {
            let fs = Server::new("engine_ll").mount(on);
            let root = Arc::new(File::open(&fs.path).expect("open"));
            if fs.command(how) != 0 {
                return skip("this machine has no ustat(2)");
            }
            let clients: Vec<_> = (0..100)
                .map(|_| {
                    let root = root.clone();
                    pinned(cpus()[0], move || {
                        rustix::fs::fgetxattr(&*root, "user.park", &mut [0; 64]).expect("xattr")
                    })
                })
                .collect();
            // Those may have to wait for one another.
            let mut others = Vec::new();
            client::eventually("all to be delivered", || {
                let root = root.clone();
                others.push(pinned(cpus()[0], move || drop(rustix::fs::fstatvfs(&*root))));
                fs.command("parked") == 100
            });
            let said = "this process may not use its own mount, of which no file is known";
            if on == Transport::Ring {
                client::eventually("a line that says so", || fs.log().contains(said));
            }
            client::eventually("the last kicker to give up", || {
                process::threads_named(fs.pid, "fuse-kicker") == 0
            });
            fs.command("release");
            assert!(clients.into_iter().all(|client| client.join().unwrap() == 9));
            others.into_iter().for_each(|client| client.join().unwrap());
        }
    }

    /// Then those of the same CPU wait until some are answered, and nobody else does.
    fn more_parked_than_may_be(on) {
        if on == Transport::Dev {
            return skip("there is no bound there");
        }
        for (server, arg) in [
            (Server::new("engine_ll").option("io_uring_max_parked=20"), "-ofsname=x"),
            (Server::new("engine_ll").env("RINGFUSE_MAX_PARKED", "20"), "-s"),
        ] {
            let fs = server.arg(arg).mount(on);
            let (first, last) = (cpus()[0], *cpus().last().unwrap());
            // Nobody may open or close one on a CPU whose requests wait.
            let (park, fast) = (opened(&fs, "park"), opened(&fs, "fast"));
            let client = |cpu, file: &Arc<File>, off| {
                let file = file.clone();
                pinned(cpu, move || read(&file, off))
            };
            let mut clients: Vec<_> = (0..60).map(|i| client(first, &park, i)).collect();
            let said = || fs.log().matches("as many as may (see -o io_uring_max_parked").count();
            client::eventually("as many as may be", || said() == 1);
            let full = fs.command("parked");
            assert!((20..60).contains(&full), "{full} are parked");
            if first != last {
                assert_eq!(client(last, &fast, 1).join().unwrap(), "fast@1");
                clients.extend((60..70).map(|i| client(last, &park, i)));
                client::eventually("others to be parked", || fs.command("parked") >= full + 10);
                assert_eq!(client(last, &fast, 2).join().unwrap(), "fast@2");
            }
            assert!(clients.iter().all(|client| !client.is_finished()));
            client::eventually("all to be answered", || {
                fs.command("release");
                clients.iter().all(|client| client.is_finished())
            });
            for (i, client) in clients.into_iter().enumerate() {
                assert_eq!(client.join().unwrap(), format!("park@{i}"));
            }
            assert_eq!(client(first, &fast, 3).join().unwrap(), "fast@3");
            assert_eq!(said(), 1);
        }
    }

    fn parked_again_and_again(on) {
        let fs = Server::new("engine_ll").mount(on);
        for round in 0..30 {
            park(&fs, cpus()[round % cpus().len()], 20);
        }
    }

    /// One thread and one entry do not mean that parking stops anything.
    fn parked_in_a_serial_loop(on) {
        for serial in ["-s", "-omax_threads=1"] {
            let fs = Server::new("engine_ll").arg(serial).mount(on);
            park(&fs, cpus()[0], 300);
        }
    }

    fn an_answer_before_the_handler_returns(on) {
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        for round in 0..5 {
            // The client has its answer while the handler is still inside.
            assert_eq!(reader(&fs, cpu, "early", round).join().unwrap(), format!("early@{round}"));
            assert_eq!(fs.command("inside"), 1);
            assert_eq!(reader(&fs, cpu, "fast", round).join().unwrap(), format!("fast@{round}"));
            fs.command("unblock");
            fs.until("inside", 0);
        }
    }

    /// The handler has been at it for so long that nothing else moves any more.
    fn a_late_answer_before_the_handler_returns(on) {
        for serial in ["-ofsname=x", "-s"] {
            let fs = Server::new("engine_ll").arg(serial).mount(on);
            // Stays open: closing is a request, too.
            let file = opened(&fs, "early_250");
            let client = {
                let file = file.clone();
                pinned(cpus()[0], move || read(&file, 1))
            };
            assert_eq!(client.join().unwrap(), "early_250@1");
            assert_eq!(fs.command("inside"), 1);
            fs.command("unblock");
            fs.until("inside", 0);
        }
    }

    /// More lasting handlers than libfuse has threads, while nobody said a
    /// number: all make progress in the end.
    fn many_lasting_handlers(on) {
        let fs = Server::new("engine_ll").mount(on);
        let clients: Vec<_> = (0..64).map(|i| reader(&fs, cpus()[0], "sleep_10", i)).collect();
        for (i, client) in clients.into_iter().enumerate() {
            assert_eq!(client.join().unwrap(), format!("sleep_10@{i}"));
        }
        assert_eq!(fs.command("reads"), 64);
    }

    fn cpu_mask_of_what_a_callback_starts(on) {
        if cpus().len() < 2 {
            return skip("with one CPU every mask is the same");
        }
        let fs = Server::new("engine_ll").mount(on);
        check_masks(&fs);
        // After many calls in which nothing was started the library may think
        // that nothing ever is.
        for cpu in cpus() {
            let file = opened(&fs, "fast");
            pinned(cpu, move || (0..5000).for_each(|i| drop(read(&file, i)))).join().unwrap();
        }
        check_masks(&fs);
    }

    fn groups_of_the_client(on) {
        let fs = Server::new("engine_ll").mount(on);
        let groups = rustix::process::getgroups().unwrap().len();
        assert_eq!(reader(&fs, cpus()[0], "groups", 0).join().unwrap(), groups.to_string());
    }

    fn unused_descriptors_and_threads_stay_few(on) {
        let fs = Server::new("engine_ll").mount(on);
        assert_eq!(reader(&fs, cpus()[0], "fast", 0).join().unwrap(), "fast@0");
        let threads = process::threads(fs.pid);
        assert!(threads <= 8 + 2 * cpus().len(), "{threads} threads after one request");
    }

    fn descriptor_count_goes_with_threads_not_requests(on) {
        let fs = Server::new("engine_ll").mount(on);
        park(&fs, cpus()[0], 200);
        let before = fs.ring_counts().rings;
        for _ in 0..5 {
            park(&fs, cpus()[0], 200);
        }
        // On a slow machine, callbacks that last bring some threads.
        let after = fs.ring_counts().rings;
        assert!(after <= before + 50, "{before} rings, then {after} for 1000 requests more");
    }

    /// Every request of a busy mount is one submission and one completion.
    fn counted_from_outside(on) {
        let mut fs = Server::new("engine_ll").mount(on);
        fs.prove(5000);
        let before = fs.ring_counts();
        let clients: Vec<_> = cpus()
            .into_iter()
            .map(|cpu| {
                let file = opened(&fs, "fast");
                pinned(cpu, move || (0..5000).for_each(|i| drop(read(&file, i))))
            })
            .collect();
        let count = 5000 * clients.len() as u64;
        clients.into_iter().for_each(|client| client.join().unwrap());
        fs.check_served(before, count);
    }
}
