//! How a device begins and ends: numbers and names, the background, signals,
//! one device after the other, and the end that the kernel or a crash brings.

use super::*;

#[test]
fn signals_end_it() {
    if !possible() {
        return;
    }
    for (entry, signal, result) in [
        ("main", Signal::TERM, "result 0\n"),
        ("main_319", Signal::INT, "result 0\n"),
        ("setup", Signal::HUP, "result 1\n"),
        ("setup_319", Signal::TERM, "result 15\n"),
    ] {
        if stock() && entry.ends_with("319") {
            continue;
        }
        for libfuse in [&["-s"][..], &["-d"], &["-o", "max_threads=2"]] {
            let entry_option = format!("--entry={entry}");
            let mut device = Device::start("signals", &[&entry_option], libfuse);
            let keep = device.open();
            let expected = "ringfuse: transport dev: a character device is served over /dev/cuse";
            assert!(stock() || device.log().contains(expected), "{}", device.log());
            kill_process(device.pid, signal).expect("kill");
            let status = device.ended();
            let out = fs::read_to_string(device.dir.path().join("out")).expect("out");
            assert_eq!(out, result, "{entry}");
            assert_eq!(status.code(), Some(i32::from(entry.starts_with("setup"))), "{entry}");
            let lines = device.trace.take();
            assert_eq!(lines.iter().filter(|line| line.op == "destroy").count(), 1);
            if entry.starts_with("setup") {
                let setup = lines.iter().find(|line| line.op == "setup").expect("setup");
                assert_eq!(setup.dec("multithreaded"), i128::from(libfuse != ["-s"]));
            }
            drop(keep);
        }
    }
}

#[test]
fn a_process_may_have_one_device_after_the_other() {
    const ROUNDS: usize = 12;
    if !possible() {
        return;
    }
    // With several threads, what each keeps for itself varies.
    for (libfuse, tolerance) in [(&["-s"][..], 512), (&[], 16384)] {
        let rounds = format!("--rounds={ROUNDS}");
        let mut device = Device::start("rounds", &["--entry=setup", &rounds], libfuse);
        let trace = device.dir.path().join("trace");
        for round in 1..=ROUNDS {
            eventually("the next device", || {
                let text = fs::read_to_string(&trace).expect("trace");
                text.matches("init_done").count() == round
            });
            let file = device.open();
            write(&file, b"some data");
            assert_eq!(read(&file, 100), Ok(b"some data".to_vec()));
            kill_process(device.pid, Signal::TERM).expect("kill");
            drop(file);
        }
        device.ended();
        let ends = device.trace.all("round");
        assert_eq!(ends.len(), ROUNDS);
        let half = &ends[ROUNDS / 2];
        let last = &ends[ROUNDS - 1];
        assert_eq!(ends[0].dec("fds"), last.dec("fds"), "descriptors are left");
        let grown = last.dec("memory") - half.dec("memory");
        assert!(grown < tolerance, "{grown} bytes are left after {} devices", ROUNDS / 2);
    }
}

#[test]
fn a_loop_of_the_programs_own_serves_it() {
    if !possible() {
        return;
    }
    let mut device = Device::start("own", &["--entry=setup", "--loop=own"], &[]);
    let file = device.open();
    write(&file, b"own loop");
    assert_eq!(read(&file, 100), Ok(b"own loop".to_vec()));
    kill_process(device.pid, Signal::TERM).expect("kill");
    // Such a loop may notice only with the next request, as libfuse's.
    let _ = poll_once(&file);
    assert_eq!(device.ended().code(), Some(0));
    let out = fs::read_to_string(device.dir.path().join("out")).expect("out");
    assert_eq!(out, "result 0\n");
}

/// A request whose answer does not matter.
fn poll_once(file: &File) -> usize {
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0)
}

#[test]
fn clients_outlive_a_device_that_dies() {
    if !possible() {
        return;
    }
    let device = Device::start("dies", &[], &[]);
    let (one, two, three) = (device.open(), device.open(), device.open());
    let reader = thread::spawn(move || read(&one, 100));
    device.trace.wait("waiting");
    let poller = thread::spawn(move || polled(&two, PollFlags::IN));
    device.trace.wait("poll");
    assert!(!device.signalled(Signal::KILL).success());
    let errors = [libc::ENOTCONN, libc::ECONNABORTED, libc::ENODEV];
    let error = reader.join().expect("no panic").expect_err("nobody answers");
    assert!(errors.contains(&error), "{error}");
    assert!(poller.join().expect("no panic").contains(PollFlags::ERR));
    let error = read(&three, 1).expect_err("nobody is there");
    assert!(errors.contains(&error), "{error}");
}

/// The administrator's way to end a device: its process ends as after an unmount.
#[test]
fn a_device_that_the_kernel_takes_away_ends_the_loop() {
    if !possible() {
        return;
    }
    for (entry, libfuse) in [("main", &["-s"][..]), ("setup", &[])] {
        let mut device = Device::start("aborted", &[&*format!("--entry={entry}")], libfuse);
        let keep = device.open();
        fs::write("/sys/class/cuse/aborted/abort", "1").expect("abort");
        assert_eq!(device.ended().code(), Some(0), "{entry}: {}", device.log());
        drop(keep);
    }
}

#[test]
fn a_name_that_is_taken_is_told() {
    if !possible() {
        return;
    }
    let device = Device::start("taken", &[], &[]);
    for libfuse in [&["-f"][..], &["-f", "-s"]] {
        let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
        let mut second = spawn(&dir, "taken", &[], libfuse);
        let mut status = None;
        eventually("the end of the second device", || {
            status = second.try_wait().expect("wait");
            status.is_some()
        });
        let log = fs::read_to_string(dir.path().join("log")).expect("log");
        let lines = Trace::new(dir.path().join("trace")).take();
        let seen: Vec<&str> = lines.iter().map(|line| line.op.as_str()).collect();
        if stock() {
            continue;
        }
        assert_eq!(status.expect("ended").code(), Some(1), "{log}");
        assert!(log.contains("did not make the device /dev/taken"), "{log}");
        assert_eq!(seen, ["init", "destroy"]);
    }
    let file = device.open();
    assert_eq!(write(&file, b"still there"), 11);
}

#[test]
fn an_ordinary_user_is_told_who_may() {
    if !possible() || !machine::is_root() {
        return;
    }
    const NOBODY: u32 = 65534;
    let output = command(&["--name=user"], &["-f"]).uid(NOBODY).output().expect("cuse_dev starts");
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("failed to open /dev/cuse"), "{log}");
}

#[test]
fn rings_that_were_asked_for_are_missed_aloud() {
    if stock() {
        return skip("the library under test is libfuse");
    }
    if !possible() {
        return;
    }
    let device = Device::start("rings", &[], &["-o", "io_uring"]);
    assert!(device.log().contains("/dev/cuse, which has no rings"), "{}", device.log());
    let file = device.open();
    assert_eq!(write(&file, b"x"), 1);
    let rings = process::ring_counts(device.pid.as_raw_nonzero().get() as u32).rings;
    assert_eq!(rings, 0);
}

#[test]
fn its_number_can_be_chosen() {
    if !possible() {
        return;
    }
    let device = Device::start("number", &["--maj=241", "--min=7"], &[]);
    let metadata = fs::metadata(&device.path).expect("stat");
    assert!(metadata.file_type().is_char_device());
    assert_eq!(metadata.rdev(), libc::makedev(241, 7));
}

#[test]
fn it_goes_to_the_background() {
    if !possible() {
        return;
    }
    let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
    let status = spawn(&dir, "daemon", &[], &[]).wait().expect("wait");
    assert_eq!(status.code(), Some(0), "the parent ends when the child has set itself up");
    let path = Path::new("/dev/daemon");
    let trace = dir.path().join("trace");
    eventually("the device", || {
        fs::read_to_string(&trace).is_ok_and(|trace| trace.contains("init_done"))
    });
    let pid = Trace::new(trace).wait("init").dec("pid") as i32;
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("cwd"), Path::new("/"));
    let stdin = fs::read_link(format!("/proc/{pid}/fd/0")).expect("stdin");
    assert_eq!(stdin, Path::new("/dev/null"));
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
    write(&file, b"daemon");
    assert_eq!(read(&file, 100), Ok(b"daemon".to_vec()));
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::TERM).expect("kill");
    eventually("the end of the daemon", || !process::alive(pid as u32) && !path.exists());
}
