//! A filesystem on a block device (`-o blkdev`): the only kind that is asked
//! for the blocks of a file, and whose unmount waits for its DESTROY.

mod support;

use std::fs::{self, File};

use support::raw::{fibmap, LoopDevice};
use support::*;

fn mount(device: &LoopDevice, on: Transport, args: &[&str]) -> Mount {
    let fsname = format!("fsname={}", device.path);
    let server = Server::new("trace_ll").option("blkdev").option("blksize=512").option(&fsname);
    args.iter().fold(server, |server, arg| server.arg(arg)).mount(on)
}

/// Unmounts from `cpu`: when that is done, so is destroy, and the loop ends.
fn ends_with_destroy(fs: Mount, cpu: usize) {
    let mut trace = File::open(fs.path.with_file_name("trace")).expect("the trace");
    let path = fs.path.clone();
    let unmounted = pinned(cpu, move || {
        eventually("the end of use of the mount", || {
            rustix::mount::unmount(&path, rustix::mount::UnmountFlags::empty()).is_ok()
        });
    });
    unmounted.join().expect("unmounted");
    let text = std::io::read_to_string(&mut trace).expect("the trace");
    assert_eq!(text.lines().last(), Some("destroy userdata=1"));
    assert_eq!(text.lines().filter(|line| line.starts_with("destroy")).count(), 1);
    assert_eq!(fs.ended().result, Some(0));
}

each_transport! {
    fn syncfs(on) {
        if stock() {
            return skip("libfuse has no such operation before 3.19");
        }
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a version");
        let mut numbers = release.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        if (numbers.next(), numbers.next()) < (Some(6), Some(18)) {
            return skip("Linux before 6.18 sends SYNCFS to virtiofs only");
        }
        let device = match LoopDevice::new() {
            Ok(device) => device,
            Err(reason) => return skip(&reason),
        };
        let fsname = format!("fsname={}", device.path);
        let fs = Server::new("init_ll").option("blkdev").option(&fsname).mount(on);
        rustix::fs::syncfs(File::open(fs.at("file")).unwrap()).unwrap();
        assert_eq!(fs.trace.one("syncfs").dec("ino"), 1);
    }

    fn bmap(on) {
        let device = match LoopDevice::new() {
            Ok(device) => device,
            Err(reason) => return skip(&reason),
        };
        let fs = mount(&device, on, &[]);
        fs::write(fs.at("file"), [1; 5000]).unwrap();
        let file = File::open(fs.at("file")).unwrap();
        fs.trace.take();
        for block in [0u32, 1, 9] {
            let found = fibmap(&file, block).unwrap();
            let line = fs.trace.one("bmap");
            assert_eq!(line.dec("idx"), block.into());
            assert!([512, 1024, 2048, 4096].contains(&line.dec("blocksize")), "{line:?}");
            assert_eq!(found, block * 2 + 7);
        }
    }

    /// Here the kernel sends DESTROY and waits for its answer, with open
    /// requests all done before. It comes to the queue of the CPU that unmounts,
    /// whether or not that has been used before.
    fn destroy_is_waited_for(on) {
        let device = match LoopDevice::new() {
            Ok(device) => device,
            Err(reason) => return skip(&reason),
        };
        for args in [&[][..], &["-s"], &["-omax_threads=1"], &["-oclone_fd"]] {
            for cpu in cpus() {
                let fs = mount(&device, on, args);
                fs::write(fs.at("file"), "x").unwrap();
                ends_with_destroy(fs, cpu);
            }
        }
    }

    /// Under load until the last moment.
    fn destroy_after_load(on) {
        let device = match LoopDevice::new() {
            Ok(device) => device,
            Err(reason) => return skip(&reason),
        };
        let fs = mount(&device, on, &[]);
        let clients: Vec<_> = cpus()
            .into_iter()
            .map(|cpu| {
                let path = fs.at(&format!("file{cpu}"));
                pinned(cpu, move || {
                    for round in 0..200 {
                        fs::write(&path, [round as u8; 5000]).expect("write");
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("a client"));
        ends_with_destroy(fs, cpus()[0]);
    }
}
