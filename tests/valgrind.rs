//! A filesystem under valgrind: 10,000 requests, an unmount and a destroy leave
//! nothing behind, and no access was invalid.
//!
//! valgrind runs one thread at a time, and 3.19 lets none run while another waits
//! in io_uring_enter(2). That was seen with a program of two threads: one waits in
//! a ring for an eventfd, and the other, which is to write to it, never gets to
//! run. So a filesystem on rings hangs, and valgrind watches `/dev/fuse`; under `make test-asan` the same requests go over both transports, and
//! LeakSanitizer looks for what is left (it ends the filesystem with an error).

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
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

/// The filesystem serves the requests, unmounts and destroys, without a fault.
fn serves_and_ends_well(server: Server, on: Transport) {
    let directory = TempDir::with_prefix("ringfuse-stats-").expect("a temporary directory");
    let stats = directory.path().join("stats");
    let mount = server.env("RINGFUSE_STATS", stats.to_str().expect("UTF-8")).mount(on);
    for round in 0..REQUESTS / 20 {
        requests(&mount, round);
    }
    mount.unmount();
    let ending = mount.ended();
    assert!(ending.status.success() && ending.result == Some(0), "{ending:?}");
    let stats = fs::read_to_string(stats).expect("RINGFUSE_STATS");
    let key = format!("{}_requests ", on.name());
    let served = stats.lines().find_map(|line| line.strip_prefix(&key)?.parse().ok());
    assert!(served >= Some(REQUESTS), "{served:?} requests:\n{stats}");
}

fn under_valgrind(rules: &Path, report: &Path) -> Server {
    Server::new("trace_ll").under(&[
        "valgrind",
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect,possible",
        "--errors-for-leak-kinds=definite,indirect,possible",
        &format!("--suppressions={}", rules.display()),
        &format!("--log-file={}", report.display()),
    ])
}

#[test]
fn valgrind_finds_nothing() {
    if valgrind_version().is_none() {
        return skip("valgrind is not installed (apt-get install valgrind)");
    }
    if machine::checked() {
        return skip("the filesystems are built with another checker");
    }
    machine::on(Transport::Dev, |on| {
        let directory = TempDir::with_prefix("ringfuse-valgrind-").expect("a temporary directory");
        let report: PathBuf = directory.path().join("report");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sanitizers/valgrind.supp");
        serves_and_ends_well(under_valgrind(&rules, &report), on);
        let report = fs::read_to_string(report).expect("valgrind's report");
        assert!(report.contains("ERROR SUMMARY: 0 errors"), "{report}");
        for kind in ["definitely", "indirectly", "possibly"] {
            let line = report.lines().find(|line| line.contains(&format!("{kind} lost: ")));
            // valgrind says nothing of kinds when nothing at all is left.
            let none = line.map_or(report.contains("no leaks are possible"), |line| {
                line.contains("lost: 0 bytes in 0 blocks")
            });
            assert!(none, "{report}");
        }
    });
}

each_transport! {
    fn leak_sanitizer_finds_nothing(on) {
        if !machine::checked() {
            return skip("no sanitizer watches: make test-asan");
        }
        serves_and_ends_well(Server::new("trace_ll"), on);
    }
}
