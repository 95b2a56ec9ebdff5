//! The command line.

use crate::{doctor, run::Request, top};
use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

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
    Top(top::Request),
    /// Of `doctor`, to itself: try io_uring in a process that may be killed for it.
    Probe,
}

const HELP: &str = "\
Runs FUSE filesystems on ringfuse, in place of libfuse3.

Usage: ringfuse run [--libdir DIRECTORY] [--anyway] PROGRAM [ARGUMENT...]
       ringfuse doctor [--json] [--libdir DIRECTORY]
       ringfuse status [--json]
       ringfuse top [-d SECONDS] [-n COUNT] [-u] [-b] [MOUNT_POINT...]

run      runs PROGRAM, which is made for libfuse3, on ringfuse
doctor   says what a mount made now would use, and how to clear what is in the way;
         exit status 0: rings, 1: /dev/fuse, 2: mounts do not work
status   lists the ringfuse mounts of this machine
top      shows what they do, again and again; each queue's part for the MOUNT_POINTs

Options:
  --libdir DIRECTORY  where ringfuse's libfuse3.so.3 and libfuse3.so.4 are
  --anyway            run a program that does not need libfuse3 itself, but loads it
                      later, or starts others that do
  --json              for programs to read
  -d, --delay SECONDS between two looks; 2 if not given
  -n, --count COUNT   end after that many reports
  -u, --queues        a line for each queue
  -b, --batch         reports one after the other, also on a terminal
  -h, --help          this text
  -V, --version       the version

ringfuse(1) is the manual.
";

/// Reads the command line of this process.
pub fn parse() -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut name: Option<OsString> = None;
    let (mut json, mut anyway, mut libdir) = (false, false, None);
    let mut top = top::Request {
        delay: Duration::from_secs(2),
        count: None,
        queues: false,
        batch: false,
        mounts: Vec::new(),
    };
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
            Short('d') | Long("delay") if of(&["top"]) => top.delay = delay(&parser.value()?)?,
            Short('n') | Long("count") if of(&["top"]) => {
                top.count = Some(parser.value()?.parse()?);
            }
            Short('u') | Long("queues") if of(&["top"]) => top.queues = true,
            Short('b') | Long("batch") if of(&["top"]) => top.batch = true,
            Value(point) if of(&["top"]) => {
                // Who asks for some wants to see more of them.
                top.queues = true;
                top.mounts.push(point.into());
            }
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
        Some("top") => Ok(Command::Top(top)),
        Some("run") => Err("run: which program?".into()),
        Some(doctor::uring::PROBE) => Ok(Command::Probe),
        Some(other) => {
            Err(format!("there is no command '{other}': run, doctor, status or top").into())
        }
        None => Err("a command is missing: run, doctor, status or top".into()),
    }
}

/// Sooner than that it would mostly look at itself.
const SHORTEST: f64 = 0.1;
const LONGEST: f64 = 86_400.0;

fn delay(value: &std::ffi::OsStr) -> Result<Duration, lexopt::Error> {
    let seconds = value.to_str().and_then(|text| text.parse::<f64>().ok());
    match seconds.filter(|seconds| (SHORTEST..=LONGEST).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err(format!(
            "--delay {}: a number of seconds is needed, from {SHORTEST} to {LONGEST}",
            value.to_string_lossy()
        )
        .into()),
    }
}

fn version() -> String {
    format!("ringfuse {}\n", env!("CARGO_PKG_VERSION"))
}
