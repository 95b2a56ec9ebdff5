//! The ring transport: FUSE over io_uring.
//!
//! The kernel has one queue per possible CPU and puts a request into that of
//! the CPU it is made on. A queue's requests are taken by *entries*
//! ([`entry`] says who owns one when): the kernel picks the one most recently
//! freed, blind to whether its thread is busy. Hence the rule that everything
//! here follows from:
//!
//! > **A thread that runs a callback owns no available entry.**
//!
//! * [`worker`], [`handler`]: handler threads, each with one io_uring and one entry.
//! * [`keeper`]: one thread that never runs callbacks. It holds an entry of
//!   every queue that has not been used, hands what arrives there to a handler
//!   thread, commits the answers that other threads give, and watches: a
//!   thousand times a second while there is work, not at all while there is
//!   none.
//! * [`answer`]: where the answers of callbacks and other threads go.
//! * [`offer`]: whether there may be rings, and why not.
//! * [`kick`]: requests that the kernel keeps in a queue's FIFO although an
//!   entry is available are got moving by a request of our own.
//! * [`memory`]: what payloads take, and when it is given back.
//! * [`batch`]: several entries for a thread, where that is faster and the callbacks
//!   have proved short: the exception from the rule, and how it is taken back.
//! * [`serial`]: one handler at a time: the calling thread's ring carries the
//!   entries of all queues, and there the rule has nothing to protect.
//!
//! An [`Engine`] lives from INIT to `fuse_session_unmount` or `_destroy`, also
//! between loops: its threads must stay, or their entries would die.

mod answer;
mod batch;
pub mod cpus;
pub mod entry;
pub mod gate;
mod handler;
mod keeper;
mod kick;
mod memory;
mod offer;
mod placement;
mod serial;
mod sqe;
mod stream;
mod uring;
mod watch;
mod worker;
mod yielding;

use crate::errno::{Errno, Result};
use crate::session::page::{Cell, Counters};
use crate::session::request::Request;
use crate::session::{LoopShape, Session};
use crate::sys;
use crate::sys::fd::EventFd;
use crate::sys::fork::{self, Unshared};
use crate::sys::thread::Thread;
pub use answer::{answer, answer_error, note_file, payload};
use batch::Batching;
use entry::{Entry, EntryBox};
use gate::{Gate, Permit};
use keeper::Answers;
use offer::why_not_possible;
pub use offer::{is_enabled, why_not_offered};
use parking_lot::Mutex;
use placement::Placement;
use serial::SerialLoop;
use std::collections::VecDeque;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uring::Ring;
use worker::Worker;

/// Handler threads of one session, at most, unless `max_threads` says less. On
/// 32 bits their stacks of 8 MiB must leave the filesystem most of its 3 GiB.
pub const MAX_WORKERS: usize = if cfg!(target_pointer_width = "64") { 512 } else { 64 };
/// Requests of one session that may be parked before a queue gets no more entries for
/// others, unless an option says otherwise.
pub const MAX_PARKED: usize = 8192;
/// Requests of one queue that may be parked all the same, so that those of one CPU take
/// nothing from the others.
const OWN_PARKED: u64 = 16;
/// Address space that entries may take beyond the first ones.
const EXTRA_ADDRESSES: usize = if cfg!(target_pointer_width = "64") { usize::MAX } else { 1 << 30 };

/// One queue of the kernel's, as this side sees it.
#[repr(align(128))]
struct Queue {
    /// Requests that came, kicks among them; and what became of them. Its entries.
    counters: Counters,
    /// An entry was registered while requests may have waited: they need a kick.
    stranded: AtomicBool,
    /// Whether a thread is kicking this queue.
    kicker: AtomicBool,
    /// The NUMA node of its CPU, if there are several.
    node: Option<u16>,
    /// Nobody here can make requests on its CPU.
    out_of_reach: AtomicBool,
    /// Retrievals that were asked for as kicks of this queue, and how many of their
    /// entries have been committed.
    kicks_sent: AtomicU64,
    kicks_done: AtomicU64,
    /// Requests among them that were part of a stream.
    streamed: AtomicU64,
    /// Its threads are not to be bound at the moment.
    roams: AtomicBool,
    /// Requests that came while others were there, or when those before them had been
    /// answered.
    chained: AtomicU64,
    /// Entries that one of its threads may have.
    batch: AtomicU32,
    /// The one of its threads that has several.
    collector: Mutex<Option<Arc<Worker>>>,
    /// A regular file of which a request came or that was looked up lately; 0: none.
    file: AtomicU64,
}

impl Deref for Queue {
    type Target = Cell;

    #[inline]
    fn deref(&self) -> &Cell {
        &self.counters
    }
}

/// What travels between the keeper and the handler threads.
#[derive(Default)]
struct Exchange {
    /// Threads that wait without an entry.
    spares: Vec<Arc<Worker>>,
    /// Delivered requests for which there is no thread at the moment.
    pending: VecDeque<Handed>,
}

/// A delivered entry on its way to a thread.
#[derive(Clone, Copy)]
struct Handed(NonNull<Entry>);

// SAFETY: an entry may be used by any one thread at a time (see `entry`).
#[allow(unsafe_code)]
unsafe impl Send for Handed {}

/// The kernel did not take the entries that it was promised in INIT.
#[derive(Clone, Copy, Debug)]
pub struct NotBegun {
    /// Why not.
    pub errno: Errno,
    /// Whether the connection goes on by `/dev/fuse`. If not, the kernel holds requests
    /// back for ever.
    pub can_go_back: bool,
}

impl NotBegun {
    /// Because of `errno`, said about a command on `ring`.
    fn new(ring: &mut Ring, errno: Errno) -> Self {
        Self { errno, can_go_back: ring.give_up().is_ok() }
    }
}

/// The rings of one session.
pub struct Engine {
    session: Arc<Session>,
    shape: LoopShape,
    /// A descriptor of the engine's own, which nobody else closes, until the end.
    fuse: Mutex<Option<Unshared<OwnedFd>>>,
    fuse_fd: RawFd,
    /// A copy of the session's lifeline. Rings outlive a killed process by
    /// some milliseconds and keep the connection meanwhile; who watches over
    /// the mount must not see the process as gone before that, or it would
    /// take the last errors for signs of life. So every ring has a copy.
    lifeline: Mutex<Option<Unshared<OwnedFd>>>,
    /// Of the process whose threads serve.
    generation: u32,
    /// What every ring has registered: `fuse_fd`, and the lifeline if any.
    files: Box<[RawFd]>,
    payload_len: usize,
    queues: Box<[Queue]>,
    entries: Mutex<Vec<EntryBox>>,
    workers: Mutex<Vec<Arc<Worker>>>,
    threads: Mutex<Vec<Thread>>,
    kicker_threads: Mutex<Vec<Thread>>,
    exchange: Mutex<Exchange>,
    pending: AtomicUsize,
    answers: Answers,
    /// Delivered to threads whose callbacks last.
    cleared: Answers,
    /// Answered, for threads that have no entry.
    passed_on: Answers,
    batching: Batching,
    kicks: kick::Kicks,
    memory: memory::Memory,
    gate: Gate,
    placement: Placement,
    /// Wakes the keeper.
    bell: EventFd,
    keeper_asleep: AtomicBool,
    /// Handler threads at most: each has a descriptor, and the filesystem needs
    /// some as well.
    max_workers: usize,
    /// Queues that need an entry, and whose threads have no ring to register it.
    wanted: Mutex<Vec<u16>>,
    /// Rings could not be made lately.
    no_rings_until: Mutex<Option<Instant>>,
    stopping: AtomicBool,
    /// The keeper could not tell the handler threads of the end.
    unheard: AtomicBool,
    /// The kernel has ended the connection, or its rings have failed: no request comes
    /// any more.
    gone: AtomicBool,
    keeper: Mutex<Option<keeper::Handle>>,
    serial: Mutex<Option<SerialLoop>>,
    /// There are as many entries as may be, and the log says so.
    entries_full: AtomicBool,
}

impl Engine {
    /// Prepares rings for `session`: everything that can fail, before the
    /// kernel is told. `Err` says why there will be none.
    pub fn new(
        session: &Session,
        shape: LoopShape,
        payload_len: usize,
    ) -> std::result::Result<Arc<Self>, String> {
        let Some(session) = session.share() else {
            return Err("the session is being destroyed".into());
        };
        let queues =
            cpus::possible().map_err(|errno| format!("cannot tell the number of CPUs: {errno}"))?;
        let duplicate = |fd| Unshared::new(|| sys::fd::duplicate(fd));
        let fuse = duplicate(session.fd())
            .map_err(|errno| format!("cannot duplicate the device descriptor: {errno}"))?;
        let lifeline = session.lifeline().and_then(|fd| duplicate(fd).ok());
        let files = [Some(fuse.as_raw_fd()), lifeline.as_ref().map(|fd| fd.as_raw_fd())];
        let max = match shape {
            LoopShape::Threads { max } => max,
            LoopShape::Serial => None,
        };
        let depth = session.options.queue_depth;
        let bell = EventFd::new().map_err(|errno| format!("eventfd: {errno}"))?;
        let page = session.page().clone();
        page.begin_rings();
        let engine = Arc::new(Self {
            session,
            shape,
            fuse_fd: fuse.as_raw_fd(),
            fuse: Mutex::new(Some(fuse)),
            lifeline: Mutex::new(lifeline),
            generation: fork::generation(),
            files: files.into_iter().flatten().collect(),
            payload_len,
            queues: cpus::nodes(queues)
                .into_iter()
                .enumerate()
                .map(|(queue, node)| Queue {
                    node,
                    counters: page.of_queue(queue),
                    stranded: AtomicBool::new(false),
                    kicker: AtomicBool::new(false),
                    out_of_reach: AtomicBool::new(false),
                    kicks_sent: AtomicU64::new(0),
                    kicks_done: AtomicU64::new(0),
                    streamed: AtomicU64::new(0),
                    roams: AtomicBool::new(false),
                    chained: AtomicU64::new(0),
                    batch: AtomicU32::new(1),
                    collector: Mutex::new(None),
                    file: AtomicU64::new(0),
                })
                .collect(),
            entries: Mutex::default(),
            workers: Mutex::default(),
            threads: Mutex::default(),
            kicker_threads: Mutex::default(),
            exchange: Mutex::default(),
            pending: AtomicUsize::new(0),
            answers: Answers::default(),
            cleared: Answers::default(),
            passed_on: Answers::default(),
            batching: Batching::new(),
            kicks: kick::Kicks::default(),
            memory: memory::Memory::default(),
            gate: Gate::new(max),
            placement: Placement::new(shape == LoopShape::Serial),
            bell,
            keeper_asleep: AtomicBool::new(false),
            max_workers: MAX_WORKERS.min(sys::fd::limit() / 4).max(8),
            wanted: Mutex::default(),
            no_rings_until: Mutex::new(None),
            stopping: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            keeper: Mutex::new(None),
            serial: Mutex::new(None),
            entries_full: AtomicBool::new(false),
        });
        let prepared = engine.prepare(depth);
        if let Err(reason) = prepared {
            engine.stop();
            return Err(reason);
        }
        Ok(engine)
    }

    fn prepare(self: &Arc<Self>, depth: u32) -> std::result::Result<(), String> {
        let mut first = Vec::new();
        for queue in 0..self.queues.len() {
            for _ in 0..depth {
                let entry = self.new_entry(queue as u16, true);
                first.push(entry.map_err(|errno| format!("no memory for ring entries: {errno}"))?);
            }
        }
        let serial = self.shape == LoopShape::Serial;
        if serial {
            let serial = SerialLoop::new(self, &first).map_err(why_not_possible)?;
            *self.serial.lock() = Some(serial);
        }
        let entries = if serial { Vec::new() } else { first };
        let keeper = keeper::Handle::spawn(self, entries).map_err(why_not_possible)?;
        *self.keeper.lock() = Some(keeper);
        Ok(())
    }

    /// INIT was answered: gives the kernel its entries.
    pub fn start(&self) -> std::result::Result<(), NotBegun> {
        let none = Err(NotBegun { errno: Errno(libc::EINVAL), can_go_back: false });
        match self.shape {
            LoopShape::Serial => match self.serial.lock().as_mut() {
                Some(serial) => serial.register(self),
                None => none,
            },
            LoopShape::Threads { .. } => match self.keeper.lock().as_ref() {
                Some(keeper) => keeper.register(),
                None => none,
            },
        }
    }

    /// Whether all callbacks run on the thread that calls [`Engine::run_serial`].
    pub fn is_serial(&self) -> bool {
        self.shape == LoopShape::Serial
    }

    /// Serves on the calling thread until the session exits.
    pub fn run_serial(self: &Arc<Self>) -> Result<()> {
        let Some(mut serial) = self.serial.lock().take() else {
            return Err(Errno(libc::EBUSY));
        };
        let result = serial.run(self);
        *self.serial.lock() = Some(serial);
        result.inspect_err(|&errno| self.failed(format_args!("the loop's ring failed"), errno))
    }

    /// What max_background and congestion_threshold are to be where the
    /// filesystem leaves them to the kernel. Its own 12 and 9 are for all queues
    /// together: beyond them pages that readahead has allocated are thrown away.
    pub fn background_limits(&self) -> (u16, u16) {
        let max = (12 * self.queues.len()).clamp(64, 1024) as u16;
        (max, max / 4 * 3)
    }

    /// For the log: what serves.
    pub fn describe(&self) -> String {
        let how = match self.shape {
            LoopShape::Serial => "one handler at a time".to_string(),
            LoopShape::Threads { max: Some(max) } => format!("at most {max} handlers at a time"),
            LoopShape::Threads { max: None } => "handler threads as needed".to_string(),
        };
        let pinned = if self.placement.is_pinned() { ", pinned to their CPUs" } else { "" };
        format!("{} queues, {how}{pinned}", self.queues.len())
    }

    /// The session that is served.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn queue(&self, entry: &Entry) -> &Queue {
        &self.queues[entry.queue() as usize]
    }

    /// Whether as many requests are parked as may be, so that `queue` gets no more
    /// entries. Said once.
    fn is_full(&self, queue: u16, entries: usize) -> bool {
        let parked = |queue: &Queue| queue.counters.waiting();
        let all: u64 = self.queues.iter().map(parked).sum();
        let max = self.session.options.max_parked.map_or(MAX_PARKED, |max| max as usize);
        let addresses = EXTRA_ADDRESSES / (entry::HEAD + self.payload_len) + self.queues.len();
        let many = all >= max as u64 && parked(&self.queues[queue as usize]) >= OWN_PARKED;
        if !many && entries < addresses {
            return false;
        }
        if !self.entries_full.swap(true, Ordering::Relaxed) {
            let advice = if many { " (see -o io_uring_max_parked=N)" } else { "" };
            crate::log_warning!(
                "ringfuse: {all} requests wait for an answer of the filesystem, as many as may{advice}: more of the same CPUs wait in the kernel until some are answered"
            );
        }
        true
    }

    /// Another entry for `queue`, which is refused beyond the bound unless it is one of
    /// the `initial` ones.
    fn new_entry(&self, queue: u16, initial: bool) -> Result<&'static Entry> {
        let mut entries = self.entries.lock();
        if !initial && self.is_full(queue, entries.len()) {
            return Err(Errno(libc::ENOBUFS));
        }
        let node = self.queues[queue as usize].node;
        let new = EntryBox::new(self, queue, node, self.payload_len)?;
        let entry = new.entry();
        entries.push(new);
        self.queue(entry).entries.fetch_add(1, Ordering::Relaxed);
        Ok(entry)
    }

    /// Counts an entry as the kernel's, just before its SQE is submitted on `ring`,
    /// the calling thread's.
    fn give(&self, entry: &Entry, ring: &Ring) {
        entry.set_holder(ring.as_raw_fd());
        self.queue(entry).available.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts an entry that came back with a request.
    fn taken(&self, entry: &Entry) {
        entry.set_holder(-1);
        let queue = self.queue(entry);
        if queue.came() > 1 {
            queue.chained.fetch_add(1, Ordering::Relaxed);
        }
        if self.keeper_asleep.load(Ordering::SeqCst) {
            self.wake_keeper();
        }
    }

    fn wake_keeper(&self) {
        self.keeper_asleep.store(false, Ordering::SeqCst);
        self.bell.signal();
    }

    /// Passes an answered entry to the keeper, which commits it.
    fn push_answer(&self, entry: &Entry) {
        if self.answers.push(entry) {
            self.bell.signal();
        }
    }

    /// Lets the next thread that is done take this request.
    fn add_pending(&self, entry: &Entry) {
        let mut exchange = self.exchange.lock();
        exchange.pending.push_back(Handed(entry.pointer()));
        self.pending.store(exchange.pending.len(), Ordering::SeqCst);
    }

    /// The request that has waited longest for a thread.
    fn oldest_pending(&self) -> Option<NonNull<Entry>> {
        self.exchange.lock().pending.front().map(|&Handed(entry)| entry)
    }

    /// A request without a thread, if there is one.
    fn take_pending(&self) -> Option<&'static Entry> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut exchange = self.exchange.lock();
        let Handed(entry) = exchange.pending.pop_front()?;
        self.pending.store(exchange.pending.len(), Ordering::Release);
        Some(Entry::from_pointer(entry))
    }

    /// The connection is gone: the loop ends, and nothing more is started for it,
    /// however long callbacks still run.
    fn disconnected(&self) {
        self.gone.store(true, Ordering::SeqCst);
        if self.stopping.load(Ordering::SeqCst) {
            return;
        }
        self.session.page().end();
        if !self.session.exited() {
            self.session.exit();
        }
    }

    /// The right to run a callback, where their number is bounded.
    pub fn permit(&self) -> Option<Permit<'_>> {
        // The guard may not outlive the engine, which outlives every callback.
        self.gate.permit(|| {})
    }

    /// The loop is over: no callback starts any more. Returns when none runs.
    pub fn pause(&self) {
        self.gate.pause();
        // Leaving a callback tells nobody: that would cost every request something.
        let mut wait = Duration::from_micros(100);
        while self.workers.lock().iter().any(|worker| worker.activity.is_busy()) {
            std::thread::sleep(wait);
            wait = (2 * wait).min(Duration::from_millis(10));
        }
    }

    /// Another loop starts, which may be of another shape than the first.
    pub fn resume(&self, shape: LoopShape) {
        self.gate.bound(match shape {
            LoopShape::Serial => (!self.is_serial()).then_some(1),
            LoopShape::Threads { max } => max,
        });
        self.gate.open();
    }

    /// Ends all threads and rings, after the callbacks that run. What the
    /// filesystem has parked can be answered without harm, but reaches nobody.
    pub fn stop(&self) {
        if fork::generation() != self.generation {
            // A forked child has no such threads.
            return;
        }
        self.stopping.store(true, Ordering::SeqCst);
        self.gate.stop();
        self.bell.signal();
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.join();
        }
        for threads in [&self.threads, &self.kicker_threads] {
            loop {
                let Some(thread) = threads.lock().pop() else {
                    break;
                };
                self.join(thread);
            }
        }
        *self.serial.lock() = None;
        *self.fuse.lock() = None;
        *self.lifeline.lock() = None;
        sys::prod::collect();
    }

    /// Waits for the end of `thread`, after the keeper's. Where no message can be sent
    /// any more, signals wake the handler threads that wait for one.
    fn join(&self, mut thread: Thread) {
        while self.unheard.load(Ordering::SeqCst) {
            for worker in self.workers.lock().iter() {
                let waits =
                    worker.ring_fd.load(Ordering::SeqCst) >= 0 && !worker.activity.is_busy();
                worker.tid().filter(|_| waits).into_iter().for_each(sys::wake::wake);
            }
            match thread.join_for(1) {
                Ok(()) => return,
                Err(still_there) => thread = still_there,
            }
        }
        thread.join();
    }

    /// Calls `f` on every request until it returns true.
    pub fn any_request(&self, mut f: impl FnMut(&Request) -> bool) -> bool {
        // Not under the lock: `f` may run the filesystem's code.
        let all: Vec<&'static Entry> = self.entries.lock().iter().map(EntryBox::entry).collect();
        all.into_iter().any(|entry| f(&entry.request))
    }

    /// How many the kernel has.
    pub fn queues(&self) -> usize {
        self.queues.len()
    }
}
