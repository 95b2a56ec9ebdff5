//! Handler threads, as others see them: what they do, how they begin, and the callback
//! of one request. Their own side is [`super::handler`].

use super::entry::Entry;
use super::gate::Activity;
use super::handler::Handler;
use super::keeper::TICK;
use super::stream;
use super::uring::Ring;
use super::yielding::Yielding;
use super::Engine;
use crate::abi::kernel::Opcode;
use crate::errno::{Errno, Result};
use crate::session::decode::fixed_len;
use crate::session::dispatch::dispatch;
use crate::session::request::SharedTurn;
use crate::sys::cputime;
use crate::sys::put_off::PutOff;
use crate::sys::thread::{gettid, spawn, SignalMask, Thread};
use crate::sys::ticks::Moment;
use parking_lot::Mutex;
use std::ffi::CString;
use std::os::fd::RawFd;
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
    /// Other entries of the thread, which nobody serves while its callback runs.
    pub(super) behind: AtomicU32,
    /// Those of them that have come, or are answered: not what is available.
    pub(super) held: AtomicU32,
    /// Tells what has come to its ring meanwhile, if the thread may have other entries.
    pub(super) put_off: Mutex<Option<PutOff>>,
    /// That wakes the keeper. The keeper's.
    calls_keeper: AtomicBool,
    /// The descriptor of its io_uring; -1 before there is one.
    pub(super) ring_fd: AtomicI32,
    queue: AtomicU32,
    tid: AtomicI32,
    /// The keeper's last look: the activity it saw, and how often it was the same.
    seen: AtomicU64,
    looks: AtomicU32,
    /// CPU time of the thread when that callback had been seen twice.
    cpu_time: AtomicU64,
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
            behind: AtomicU32::new(0),
            held: AtomicU32::new(0),
            put_off: Mutex::new(None),
            calls_keeper: AtomicBool::new(false),
            ring_fd: AtomicI32::new(-1),
            queue: AtomicU32::new(NO_QUEUE),
            tid: AtomicI32::new(0),
            seen: AtomicU64::new(0),
            looks: AtomicU32::new(0),
            cpu_time: AtomicU64::new(0),
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

    /// Whether a request, or an answer, could wait behind the thread's callback: at one of
    /// its other entries, or passed on to it.
    pub fn could_hold_up(&self) -> bool {
        self.behind.load(Ordering::Relaxed) > 0 || self.put_off.lock().is_some()
    }

    /// Whether one does.
    pub fn holds_up(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
            || self.put_off.lock().as_ref().is_none_or(PutOff::is_any)
    }

    /// Has the kernel wake the keeper when something comes to the thread's ring, or does
    /// not any more. Whether it will.
    pub fn call_keeper(&self, wanted: bool) -> bool {
        if self.calls_keeper.load(Ordering::Relaxed) != wanted {
            if let Some(put_off) = self.put_off.lock().as_ref() {
                put_off.signal_event(wanted);
                self.calls_keeper.store(wanted, Ordering::Relaxed);
            }
        }
        self.calls_keeper.load(Ordering::Relaxed)
    }

    /// The keeper has seen the thread in the same callback for the first time.
    pub fn begins_to_last(&self) {
        self.cpu_time.store(self.cpu_time_now().unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether the thread has had a CPU for about half of the `looks` since then; true
    /// if that cannot be told.
    pub fn computes(&self, looks: u32) -> bool {
        let wanted = u64::from(looks) * TICK.as_nanos() as u64 / 2;
        let then = self.cpu_time.load(Ordering::Relaxed);
        self.cpu_time_now().is_none_or(|now| now.saturating_sub(then) >= wanted)
    }

    fn cpu_time_now(&self) -> Option<u64> {
        cputime::of_thread(self.tid()?)
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
    /// By committing this answered entry.
    Commit(&'static Entry),
}

impl Engine {
    /// Runs the callback for the request that arrived in `entry`. If that has to wait,
    /// `before_waiting` is called first.
    pub(super) fn serve(
        &self,
        worker: &Worker,
        entry: &'static Entry,
        before_waiting: &dyn Fn() -> Result<()>,
    ) -> Served {
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
        // An answer that cannot be committed now can never be.
        let before_waiting = || before_waiting().unwrap_or_default();
        let permit = self.gate.permit(before_waiting);
        if !self.gate.pass(&worker.activity, before_waiting) {
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
            Beginning::Serve(entry) | Beginning::Commit(entry) => entry.queue(),
            Beginning::Register(queue) => queue,
        };
        let worker = Arc::new(Worker::new());
        self.assign(&worker, Some(queue));
        worker.expecting.store(matches!(beginning, Beginning::Serve(_)), Ordering::SeqCst);
        let name = CString::new(format!("fuse-ring-{queue}")).unwrap_or_default();
        let (engine, its_worker) = (self.clone(), worker.clone());
        let thread = spawn(&name, SignalMask::Handler, move || {
            Handler::run(&engine, &its_worker, beginning);
        })
        .inspect_err(|_| self.assign(&worker, None))?;
        workers.push(worker);
        self.session.page().count_ring_threads(workers.len());
        self.threads.lock().push(thread);
        Ok(())
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
    pub(super) fn ring_for_handler(&self) -> Option<Ring> {
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
    pub(super) fn serve_without_ring(&self, worker: &Arc<Worker>, beginning: Beginning) {
        worker.runs_here(-1);
        if let Beginning::Commit(entry) = beginning {
            self.push_answer(entry);
        }
        if let Beginning::Serve(entry) = beginning {
            match self.serve(worker, entry, &|| Ok(())) {
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
