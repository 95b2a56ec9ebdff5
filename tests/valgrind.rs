//! A filesystem under valgrind: 10,000 requests, an unmount and a destroy leave
//! nothing behind, and no access was invalid.
//!
//! valgrind takes what it watches through its own system call layer. Where that
//! knows no io_uring, as in valgrind 3.19, there is a test on `/dev/fuse` only;
//! `make test-asan` looks for leaks on rings too.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use support::*;
use tempfile::TempDir;

/// Requests, at least. What a round of `requests` sends is counted low.
const REQUESTS: usize = 10_000;

/// `None` if it is not installed.
fn valgrind_version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// One of each of the frequent requests, at least ten.
fn requests(mount: &Mount, round: usize) {
    let path = mount.at(&format!("file-{round}"));
    let mut file = OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
    file.write_all(&vec![round as u8; 5000]).unwrap();
    file.sync_all().unwrap();
    let mut data = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut data).unwrap();
    assert!(data.len() == 5000 && data.iter().all(|&byte| byte == round as u8));
    let renamed = mount.at("renamed");
    fs::rename(&path, &renamed).unwrap();
    let _ = fs::metadata(mount.at("no such file"));
    assert!(fs::read_dir(&mount.path).unwrap().count() > 0);
    fs::remove_file(&renamed).unwrap();
    for _ in 0..10 {
        rustix::fs::statvfs(&mount.path).unwrap();
    }
}

fn leaves_nothing_behind(on: Transport) {
    let Some(version) = valgrind_version() else {
        return skip("valgrind is not installed (apt-get install valgrind)");
    };
    if machine::checked() {
        return skip("the filesystems are built with another checker");
    }
    let directory = TempDir::with_prefix("ringfuse-valgrind-").expect("a temporary directory");
    let report = directory.path().join("report");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sanitizers/valgrind.supp");
    let mount = Server::new("trace_ll")
        .under(&[
            "valgrind",
            "--leak-check=full",
            "--show-leak-kinds=definite,indirect,possible",
            "--errors-for-leak-kinds=definite,indirect,possible",
            "--error-exitcode=99",
            &format!("--suppressions={}", rules.display()),
            &format!("--log-file={}", report.display()),
        ])
        .mount(on);
    for round in 0..REQUESTS / 20 {
        requests(&mount, round);
    }
    mount.unmount();
    let ending = mount.ended();
    let report = fs::read_to_string(report).expect("valgrind's report");
    assert!(ending.status.success() && ending.result == Some(0), "{ending:?}\n{report}");
    assert!(report.contains("ERROR SUMMARY: 0 errors"), "{version}:\n{report}");
    for kind in ["definitely", "indirectly", "possibly"] {
        let line = report.lines().find(|line| line.contains(&format!("{kind} lost: ")));
        // valgrind says nothing of kinds when nothing at all is left.
        let none = line.map_or(report.contains("no leaks are possible"), |line| {
            line.contains("lost: 0 bytes in 0 blocks")
        });
        assert!(none, "{version}:\n{report}");
    }
}

#[test]
fn ten_thousand_requests_and_a_destroy() {
    machine::on(Transport::Dev, leaves_nothing_behind);
}

#[test]
fn ten_thousand_requests_and_a_destroy_on_rings() {
    machine::on(Transport::Ring, leaves_nothing_behind);
}
