//! A filesystem that a test holds up before its loop or after it, and a kernel's first
//! message.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::command::Lazily;
use crate::support::mount::Watchdog;
use crate::support::{eventually, mount, process};
use tempfile::TempDir;

/// `shown_ll` in a mode in which it waits for somebody to open `fifo`.
pub struct Waiting {
    child: Child,
    /// At its end the filesystem would take its own mount away.
    _input: ChildStdin,
    watchdog: Watchdog,
    _lazily: Lazily,
    pub point: PathBuf,
    fifo: PathBuf,
    _dir: TempDir,
}

impl Waiting {
    pub fn start(mode: &str) -> Self {
        let dir = TempDir::with_prefix("ringfuse-tool-").unwrap();
        let (point, fifo) = (dir.path().join("mnt"), dir.path().join("fifo"));
        fs::create_dir(&point).unwrap();
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        let mut child = Command::new(mount::built("shown_ll"))
            .arg(&point)
            .arg("-f")
            .env("SHOWN", mode)
            .env("SHOWN_FIFO", &fifo)
            .env("RINGFUSE_TRANSPORT", "dev")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("shown_ll");
        let input = child.stdin.take().expect("piped");
        let watchdog = Watchdog::new(child.id(), &point);
        eventually("the mount", || process::mounted(&point));
        let lazily = Lazily(point.clone());
        Self { child, _input: input, watchdog, _lazily: lazily, point, fifo, _dir: dir }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn go_on(&self) {
        File::options().write(true).open(&self.fifo).expect("the FIFO");
    }

    pub fn ends(mut self) {
        let _ = mount::umount(&self.point, rustix::mount::UnmountFlags::DETACH);
        assert!(self.child.wait().expect("wait").success());
        assert!(!self.watchdog.has_fired());
    }
}

/// The kernel's first message.
pub fn init() -> Vec<u8> {
    const LEN: u32 = 40 + 64;
    const INIT: u32 = 26;
    let (number, node, ids) = (1_u64, 0_u64, [0_u32; 4]);
    let header = [&LEN.to_ne_bytes()[..], &INIT.to_ne_bytes()].concat();
    let header = [header, [number, node].map(u64::to_ne_bytes).concat()].concat();
    let header = [header, ids.map(u32::to_ne_bytes).concat()].concat();
    let (major, minor, max_readahead, flags) = (7_u32, 38_u32, 1 << 17, 1 << 5);
    let body = [major, minor, max_readahead, flags].map(u32::to_ne_bytes).concat();
    [header, body, vec![0; 48]].concat()
}
