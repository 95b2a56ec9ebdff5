//! Handler threads: each owns one io_uring and, between callbacks, one entry.
//!
//! A thread begins with a request that was handed over, or by registering an
//! entry for a queue whose threads all last. After a callback it commits the
//! entry on its own ring, so an entry that arrived elsewhere moves here. When
//! the entry stays behind (parked, or taken by the keeper because the callback
//! went on after its answer), the thread registers another one if the queue has
//! none left, and otherwise waits as a spare for what the keeper hands it.

use super::entry::Entry;
use super::gate::Activity;
use super::placement::Place;
use super::sqe::{self, Token};
use super::stream;
use super::uring::Ring;
use super::yielding::Yielding;
use super::Engine;
use crate::abi::kernel::Opcode;
use crate::errno::{Errno, Result};
use crate::session::decode::fixed_len;
use crate::session::dispatch::dispatch;
use crate::session::request::SharedTurn;
use crate::sys::thread::{gettid, spawn, SignalMask, Thread};
use crate::sys::ticks::Moment;
use crate::sys::wake;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Value of [`Worker::queue`] while the thread serves none.
const NO_QUEUE: u32 = u32::MAX;

/// What others know of a handler thread.
pub struct Worker {
    pub(super) activity: Activity,
    /// Something is on its way to the thread, and its callback has not begun.
    pub(super) expecting: AtomicBool,
    /// The entry whose callback runs.
    current: AtomicPtr<Entry>,
    /// That entry's turn.
    turn: SharedTurn,
    /// The descriptor of its io_uring; -1 before there is one.
    pub(super) ring_fd: AtomicI32,
    queue: AtomicU32,
    tid: AtomicI32,
    /// The keeper's last look: the activity it saw, and how often it was the same.
    seen: AtomicU64,
    looks: AtomicU32,
    /// The keeper's.
    pub(super) yielding: Mutex<Yielding>,
}

impl Worker {
    /// A worker without a ring.
    pub fn new() -> Self {
        Self {
            activity: Activity::default(),
            expecting: AtomicBool::new(false),
            current: AtomicPtr::new(std::ptr::null_mut()),
            turn: SharedTurn::default(),
            ring_fd: AtomicI32::new(-1),
            queue: AtomicU32::new(NO_QUEUE),
            tid: AtomicI32::new(0),
            seen: AtomicU64::new(0),
            looks: AtomicU32::new(0),
            yielding: Mutex::default(),
        }
    }

    /// The thread's number, once it runs.
    pub fn tid(&self) -> Option<i32> {
        Some(self.tid.load(Ordering::Relaxed)).filter(|&tid| tid != 0)
    }

    /// The calling thread is this worker, and has the io_uring `ring_fd`.
    pub fn runs_here(&self, ring_fd: RawFd) {
        self.tid.store(gettid(), Ordering::SeqCst);
        self.ring_fd.store(ring_fd, Ordering::SeqCst);
    }

    /// Takes the entry whose callback runs, if that has answered.
    pub fn take_held_up(&self) -> Option<&'static Entry> {
        let sequence = self.activity.sequence();
        let entry = Entry::from_pointer(NonNull::new(self.current.load(Ordering::Acquire))?);
        let turn = self.turn.get();
        // Entry and turn belong together if they were read in one callback.
        let same = sequence % 2 == 1 && self.activity.sequence() == sequence;
        (same && entry.request.take_answered(turn)).then_some(entry)
    }

    /// Whether the thread serves `queue`.
    pub fn serves(&self, queue: u16) -> bool {
        self.queue.load(Ordering::Relaxed) == u32::from(queue)
    }

    /// The queue that the thread serves.
    pub fn queue(&self) -> Option<usize> {
        match self.queue.load(Ordering::Relaxed) {
            NO_QUEUE => None,
            queue => Some(queue as usize),
        }
    }

    /// For how many looks of the keeper, before this one, the thread has been in
    /// the callback that it is in now; 0 outside of one.
    pub fn looks_in_same_callback(&self) -> u32 {
        let sequence = self.activity.sequence();
        let same = self.seen.swap(sequence, Ordering::Relaxed) == sequence && sequence % 2 == 1;
        let looks = if same { self.looks.load(Ordering::Relaxed) + 1 } else { 0 };
        self.looks.store(looks, Ordering::Relaxed);
        looks
    }

    /// Whether the thread runs a callback, or is about to, that the keeper's
    /// last look did not see.
    pub fn is_quickly_busy(&self) -> bool {
        let sequence = self.activity.sequence();
        self.expecting.load(Ordering::SeqCst)
            || (sequence % 2 == 1 && sequence != self.seen.load(Ordering::Relaxed))
    }

    /// Whether the kernel has the thread asleep, rather than running or waiting
    /// for a CPU.
    pub fn sleeps(&self) -> bool {
        crate::sys::thread::is_asleep(self.tid.load(Ordering::Relaxed))
    }
}

/// What became of a request after its callback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served {
    /// Answered: the entry is the caller's, to be committed.
    Answered,
    /// The same; it was a retrieval of ours, a kick.
    Retrieved,
    /// The entry is somebody else's now.
    Gone,
    /// The engine ends; the request was not looked at.
    Stopped,
}

/// How a thread begins.
#[derive(Clone, Copy)]
pub enum Beginning {
    /// With the request in this entry.
    Serve(&'static Entry),
    /// By registering an entry for this queue.
    Register(u16),
}

impl Engine {
    /// Runs the callback for the request that arrived in `entry`.
    pub(super) fn serve(&self, worker: &Worker, entry: &'static Entry) -> Served {
        let header = entry.receive();
        self.queue(entry).received(header.len);
        if worker.expecting.load(Ordering::Relaxed) {
            worker.expecting.store(false, Ordering::SeqCst);
        }
        if self.kicks.is_one_of_ours(&header) {
            self.queue(entry).kicked.fetch_add(1, Ordering::SeqCst);
            let turn = entry.begin(&header);
            let served = if header.opcode == Opcode::Statfs as u32 {
                let _ = crate::session::reply::statfs(&entry.request, 0, 512, 255);
                Served::Answered
            } else {
                crate::transport::no_answer(&entry.request);
                Served::Retrieved
            };
            return match entry.request.take_answered(turn) {
                true => served,
                false => Served::Gone,
            };
        }
        let opcode = Opcode::from_wire(header.opcode);
        if let Some(opcode @ (Opcode::Read | Opcode::Write | Opcode::Open)) = opcode {
            let queue = self.queue(entry);
            queue.file.store(header.nodeid, Ordering::Relaxed);
            if stream::is_part_of_one(opcode, entry.op_in()) {
                queue.streamed.fetch_add(1, Ordering::Relaxed);
            }
        }
        let permit = self.permit();
        if !self.gate.pass(&worker.activity) {
            return Served::Stopped;
        }
        let turn = entry.begin(&header);
        worker.turn.set(turn);
        worker.current.store(entry.pointer().as_ptr(), Ordering::Release);
        let fixed = opcode.map_or(0, |opcode| fixed_len(opcode, self.session.dialect()));
        let rest = entry.rest(opcode);
        let began = Moment::now();
        dispatch(&entry.request, &header, &entry.op_in()[..fixed], rest);
        let queue = self.queue(entry);
        queue.served(began);
        let parked = entry.request.park(turn);
        if parked {
            queue.parked();
        }
        let answered = !parked && entry.request.take_answered(turn);
        worker.current.store(std::ptr::null_mut(), Ordering::Release);
        worker.activity.leave();
        drop(permit);
        if answered {
            Served::Answered
        } else {
            Served::Gone
        }
    }

    /// The thread of `worker` serves `queue` from now on, or none.
    pub(super) fn assign(&self, worker: &Worker, queue: Option<u16>) {
        let number = queue.map_or(NO_QUEUE, u32::from);
        if worker.queue.load(Ordering::Relaxed) == number {
            return;
        }
        let before = worker.queue.swap(number, Ordering::Relaxed);
        if let Some(queue) = self.queues.get(before as usize) {
            queue.thread_left();
        }
        if let Some(queue) = self.queues.get(number as usize) {
            queue.thread_came();
        }
    }

    /// Starts a handler thread; `Err` also if there are enough of them.
    pub(super) fn add_worker(self: &Arc<Self>, beginning: Beginning) -> Result<()> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Errno(libc::ESHUTDOWN));
        }
        if self.has_no_rings() && matches!(beginning, Beginning::Register(_)) {
            return Err(Errno(libc::EMFILE));
        }
        let mut workers = self.workers.lock();
        if self.threads.lock().len() > workers.len() {
            // Some had no ring, and have ended.
            Thread::join_finished(&self.threads);
        }
        if workers.len() >= self.max_workers {
            return Err(Errno(libc::EAGAIN));
        }
        let queue = match beginning {
            Beginning::Serve(entry) => entry.queue(),
            Beginning::Register(queue) => queue,
        };
        let worker = Arc::new(Worker::new());
        self.assign(&worker, Some(queue));
        worker.expecting.store(matches!(beginning, Beginning::Serve(_)), Ordering::SeqCst);
        let name = CString::new(format!("fuse-ring-{queue}")).unwrap_or_default();
        let (engine, its_worker) = (self.clone(), worker.clone());
        let thread = spawn(&name, SignalMask::Handler, move || {
            Handler::run(&engine, its_worker, beginning);
        })
        .inspect_err(|_| self.assign(&worker, None))?;
        workers.push(worker);
        self.session.page().count_ring_threads(workers.len());
        self.threads.lock().push(thread);
        Ok(())
    }
}

/// A handler thread's own state.
struct Handler<'a> {
    engine: &'a Arc<Engine>,
    worker: Arc<Worker>,
    ring: Ring,
    /// Delivered to this thread, and not served yet. More than one only when
    /// something was handed over that could not go elsewhere.
    waiting: VecDeque<&'static Entry>,
    place: Place,
}

impl<'a> Handler<'a> {
    fn run(engine: &'a Arc<Engine>, worker: Arc<Worker>, beginning: Beginning) {
        let ring = match engine.ring_for_handler() {
            Some(ring) => ring,
            None => return engine.serve_without_ring(&worker, beginning),
        };
        worker.runs_here(ring.as_raw_fd());
        // Without it the thread can be told of the end by a message only.
        let _ = wake::allow_wakeups();
        let mut this =
            Self { engine, worker, ring, waiting: VecDeque::new(), place: Place::default() };
        match beginning {
            Beginning::Serve(entry) => {
                this.pin(entry.queue());
                this.waiting.push_back(entry);
            }
            Beginning::Register(queue) => this.register(queue),
        }
        if let Err(errno) = this.serve_until_stopped() {
            engine.failed(format_args!("a ring failed"), errno);
        }
        this.worker.ring_fd.store(-1, Ordering::SeqCst);
    }

    fn serve_until_stopped(&mut self) -> Result<()> {
        // `stopping` is looked at after the ring's descriptor was published, so
        // either it is seen here or the keeper's message arrives.
        let mut stopped = self.engine.stopping.load(Ordering::SeqCst);
        let mut cool = false;
        while !stopped {
            while let Some(entry) = self.waiting.pop_front() {
                self.pin(entry.queue());
                match self.engine.serve(&self.worker, entry) {
                    Served::Answered => self.commit(entry)?,
                    Served::Retrieved => {
                        self.commit(entry)?;
                        self.ring.submit()?;
                        self.engine.kick_done(entry);
                    }
                    Served::Gone => self.replace(entry),
                    Served::Stopped => return Ok(()),
                }
            }
            // A commit brings the next request along if one was waiting.
            if !self.ring.is_ahead() {
                self.ring.submit_and_wait()?;
            }
            let mut nothing = true;
            while let Some(completion) = self.ring.next() {
                nothing = false;
                match completion.token {
                    Token::Entry(entry) => {
                        self.arrived(Entry::from_pointer(entry), completion.result)?
                    }
                    Token::HandedOver(entry) => {
                        let entry = Entry::from_pointer(entry);
                        self.pin(entry.queue());
                        self.waiting.push_back(entry);
                    }
                    Token::Grow(queue) => self.register(queue),
                    Token::Cool => cool = true,
                    Token::Stop => stopped = true,
                    _ => {}
                }
            }
            // A signal, which is how the end is told where no message can be sent.
            stopped |= nothing && self.engine.stopping.load(Ordering::SeqCst);
            if std::mem::take(&mut cool) {
                self.engine.cool(&mut self.ring)?;
            }
        }
        Ok(())
    }

    fn arrived(&mut self, entry: &'static Entry, result: i32) -> Result<()> {
        match result {
            0 => {
                self.engine.taken(entry);
                self.waiting.push_back(entry);
            }
            _ if result == -libc::EAGAIN => self.ring.push(&sqe::register(entry))?,
            _ => self.engine.lost(entry, result),
        }
        Ok(())
    }

    /// Gives the answered entry back to the kernel.
    fn commit(&mut self, entry: &'static Entry) -> Result<()> {
        if let Some(next) = self.engine.take_pending() {
            // No thread was free for that one: this thread goes on without an
            // entry, so that nothing arrives behind the next callback.
            self.engine.push_answer(entry);
            self.waiting.push_back(next);
            return Ok(());
        }
        entry.prepare_commit();
        self.engine.give(entry, &self.ring);
        self.ring.push(&sqe::commit(entry))?;
        self.engine.place(entry.queue(), &mut self.place);
        if self.place.pinned || !self.waiting.is_empty() {
            // The client runs as soon as this returns to user mode, and sends
            // its next request before this thread goes to sleep. Only where
            // both are bound to one CPU: elsewhere it would be woken there.
            self.ring.submit()?;
        }
        Ok(())
    }

    /// The entry stays behind: gets another, or becomes a spare.
    fn replace(&mut self, entry: &'static Entry) {
        if let Some(next) = self.engine.take_pending() {
            self.waiting.push_back(next);
        }
        if !self.waiting.is_empty() {
            return;
        }
        let queue = &self.engine.queues[entry.queue() as usize];
        if queue.available.load(Ordering::SeqCst) <= 0 {
            self.register(entry.queue());
        } else {
            self.become_spare();
        }
    }

    fn register(&mut self, queue: u16) {
        let registered = self.engine.new_entry(queue, false).and_then(|entry| {
            self.pin(queue);
            self.engine.give(entry, &self.ring);
            self.ring.push(&sqe::register(entry))?;
            // Known to the kernel before the kick that follows.
            self.ring.submit()
        });
        match registered {
            Ok(()) => self.engine.strand(queue),
            Err(_) => self.become_spare(),
        }
    }

    fn become_spare(&mut self) {
        self.engine.assign(&self.worker, None);
        let mut exchange = self.engine.exchange.lock();
        match exchange.pending.pop_front() {
            Some(super::Handed(entry)) => {
                self.engine.pending.store(exchange.pending.len(), Ordering::Release);
                drop(exchange);
                self.waiting.push_back(Entry::from_pointer(entry));
            }
            None => exchange.spares.push(self.worker.clone()),
        }
    }

    /// Binds the thread to the queue's CPU, where that is safe.
    fn pin(&mut self, queue: u16) {
        self.engine.assign(&self.worker, Some(queue));
        self.engine.place(queue, &mut self.place);
    }
}

impl Engine {
    /// An entry came back with an error: the kernel will not use it again.
    pub(super) fn lost(&self, entry: &Entry, result: i32) {
        entry.set_holder(-1);
        self.queue(entry).available.fetch_sub(1, Ordering::SeqCst);
        match -result {
            libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED | libc::ENODEV => {
                self.disconnected()
            }
            // Whatever it was, requests of that queue could wait for ever: a connection
            // that has refused one entry takes no other, and does not go back to
            // `/dev/fuse`.
            errno => {
                let queue = entry.queue();
                self.failed(
                    format_args!("queue {queue}: the kernel refused a ring command"),
                    Errno(errno),
                );
            }
        }
    }

    /// The rings cannot go on: the loop ends, and nothing more is started. Said once.
    pub(super) fn failed(&self, what: std::fmt::Arguments<'_>, errno: Errno) {
        let known = self.gone.swap(true, Ordering::SeqCst);
        if known || self.stopping.load(Ordering::SeqCst) {
            return;
        }
        crate::log_error!("ringfuse: {what}: {errno}; the session ends");
        self.session.fail(errno);
    }

    /// Requests may wait in the queue's FIFO that no available entry will be
    /// given: the keeper must have it kicked.
    pub(super) fn strand(&self, queue: u16) {
        if self.queues[queue as usize].out_of_reach.load(Ordering::SeqCst) {
            self.register_ahead(queue);
        }
        self.queues[queue as usize].stranded.store(true, Ordering::SeqCst);
        if self.keeper_asleep.load(Ordering::SeqCst) {
            self.wake_keeper();
        }
    }

    pub(super) fn has_no_rings(&self) -> bool {
        self.no_rings_until.lock().is_some_and(|until| Instant::now() < until)
    }

    /// A ring for the calling thread, unless there was none lately.
    fn ring_for_handler(&self) -> Option<Ring> {
        if self.has_no_rings() {
            return None;
        }
        let ring = Ring::new(&self.files, 0);
        let until = ring.as_ref().err().map(|_| Instant::now() + Duration::from_secs(1));
        let before = std::mem::replace(&mut *self.no_rings_until.lock(), until);
        if let (Err(errno), None) = (&ring, before) {
            crate::log_warning!(
                "ringfuse: no ring for another handler thread: {errno}; requests are served without, more slowly"
            );
        }
        ring.ok()
    }

    /// A new thread has no ring: it serves what it was given and ends. What it
    /// leaves to be done on a ring is the keeper's.
    fn serve_without_ring(&self, worker: &Arc<Worker>, beginning: Beginning) {
        if let Beginning::Serve(entry) = beginning {
            match self.serve(worker, entry) {
                Served::Answered | Served::Retrieved => self.push_answer(entry),
                Served::Gone if self.queue(entry).available.load(Ordering::SeqCst) <= 0 => {
                    self.wanted.lock().push(entry.queue());
                    self.bell.signal();
                }
                Served::Gone | Served::Stopped => {}
            }
        }
        self.assign(worker, None);
        let mut workers = self.workers.lock();
        workers.retain(|other| !Arc::ptr_eq(other, worker));
        self.session.page().count_ring_threads(workers.len());
    }
}
