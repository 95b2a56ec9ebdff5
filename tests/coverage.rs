//! No public function, form, operation, answer, notification or option is
//! without a test: `scripts/coverage.py` reads the headers and the tests.
//!
//! `make test` runs it once more at its end, with what the filesystems on the
//! mounts really called.
#![allow(missing_docs)]

mod support;

use std::path::Path;
use std::process::Command;

#[test]
fn nothing_public_is_without_a_test() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/coverage.py");
    let output = match Command::new("python3").arg(script).arg("--check").output() {
        Ok(output) => output,
        Err(e) => return support::skip(&format!("python3 cannot be run: {e}")),
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
