//! Concurrency is the program's word: how many handlers run at once, with
//! clients on all CPUs.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;

use support::*;

/// Lets `clients` clients on every CPU read a file whose handler lasts 3 ms;
/// returns how many handlers there were at once at most.
fn peak(fs: &Mount, clients: usize, reads: u64) -> i64 {
    fs.command("peak"); // sets it back
    let threads: Vec<_> = cpus()
        .into_iter()
        .cycle()
        .take(clients * cpus().len())
        .map(|cpu| {
            let file = File::open(fs.at("overlap")).expect("open");
            pinned(cpu, move || {
                for off in 0..reads {
                    let mut data = [0; 64];
                    let length = file.read_at(&mut data, off).expect("read");
                    assert_eq!(data[..length], *format!("overlap@{off}").as_bytes());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a client"));
    fs.command("peak")
}

each_transport! {
    fn serial_loop(on) {
        let fs = Server::new("engine_ll").arg("-s").mount(on);
        assert_eq!(peak(&fs, 4, 10), 1);
    }

    fn one_thread(on) {
        let fs = Server::new("engine_ll").option("max_threads=1").mount(on);
        assert_eq!(peak(&fs, 4, 10), 1);
    }

    fn two_threads(on) {
        let fs = Server::new("engine_ll").option("max_threads=2").mount(on);
        assert_eq!(peak(&fs, 4, 10), 2);
        // From one CPU as well: two are allowed, so two there are.
        let fs = Server::new("engine_ll").option("max_threads=2").mount(on);
        let file = std::sync::Arc::new(File::open(fs.at("block")).unwrap());
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let file = file.clone();
                pinned(cpus()[0], move || file.read_at(&mut [0; 64], 0).unwrap())
            })
            .collect();
        fs.until("inside", 2);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(fs.command("peak"), 2);
        client::eventually("all clients", || {
            fs.command("unblock");
            clients.iter().all(|client| client.is_finished())
        });
        assert_eq!(fs.command("peak"), 2);
    }

    fn five_threads(on) {
        let fs = Server::new("engine_ll").option("max_threads=5").mount(on);
        let peak = peak(&fs, 10, 10);
        assert!((2..=5).contains(&peak), "{peak} handlers at once");
    }

    fn nobody_said_a_number(on) {
        let fs = Server::new("engine_ll").mount(on);
        let peak = peak(&fs, 10, 20);
        assert!(peak > 2, "{peak} handlers at once");
    }

    fn cloned_descriptors(on) {
        let fs = Server::new("engine_ll").option("clone_fd").mount(on);
        let peak = peak(&fs, 4, 10);
        assert!(peak >= 2, "{peak} handlers at once");
    }

    fn idle_threads_go(on) {
        if on == Transport::Ring {
            return skip("max_idle_threads is about the threads that read /dev/fuse");
        }
        let fs = Server::new("engine_ll").option("max_idle_threads=2").mount(on);
        assert!(peak(&fs, 10, 5) >= 2);
        client::eventually("idle threads to end", || {
            peak(&fs, 1, 2);
            // The main thread, the commands' one, and what the library needs.
            process::threads(fs.pid) <= 6 + cpus().len()
        });
    }
}
