//! `ringfuse top` on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{kill_process, Pid, Signal};
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, tcsetwinsize, Winsize};

use crate::command::tool;
use crate::support::eventually;

/// The other screen, and back.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

#[derive(Clone, Copy, Debug)]
pub enum End {
    Key(&'static [u8]),
    Signal(Signal),
}

pub struct Terminal {
    pub child: Child,
    master: File,
    slave: File,
    shown: Arc<Mutex<Vec<u8>>>,
    before: String,
}

impl Terminal {
    pub fn start(args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap());
        let slave = slave.expect("the terminal's other end");
        let size = Winsize { ws_row: 30, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("tcsetwinsize");
        let before = modes(&slave);
        let child = Command::new(tool())
            .arg("top")
            .args(args)
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .env("TERM", "xterm")
            .spawn()
            .expect("ringfuse");
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, its_shown) = (master.try_clone().unwrap(), shown.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                its_shown.lock().unwrap().extend(&bytes[..length]);
            }
        });
        Self { child, master, slave, shown, before }
    }

    /// All that was ever written there.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// What was written after the other screen.
    pub fn left_behind(&self) -> String {
        self.shown().rsplit(LEAVE).next().unwrap_or_default().to_owned()
    }

    pub fn end(&mut self, how: End) {
        match how {
            End::Key(keys) => self.master.write_all(keys).expect("keys"),
            End::Signal(signal) => {
                kill_process(Pid::from_child(&self.child), signal).expect("kill");
            }
        }
    }

    /// Waits for a good end, and finds the terminal as it was.
    pub fn has_ended(&mut self) {
        assert_eq!(self.child.wait().expect("wait").code(), Some(0), "{}", self.shown());
        assert_eq!(modes(&self.slave), self.before);
        eventually("the end of the other screen", || self.shown().contains(LEAVE));
        assert!(self.shown().contains(ENTER));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modes(terminal: &File) -> String {
    format!("{:?}", tcgetattr(terminal).expect("tcgetattr"))
}
