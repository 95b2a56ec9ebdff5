//! Where messages go: to the program's function, to the system's log, and back
//! to standard error.
#![allow(missing_docs)]

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use support::skip;

fn log_ll() -> PathBuf {
    std::env::var_os("RINGFUSE_TEST_BUILD")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("build/tests/fs"), PathBuf::from)
        .join("log_ll")
}

fn checked(output: Output) -> (String, String) {
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr))
}

/// What log_ll has on standard error after it went back to that.
const THEN: &str = "then: message 1\nfuse: unknown option(s): `nobody_knows_this'\n";

#[test]
fn a_function_of_the_program() {
    let output = Command::new(log_ll()).arg("function").output().expect("log_ll");
    let (stdout, stderr) = checked(output);
    assert_eq!(
        stdout,
        "level 4: first: message 1\nlevel 3: fuse: unknown option(s): `nobody_knows_this'\n"
    );
    assert_eq!(stderr, THEN);
}

/// In a mount namespace where /dev/log is a socket of the test.
#[test]
fn the_system_s_log() {
    if !support::machine::is_root() {
        return skip("only root may put another /dev/log into a namespace");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("log");
    let log = UnixDatagram::bind(&socket).expect("a socket");
    log.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let script = "mount -t tmpfs tmpfs /dev && ln -s \"$1\" /dev/log && exec \"$2\" syslog";
    let output = Command::new("timeout")
        .args(["60", "unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .args([&socket, &log_ll()])
        .output()
        .expect("unshare");
    let (stdout, stderr) = checked(output);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("", THEN));
    let next = || {
        let mut buffer = [0; 1024];
        let length = log.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    // <8 * LOG_USER + level>DATE log_ll: TEXT
    let (warning, error) = (next(), next());
    assert!(
        warning.starts_with("<12>") && warning.trim_end().ends_with(" log_ll: first: message 1"),
        "{warning:?}"
    );
    assert!(
        error.starts_with("<11>") && error.contains(" log_ll: fuse: unknown option(s): `nobody"),
        "{error:?}"
    );
    log.set_nonblocking(true).expect("nonblocking");
    assert!(log.recv(&mut [0; 64]).is_err(), "a message after fuse_log_close_syslog()");
}

#[test]
fn mounting_opens_the_standard_descriptors() {
    checked(Command::new(log_ll()).arg("closed").output().expect("log_ll"));
}
