//! What a session tells about itself: a page of memory that the library shows
//! under a name in `/proc/PID/fd`. `src/session/page.rs` has its layout.
//!
//! A program that closes all descriptors takes that away; the memory stays mapped,
//! and who may look into the process finds it there.

use super::counters::{Counters, QueueCounters, Times};
use serde::Serialize;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// As `/proc` names it.
const NAME: &str = "/memfd:ringfuse-status";

const MAGIC: &[u8] = b"ringfuse";
const VERSION: u32 = 2;
const CELLS_AT: usize = 8192;
const CELL: usize = 512;
/// Bounds what is read.
const MOST_CELLS: u32 = 1 << 16;

mod at {
    pub const VERSION: usize = 8;
    pub const DEV_CELLS: usize = 12;
    pub const RING_CELLS: usize = 16;
    pub const SEQUENCE: usize = 20;
    pub const TRANSPORT: usize = 24;
    pub const PID: usize = 28;
    pub const GONE: usize = 32;
    pub const CONNECTION: usize = 40;
    pub const DEV_THREADS: usize = 48;
    pub const DEV_THREADS_PEAK: usize = 56;
    pub const RING_THREADS: usize = 64;
    pub const RING_THREADS_PEAK: usize = 72;
    pub const REASON: std::ops::Range<usize> = 80..592;
    pub const MOUNTPOINT: std::ops::Range<usize> = 592..4688;
}

/// In a cell.
mod cell {
    pub const REQUESTS: usize = 0;
    pub const BYTES_IN: usize = 8;
    pub const BYTES_OUT: usize = 16;
    pub const TIME: usize = 24;
    pub const PARKED: usize = 32;
    pub const KICKED: usize = 40;
    pub const USED_PEAK: usize = 48;
    pub const AVAILABLE: usize = 56;
    pub const TIMES: usize = 64;
    pub const ANSWERED_LATER: usize = 320;
    pub const BYTES_OUT_LATER: usize = 328;
    pub const ENTRIES: usize = 384;
    pub const THREADS: usize = 392;
    pub const THREADS_PEAK: usize = 400;
    pub const KICKS: usize = 408;
    pub const GROWN: usize = 416;
    pub const HANDED_OVER: usize = 424;
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// INIT has not been answered.
    None,
    Dev,
    Ring,
    Custom,
}

/// A session, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub transport: Transport,
    /// Who began to serve last, by its number in its own namespace.
    pub pid: u32,
    /// The connection has ended: what has its number now is another one.
    pub gone: bool,
    pub connection: Option<u64>,
    pub reason: String,
    pub mount_point: String,
    pub counters: Counters,
}

/// A place where a page is; the same file is the same page, in whatever process.
pub struct Found {
    pub inode: u64,
    pub page: Page,
}

/// Whether a descriptor with this target is one of a page.
pub fn is_one(target: &Path) -> bool {
    target.to_str().is_some_and(|name| name.split(' ').next() == Some(NAME))
}

/// Behind an entry of `/proc/PID/fd`. None if it cannot be read, or its library is
/// one whose pages look different.
pub fn of_descriptor(path: &Path) -> Option<Found> {
    let inode = path.metadata().ok()?.ino();
    let file = File::open(path).ok()?;
    Some(Found { inode, page: read(&|at, len| bytes(&file, at, len))? })
}

/// Those that the process has mapped, beside those `known`, by its `maps`.
pub fn of_maps(process: &Path, maps: &str, known: &[Found]) -> Vec<Found> {
    let lines = maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, _) = fields.next()?.split_once('-')?;
        let inode = fields.nth(3)?.parse().ok()?;
        let is_new = known.iter().all(|found| found.inode != inode);
        let is_one = fields.next() == Some(NAME);
        (is_one && is_new).then_some((u64::from_str_radix(start, 16).ok()?, inode))
    });
    let lines: Vec<(u64, u64)> = lines.collect();
    // Opened only where there is something to read: it takes more rights.
    let Some(memory) = lines.first().and_then(|_| File::open(process.join("mem")).ok()) else {
        return Vec::new();
    };
    let found = |&(start, inode): &(u64, u64)| {
        Some(Found { inode, page: read(&|at, len| bytes(&memory, start + at, len))? })
    };
    lines.iter().filter_map(found).collect()
}

fn bytes(file: &File, at: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

/// Reads a page by `get`, which gives that many bytes from a place on.
fn read(get: &dyn Fn(u64, usize) -> Option<Vec<u8>>) -> Option<Page> {
    // A few times, as its texts may be changing right now.
    (0..100).find_map(|_| {
        let head = get(0, CELLS_AT)?;
        if &head[..MAGIC.len()] != MAGIC || number(&head, at::VERSION) != VERSION {
            return None;
        }
        let (dev, rings) = (number(&head, at::DEV_CELLS), number(&head, at::RING_CELLS));
        if dev > MOST_CELLS || rings > MOST_CELLS {
            return None;
        }
        let cells = get(CELLS_AT as u64, (dev + rings) as usize * CELL)?;
        let sequence = number(&head, at::SEQUENCE);
        let after = number(&get(at::SEQUENCE as u64, 4)?, 0);
        if sequence % 2 == 1 || sequence != after {
            std::thread::yield_now();
            return None;
        }
        parse(&head, cells.split_at(dev as usize * CELL))
    })
}

fn parse(head: &[u8], (dev, rings): (&[u8], &[u8])) -> Option<Page> {
    let transport = match number(head, at::TRANSPORT) {
        0 => Transport::None,
        1 => Transport::Dev,
        2 => Transport::Ring,
        3 => Transport::Custom,
        _ => return None,
    };
    let mut by_dev: QueueCounters = dev.chunks_exact(CELL).map(counters_in).sum();
    by_dev.threads = long(head, at::DEV_THREADS);
    by_dev.threads_peak = long(head, at::DEV_THREADS_PEAK);
    let by_queue: Vec<QueueCounters> = rings.chunks_exact(CELL).map(counters_in).collect();
    let by_rings: QueueCounters = by_queue.iter().copied().sum();
    let on_rings = transport == Transport::Ring;
    let (threads, threads_peak) = match on_rings {
        true => (long(head, at::RING_THREADS), long(head, at::RING_THREADS_PEAK)),
        false => (by_dev.threads, by_dev.threads_peak),
    };
    Some(Page {
        transport,
        pid: number(head, at::PID),
        gone: number(head, at::GONE) != 0,
        connection: Some(long(head, at::CONNECTION)).filter(|&connection| connection != 0),
        reason: text(&head[at::REASON]),
        mount_point: text(&head[at::MOUNTPOINT]),
        counters: Counters {
            dev_requests: by_dev.requests,
            ring_requests: by_rings.requests,
            parked: by_dev.parked.wrapping_add(by_rings.parked),
            threads,
            threads_peak,
            entries: by_rings.entries,
            kicks: by_rings.kicks,
            grown: by_rings.grown,
            handed_over: by_rings.handed_over,
            foreign_answers: by_rings.foreign_answers,
            dev: by_dev,
            queues: if on_rings { by_queue } else { Vec::new() },
        },
    })
}

fn counters_in(cell: &[u8]) -> QueueCounters {
    let times = Times(std::array::from_fn(|class| long(cell, cell::TIMES + 8 * class)));
    let requests = long(cell, cell::REQUESTS);
    let entries = long(cell, cell::ENTRIES);
    let returned = times.count().wrapping_add(long(cell, cell::KICKED));
    let available = (number(cell, cell::AVAILABLE) as i32).max(0) as u64;
    let answered_later = long(cell, cell::ANSWERED_LATER);
    QueueCounters {
        requests,
        bytes_in: long(cell, cell::BYTES_IN),
        bytes_out: long(cell, cell::BYTES_OUT).wrapping_add(long(cell, cell::BYTES_OUT_LATER)),
        handling: requests.saturating_sub(returned),
        parked: long(cell, cell::PARKED).saturating_sub(answered_later),
        threads: long(cell, cell::THREADS),
        threads_peak: long(cell, cell::THREADS_PEAK),
        entries,
        entries_used: entries.saturating_sub(available),
        entries_used_peak: long(cell, cell::USED_PEAK),
        kicks: long(cell, cell::KICKS),
        grown: long(cell, cell::GROWN),
        handed_over: long(cell, cell::HANDED_OVER),
        foreign_answers: answered_later,
        handler_time: long(cell, cell::TIME),
        handler_times: times,
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Anybody's process may say anything: nothing that a terminal would obey.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).replace(|c: char| c.is_control(), "?")
}

/// The last number of `NSpid:`, by which a process knows itself.
pub fn own_pid(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::counters::TIMES;
    use super::*;

    fn page() -> Vec<u8> {
        let mut bytes = vec![0; CELLS_AT + 3 * CELL];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, MAGIC);
        for (at, value) in [
            (at::VERSION, VERSION),
            (at::DEV_CELLS, 1),
            (at::RING_CELLS, 2),
            (at::SEQUENCE, 4),
            (at::TRANSPORT, 2),
            (at::PID, 77),
        ] {
            put(at, &value.to_ne_bytes());
        }
        put(at::CONNECTION, &47_u64.to_ne_bytes());
        put(at::REASON.start, b"2 queues");
        for (cell, value) in [(0, 3), (1, 10), (2, 20)] {
            let mut put = |at, value: u64| put(CELLS_AT + cell * CELL + at, &value.to_ne_bytes());
            put(cell::REQUESTS, value);
            put(cell::PARKED, 2);
            put(cell::ANSWERED_LATER, 1);
            put(cell::ENTRIES, 4);
            put(cell::AVAILABLE, 1);
            put(cell::TIMES + 8 * (TIMES - 1), 2);
        }
        bytes
    }

    fn read_from(bytes: &[u8]) -> Option<Page> {
        read(&|at, len| Some(bytes.get(at as usize..at as usize + len)?.to_vec()))
    }

    #[test]
    fn a_page() {
        let page = read_from(&page()).expect("a page");
        assert_eq!((page.transport, page.pid, page.connection), (Transport::Ring, 77, Some(47)));
        assert_eq!((&*page.reason, &*page.mount_point), ("2 queues", ""));
        let counters = page.counters;
        assert_eq!((counters.dev_requests, counters.ring_requests, counters.parked), (3, 30, 3));
        assert_eq!(counters.queues.len(), 2);
        let queue = counters.queues[1];
        assert_eq!((queue.requests, queue.handling, queue.parked), (20, 18, 1));
        assert_eq!((queue.entries, queue.entries_used), (4, 3));
        assert_eq!(queue.handler_times.count(), 2);
    }

    #[test]
    fn what_is_none() {
        for (at, value) in [(0, 0), (at::VERSION, 1), (at::SEQUENCE, 5), (at::TRANSPORT, 9)] {
            let mut bytes = page();
            bytes[at..at + 4].copy_from_slice(&u32::to_ne_bytes(value));
            assert_eq!(read_from(&bytes), None, "{value} at {at}");
        }
        assert_eq!(read_from(&page()[..CELLS_AT + CELL]), None);
        assert_eq!(read_from(&[]), None);
    }
}
