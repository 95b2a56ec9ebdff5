//! Character devices, from three sides: the messages themselves (`wire`), what
//! a machine without /dev/cuse shows (`setup`), and clients of a real device
//! (`device`), for which `tests/vm.rs` boots a kernel that has the module.

#[path = "cuse/device.rs"]
mod device;
mod support;
#[path = "cuse/wire.rs"]
mod wire;

use std::path::Path;
use std::process::{Command, Output};

use support::client::pattern;
use support::trace::Trace;
use support::*;

/// The program and the arguments of a test device; `libfuse` are the library's.
fn command(own: &[&str], libfuse: &[&str]) -> Command {
    let mut command = Command::new(mount::built("cuse_dev"));
    command.args(own).arg("--").args(libfuse);
    mount::with_library_under_test(&mut command);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a device that cannot get as far as its loop.
fn fails(own: &[&str], libfuse: &[&str]) -> Output {
    command(own, libfuse).output().expect("cuse_dev starts")
}

mod setup {
    use super::*;

    const ENTRIES: [&str; 4] = ["main", "setup", "main_319", "setup_319"];

    /// The entry points that the library under test has.
    fn entries() -> impl Iterator<Item = &'static str> {
        ENTRIES.into_iter().filter(|entry| !stock() || !entry.ends_with("319"))
    }

    #[test]
    fn without_the_device_it_says_what_to_do() {
        if Path::new("/dev/cuse").exists() {
            return skip("this kernel has /dev/cuse");
        }
        for entry in entries() {
            let output = fails(&[&format!("--entry={entry}")], &[]);
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{entry}: {message}");
            assert!(message.contains("modprobe cuse"), "{entry}: {message}");
            assert!(stock() || message.contains("/dev/cuse"), "{entry}: {message}");
        }
    }

    #[test]
    fn bad_arguments_are_told() {
        let named = |what: &str| ["--name=box", what].map(String::from);
        for entry in entries() {
            let entry = format!("--entry={entry}");
            for (own, libfuse, message) in [
                (named(&entry), &["-f", "--bogus"][..], "unknown option(s): `--bogus'"),
                (named(&entry), &["-o", "nonsense=1"], "nonsense=1"),
                (named(&entry), &["-o", "max_threads=x"], "max_threads=x"),
                (named(&entry), &["/nonexistent"], "/nonexistent"),
                ([entry.clone(), "--info=5000".into()], &["-f"], "too large"),
            ] {
                let own: Vec<&str> = own.iter().map(String::as_str).collect();
                let output = fails(&own, libfuse);
                let log = text(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{own:?} {libfuse:?}: {log}");
                assert!(log.contains(message), "{own:?} {libfuse:?}: {log}");
            }
        }
    }

    #[test]
    fn a_device_without_a_name_is_refused() {
        if stock() {
            return skip("libfuse leaves that to the kernel");
        }
        for entry in ENTRIES.into_iter().chain(["new", "new_319"]) {
            let output = fails(&["--name=", &format!("--entry={entry}")], &[]);
            assert_eq!(output.status.code(), Some(1), "{entry}");
            assert!(text(&output.stderr).contains("DEVNAME"), "{}", text(&output.stderr));
        }
    }

    #[test]
    fn help_and_version_are_shown() {
        if stock() {
            return skip("libfuse goes on after --help");
        }
        for (option, expected) in
            [("-h", "-s "), ("--help", "max_threads"), ("-V", "7."), ("--version", "7.")]
        {
            let output = fails(&["--entry=main"], &[option]);
            assert_eq!(output.status.code(), Some(0), "{option}");
            assert!(text(&output.stdout).contains(expected), "{}", text(&output.stdout));
            // NULL: there is nothing to serve.
            assert_eq!(fails(&["--entry=setup"], &[option]).status.code(), Some(1));
        }
    }

    #[test]
    fn a_session_that_was_never_connected_is_destroyed() {
        for entry in ["new", "new_319"].into_iter().filter(|e| !stock() || *e == "new") {
            let output = fails(&[&format!("--entry={entry}")], &["-o", "debug"]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        }
    }
}
