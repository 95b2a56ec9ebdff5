//! `make bench`: how our library does against stock libfuse3.
//!
//! One C filesystem is mounted several times over the same files: on stock as it
//! is packaged (/dev/fuse), on stock as it can be built (/dev/fuse, rings), on
//! ours over /dev/fuse, on ours over rings. Clients do short rounds of the same
//! work on one mount after the other, so that what disturbs the machine disturbs
//! all. A sitting is a few such rounds with fresh servers; it gives one ratio,
//! and the table shows the median of many.
//!
//! Nothing passes or fails here: a time is a property of the machine, too.
#![allow(missing_docs)] // a program, not an interface

mod compare {
    pub mod cells;
    pub mod data;
    pub mod expectations;
    pub mod files;
    pub mod floor;
    pub mod machine;
    pub mod plot;
    pub mod process;
    pub mod report;
    pub mod rounds;
    pub mod run;
    pub mod settings;
    pub mod slow;
    pub mod statistics;
    pub mod trees;
    pub mod work;
}
#[allow(dead_code)] // the differential test needs more of it
#[path = "../tests/differential/server.rs"]
mod server;
#[path = "../tests/support/mod.rs"]
mod support;

use compare::{floor, run, settings, trees};
use server::Result;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<()> {
    // Processes that some rows consist of are this program, too.
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match &arguments[1..] {
        [trees::COMPILE, mount, sources, objects] => {
            trees::compile_all(Path::new(mount), Path::new(sources), Path::new(objects))
        }
        [floor::ECHO, file] => floor::echo(Path::new(file)),
        _ => return settings::settings()?.map_or(Ok(()), |settings| run::run(&settings)),
    };
    outcome.map_err(|error| error.to_string())
}
