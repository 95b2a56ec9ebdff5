//! Clients of a real device. Only where the kernel has CUSE: `tests/vm.rs` runs
//! these in a guest.

mod life;

use super::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{kill_process, Pid, Signal};
use support::raw::{catch_interrupts, interrupt, ioctl, ioctl_data};
use tempfile::TempDir;

const USED: u32 = 0x8004_6301; // _IOR('c', 1, u32)
const FILL: u32 = 0x4004_6302; // _IOW('c', 2, u32)
const REVERSE: u32 = 0xc010_6303; // _IOWR('c', 3, char[16])
const UPPER: u32 = 0x6304; // _IO('c', 4)
const FLAGS: u32 = 0x6305;
const MANY: u32 = 0x6306;

const COMPAT: i64 = 1;
const UNRESTRICTED: i64 = 2;
const FROM_32_BIT: i64 = 8;

/// Says why there is nothing to test, if so.
fn possible() -> bool {
    match OpenOptions::new().read(true).write(true).open("/dev/cuse") {
        Ok(_) => true,
        Err(error) => {
            skip(&format!("/dev/cuse cannot be opened ({error}); tests/vm.rs boots a kernel"));
            false
        }
    }
}

struct Device {
    path: PathBuf,
    trace: Trace,
    child: Option<Child>,
    pid: Pid,
    dir: TempDir,
}

impl Device {
    fn start(name: &str, own: &[&str], libfuse: &[&str]) -> Device {
        let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
        let mut child = spawn(&dir, name, own, &[&["-f"], libfuse].concat());
        let mut device = Device {
            path: Path::new("/dev").join(name),
            trace: Trace::new(dir.path().join("trace")),
            pid: Pid::from_child(&child),
            child: None,
            dir,
        };
        // Its name is in /dev a little before it can be opened.
        eventually("the device", || {
            let ended = child.try_wait().expect("wait");
            assert!(ended.is_none(), "ended with {ended:?}\n{}", device.log());
            let trace = fs::read_to_string(device.dir.path().join("trace"));
            trace.is_ok_and(|trace| trace.contains("init_done"))
        });
        assert!(device.path.exists(), "{}", device.path.display());
        device.child = Some(child);
        device
    }

    /// A device with each loop there is.
    fn each(name: &str, own: &[&str], test: impl Fn(&Device)) {
        for (word, libfuse) in [("mt", &[][..]), ("s", &["-s"][..])] {
            let device = Device::start(&format!("{name}-{word}"), own, libfuse);
            test(&device);
            assert!(device.signalled(Signal::TERM).success());
        }
    }

    fn log(&self) -> String {
        text(&fs::read(self.dir.path().join("log")).unwrap_or_default())
    }

    fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).expect("open")
    }

    fn open_nonblocking(&self) -> File {
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path).expect("open")
    }

    fn signalled(mut self, signal: Signal) -> ExitStatus {
        kill_process(self.pid, signal).expect("kill");
        self.ended()
    }

    /// Waits for the end, after which the device is gone.
    fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("not ended yet");
        let mut status = None;
        eventually("the end of the device's process", || {
            status = child.try_wait().expect("wait");
            status.is_some()
        });
        eventually("the end of the device", || !self.path.exists());
        status.expect("ended")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("log of the device:\n{}\n{:#?}", self.log(), self.trace.take());
        }
    }
}

fn spawn(dir: &TempDir, name: &str, own: &[&str], libfuse: &[&str]) -> Child {
    let named = format!("--name={name}");
    command(&[&[named.as_str()], own].concat(), libfuse)
        .env("CUSE_DEV_TRACE", dir.path().join("trace"))
        .stdin(Stdio::null())
        .stdout(File::create(dir.path().join("out")).expect("out"))
        .stderr(File::create(dir.path().join("log")).expect("log"))
        .spawn()
        .expect("cuse_dev starts")
}

fn read(mut file: &File, size: usize) -> Result<Vec<u8>, i32> {
    let mut data = vec![0; size];
    let length = file.read(&mut data).map_err(|error| error.raw_os_error().expect("an errno"))?;
    data.truncate(length);
    Ok(data)
}

fn write(mut file: &File, data: &[u8]) -> usize {
    file.write(data).expect("write")
}

/// Waits for events of a file.
fn polled(file: impl AsFd, events: PollFlags) -> PollFlags {
    let mut fds = [PollFd::new(&file, events)];
    let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "nothing happened within 20 s");
    fds[0].revents()
}

#[test]
fn two_clients_exchange_data() {
    if !possible() {
        return;
    }
    Device::each("two", &[], |device| {
        let (one, two) = (device.open(), device.open());
        let lines = device.trace.take();
        let seen: Vec<&str> = lines.iter().map(|line| line.op.as_str()).collect();
        assert_eq!(seen, ["init", "init_done", "open", "open"]);
        assert_eq!((lines[2].dec("fh"), lines[3].dec("fh")), (1, 2));
        assert_eq!(write(&one, b"from one"), 8);
        assert_eq!(read(&two, 100), Ok(b"from one".to_vec()));
        // As much as the mailbox takes; in pieces of at most 128 KiB.
        let data = pattern(100_000, 7);
        assert_eq!(write(&two, &data), 65536);
        assert_eq!(read(&one, 3), Ok(data[..3].to_vec()));
        assert_eq!(read(&one, 1 << 20), Ok(data[3..65536].to_vec()));
        let offsets = device.trace.all("read");
        assert!(offsets.iter().all(|line| line.dec("off") == 0), "{offsets:?}");
        drop(one);
        assert_eq!(device.trace.wait("release").dec("fh"), 1);
        drop(two);
        assert_eq!(device.trace.wait("release").dec("fh"), 2);
    });
}

#[test]
fn a_read_waits_for_another_clients_write() {
    if !possible() {
        return;
    }
    Device::each("wait", &[], |device| {
        let (one, two) = (device.open(), device.open());
        assert_eq!(read(&device.open_nonblocking(), 10), Err(libc::EAGAIN));
        let reader = thread::spawn(move || read(&one, 100));
        device.trace.wait("waiting");
        write(&two, b"at last");
        assert_eq!(reader.join().expect("no panic"), Ok(b"at last".to_vec()));
    });
}

#[test]
fn a_signal_ends_a_read() {
    if !possible() {
        return;
    }
    catch_interrupts();
    Device::each("intr", &[], |device| {
        let file = device.open();
        let reader = thread::spawn(move || read(&file, 100));
        device.trace.wait("waiting");
        interrupt(&reader);
        assert_eq!(reader.join().expect("no panic"), Err(libc::EINTR));
        device.trace.wait("interrupted");
    });
}

#[test]
fn poll_wakes_up() {
    if !possible() {
        return;
    }
    Device::each("poll", &[], |device| {
        let (one, two) = (device.open(), device.open());
        assert_eq!(polled(&one, PollFlags::IN | PollFlags::OUT), PollFlags::OUT);
        device.trace.take();
        let poller = thread::spawn(move || (polled(&one, PollFlags::IN), one));
        device.trace.wait("poll");
        write(&two, b"x");
        let (events, one) = poller.join().expect("no panic");
        assert_eq!(events, PollFlags::IN);
        assert_eq!(device.trace.wait("notify_poll").dec("result"), 0);
        assert_eq!(read(&one, 10), Ok(b"x".to_vec()));
    });
}

#[test]
fn restricted_ioctls_move_what_their_number_says() {
    if !possible() {
        return;
    }
    Device::each("ioctl", &[], |device| {
        let file = device.open();
        assert_eq!(ioctl_data(&file, FILL, &mut 300u32.to_ne_bytes()), Ok(0));
        let mut used = [0; 4];
        assert_eq!(ioctl_data(&file, USED, &mut used), Ok(0));
        assert_eq!(u32::from_ne_bytes(used), 300);
        let mut letters = *b"abcdefghijklmnop";
        assert_eq!(ioctl_data(&file, REVERSE, &mut letters), Ok(7));
        assert_eq!(&letters, b"ponmlkjihgfedcba");
        assert_eq!(ioctl(&file, FLAGS, 0), Ok(0));
        assert_eq!(ioctl(&file, UPPER, 0).map_err(|e| e.raw_os_error()), Err(libc::ENOTTY));
        let all = device.trace.all("ioctl");
        assert_eq!((all[0].dec("in"), all[0].dec("out")), (4, 0));
        assert_eq!((all[1].dec("in"), all[1].dec("out")), (0, 4));
        assert_eq!((all[2].dec("in"), all[2].dec("out")), (16, 16));
    });
}

#[test]
fn unrestricted_ioctls_reach_the_callers_memory() {
    if !possible() {
        return;
    }
    Device::each("upper", &["--flags=1"], |device| {
        let file = device.open();
        assert_eq!(ioctl(&file, FLAGS, 0), Ok(UNRESTRICTED));
        let (input, mut output) = (*b"some small letters", [0u8; 18]);
        let args = [input.as_ptr() as u64, 18, output.as_mut_ptr() as u64, 18];
        assert_eq!(ioctl(&file, UPPER, args.as_ptr() as usize), Ok(18));
        assert_eq!(&output, b"SOME SMALL LETTERS");
        let sizes: Vec<(i128, i128)> = device
            .trace
            .all("ioctl")
            .iter()
            .skip(1)
            .map(|line| (line.dec("in"), line.dec("out")))
            .collect();
        assert_eq!(sizes, [(0, 0), (32, 0), (32 + 18, 18)], "one request and two more");
        // In and out at the same place, and out alone.
        let mut letters = *b"abcdefghijklmnop";
        assert_eq!(ioctl_data(&file, REVERSE, &mut letters), Ok(7));
        assert_eq!(&letters, b"ponmlkjihgfedcba");
        assert_eq!(ioctl_data(&file, FILL, &mut 300u32.to_ne_bytes()), Ok(0));
        let mut used = [0; 4];
        assert_eq!(ioctl_data(&file, USED, &mut used), Ok(0));
        assert_eq!(u32::from_ne_bytes(used), 300);
        let bad = [8u64, 18, output.as_mut_ptr() as u64, 18];
        let refused = ioctl(&file, UPPER, bad.as_ptr() as usize);
        assert_eq!(refused.map_err(|e| e.raw_os_error()), Err(libc::EFAULT));
        let many = ioctl(&file, MANY, letters.as_ptr() as usize);
        // libfuse leaves that to the kernel.
        let error = if stock() { libc::EIO } else { libc::ENOMEM };
        assert_eq!(many.map_err(|e| e.raw_os_error()), Err(error), "300 pieces");
    });
}

/// As a program of 32 bits makes it: through the kernel's 32-bit entry, with
/// memory below 4 GiB.
#[cfg(target_arch = "x86_64")]
mod caller_of_32_bits {
    #![allow(unsafe_code)] // system calls through another entry
    use super::*;

    /// ioctl(2) through `int 0x80`; the result, or a negative errno.
    fn ioctl_32(file: &File, request: u32, argument: u32) -> i32 {
        const IOCTL_OF_I386: i32 = 54;
        let result: i32;
        // SAFETY: `int 0x80` changes eax and, in old kernels, r8 to r11; ebx,
        // which a compiler keeps for itself, is put back. The memory that the
        // ioctls of these tests reach for is the caller's.
        unsafe {
            std::arch::asm!(
                "xchg rbx, {fd}",
                "int 0x80",
                "xchg rbx, {fd}",
                fd = inout(reg) file.as_raw_fd() as u64 => _,
                inlateout("eax") IOCTL_OF_I386 => result,
                in("ecx") request,
                in("edx") argument,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            );
        }
        result
    }

    /// A page below 4 GiB.
    fn low_page() -> &'static mut [u8] {
        // SAFETY: new memory, which stays until the process ends.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let page = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            std::slice::from_raw_parts_mut(page.cast(), 4096)
        }
    }

    #[test]
    fn has_its_own_structures() {
        if !possible() {
            return;
        }
        Device::each("compat", &["--flags=1"], |device| {
            let file = device.open();
            let flags = i64::from(ioctl_32(&file, FLAGS, 0));
            assert_eq!(flags, UNRESTRICTED | COMPAT | FROM_32_BIT);
            let page = low_page();
            let at = page.as_ptr() as u32;
            let numbers = [at + 100, 5, at + 200, 5].map(u32::to_ne_bytes);
            page[..16].copy_from_slice(numbers.as_flattened());
            page[100..105].copy_from_slice(b"small");
            assert_eq!(ioctl_32(&file, UPPER, at), 5);
            assert_eq!(&page[200..205], b"SMALL");
        });
    }
}

/// The example of examples-c, with ioctls of both kinds.
#[test]
fn the_example_is_a_pipe() {
    const USED: u32 = 0x8004_4201; // _IOR('B', 1, u32)
    const RESIZE: u32 = 0x4004_4202; // _IOW('B', 2, u32)
    const PEEK: u32 = 0x4203; // _IO('B', 3)
    if !possible() {
        return;
    }
    let example = mount::built("../../examples-c/cuse_ll");
    for options in [&["--unrestricted"][..], &["-s"]] {
        let mut child = Command::new(&example)
            .args(["-f", "--name=example", "--size=4"])
            .args(options)
            .spawn()
            .expect("cuse_ll starts");
        let open = |flags| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(flags).open("/dev/example")
        };
        eventually("the device", || open(0).is_ok());
        let (one, two) = (open(0).expect("open"), open(libc::O_NONBLOCK).expect("open"));

        assert_eq!(read(&two, 10), Err(libc::EAGAIN));
        assert_eq!(polled(&one, PollFlags::IN | PollFlags::OUT), PollFlags::OUT);
        assert_eq!(write(&one, b"hello"), 4, "there is room for so many");
        assert_eq!((&two).write(b"o").map_err(|e| e.raw_os_error()), Err(Some(libc::EAGAIN)));
        let mut used = [0; 4];
        assert_eq!(ioctl_data(&two, USED, &mut used), Ok(0));
        assert_eq!(u32::from_ne_bytes(used), 4);
        let mut peeked = [0u8; 10];
        let peek = [peeked.as_mut_ptr() as usize, peeked.len()];
        let result = ioctl(&two, PEEK, peek.as_ptr() as usize).map_err(|e| e.raw_os_error());
        match options.contains(&"--unrestricted") {
            true => assert_eq!((result, &peeked[..5]), (Ok(4), &b"hell\0"[..])),
            false => assert_eq!(result, Err(libc::ENOTTY)),
        }
        // One waits for room, the other makes it.
        let writer = thread::spawn(move || (write(&one, b"o there"), one));
        let waiting = || fs::read_to_string("/sys/class/cuse/example/waiting").expect("waiting");
        eventually("a write that waits", || waiting() == "1\n");
        assert_eq!(polled(&two, PollFlags::IN), PollFlags::IN);
        assert_eq!(read(&two, 10), Ok(b"hell".to_vec()));
        let (written, one) = writer.join().expect("no panic");
        assert_eq!((written, read(&two, 10)), (4, Ok(b"o th".to_vec())));
        assert_eq!(ioctl_data(&one, RESIZE, &mut 100_000u32.to_ne_bytes()), Ok(0));
        let data = pattern(70_000, 3);
        assert_eq!(write(&one, &data), data.len());
        let small = ioctl_data(&two, RESIZE, &mut 10u32.to_ne_bytes());
        assert_eq!(small.map_err(|e| e.raw_os_error()), Err(libc::EBUSY));
        assert_eq!(read(&two, data.len()), Ok(data));
        // Its reader is gone with the device.
        let reader = thread::spawn(move || read(&one, 1));
        eventually("a read that waits", || waiting() == "1\n");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("kill");
        assert_eq!(child.wait().expect("wait").code(), Some(0));
        reader.join().expect("no panic").expect_err("nobody answers");
    }
}
