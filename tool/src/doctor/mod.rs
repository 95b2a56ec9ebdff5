//! `ringfuse doctor`: what a mount that this user makes now would use, and for
//! each thing that stands in the way the command that removes it.

mod device;
pub mod uring;

use crate::library;
use crate::style::{self, Style, Tone};
use rustix::process::{getrlimit, Resource};
use serde::Serialize;
use std::io;
use std::path::Path;

/// What a finding means for a mount made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    /// Stands in the way of something that most do not need.
    Notice,
    /// Stands in the way of rings: mounts are served by /dev/fuse.
    NoRings,
    /// Stands in the way of mounts.
    NoMounts,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// What removes it: a command, or what to do where no command does.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Good, found: found.into(), remedy: None }
    }

    fn bad(
        name: &'static str,
        state: State,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name, state, found: found.into(), remedy: Some(remedy.into()) }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    /// What a mount made now would use: "ring", "dev" or "none".
    transport: &'static str,
    exit_status: u8,
    checks: &'a [Check],
}

/// Looks, tells, and returns the exit status.
pub fn doctor(json: bool, libdir: Option<&Path>) -> io::Result<u8> {
    let mut checks = vec![library(libdir), kernel()];
    checks.extend(device::checks());
    checks.extend(uring::checks());
    checks.push(memlock());
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Good);
    let (transport, exit_status) = match worst {
        State::Good | State::Notice => ("ring", 0),
        State::NoRings => ("dev", 1),
        State::NoMounts => ("none", 2),
    };
    if json {
        style::print_json(&Report { transport, exit_status, checks: &checks })?;
    } else {
        style::print(&text(&checks, worst))?;
    }
    Ok(exit_status)
}

fn text(checks: &[Check], worst: State) -> String {
    let style = Style::of_stdout();
    let mut text = String::new();
    for check in checks {
        let (tone, word) = match check.state {
            State::Good => (Tone::Good, "ok      "),
            State::Notice => (Tone::Warning, "notice  "),
            State::NoRings => (Tone::Warning, "no rings"),
            State::NoMounts => (Tone::Bad, "no mount"),
        };
        text += &format!("{}  {:<18} {}\n", style.paint(tone, word), check.name, check.found);
        if let Some(remedy) = &check.remedy {
            text += &format!("{:29}{}\n", "", style.paint(Tone::Strong, &format!("-> {remedy}")));
        }
    }
    text += &match worst {
        State::Good | State::Notice => style.paint(Tone::Good, "A mount made now would use rings."),
        State::NoRings => {
            style.paint(Tone::Warning, "A mount made now would work, over /dev/fuse.")
        }
        State::NoMounts => style.paint(Tone::Bad, "A mount made now would not work."),
    };
    text + "\n"
}

fn library(libdir: Option<&Path>) -> Check {
    match library::find(libdir) {
        Ok((directory, machine)) => {
            Check::good("library", format!("{} ({machine})", directory.display()))
        }
        Err(reason) => {
            Check::bad("library", State::Notice, reason, "ringfuse doctor --libdir DIRECTORY")
        }
    }
}

/// Only a word on the version: what a kernel offers is looked at itself.
fn kernel() -> Check {
    Check::good("kernel", format!("Linux {}", release()))
}

fn release() -> String {
    read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "of unknown release".into())
}

/// Kernels before 5.12 charge rings to it; for all others it is background.
fn memlock() -> Check {
    let limit = getrlimit(Resource::Memlock).current;
    let limit = limit.map_or("unlimited".into(), |bytes| format!("{} KiB", bytes / 1024));
    Check::good("memlock", format!("{limit} (ulimit -l); rings do not count against it"))
}

/// The first line of a file of /proc or /sys.
fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}

/// A field of /proc/self/status.
fn status_field(name: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Whether this process has CAP_SYS_ADMIN.
fn is_admin() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let bits = status_field("CapEff").and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    bits.unwrap_or(0) >> CAP_SYS_ADMIN & 1 != 0
}
