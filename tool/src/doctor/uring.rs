//! What rings need: the kernel's offer, and io_uring for this process.

use super::device::{offered, ENABLE_URING};
use super::{is_admin, read, release, status_field, Check, State};
use io_uring::{cqueue, squeue, IoUring};
use rustix::io::Errno;
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![offer()];
    checks.extend(disabled());
    checks.push(attempt());
    checks.extend(environment());
    checks
}

fn offer() -> Check {
    const NAME: &str = "enable_uring";
    match offered() {
        Some(true) => Check::good(NAME, "Y: the kernel offers rings to new mounts"),
        Some(false) => Check::bad(
            NAME,
            State::NoRings,
            "N: the kernel does not offer rings",
            format!("echo Y > {ENABLE_URING}; for good: the kernel's command line with fuse.enable_uring=1"),
        ),
        None => Check::bad(
            NAME,
            State::NoRings,
            format!("this kernel ({}) has no FUSE over io_uring", release()),
            "boot Linux 6.14 or later with CONFIG_FUSE_IO_URING",
        ),
    }
}

const DISABLED: &str = "io_uring_disabled";

fn disabled() -> Option<Check> {
    let value = read("/proc/sys/kernel/io_uring_disabled")?;
    let bad = |found: &str, remedy: String| {
        Some(Check::bad(DISABLED, State::NoRings, format!("{value}: {found}"), remedy))
    };
    const ALLOW: &str = "sysctl kernel.io_uring_disabled=0";
    match value.as_str() {
        "0" => Some(Check::good(DISABLED, "0: all may use io_uring")),
        "1" if is_admin() => Some(Check::good(
            DISABLED,
            "1: some may use io_uring, among them this user (CAP_SYS_ADMIN)",
        )),
        "1" => {
            let group = read("/proc/sys/kernel/io_uring_group").and_then(|g| g.parse::<u32>().ok());
            let own = rustix::process::getgroups().unwrap_or_default();
            let own = own.into_iter().chain([rustix::process::getegid()]);
            let member =
                group.is_some_and(|group| own.into_iter().any(|gid| gid.as_raw() == group));
            match group {
                Some(group) if member => Some(Check::good(
                    DISABLED,
                    format!("1: the group {group} may use io_uring, and this user is in it"),
                )),
                Some(group) => bad(
                    &format!("only the group {group} may use io_uring, and this user is not in it"),
                    format!("usermod -aG {group} USER, or {ALLOW}"),
                ),
                None => bad(
                    "nobody without CAP_SYS_ADMIN may use io_uring",
                    format!(
                        "sysctl kernel.io_uring_group={}, or {ALLOW}",
                        rustix::process::getegid().as_raw()
                    ),
                ),
            }
        }
        _ => bad("nobody may use io_uring", ALLOW.into()),
    }
}

/// The hidden command with which this program calls itself.
pub const PROBE: &str = "probe-io-uring";

/// Makes a ring as the library makes them. The exit status is the errno.
pub fn probe() -> u8 {
    let ring = IoUring::<squeue::Entry128, cqueue::Entry>::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_no_sqarray()
        .build(16);
    match ring {
        Ok(_) => 0,
        Err(error) => {
            error.raw_os_error().and_then(|errno| u8::try_from(errno).ok()).unwrap_or(u8::MAX)
        }
    }
}

/// Tries it, in another process: a seccomp filter may kill for it.
fn attempt() -> Check {
    const NAME: &str = "io_uring_setup";
    let bad = |found: String, remedy: &str| Check::bad(NAME, State::NoRings, found, remedy);
    let child = env::current_exe()
        .and_then(|own| Command::new(own).arg(PROBE).stdin(Stdio::null()).status());
    let status = match child {
        Ok(status) => status,
        Err(error) => {
            return bad(
                format!("cannot be tried: {error}"),
                "look at the permissions of this program",
            )
        }
    };
    const FILTER: &str = "let the seccomp filter pass io_uring_setup, io_uring_enter and io_uring_register (containers: --security-opt seccomp=PROFILE; systemd: SystemCallFilter=@io-uring)";
    let Some(code) = status.code() else {
        let signal = status.signal().unwrap_or(0);
        return bad(
            format!("the process that tried it was killed by signal {signal} (a seccomp filter)"),
            FILTER,
        );
    };
    let filtered = status_field("Seccomp").as_deref() == Some("2");
    match code {
        0 => return Check::good(NAME, "works"),
        1..=254 => {}
        _ => return bad("failed".into(), "see the kernel's log: dmesg"),
    }
    match Errno::from_raw_os_error(code) {
        Errno::PERM | Errno::ACCESS if is_disabled() => {
            bad("refused, see io_uring_disabled".into(), "see io_uring_disabled")
        }
        Errno::PERM | Errno::ACCESS if filtered => {
            bad("refused by a seccomp filter".into(), FILTER)
        }
        Errno::PERM | Errno::ACCESS => bad(
            "refused, by a security module".into(),
            "allow io_uring in its policy (SELinux: the class io_uring)",
        ),
        Errno::NOSYS if filtered => {
            bad("not there: by a seccomp filter, or not in this kernel".into(), FILTER)
        }
        Errno::NOSYS => bad("not in this kernel".into(), "boot a kernel with CONFIG_IO_URING"),
        Errno::NOMEM => bad("got no memory".into(), "ulimit -l unlimited"),
        Errno::MFILE | Errno::NFILE => bad("got no descriptor".into(), "ulimit -n 1024"),
        Errno::INVAL => bad("this kernel's io_uring is too old".into(), "boot Linux 6.14 or later"),
        errno => bad(format!("failed: {errno}"), "see the kernel's log: dmesg"),
    }
}

/// Whether [`disabled`] has found the reason.
fn is_disabled() -> bool {
    disabled().is_some_and(|check| check.state != State::Good)
}

/// What the library reads to keep rings off.
fn environment() -> Option<Check> {
    let transport = env::var("RINGFUSE_TRANSPORT").ok();
    let name = match transport.as_deref() {
        Some("dev") => "RINGFUSE_TRANSPORT",
        Some("ring") => return None,
        _ if env::var("FUSE_URING_ENABLE").is_ok_and(|value| value == "0") => "FUSE_URING_ENABLE",
        _ => return None,
    };
    let value = env::var(name).unwrap_or_default();
    Some(Check::bad(
        "environment",
        State::NoRings,
        format!("{name}={value} keeps rings off"),
        format!("unset {name}"),
    ))
}
