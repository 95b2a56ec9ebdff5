//! `make bench`: how our library does against stock libfuse3.
//!
//! One `passthrough_ll` binary, compiled against stock, is mounted several
//! times over the same files: on stock (always /dev/fuse), on ours over
//! /dev/fuse, on ours over rings. Clients do short rounds of the same work on
//! one mount after the other, so that what disturbs the machine disturbs all.
//! A sitting is a few such rounds with fresh servers; it gives one ratio, and
//! the table shows the median of many.
//!
//! Nothing passes or fails here: a time is a property of the machine, too.
#![allow(missing_docs)] // a program, not an interface

mod compare {
    pub mod machine;
    pub mod report;
    pub mod rounds;
    pub mod statistics;
    pub mod work;
}
#[allow(dead_code)] // the differential test needs more of it
#[path = "../tests/differential/server.rs"]
mod server;
#[path = "../tests/support/mod.rs"]
mod support;

use compare::report::{self, Line};
use compare::rounds::{measure, Plan};
use compare::work::{Row, ROWS};
use compare::{machine, work};
use server::{scratch, Library, Programs, Result, Server};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
usage: scripts/bench.sh [--quick] [--rows TEXT] [--clients N,N,...] [--sittings N] [--rounds N]
       [--self] [--write-docs]
  --quick       a rough look in less than a minute (also RINGFUSE_BENCH_QUICK=1)
  --rows TEXT   only rows whose name contains TEXT
  --clients     how many clients at the same time (1,2,8)
  --sittings N  how many times new servers are started (12)
  --rounds N    how many rounds each server then gets (2)
  --self        stock against stock: what the noise of this machine looks like
  --write-docs  put the table into docs/performance.md
";

struct Settings {
    plan: Plan,
    rows: String,
    clients: Vec<usize>,
    stock_only: bool,
    write_docs: bool,
}

fn settings() -> Result<Option<Settings>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut settings = Settings {
        plan: Plan {
            sittings: 12,
            rounds: 2,
            length: Duration::from_millis(60),
            warm_up: Duration::from_millis(4),
            settle: 120_000,
        },
        rows: String::new(),
        clients: vec![1, 2, 8],
        stock_only: false,
        write_docs: false,
    };
    let quick = Plan {
        sittings: 6,
        rounds: 1,
        length: Duration::from_millis(40),
        warm_up: Duration::from_millis(2),
        settle: 120_000,
    };
    if std::env::var_os("RINGFUSE_BENCH_QUICK")
        .is_some_and(|value| !value.is_empty() && value != "0")
    {
        settings.plan = quick;
    }
    let mut bench = false;
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        let number = |text: &str| match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{text} is not a number above 0\n{USAGE}")),
        };
        match argument.as_str() {
            "--bench" => bench = true, // cargo says so
            "--help" => {
                print!("{USAGE}");
                return Ok(None);
            }
            "--quick" => settings.plan = quick,
            "--rows" => settings.rows = value()?,
            "--clients" => {
                settings.clients = value()?.split(',').map(number).collect::<Result<_>>()?
            }
            "--sittings" => settings.plan.sittings = number(&value()?)?,
            "--rounds" => settings.plan.rounds = number(&value()?)?,
            "--self" => settings.stock_only = true,
            "--write-docs" => settings.write_docs = true,
            _ => return Err(format!("unknown argument {argument}\n{USAGE}")),
        }
    }
    if !bench {
        // This is `cargo test --all-targets`, which does not want to wait.
        println!("this is a bench: run `make bench`");
        return Ok(None);
    }
    Ok(Some(settings))
}

fn main() -> ExitCode {
    let outcome =
        settings().and_then(|settings| settings.map_or(Ok(()), |settings| run(&settings)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Stock first: everything is relative to it.
fn libraries(stock_only: bool) -> Vec<Library> {
    if stock_only {
        return vec![Library::Stock; 3];
    }
    let mut libraries = vec![Library::Stock, Library::OursOnDev];
    match support::machine::rings() {
        Ok(()) => libraries.push(Library::OursOnRings),
        Err(reason) => println!("no column for rings: {reason}"),
    }
    libraries
}

fn mount(
    programs: &Programs,
    libraries: &[Library],
    scratch: &Path,
    options: &str,
) -> Result<Vec<Server>> {
    let place = |i: usize| -> PathBuf { scratch.join(format!("server{i}")) };
    let backing = scratch.join("backing");
    libraries
        .iter()
        .enumerate()
        .map(|(i, library)| programs.start(*library, &backing, &place(i), options, &[]))
        .collect()
}

/// Sends `requests` to every server before anything is measured: what is
/// measured is a server that has been running, and ours binds its threads to
/// CPUs only when it has seen many requests.
fn settle(servers: &[Server], requests: u64) -> Result<()> {
    const CLIENTS: u64 = 2;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || -> Result<()> {
                    for server in servers {
                        for _ in 0..requests / CLIENTS {
                            rustix::fs::statvfs(server.mountpoint())
                                .map_err(|error| format!("statvfs: {error}"))?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().expect("no client panics"))
    })
}

fn run(settings: &Settings) -> Result<()> {
    let scratch = scratch("bench")?;
    let programs = Programs::build("passthrough_ll", scratch.path())?;
    let libraries = libraries(settings.stock_only);
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(&settings.rows)).collect();
    if rows.is_empty() {
        return Err(format!("no row's name contains {:?}", settings.rows));
    }
    let most = settings.clients.iter().copied().max().unwrap_or(1);
    work::prepare(&scratch.path().join("backing"), most)
        .map_err(|error| format!("cannot prepare files: {error}"))?;

    let facts = machine::facts(&programs, &libraries, &settings.plan)?;
    println!("{facts}");
    let cells: Vec<(&Row, usize)> = rows
        .into_iter()
        .flat_map(|row| settings.clients.iter().map(move |&clients| (row, clients)))
        .collect();
    let mut rates = vec![vec![Vec::new(); libraries.len()]; cells.len()];
    let mut options: Vec<&str> = cells.iter().map(|(row, _)| row.options).collect();
    options.dedup();
    for sitting in 0..settings.plan.sittings {
        eprintln!("sitting {} of {}", sitting + 1, settings.plan.sittings);
        for options in &options {
            let servers = mount(&programs, &libraries, scratch.path(), options)?;
            settle(&servers, settings.plan.settle)?;
            for ((row, clients), rates) in cells.iter().zip(&mut rates) {
                if row.options == *options {
                    let measured = measure(row, *clients, &servers, &settings.plan, sitting)
                        .map_err(|error| format!("{}, {clients} clients: {error}", row.name))?;
                    rates.iter_mut().zip(measured).for_each(|(all, one)| all.push(one));
                }
            }
            servers.into_iter().try_for_each(|server| server.finish().map(drop))?;
        }
    }
    println!("{}", report::head(&libraries));
    let lines: Vec<Line> = cells
        .iter()
        .zip(&rates)
        .map(|((row, clients), rates)| Line::new(row, *clients, rates))
        .collect();
    for line in &lines {
        println!("{}", line.text());
    }
    println!("{}", report::verdict(&lines));
    if settings.write_docs {
        report::write_docs(&facts, &libraries, &lines)?;
    }
    Ok(())
}
