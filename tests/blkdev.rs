//! A filesystem on a block device (`-o blkdev`): the only kind that is asked
//! for the blocks of a file, and whose unmount waits for its DESTROY.

mod support;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use support::machine::is_root;
use support::raw::fibmap;
use support::*;

/// A loop device that goes when it is dropped.
struct LoopDevice {
    path: String,
    _file: tempfile::NamedTempFile,
}

impl LoopDevice {
    fn new() -> Result<LoopDevice, String> {
        if !is_root() {
            return Err("only root may set up a loop device".into());
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(1 << 20).expect("set_len");
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output();
        match output {
            Ok(output) if output.status.success() => {
                let path = String::from_utf8_lossy(&output.stdout).trim().to_string();
                Ok(LoopDevice { path, _file: file })
            }
            Ok(output) => {
                Err(format!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim()))
            }
            Err(e) => Err(format!("losetup: {e}")),
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.path]).status();
    }
}

fn mount(device: &LoopDevice, on: Transport) -> Mount {
    let fsname = format!("fsname={}", device.path);
    Server::new("trace_ll").option("blkdev").option("blksize=512").option(&fsname).mount(on)
}

each_transport! {
    fn bmap(on) {
        let device = match LoopDevice::new() {
            Ok(device) => device,
            Err(reason) => return skip(&reason),
        };
        let fs = mount(&device, on);
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
    /// requests all done before.
    fn destroy_is_waited_for(on) {
        let device = match LoopDevice::new() {
            Ok(device) => device,
            Err(reason) => return skip(&reason),
        };
        let fs = mount(&device, on);
        let trace: PathBuf = fs.path.with_file_name("trace");
        let mut kept = File::open(trace).unwrap();
        fs::write(fs.at("file"), "x").unwrap();
        fs.unmount();
        let text = std::io::read_to_string(&mut kept).unwrap();
        assert_eq!(text.lines().last(), Some("destroy userdata=1"));
        assert_eq!(fs.ended().result, Some(0));
    }
}
