//! `ringfuse doctor`, as the settings of this machine change.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::machine::{device, hold, is_root, rings, with_rings_off};
use support::*;
use tempfile::TempDir;

const WORKS: &str = "good";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tool() -> PathBuf {
    root().join("build/ringfuse")
}

/// What it says, started by the words of `wrapper`, and that its exit status is that.
fn doctor(wrapper: &[&str], env: &[(&str, &str)]) -> Value {
    let tool = tool();
    let words = [wrapper, &[tool.to_str().unwrap(), "doctor", "--json"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).envs(env.iter().copied());
    for name in ["RINGFUSE_TRANSPORT", "FUSE_URING_ENABLE"] {
        if !env.iter().any(|(known, _)| *known == name) {
            command.env_remove(name);
        }
    }
    let output = command.output().expect("ringfuse");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let status = match report["transport"].as_str() {
        Some("ring") => 0,
        Some("dev") => 1,
        Some("none") => 2,
        other => panic!("{other:?}"),
    };
    assert_eq!(output.status.code(), Some(status), "{report:#}");
    assert_eq!(report["exit_status"], status);
    report
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {report:#}"))
}

/// This one thing keeps rings off, and this removes it.
fn stands_in_the_way(report: &Value, name: &str, remedy: &str) {
    assert_eq!(report["transport"], "dev", "{report:#}");
    let check = check(report, name);
    assert_eq!(check["state"], "no_rings", "{report:#}");
    assert!(check["remedy"].as_str().unwrap().contains(remedy), "{check}");
}

/// One test: the settings are those of the machine. The last one stays until this
/// process ends, and goes back then.
#[test]
fn settings() {
    if let Err(reason) = device().and_then(|()| rings()) {
        return skip(&reason);
    }
    if !is_root() {
        return skip("only root may change settings");
    }
    let report = doctor(&[], &[]);
    assert_eq!(report["transport"], "ring", "{report:#}");
    for name in ["library", "kernel", "/dev/fuse", "enable_uring", "io_uring_setup"] {
        assert_eq!(check(&report, name)["state"], WORKS, "{report:#}");
    }

    let report = with_rings_off(|| doctor(&[], &[]));
    stands_in_the_way(&report, "enable_uring", "echo Y > /sys/module/fuse/parameters/enable_uring");
    // The remedy is one.
    assert_eq!(doctor(&[], &[])["transport"], "ring");

    for (name, value) in [("RINGFUSE_TRANSPORT", "dev"), ("FUSE_URING_ENABLE", "0")] {
        stands_in_the_way(&doctor(&[], &[(name, value)]), "environment", &format!("unset {name}"));
    }
    let asked = [("FUSE_URING_ENABLE", "0"), ("RINGFUSE_TRANSPORT", "ring")];
    assert_eq!(doctor(&[], &asked)["transport"], "ring");

    seccomp();
    unprivileged();

    // An exact word on the sysctl: who has it may not use it either.
    if let Err(reason) = hold(Path::new("/proc/sys/kernel/io_uring_disabled"), "2") {
        return skip(&reason);
    }
    let report = doctor(&[], &[]);
    stands_in_the_way(&report, "io_uring_disabled", "sysctl kernel.io_uring_disabled=0");
    assert_eq!(check(&report, "io_uring_setup")["state"], "no_rings");
}

/// A filter that answers, and one that kills.
fn seccomp() {
    let dir = TempDir::with_prefix("ringfuse-tool-").unwrap();
    let filtered = dir.path().join("filtered");
    let source = root().join("tests/tool/filtered.c");
    let status = Command::new("cc").arg("-o").arg(&filtered).arg(source).status().expect("cc");
    assert!(status.success());
    for answer in ["0", "1", "38"] {
        let report = doctor(&[filtered.to_str().unwrap(), answer], &[]);
        stands_in_the_way(&report, "io_uring_setup", "seccomp");
        let found = check(&report, "io_uring_setup")["found"].as_str().unwrap().to_owned();
        assert_eq!(found.contains("killed by signal 31"), answer == "0", "{found}");
    }
}

/// As a user who may not open the device.
fn unprivileged() {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/dev/fuse").unwrap().mode() & 0o006 != 0 {
        return skip("unprivileged: /dev/fuse is open to all on this machine");
    }
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let report = doctor(&nobody, &[]);
    assert_eq!(report["transport"], "none");
    let device = check(&report, "/dev/fuse");
    assert_eq!(
        (&device["state"], &device["remedy"]),
        (&"no_mounts".into(), &"chmod 666 /dev/fuse".into())
    );
    // Nothing is granted by fusermount3 without its privilege.
    let report = doctor(&[&nobody[..], &["--no-new-privs"]].concat(), &[]);
    assert_eq!(check(&report, "fusermount3")["state"], "no_mounts", "{report:#}");
}

#[test]
fn for_people() {
    let output = Command::new(tool()).arg("doctor").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.lines().last().unwrap().starts_with("A mount made now would"), "{text}");
    assert!(!text.contains('\x1b'), "colours without a terminal: {text}");
    // script(1) gives it a terminal.
    let on_terminal = |no_color: &str| {
        let command = format!("{} doctor", tool().display());
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", no_color);
        script.output().map(|output| output.stdout.contains(&0x1b))
    };
    match on_terminal("") {
        Ok(coloured) => assert!(coloured, "no colours on a terminal"),
        Err(error) => return skip(&format!("colours: script(1): {error}")),
    }
    assert!(!on_terminal("1").unwrap(), "colours in spite of NO_COLOR");
}
