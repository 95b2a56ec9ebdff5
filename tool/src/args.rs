//! The command line.

use crate::{doctor, run::Request};
use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for.
pub enum Command {
    /// To print this.
    Text(String),
    Run(Request),
    Doctor {
        json: bool,
        libdir: Option<PathBuf>,
    },
    Status {
        json: bool,
    },
    /// Of `doctor`, to itself: try io_uring in a process that may be killed for it.
    Probe,
}

const HELP: &str = "\
Runs FUSE filesystems on ringfuse, in place of libfuse3.

Usage: ringfuse run [--libdir DIRECTORY] [--anyway] PROGRAM [ARGUMENT...]
       ringfuse doctor [--json] [--libdir DIRECTORY]
       ringfuse status [--json]

run      runs PROGRAM, which is made for libfuse3, on ringfuse
doctor   says what a mount made now would use, and how to clear what is in the way;
         exit status 0: rings, 1: /dev/fuse, 2: mounts do not work
status   lists the ringfuse mounts of this machine

Options:
  --libdir DIRECTORY  where ringfuse's libfuse3.so.3 and libfuse3.so.4 are
  --anyway            run a program that does not need libfuse3 itself, but loads it
                      later, or starts others that do
  --json              for programs to read
  -h, --help          this text
  -V, --version       the version

ringfuse(1) is the manual.
";

/// Reads the command line of this process.
pub fn parse() -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut name: Option<OsString> = None;
    let (mut json, mut anyway, mut libdir) = (false, false, None);
    while let Some(arg) = parser.next()? {
        let of = |commands: &[&str]| {
            name.as_ref().and_then(|n| n.to_str()).is_some_and(|n| commands.contains(&n))
        };
        match arg {
            Short('h') | Long("help") => return Ok(Command::Text(HELP.into())),
            Short('V') | Long("version") => return Ok(Command::Text(version())),
            Long("json") if of(&["doctor", "status"]) => json = true,
            Long("libdir") if of(&["run", "doctor"]) => libdir = Some(parser.value()?.into()),
            Long("anyway") if of(&["run"]) => anyway = true,
            Value(program) if of(&["run"]) => {
                // Whatever follows is the program's, options too.
                let arguments = parser.raw_args()?.collect();
                return Ok(Command::Run(Request { program, arguments, libdir, anyway }));
            }
            Value(value) if name.is_none() => name = Some(value),
            other => return Err(other.unexpected()),
        }
    }
    match name.as_ref().map(|name| name.to_string_lossy()).as_deref() {
        Some("doctor") => Ok(Command::Doctor { json, libdir }),
        Some("status") => Ok(Command::Status { json }),
        Some("run") => Err("run: which program?".into()),
        Some(doctor::uring::PROBE) => Ok(Command::Probe),
        Some(other) => Err(format!("there is no command '{other}': run, doctor or status").into()),
        None => Err("a command is missing: run, doctor or status".into()),
    }
}

fn version() -> String {
    format!("ringfuse {}\n", env!("CARGO_PKG_VERSION"))
}
