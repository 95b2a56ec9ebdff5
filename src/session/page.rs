//! What a session shows to `ringfuse status` and `ringfuse top`, other processes: a
//! page of memory that is found in `/proc/PID/fd` under the name [`NAME`].
//!
//! # The contract with readers
//! Numbers have the machine's byte order. [`Head`] is at offset 0, and begins with
//! [`MAGIC`] and [`VERSION`]: the fields of a version never move, and a reader leaves
//! versions alone that it does not know. Behind it, from [`CELLS_AT`] on, come
//! [`DEV_CELLS`] cells of `/dev/fuse` and of the program's own functions, and then one
//! for each of the kernel's queues. The two texts, and what is set with them, belong
//! together if `sequence` is even and the same before and after they were read. All
//! else are numbers that are right one by one. Once `gone` is 1 the page is about no
//! mount.
//!
//! # What it costs
//! The counters live here and nowhere else, so nothing is copied for a reader. A cell
//! is written by the threads of one queue, or of a few slots of `/dev/fuse`: for each
//! request the clock is read twice, and five numbers are added to, in two cache lines
//! that nobody else writes (`docs/performance.md` has what that takes). What other
//! threads add to is in lines of its own.
//!
//! The page is made with the session, before a program locks itself up. Forked
//! children share it: the counters go on, and `pid` is the process that settled on a
//! transport or began a loop last. What keeps it from being published keeps nothing
//! else from working. RINGFUSE_STATUS=no in the environment does, too.
#![allow(unsafe_code)] // the layout of shared memory

mod cell;

pub use cell::{Cell, QueueStats};

use crate::errno::Result;
use crate::sys::published::Published;
use crate::sys::ticks;
use crate::transport::ring::cpus;
use memoffset::offset_of;
use parking_lot::Mutex;
use std::ffi::CStr;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{fence, AtomicU32, AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;

/// By which readers find it.
pub const NAME: &CStr = c"ringfuse-status";
/// The first bytes.
pub const MAGIC: [u8; 8] = *b"ringfuse";
/// Of the layout.
pub const VERSION: u32 = 2;
/// Where the cells begin.
pub const CELLS_AT: usize = 8192;
/// Cells that the slots of requests share which come by `/dev/fuse`.
pub const DEV_CELLS: usize = 32;
const REASON: usize = 512;
const MOUNTPOINT: usize = 4096;

/// The beginning of the page.
#[repr(C)]
pub struct Head {
    magic: [AtomicU8; 8],
    version: AtomicU32,
    dev_cells: AtomicU32,
    ring_cells: AtomicU32,
    /// Odd while the fields up to `connection`, and the texts, are being changed.
    sequence: AtomicU32,
    /// `enum ringfuse_transport`.
    transport: AtomicU32,
    /// In the process's own namespace.
    pid: AtomicU32,
    /// 1 if the connection has ended: its number may be another one's by now.
    gone: AtomicU32,
    /// Whether rings have counted here.
    had_rings: AtomicU32,
    /// The number in /sys/fs/fuse/connections; 0 if it is not known.
    connection: AtomicU64,
    /// Threads that read `/dev/fuse` and run callbacks: now, and at most.
    pub dev_threads: AtomicU64,
    /// See above.
    pub dev_threads_peak: AtomicU64,
    /// Handler threads of the rings, spare ones too: now, and at most.
    pub ring_threads: AtomicU64,
    /// See above.
    pub ring_threads_peak: AtomicU64,
    /// Texts end with NUL.
    reason: [AtomicU8; REASON],
    mountpoint: [AtomicU8; MOUNTPOINT],
}

const _: () = assert!(offset_of!(Head, connection) == 40 && offset_of!(Head, dev_threads) == 48);
const _: () = assert!(offset_of!(Head, reason) == 80 && offset_of!(Head, mountpoint) == 592);
const _: () = assert!(size_of::<Head>() <= CELLS_AT);

/// A session's page.
pub struct Page {
    memory: Published,
    queues: usize,
    /// For changes of the texts.
    change: Mutex<()>,
}

// SAFETY: memory belongs to no thread, and all of it is atomic.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

/// What changes rarely.
pub struct Facts<'a> {
    /// `enum ringfuse_transport`.
    pub transport: u32,
    /// The number of the connection in /sys/fs/fuse/connections, if it is known.
    pub connection: Option<u64>,
    /// Why this transport.
    pub reason: &'a CStr,
    /// Where the library mounted.
    pub mountpoint: Option<&'a CStr>,
}

impl Page {
    /// A page without facts.
    pub fn new() -> Result<Arc<Self>> {
        let queues = cpus::possible().unwrap_or(1);
        let len = CELLS_AT + (DEV_CELLS + queues) * size_of::<Cell>();
        let memory = match std::env::var_os("RINGFUSE_STATUS") {
            Some(word) if word == "no" => Published::private(len)?,
            _ => Published::new(NAME, len)?,
        };
        ticks::prepare();
        let page = Self { memory, queues, change: Mutex::new(()) };
        let head = page.head();
        head.dev_cells.store(DEV_CELLS as u32, Ordering::Relaxed);
        head.ring_cells.store(queues as u32, Ordering::Relaxed);
        head.version.store(VERSION, Ordering::Relaxed);
        head.pid.store(std::process::id(), Ordering::Relaxed);
        write(&head.magic, &MAGIC);
        Ok(Arc::new(page))
    }

    /// Its beginning.
    pub fn head(&self) -> &Head {
        // SAFETY: the memory is longer, aligned to pages, zeroed at first, and only
        // used through atomics.
        unsafe { self.memory.start().cast::<Head>().as_ref() }
    }

    fn cell(&self, index: usize) -> &Cell {
        debug_assert!(index < DEV_CELLS + self.queues);
        // SAFETY: as in `head`; there are as many.
        unsafe { self.memory.start().byte_add(CELLS_AT).cast::<Cell>().add(index).as_ref() }
    }

    /// The cell of the slot with number `slot`.
    pub fn of_slot(self: &Arc<Self>, slot: usize) -> Counters {
        self.counters(slot % DEV_CELLS)
    }

    /// The cell of a queue of the kernel's.
    pub fn of_queue(self: &Arc<Self>, queue: usize) -> Counters {
        self.counters(DEV_CELLS + queue % self.queues)
    }

    fn counters(self: &Arc<Self>, index: usize) -> Counters {
        Counters { cell: NonNull::from(self.cell(index)), _page: self.clone() }
    }

    /// What came by `/dev/fuse`, or by the program's functions.
    pub fn by_dev(&self) -> QueueStats {
        let sums: QueueStats = (0..DEV_CELLS).map(|index| self.cell(index)).collect();
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let head = self.head();
        QueueStats {
            threads: number(&head.dev_threads),
            threads_peak: number(&head.dev_threads_peak),
            ..sums
        }
    }

    /// What came by rings. Peaks are of no one moment.
    pub fn by_rings(&self) -> QueueStats {
        self.ring_cells().collect()
    }

    /// What came by the rings of this queue, which the kernel has.
    pub fn by_queue(&self, queue: usize) -> QueueStats {
        self.ring_cells().nth(queue).into_iter().collect()
    }

    fn ring_cells(&self) -> impl Iterator<Item = &Cell> {
        (0..self.queues).map(|queue| self.cell(DEV_CELLS + queue))
    }

    /// Other rings begin, and count from 0. None may be in use.
    pub fn begin_rings(&self) {
        let head = self.head();
        if head.had_rings.swap(1, Ordering::Relaxed) == 1 {
            // Otherwise they take no memory yet.
            self.ring_cells().for_each(Cell::clear);
        }
        for counter in [&head.ring_threads, &head.ring_threads_peak] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Handler threads of the rings, now.
    pub fn count_ring_threads(&self, now: usize) {
        self.head().ring_threads.store(now as u64, Ordering::Relaxed);
        self.head().ring_threads_peak.fetch_max(now as u64, Ordering::Relaxed);
    }

    /// Another thread reads `/dev/fuse`.
    pub fn dev_thread_came(&self) {
        let now = self.head().dev_threads.fetch_add(1, Ordering::Relaxed) + 1;
        self.head().dev_threads_peak.fetch_max(now, Ordering::Relaxed);
    }

    /// One does no more.
    pub fn dev_thread_left(&self) {
        self.head().dev_threads.fetch_sub(1, Ordering::Relaxed);
    }

    /// The calling process serves from now on.
    pub fn serve_here(&self) {
        self.head().pid.store(std::process::id(), Ordering::Relaxed);
    }

    /// The connection has ended. Until something else is shown, this page is about
    /// no mount.
    pub fn end(&self) {
        self.head().gone.store(1, Ordering::Relaxed);
    }

    /// Shows `facts` in place of the former ones. What does not fit is cut off.
    pub fn show(&self, facts: &Facts<'_>) {
        let _alone = self.change.lock();
        let head = self.head();
        let sequence = head.sequence.load(Ordering::Relaxed) | 1;
        head.sequence.store(sequence, Ordering::Relaxed);
        fence(Ordering::Release);
        head.transport.store(facts.transport, Ordering::Relaxed);
        head.pid.store(std::process::id(), Ordering::Relaxed);
        head.gone.store(0, Ordering::Relaxed);
        head.connection.store(facts.connection.unwrap_or(0), Ordering::Relaxed);
        write_text(&head.reason, facts.reason);
        write_text(&head.mountpoint, facts.mountpoint.unwrap_or_default());
        head.sequence.store(sequence.wrapping_add(1), Ordering::Release);
    }
}

/// A cell, to be kept.
pub struct Counters {
    cell: NonNull<Cell>,
    _page: Arc<Page>,
}

// SAFETY: it is a shared reference to a page, which is Sync.
unsafe impl Send for Counters {}
// SAFETY: as above.
unsafe impl Sync for Counters {}

impl Deref for Counters {
    type Target = Cell;

    #[inline]
    fn deref(&self) -> &Cell {
        // SAFETY: the page that it is in stays until this is dropped.
        unsafe { self.cell.as_ref() }
    }
}

fn write(to: &[AtomicU8], bytes: &[u8]) {
    for (to, byte) in to.iter().zip(bytes) {
        to.store(*byte, Ordering::Relaxed);
    }
}

/// With at least one NUL at the end.
fn write_text(to: &[AtomicU8], text: &CStr) {
    let bytes = text.to_bytes();
    let len = bytes.len().min(to.len() - 1);
    write(to, &bytes[..len]);
    to[len].store(0, Ordering::Relaxed);
}

/// The number of the connection that the descriptor is of, as the kernel tells it;
/// older ones do not.
pub fn connection_of(fd: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("fuse_connection:"))?.trim().parse().ok()
}
