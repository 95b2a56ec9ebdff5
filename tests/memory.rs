//! What a mount takes of memory, threads and descriptors: idle, and after a burst.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use support::*;

/// Its resident memory in KiB, its threads and its descriptors, after a request.
fn taken(on: Transport) -> (u64, usize, usize) {
    let fs = Server::new("engine_ll").mount(on);
    File::open(fs.at("fast")).expect("open").read_at(&mut [0; 64], 0).expect("read");
    let memory = process::status(fs.pid, "VmRSS");
    (memory, process::threads(fs.pid), process::descriptors(fs.pid))
}

/// A MiB for each of 64 clients on all CPUs, in handlers that last.
fn burst(fs: &Mount) {
    let file = Arc::new(File::open(fs.at("slow_zeros")).expect("open"));
    let clients: Vec<_> = (0..64)
        .map(|i| {
            let (file, cpus) = (file.clone(), cpus());
            pinned(cpus[i % cpus.len()], move || {
                let mut data = vec![1; 1 << 20];
                assert_eq!(file.read_at(&mut data, 0).expect("read"), data.len());
                assert!(data.iter().all(|&byte| byte == 0));
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// Requests that are kept, and answered by another thread.
fn parked(fs: &Mount) {
    let file = Arc::new(File::open(fs.at("park")).expect("open"));
    let park = |i| {
        let file = file.clone();
        pinned(cpus()[0], move || file.read_at(&mut [0; 64], i).expect("read"))
    };
    let clients: Vec<_> = (0..200).map(park).collect();
    fs.until("parked", 200);
    fs.command("release");
    clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
}

each_transport! {
    /// However many CPUs there may be.
    fn an_idle_mount_takes_little(on) {
        if on == Transport::Dev {
            return skip("it is what rings are compared with");
        }
        let (dev, here) = (taken(Transport::Dev), taken(on));
        println!("KiB, threads, descriptors: {here:?}; on /dev/fuse: {dev:?}");
        assert!(here.0 <= dev.0 + 2048, "{} KiB, {} on /dev/fuse", here.0, dev.0);
        assert!(here.1 <= 12, "{} threads", here.1);
        assert!(here.2 <= dev.2 + 12, "{} descriptors, {} on /dev/fuse", here.2, dev.2);
    }

    /// What large requests have touched is given back when the mount is idle, and of
    /// use again after that.
    fn memory_of_a_burst_is_given_back(on) {
        if on == Transport::Dev {
            return skip("threads that read /dev/fuse keep their buffers, as libfuse's do");
        }
        let fs = Server::new("engine_ll").mount(on);
        let memory = || process::status(fs.pid, "RssAnon") >> 10;
        for _ in 0..2 {
            let idle = memory();
            burst(&fs);
            let most = memory();
            assert!(most > idle + 10, "{idle} MiB, then {most}: no burst");
            parked(&fs);
            eventually("the memory to be given back", || memory() < idle + 8);
        }
    }
}
