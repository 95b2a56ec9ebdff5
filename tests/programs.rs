//! Unmodified programs of Debian on our libraries. The work is done by the
//! scripts in `tests/programs`; of the programs there, `make test-programs` runs
//! all, and this runs sshfs, on libfuse3.so.3 and libfuse3.so.4, and as a user, who
//! mounts through that system's fusermount3.

mod support;

use std::path::Path;
use std::process::Command;

use support::{skip, stock, Transport};

/// Runs `program` of a release of Debian as `account`, root or user; the script
/// bounds all its waits.
fn check(program: &str, release: &str, account: &str, on: Transport) {
    if stock() {
        return skip("the library under test is libfuse");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/run");
    let output = Command::new(&script)
        .args(["--system", release, "--transport", on.name(), "--as", account, program])
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    match text.trim() {
        line if line.starts_with("skipped: ") => skip(&line["skipped: ".len()..]),
        line => assert!(line.starts_with("passed: ") && !line.contains('\n'), "{text}{errors}"),
    }
}

each_transport! {
    fn sshfs_of_debian_12(on) {
        check("sshfs", "bookworm", "root", on);
    }

    fn sshfs_of_debian_13(on) {
        check("sshfs", "trixie", "root", on);
    }

    fn sshfs_of_debian_13_as_a_user(on) {
        check("sshfs", "trixie", "user", on);
    }
}
