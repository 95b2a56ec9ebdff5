//! The background and signals: each case in a process of its own, because all
//! of it belongs to the whole process.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

mod api_support;

use api_support::{logged, skip};
use libc::{c_int, sighandler_t};
use ringfuse::abi::public::LowlevelOps;
use ringfuse::ffi::common::fuse_daemonize;
use ringfuse::ffi::signals::*;
use ringfuse::session::options::SessionOptions;
use ringfuse::session::Session;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the ignored test `name` in a process of its own, which gets `path`.
fn in_its_own_process(name: &str, path: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", name])
        .env("API_PROCESS_PATH", path)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

fn passes_in_its_own_process(name: &str) {
    let output = in_its_own_process(name, Path::new("/"));
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

fn path() -> std::path::PathBuf {
    std::env::var_os("API_PROCESS_PATH").unwrap().into()
}

/// Writes what this process is like and ends it.
fn report_and_exit(result: c_int) -> ! {
    let link = |name: &str| std::fs::read_link(format!("/proc/self/{name}")).unwrap();
    let (pid, sid) = unsafe { (libc::getpid(), libc::getsid(0)) };
    let text = format!(
        "result {result}\nleader {}\ncwd {:?}\n0 {:?}\n1 {:?}\n2 {:?}\n",
        pid == sid,
        link("cwd"),
        link("fd/0"),
        link("fd/1"),
        link("fd/2")
    );
    let partial = path().with_extension("partial");
    std::fs::File::create(&partial).unwrap().write_all(text.as_bytes()).unwrap();
    std::fs::rename(partial, path()).unwrap();
    unsafe { libc::_exit(0) }
}

#[test]
#[ignore = "run by the_background in a process of its own"]
fn to_the_background() {
    report_and_exit(fuse_daemonize(0));
}

#[test]
#[ignore = "run by the_background in a process of its own"]
fn to_the_background_without_standard_descriptors() {
    for fd in 0..=2 {
        unsafe { libc::close(fd) };
    }
    report_and_exit(fuse_daemonize(0));
}

#[test]
fn the_background() {
    for name in ["to_the_background", "to_the_background_without_standard_descriptors"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        let output = in_its_own_process(name, &path);
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
        let started = Instant::now();
        let report = loop {
            match std::fs::read_to_string(&path) {
                Ok(report) => break report,
                Err(_) => assert!(started.elapsed() < Duration::from_secs(10), "{name}: no report"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let null = r#""/dev/null""#;
        assert_eq!(
            report,
            format!("result 0\nleader true\ncwd \"/\"\n0 {null}\n1 {null}\n2 {null}\n"),
            "{name}"
        );
    }
}

#[test]
#[ignore = "run by the_foreground in a process of its own"]
fn to_the_foreground() {
    let pid = unsafe { libc::getpid() };
    assert_eq!(fuse_daemonize(1), 0);
    assert_eq!(unsafe { libc::getpid() }, pid);
    report_and_exit(0);
}

#[test]
fn the_foreground() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report");
    let output = in_its_own_process("to_the_foreground", &path);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = std::fs::read_to_string(path).unwrap();
    assert!(report.contains("cwd \"/\"\n") && !report.contains("1 \"/dev/null\""), "{report}");
}

#[test]
#[ignore = "run by a_failure_of_the_child_is_the_parents in a process of its own"]
fn to_the_background_of_an_empty_root() {
    let root = std::ffi::CString::new(path().into_os_string().into_encoded_bytes()).unwrap();
    assert_eq!(unsafe { libc::chroot(root.as_ptr()) }, 0);
    let result = fuse_daemonize(0);
    // The child's output still is the test's.
    eprintln!("result {result}");
    unsafe { libc::_exit(0) }
}

#[test]
fn a_failure_of_the_child_is_the_parents() {
    if unsafe { libc::geteuid() } != 0 {
        return skip("a_failure_of_the_child_is_the_parents", "chroot needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    let output = in_its_own_process("to_the_background_of_an_empty_root", directory.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr.contains("cannot open /dev/null: No such file") && stderr.contains("result -1"),
        "{stderr}"
    );
}

fn session() -> Arc<Session> {
    Session::new(LowlevelOps::default(), std::ptr::null_mut(), SessionOptions::default()).unwrap()
}

fn pointer(session: &Arc<Session>) -> *mut Session {
    Arc::as_ptr(session).cast_mut()
}

fn disposition(signal: c_int) -> libc::sigaction {
    unsafe {
        let mut action = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut action), 0);
        action
    }
}

static SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn own_handler(signal: c_int) {
    SEEN.store(signal, Ordering::SeqCst);
}

fn own() -> sighandler_t {
    own_handler as extern "C" fn(c_int) as sighandler_t
}

#[test]
#[ignore = "run by handlers in a process of its own"]
fn signals_end_the_session() {
    // Rust programs start with PIPE ignored, C programs do not.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        let session = session();
        unsafe {
            assert_eq!(fuse_set_signal_handlers(pointer(&session)), 0);
            // A loop that waits must notice.
            assert_eq!(disposition(signal).sa_flags & libc::SA_RESTART, 0);
            *libc::__errno_location() = 77;
            libc::raise(signal);
            assert_eq!(*libc::__errno_location(), 77);
            assert!(session.exited());
            assert_eq!(session.status(), signal);
            libc::raise(libc::SIGPIPE);
            assert_eq!(session.status(), signal);
            fuse_remove_signal_handlers(pointer(&session));
        }
        for restored in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
            assert_eq!(disposition(restored).sa_sigaction, libc::SIG_DFL);
        }
    }
}

#[test]
#[ignore = "run by handlers in a process of its own"]
fn the_programs_own_handlers_stay() {
    unsafe {
        libc::signal(libc::SIGINT, own());
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        let session = session();
        assert_eq!(fuse_set_signal_handlers(pointer(&session)), 0);
        assert_eq!(disposition(libc::SIGHUP).sa_sigaction, libc::SIG_IGN);
        libc::raise(libc::SIGINT);
        assert_eq!((SEEN.load(Ordering::SeqCst), session.exited()), (libc::SIGINT, false));
        // Nor does remove() take away what the program has set since.
        libc::signal(libc::SIGTERM, own());
        fuse_remove_signal_handlers(pointer(&session));
        assert_eq!(disposition(libc::SIGTERM).sa_sigaction, own());
        assert_eq!(disposition(libc::SIGINT).sa_sigaction, own());
        assert_eq!(disposition(libc::SIGHUP).sa_sigaction, libc::SIG_IGN);
    }
}

#[test]
#[ignore = "run by handlers in a process of its own"]
fn the_last_session_is_ended() {
    let (first, second) = (session(), session());
    unsafe {
        fuse_set_signal_handlers(pointer(&first));
        fuse_set_signal_handlers(pointer(&second));
        libc::raise(libc::SIGTERM);
        assert_eq!((first.exited(), second.exited()), (false, true));
        let ((), log) = logged(|| fuse_remove_signal_handlers(pointer(&first)));
        assert!(log.contains("unknown session"), "{log:?}");
        assert_eq!(disposition(libc::SIGTERM).sa_sigaction, libc::SIG_DFL);
    }
}

#[test]
fn handlers() {
    for name in
        ["signals_end_the_session", "the_programs_own_handlers_stay", "the_last_session_is_ended"]
    {
        passes_in_its_own_process(name);
    }
}

/// Sets the handlers as a C program finds the signal, and fails.
fn fail_with(signal: c_int) {
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let session = session();
        assert_eq!(fuse_set_fail_signal_handlers(pointer(&session)), 0);
        libc::raise(signal);
    }
}

#[test]
#[ignore = "run by failures in a process of its own"]
fn fail_with_segv() {
    fail_with(libc::SIGSEGV);
}

#[test]
#[ignore = "run by failures in a process of its own"]
fn fail_with_abrt() {
    fail_with(libc::SIGABRT);
}

#[test]
fn failures() {
    for (name, message) in [
        ("fail_with_segv", "the filesystem failed with signal 11 (Segmentation fault)"),
        ("fail_with_abrt", "the filesystem failed with signal 6 (Aborted)"),
    ] {
        let output = in_its_own_process(name, Path::new("/"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        assert_eq!(stderr.matches(message).count(), 1, "{stderr}");
        if cfg!(target_env = "gnu") {
            assert!(
                stderr.lines().filter(|line| line.contains("api_process")).count() > 2,
                "{stderr}"
            );
        } else {
            skip(name, "only glibc has backtraces");
        }
    }
}

#[test]
#[ignore = "run by failure_handlers_are_removed in a process of its own"]
fn set_and_remove_failure_handlers() {
    unsafe {
        libc::signal(libc::SIGSEGV, own());
        let session = session();
        assert_eq!(fuse_set_fail_signal_handlers(pointer(&session)), 0);
        assert_eq!(disposition(libc::SIGSEGV).sa_sigaction, own());
        assert_ne!(disposition(libc::SIGFPE).sa_sigaction, libc::SIG_DFL);
        fuse_remove_signal_handlers(pointer(&session));
        for signal in [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGFPE] {
            assert_eq!(disposition(signal).sa_sigaction, libc::SIG_DFL);
        }
    }
}

#[test]
fn failure_handlers_are_removed() {
    passes_in_its_own_process("set_and_remove_failure_handlers");
}
