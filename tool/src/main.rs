//! The command `ringfuse`: runs an installed program on ringfuse ([`run`]), tells
//! what a mount made now would use and what stands in the way ([`doctor`]), which
//! mounts there are ([`status`]), and what they do ([`top`]).
//!
//! It is no part of the library and shares no code with it: it looks at the
//! library's file, at ELF headers and at /proc. See `docs/architecture.md`.

mod args;
mod doctor;
mod elf;
mod library;
mod run;
mod status;
mod style;
mod top;
mod units;

use std::process::ExitCode;

/// Wrong arguments, or a failure of this command's own; as `env` and `timeout`.
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let command = match args::parse() {
        Ok(command) => command,
        Err(error) => {
            eprintln!("ringfuse: {error}\nTry 'ringfuse --help'.");
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let outcome = match command {
        args::Command::Text(text) => style::print(&text).map(|()| 0),
        args::Command::Run(request) => Ok(run::run(&request)),
        args::Command::Doctor { json, libdir } => doctor::doctor(json, libdir.as_deref()),
        args::Command::Status { json } => status::status(json),
        args::Command::Top(request) => top::top(&request),
        args::Command::Probe => Ok(doctor::uring::probe()),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("ringfuse: standard output: {error}");
            ExitCode::from(OWN_FAILURE)
        }
    }
}
