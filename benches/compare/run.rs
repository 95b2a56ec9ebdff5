//! The run: sitting after sitting, all rows in each.

use super::cells::Cell;
use super::report::Report;
use super::rounds::{self, Plan};
use super::settings::Settings;
use super::slow::{self, Load, LOADS};
use super::statistics::estimate;
use super::work::{self, Row, DATA, ROWS};
use super::{floor, machine, process};
use crate::server::{watch, Library, Programs, Result, Server};
use crate::support;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// What a finished sitting needs of the machine and the programs.
struct Bench<'a> {
    plan: &'a Plan,
    files: Programs,
    slow: Programs,
    libraries: Vec<Library>,
    scratch: TempDir,
}

/// A row of work with the place of its cell.
struct Work {
    row: &'static Row,
    clients: usize,
    cell: usize,
}

/// A load with the place of its first cell.
struct Waiting {
    load: &'static Load,
    cell: usize,
}

pub fn run(settings: &Settings) -> Result<()> {
    let (bench, mut facts) = Bench::new(settings)?;
    let libraries = &bench.libraries;

    let mut cells = Vec::new();
    let mut works = Vec::new();
    for row in ROWS.iter().filter(|row| settings.wants_row(row.name)) {
        for &clients in row.clients.iter().filter(|&&clients| settings.wants_clients(clients)) {
            works.push(Work { row, clients, cell: cells.len() });
            let plotted = row.plotted == Some(clients);
            cells.push(Cell::new(row.name, clients, row.unit, row.targets, plotted, libraries));
        }
    }
    let mut waiting = Vec::new();
    for load in LOADS {
        if settings.wants_clients(load.clients)
            && load.lines.iter().any(|line| settings.wants_row(line.name))
        {
            waiting.push(Waiting { load, cell: cells.len() });
            cells.extend(load.lines.iter().map(|line| {
                let clients = line.clients(load);
                Cell::new(line.name, clients, line.unit, line.targets, line.plotted, libraries)
            }));
        }
    }
    if cells.is_empty() {
        return Err("no row has such a name and so many clients".into());
    }
    let most = works.iter().map(|work| work.clients).max().unwrap_or(1);
    work::prepare(&bench.backing(), most)
        .map_err(|error| format!("cannot prepare files: {error}"))?;
    facts.extend(machine::facts(
        &bench.files,
        libraries,
        &settings.plan,
        built_prefix().ok().as_deref(),
    )?);
    println!("{}", facts.join("\n"));

    let (mut floors, mut memory) = (Vec::new(), vec![Vec::new(); libraries.len()]);
    for sitting in 0..settings.plan.sittings {
        eprintln!("sitting {} of {}", sitting + 1, settings.plan.sittings);
        floors.push(floor::measure(&bench.backing()).map_err(|error| format!("floor: {error}"))?);
        let mut options: Vec<&str> = works.iter().map(|work| work.row.options).collect();
        options.dedup();
        for options in options {
            bench.rounds(&works, options, sitting, &mut cells, &mut memory)?;
        }
        for waiting in &waiting {
            bench.slow(waiting, sitting, &mut cells);
        }
    }
    let memory = memory.iter().map(|samples: &Vec<[f64; 4]>| {
        let column = |place: usize| {
            estimate(&samples.iter().map(|sample| sample[place]).collect::<Vec<_>>())
        };
        (!samples.is_empty()).then(|| [0, 1, 2, 3].map(column))
    });
    let report = Report {
        facts,
        titles: libraries.iter().map(|library| bench.title(*library)).collect(),
        libraries: libraries.clone(),
        cells,
        floor: Some(estimate(&floors)),
        memory: memory.collect(),
    };
    println!("{}", report.text());
    if settings.write_docs {
        report.write_docs()?;
        println!("\nwritten to docs/performance.md and docs/performance.svg");
    }
    Ok(())
}

/// Where scripts/libfuse-rings.sh has put a libfuse with rings; or why it has not.
fn built_prefix() -> Result<PathBuf> {
    match std::env::var_os("RINGFUSE_BENCH_BUILT") {
        Some(prefix) if !prefix.is_empty() => Ok(prefix.into()),
        _ => Err(std::env::var("RINGFUSE_BENCH_NOT_BUILT").unwrap_or_else(|_| {
            "RINGFUSE_BENCH_BUILT is not set (scripts/bench.sh sets it)".into()
        })),
    }
}

impl<'a> Bench<'a> {
    /// Also says which columns there are not, and why.
    fn new(settings: &'a Settings) -> Result<(Self, Vec<String>)> {
        let mut missing = Vec::new();
        let scratch = scratch()?;
        let directory = scratch.path();
        let mut files = Programs::build("passthrough_ll", directory)?;
        let mut slow = Programs::build_from("slow_ll", slow::SOURCE, directory)?;
        let mut libraries = vec![Library::Stock];
        if settings.stock_only {
            libraries = vec![Library::Stock; 3];
        } else {
            let rings = support::machine::rings();
            let built = built_prefix().and_then(|prefix| {
                files.add_rings("examples-c/passthrough_ll.c", &prefix, directory)?;
                slow.add_rings(slow::SOURCE, &prefix, directory)
            });
            match built {
                Ok(()) => {
                    libraries.push(Library::BuiltOnDev);
                    libraries.extend(rings.is_ok().then_some(Library::BuiltOnRings));
                }
                Err(reason) => missing
                    .push(format!("no columns for stock with rings: {}", first_line(&reason))),
            }
            libraries.push(Library::OursOnDev);
            match rings {
                Ok(()) => libraries.push(Library::OursOnRings),
                Err(reason) => missing.push(format!("no columns on rings: {reason}")),
            }
        }
        let mut bench = Self { plan: &settings.plan, files, slow, libraries, scratch };
        for library in std::mem::take(&mut bench.libraries) {
            match bench.try_mount(library) {
                Ok(()) => bench.libraries.push(library),
                Err(reason) if library == Library::Stock => return Err(reason),
                Err(reason) => {
                    let title = bench.title(library);
                    missing.push(format!("no column for {title}: {}", first_line(&reason)));
                }
            }
        }
        Ok((bench, missing))
    }

    /// Whether the library serves here at all, by the transport it is to use.
    fn try_mount(&self, library: Library) -> Result<()> {
        let place = self.scratch.path().join("trial");
        self.slow.start(library, Path::new("/"), &place, "", &[])?.finish().map(drop)
    }

    fn backing(&self) -> PathBuf {
        self.scratch.path().join("backing")
    }

    fn title(&self, library: Library) -> String {
        let transport = if library.on_rings() { "rings" } else { "/dev/fuse" };
        match library.is_ours() {
            true => format!("ours, {transport}"),
            false => format!("stock {}, {transport}", self.files.stock_release(library)),
        }
    }

    /// Starts all servers of the rows with data, names and attributes.
    fn start(&self, options: &str) -> Result<Vec<Server>> {
        let start = |(place, library): (usize, &Library)| {
            let place = self.scratch.path().join(format!("server{place}"));
            self.files.start(*library, &self.backing(), &place, options, &[])
        };
        self.libraries.iter().enumerate().map(start).collect()
    }

    /// One sitting of all rows whose mounts have these options.
    fn rounds(
        &self,
        works: &[Work],
        options: &str,
        sitting: usize,
        cells: &mut [Cell],
        memory: &mut [Vec<[f64; 4]>],
    ) -> Result<()> {
        let mut servers = self.start(options)?;
        let mut whole = true; // nothing has failed so far
        let resident = |servers: &[Server], highest: bool| -> Vec<f64> {
            servers.iter().map(|s| process::resident(s.pid(), highest).unwrap_or(0.0)).collect()
        };
        let new = resident(&servers, false);
        settle(&servers, self.plan.settle)?;
        for work in works.iter().filter(|work| work.row.options == options) {
            let cell = &mut cells[work.cell];
            let columns: Vec<usize> = cell.sound().collect();
            let active: Vec<&Server> = columns.iter().map(|&column| &servers[column]).collect();
            match rounds::measure(work.row.start, work.clients, &active, self.plan, sitting) {
                Ok(samples) => {
                    for (&column, sample) in columns.iter().zip(samples) {
                        cell.add(column, Some(sample));
                    }
                }
                Err(failure) => {
                    let column = columns[failure.server];
                    eprintln!(
                        "{}, {} clients, {}: {}; its output: {}",
                        work.row.name,
                        work.clients,
                        self.title(self.libraries[column]),
                        failure.reason,
                        servers[column].log(),
                    );
                    cell.fail(column, &failure.reason);
                    columns.iter().for_each(|&column| cell.add(column, None));
                    whole = false;
                    // All were killed, or some clients' files are still open there.
                    drop(std::mem::take(&mut servers));
                    servers = self.start(options)?;
                    settle(&servers, self.plan.settle)?;
                }
            }
        }
        if options == DATA && whole {
            let after = resident(&servers, false);
            std::thread::sleep(IDLE_TIME); // what the rows of the table ask about
            let later = resident(&servers, false);
            let most = resident(&servers, true);
            for (column, memory) in memory.iter_mut().enumerate() {
                memory.push([new[column], after[column], later[column], most[column]]);
            }
        }
        servers.into_iter().try_for_each(|server| server.finish().map(drop))
    }

    /// One sitting of a load, on one library after the other.
    fn slow(&self, waiting: &Waiting, sitting: usize, cells: &mut [Cell]) {
        let (load, count) = (waiting.load, self.libraries.len());
        let cells = &mut cells[waiting.cell..waiting.cell + load.lines.len()];
        for column in (0..count).map(|place| (sitting + place) % count) {
            if cells[0].failure(column).is_some() {
                continue;
            }
            match self.slow_server(load, column) {
                Ok(samples) => {
                    for (cell, sample) in cells.iter_mut().zip(samples) {
                        cell.add(column, Some(sample));
                    }
                }
                Err(reason) => {
                    let title = self.title(self.libraries[column]);
                    eprintln!("{}, {title}: {reason}", load.lines[0].name);
                    cells.iter_mut().for_each(|cell| {
                        cell.add(column, None);
                        cell.fail(column, &reason);
                    });
                }
            }
        }
    }

    fn slow_server(&self, load: &Load, column: usize) -> Result<Vec<rounds::Sample>> {
        let library = self.libraries[column];
        let place = self.scratch.path().join("slow");
        let server = self.slow.start(library, Path::new("/"), &place, load.options, &[])?;
        settle(std::slice::from_ref(&server), self.plan.settle)?;
        let samples = slow::measure(load, &server, self.plan)?;
        server.finish()?;
        Ok(samples)
    }
}

/// Facts are lines.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

/// After so long a server has given back what it gives back.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Sends `requests` to every server before anything is measured: what is
/// measured is a server that has been running, and ours binds its threads to
/// CPUs only when it has seen many requests.
fn settle(servers: &[Server], requests: u64) -> Result<()> {
    const CLIENTS: u64 = 2;
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    let progress = AtomicU64::new(0);
    let client = || -> Result<()> {
        for server in servers {
            for _ in 0..requests / CLIENTS {
                rustix::fs::statvfs(server.mountpoint())
                    .map_err(|error| format!("statvfs: {error}"))?;
                progress.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    let all = || {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().try_for_each(|client| client.join().expect("no client panics"))
        })
    };
    watch(&pids, &progress, all).unwrap_or_else(|| Err(format!("a new server {}", rounds::HUNG)))
}

/// A directory on tmpfs; scripts/bench.sh gives one, in which it unmounts what is
/// left if this program is killed.
fn scratch() -> Result<TempDir> {
    match std::env::var_os("RINGFUSE_BENCH_SCRATCH") {
        Some(parent) => TempDir::new_in(&parent).map_err(|error| {
            format!("cannot make a directory in {}: {error}", Path::new(&parent).display())
        }),
        None => crate::server::scratch("bench"),
    }
}
