//! `make install`: beside the system's libfuse3 (`tests/install/prefix.sh`), and in its
//! place and back again (`in-place.sh`), in a copy of this machine's system. The Debian
//! packages are tested by `make test-deb`.

mod support;

use std::path::Path;
use std::process::Command;

use support::machine::is_root;
use support::{skip, stock};

#[test]
fn in_the_place_of_the_systems() {
    let cache = Command::new("ldconfig").arg("-p").output().expect("ldconfig");
    if !String::from_utf8_lossy(&cache.stdout).contains("libfuse3.so.") {
        return skip("this system has no libfuse3");
    }
    passes("in-place", &[]);
}

/// Also: what a user types who builds a program for what was installed.
#[test]
fn beside_the_systems() {
    passes("prefix", &[top()]);
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `tests/install/SCRIPT.sh` in a copy of this system.
fn passes(script: &str, arguments: &[&Path]) {
    if stock() {
        return skip("the library under test is libfuse");
    }
    if !is_root() {
        return skip("needs root, for mounts of its own");
    }
    let output = Command::new("timeout")
        .args(["--signal", "KILL", "300", "unshare", "--mount", "--net", "--pid", "--fork"])
        .arg("--kill-child")
        .arg(top().join("tests/install/room.sh"))
        .args([Path::new("/"), top(), Path::new(script)])
        .args(arguments)
        .output()
        .expect("timeout");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    match text.trim() {
        line if line.starts_with("skipped: ") => skip(&line["skipped: ".len()..]),
        line => assert_eq!(line, "passed", "{errors}"),
    }
}
