//! What the clients do: the rows of the table.
//!
//! Each client has files of its own. What it does with them is in `files` (names
//! and their attributes), `data` and `trees`.

use super::expectations::Target::{self, DevReads, Floor, Latency};
use super::{data, files, trees};
use std::io::Result;
use std::path::Path;

/// One operation; gives how many units (see [`Row::unit`]) it did.
pub type Step = Box<dyn FnMut() -> Result<u64>>;

/// Makes the step of one client on one mount. What the step has made there goes
/// when it is dropped.
pub type Start = fn(mount: &Path, client: usize) -> Result<Step>;

#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// Printed as what each client waits for one of them.
    Calls,
    /// Printed as how many there are in a second.
    Answers,
    Bytes,
}

pub struct Row {
    pub name: &'static str,
    pub unit: Unit,
    /// Options of the mounts.
    pub options: &'static str,
    /// How many clients there are at the same time.
    pub clients: &'static [usize],
    pub start: Start,
    /// What is expected of it, besides that it is not worse than stock.
    pub targets: &'static [Target],
    /// The number of clients for which it is in the plot.
    pub plotted: Option<usize>,
}

/// Nothing but data is cached, so every call reaches the server.
const CALLS: &str = "cache=auto,timeout=0";
/// Without a timeout the kernel asks for the attributes with every read.
pub const DATA: &str = "cache=auto,timeout=60";
const WRITEBACK: &str = "cache=auto,timeout=60,writeback";

const FEW: &[usize] = &[1, 2, 8];
const MANY: &[usize] = &[1, 2, 8, 32];
const STREAMS: &[usize] = &[1, 8];

const NONE: &[Target] = &[];

/// Rows with the same options are next to each other: they share servers.
#[rustfmt::skip] // a table
pub const ROWS: &[Row] = &[
    Row { name: "stat", unit: Unit::Calls, options: CALLS, clients: MANY,
          start: files::stat, targets: &[Latency], plotted: Some(1) },
    Row { name: "open and close", unit: Unit::Calls, options: CALLS, clients: MANY,
          start: files::open_close, targets: &[Latency], plotted: None },
    Row { name: "create and unlink", unit: Unit::Calls, options: CALLS, clients: MANY,
          start: files::create_unlink, targets: &[Latency], plotted: Some(1) },
    Row { name: "readdir, 10,000 names", unit: Unit::Calls, options: CALLS, clients: STREAMS,
          start: files::list, targets: NONE, plotted: Some(1) },
    Row { name: "4 KiB reads, O_DIRECT", unit: Unit::Calls, options: DATA, clients: MANY,
          start: |m, c| data::direct_read(m, c, 4096), targets: &[Latency, Floor], plotted: Some(1) },
    Row { name: "4 KiB reads, 32 deep by io_uring", unit: Unit::Calls, options: DATA, clients: FEW,
          start: data::deep_read, targets: NONE, plotted: Some(1) },
    Row { name: "4 KiB writes, O_DIRECT", unit: Unit::Calls, options: DATA, clients: MANY,
          start: |m, c| data::direct_write(m, c, 4096), targets: &[Latency], plotted: Some(1) },
    Row { name: "1 MiB reads, O_DIRECT", unit: Unit::Bytes, options: DATA, clients: FEW,
          start: |m, c| data::direct_read(m, c, data::MIB), targets: &[DevReads], plotted: Some(1) },
    Row { name: "1 MiB writes, O_DIRECT", unit: Unit::Bytes, options: DATA, clients: FEW,
          start: |m, c| data::direct_write(m, c, data::MIB), targets: NONE, plotted: Some(1) },
    Row { name: "sequential reads", unit: Unit::Bytes, options: DATA, clients: STREAMS,
          start: data::sequential_read, targets: NONE, plotted: Some(8) },
    Row { name: "sequential writes", unit: Unit::Bytes, options: DATA, clients: STREAMS,
          start: |m, c| data::sequential_write(m, c, false), targets: NONE, plotted: Some(8) },
    Row { name: "mmap reads", unit: Unit::Bytes, options: DATA, clients: STREAMS,
          start: data::mapped_read, targets: NONE, plotted: None },
    Row { name: "untar of a source tree", unit: Unit::Calls, options: DATA, clients: &[1],
          start: trees::untar, targets: NONE, plotted: Some(1) },
    Row { name: "compile-like load, processes", unit: Unit::Calls, options: DATA, clients: &[2, 8],
          start: trees::compile, targets: NONE, plotted: Some(8) },
    Row { name: "sequential writes, write-back", unit: Unit::Bytes, options: WRITEBACK, clients: STREAMS,
          start: |m, c| data::sequential_write(m, c, true), targets: NONE, plotted: None },
];

/// Makes what the clients work on in the directory that the servers show.
pub fn prepare(backing: &Path, clients: usize) -> Result<()> {
    files::prepare(backing, clients)?;
    data::prepare(backing, clients)?;
    trees::prepare(backing, clients)
}
