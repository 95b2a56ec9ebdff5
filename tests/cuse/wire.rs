//! A device whose kernel is this test, over the two ends of a socket: every
//! message, byte by byte, through `fuse_session_custom_io`.

use super::*;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const IOCTL: u32 = 39;
const POLL: u32 = 40;
const CUSE_INIT: u32 = 4096;

const NODE: u64 = 0;

/// The bytes of numbers of different sizes, one after the other.
macro_rules! bytes {
    ($($number:expr),*) => { [$(&$number.to_ne_bytes()[..]),*].concat() };
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

struct Wire {
    kernel: UnixDatagram,
    child: Child,
    trace: Trace,
    dir: TempDir,
}

struct Answer {
    error: i32,
    unique: u64,
    body: Vec<u8>,
}

impl Wire {
    fn start(own: &[&str], libfuse: &[&str]) -> Wire {
        let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
        let trace = dir.path().join("trace");
        let (kernel, device) = raw::packet_sockets();
        let kernel = UnixDatagram::from(kernel);
        kernel.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let child = command(own, libfuse)
            .env("CUSE_DEV_TRACE", &trace)
            .stdin(Stdio::from(device))
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).expect("log"))
            .spawn()
            .expect("cuse_dev starts");
        Wire { kernel, child, trace: Trace::new(trace), dir }
    }

    fn send(&self, opcode: u32, unique: u64, body: &[u8]) {
        let header =
            bytes![40 + body.len() as u32, opcode, unique, NODE, 1000u32, 1001u32, 77u32, 0u32];
        self.kernel.send(&[&header, body].concat()).expect("the device reads");
    }

    fn receive(&self) -> Answer {
        let mut message = vec![0; 1 << 20];
        let length = loop {
            match self.kernel.recv(&mut message) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.expect("an answer"),
            }
        };
        message.truncate(length);
        assert_eq!(u32_at(&message, 0) as usize, length);
        Answer {
            error: u32_at(&message, 4) as i32,
            unique: u64::from_ne_bytes(message[8..16].try_into().expect("eight bytes")),
            body: message[16..].to_vec(),
        }
    }

    /// One request, and the body of its answer or the error.
    fn ask(&self, opcode: u32, body: &[u8]) -> Result<Vec<u8>, i32> {
        self.send(opcode, 2, body);
        let answer = self.receive();
        assert_eq!(answer.unique, 2);
        match answer.error {
            0 => Ok(answer.body),
            error => Err(-error),
        }
    }

    fn ask_init(&self, major: u32) -> Result<Vec<u8>, i32> {
        self.ask(CUSE_INIT, &bytes![major, 45u32, 0u32, 1u32])
    }

    fn ioctl(&self, cmd: u32, flags: u32, input: &[u8], out: u32) -> Result<Vec<u8>, i32> {
        let args = bytes![1u64, flags, cmd, 0x1234_5678_9abcu64, input.len() as u32, out];
        self.ask(IOCTL, &[&args, input].concat())
    }

    /// Hangs up; how the device ends.
    fn end(mut self) -> (Option<i32>, Vec<Line>) {
        self.kernel.shutdown(std::net::Shutdown::Both).expect("shutdown");
        let mut status = None;
        eventually("the end of the device", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        (status.expect("ended").code(), self.trace.take())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("log of the device:\n{}", text(&log));
        }
    }
}

/// Runs `test` with the entry points that the library under test has, through
/// each loop that there is.
fn every_way(options: &[&str], test: impl Fn(&Wire)) -> Vec<Vec<Line>> {
    let mut traces = Vec::new();
    for entry in ["new", "new_319"].into_iter().filter(|entry| !stock() || *entry == "new") {
        for end in ["--loop=own", "--loop=", "--loop=mt"] {
            let entry = format!("--entry={entry}");
            let mut own = vec![entry.as_str(), "--fd=0", end];
            own.extend(options);
            let wire = Wire::start(&own, &[]);
            test(&wire);
            let (status, trace) = wire.end();
            // libfuse takes the end of the socket for a short read.
            assert!(status == Some(0) || stock(), "{own:?}: {status:?}");
            traces.push(trace);
        }
    }
    traces
}

fn operations(trace: &[Line]) -> Vec<&str> {
    trace.iter().map(|line| line.op.as_str()).collect()
}

#[test]
fn init_is_answered_with_the_device() {
    let options = ["--name=box", "--info=30", "--maj=240", "--min=7", "--flags=1"];
    let traces = every_way(&options, |wire| {
        let out = wire.ask_init(7).expect("success");
        let numbers: Vec<u32> = (0..8).map(|at| u32_at(&out, 4 * at)).collect();
        let minor = numbers[1];
        assert!(minor >= 31, "{minor}");
        assert_eq!(numbers, [7, minor, 0, 1, 131072, 1 << 20, 240, 7]);
        assert_eq!(out[32..72], [0; 40]);
        let lines = [b"DEVNAME=box\0".to_vec(), vec![b'x'; 30], vec![0]].concat();
        assert_eq!(out[72..], lines);
    });
    for trace in traces {
        assert_eq!(operations(&trace), ["init", "init_done", "destroy"]);
        assert_eq!([trace[0].dec("userdata"), trace[1].dec("userdata")], [42, 42]);
        assert_eq!((trace[0].dec("capable"), trace[0].dec("want")), (0, 0));
        assert_eq!(trace[0].dec("max_write"), 1 << 20);
    }
}

#[test]
fn init_may_lower_max_write() {
    every_way(&["--max-write=5000"], |wire| {
        assert_eq!(u32_at(&wire.ask_init(7).expect("success"), 20), 5000);
    });
}

#[test]
fn nothing_is_served_before_cuse_init() {
    every_way(&[], |wire| {
        assert_eq!(wire.ask(INIT, &bytes![7u32, 45u32, 0u32, 0u32]), Err(libc::EIO));
        assert_eq!(wire.ask(OPEN, &bytes![0u32, 0u32]), Err(libc::EIO));
        wire.ask_init(7).expect("success");
        assert_eq!(wire.ask_init(7), Err(libc::EIO), "a second one");
        assert_eq!(wire.ask(INIT, &bytes![7u32, 45u32, 0u32, 0u32]), Err(libc::EIO));
        wire.ask(OPEN, &bytes![0u32, 0u32]).expect("success");
    });
}

#[test]
fn a_kernel_of_another_age_is_refused() {
    let wire = Wire::start(&["--entry=new", "--fd=0"], &[]);
    assert_eq!(wire.ask_init(6), Err(libc::EPROTO));
    let (status, trace) = wire.end();
    assert_ne!(status, Some(0));
    assert!(trace.is_empty(), "init was called: {trace:?}");
}

#[test]
fn every_operation_gets_what_the_kernel_says() {
    let traces = every_way(&["--flags=1"], |wire| {
        wire.ask_init(7).expect("success");
        let open = wire.ask(OPEN, &bytes![libc::O_RDWR as u32, 0u32]).expect("open");
        assert_eq!(open, bytes![1u64, 0u32, 0u32]);
        let write = bytes![1u64, 0u64, 5u32, 0u32, 0u64, 2u32, 0u32];
        let written = wire.ask(WRITE, &[&write, &b"hello"[..]].concat()).expect("write");
        assert_eq!(written, bytes![5u32, 0u32]);
        assert_eq!(wire.ask(POLL, &bytes![1u64, 99u64, 1u32, 5u32]), Ok(bytes![5u32, 0u32]));
        let read = bytes![1u64, 0u64, 3u32, 0u32, 0u64, 2u32, 0u32];
        assert_eq!(wire.ask(READ, &read).expect("read"), b"hel");
        assert_eq!(wire.ask(FLUSH, &bytes![1u64, 0u64, 5u64]), Ok(vec![]));
        assert_eq!(wire.ask(FSYNC, &bytes![1u64, 1u32, 0u32]), Ok(vec![]));
        assert_eq!(wire.ask(RELEASE, &bytes![1u64, 2u32, 0u32, 5u64]), Ok(vec![]));
        let getattr = wire.ask(3, &bytes![0u32, 0u32, 0u64]);
        assert_eq!(getattr, Err(libc::ENOSYS), "a device has no attributes");
        assert_eq!(wire.ask(DESTROY, &[]), Ok(vec![]));
    });
    for trace in traces {
        let line = |op: &str| trace.iter().find(|line| line.op == op).expect(op).clone();
        assert_eq!((line("open").dec("userdata"), line("open").dec("uid")), (42, 1000));
        assert_eq!(line("open").oct("flags"), libc::O_RDWR as u64);
        assert_eq!((line("write").dec("size"), line("read").dec("size")), (5, 3));
        assert_eq!(line("poll").dec("handle"), 1);
        assert_eq!(line("fsync").dec("datasync"), 1);
        assert_eq!(operations(&trace).iter().filter(|op| **op == "destroy").count(), 1);
    }
}

#[test]
fn a_poll_handle_wakes_the_kernel() {
    every_way(&[], |wire| {
        wire.ask_init(7).expect("success");
        assert_eq!(wire.ask(POLL, &bytes![1u64, 99u64, 1u32, 1u32]), Ok(bytes![4u32, 0u32]));
        let write = bytes![1u64, 0u64, 1u32, 0u32, 0u64, 2u32, 0u32];
        wire.send(WRITE, 4, &[&write, &b"x"[..]].concat());
        let notification = wire.receive();
        assert_eq!((notification.unique, notification.error), (0, 1), "FUSE_NOTIFY_POLL");
        assert_eq!(notification.body, bytes![99u64]);
        assert_eq!(wire.receive().unique, 4);
    });
}

#[test]
fn a_waiting_read_is_answered_by_a_write_or_ended_by_an_interrupt() {
    let traces = every_way(&[], |wire| {
        wire.ask_init(7).expect("success");
        let read = bytes![1u64, 0u64, 100u32, 0u32, 0u64, 2u32, 0u32];
        wire.send(READ, 10, &read);
        wire.trace.wait("waiting");
        wire.send(READ, 12, &read);
        wire.trace.wait("waiting");
        wire.send(INTERRUPT, 11, &bytes![10u64]);
        let answer = wire.receive();
        assert_eq!((answer.unique, answer.error), (10, -libc::EINTR));
        let write = bytes![1u64, 0u64, 2u32, 0u32, 0u64, 2u32, 0u32];
        wire.send(WRITE, 14, &[&write, &b"ok"[..]].concat());
        let answer = wire.receive();
        assert_eq!((answer.unique, answer.error, &answer.body[..]), (12, 0, &b"ok"[..]));
        assert_eq!(wire.receive().unique, 14);
    });
    assert!(!traces.is_empty());
}

#[test]
fn ioctls_are_passed_on_and_sent_again() {
    let [upper, flags, many] = [4, 5, 6].map(|number| u32::from(b'c') << 8 | number);
    every_way(&["--flags=1"], |wire| {
        wire.ask_init(7).expect("success");
        // FUSE_IOCTL_UNRESTRICTED, and what a 32-bit caller adds.
        for bits in [2u32, 2 | 1 | 8] {
            assert_eq!(wire.ioctl(flags, bits, &[], 0), Ok(bytes![bits, 0u32, 0u32, 0u32]));
        }
        let arg = 0x1234_5678_9abcu64;
        let struct_64 = bytes![0x1000u64, 3u64, 0x2000u64, 3u64];
        let again = wire.ioctl(upper, 2, &[], 0);
        assert_eq!(again, Ok(bytes![0u32, 4u32, 1u32, 0u32, arg, 32u64]), "FUSE_IOCTL_RETRY");
        let again = wire.ioctl(upper, 2, &struct_64, 0);
        let pieces = bytes![arg, 32u64, 0x1000u64, 3u64, 0x2000u64, 3u64];
        assert_eq!(again, Ok([bytes![0u32, 4u32, 2u32, 1u32], pieces].concat()));
        let done = wire.ioctl(upper, 2, &[&struct_64, &b"abc"[..]].concat(), 3);
        assert_eq!(done, Ok([&bytes![3u32, 0u32, 0u32, 0u32], &b"ABC"[..]].concat()));
        // A 32-bit caller's structure; the pieces are of 64 bits all the same.
        let struct_32 = bytes![0x1000u32, 3u32, 0x2000u32, 3u32];
        let pieces = bytes![arg, 16u64, 0x1000u64, 3u64, 0x2000u64, 3u64];
        let again = wire.ioctl(upper, 2 | 1 | 8, &struct_32, 0);
        assert_eq!(again, Ok([bytes![0u32, 4u32, 2u32, 1u32], pieces].concat()));
        let too_many = wire.ioctl(many, 2, &[], 0);
        assert!(stock() || too_many == Err(libc::ENOMEM), "300 pieces");
    });
}

#[test]
fn what_is_missing_is_answered() {
    every_way(&["--few"], |wire| {
        wire.ask_init(7).expect("success");
        assert_eq!(wire.ask(OPEN, &bytes![0u32, 0u32]), Ok(bytes![0u64, 0u32, 0u32]));
        assert_eq!(wire.ask(RELEASE, &bytes![0u64, 0u32, 0u32, 0u64]), Ok(vec![]));
        let write = bytes![0u64, 0u64, 0u32, 0u32, 0u64, 2u32, 0u32];
        for (opcode, body) in [
            (WRITE, write),
            (FLUSH, bytes![0u64, 0u64, 0u64]),
            (FSYNC, bytes![0u64, 0u64]),
            (POLL, bytes![0u64, 0u64, 0u32, 0u32]),
            (IOCTL, bytes![0u64, 0u64, 0u64, 0u64]),
        ] {
            assert_eq!(wire.ask(opcode, &body), Err(libc::ENOSYS), "opcode {opcode}");
        }
    });
}

/// A table of an older release, as its size says.
#[test]
fn only_the_operations_within_the_tables_size_count() {
    if stock() {
        return skip("libfuse 3.18 has no cuse_lowlevel_new_319");
    }
    let init_to_open = 4 * size_of::<usize>();
    let table = format!("--table={init_to_open}");
    let wire = Wire::start(&["--entry=new_319", "--fd=0", &table], &[]);
    wire.ask_init(7).expect("success");
    wire.ask(OPEN, &bytes![0u32, 0u32]).expect("success");
    let read = bytes![1u64, 0u64, 100u32, 0u32, 0u64, 2u32, 0u32];
    assert_eq!(wire.ask(READ, &read), Err(libc::ENOSYS));
    let (status, trace) = wire.end();
    assert_eq!(status, Some(0));
    assert_eq!(operations(&trace), ["init", "init_done", "open", "destroy"]);
}
