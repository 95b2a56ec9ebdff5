//! The keeper: a thread that never runs callbacks, and so is never late.
//!
//! It holds the entries of queues that no handler thread serves, and those that
//! were left over; it commits what other threads answer; it looks after the
//! handler threads (growth, kicks, answers held up by a callback that goes on)
//! every [`TICK`] while requests come or wait, and sleeps without a timer when
//! nothing has moved for [`QUIET_TICKS`].
//!
//! # Going to sleep
//! It announces it in `keeper_asleep`, waits one more tick, and looks again.
//! Whoever receives a request counts it first and reads `keeper_asleep` second,
//! so one of the two sees the other.

use super::batch;
use super::entry::Entry;
use super::kick::Recheck;
use super::memory;
use super::placement::Started;
use super::sqe::{self, Token};
use super::stream;
use super::uring::Ring;
use super::watch::Watch;
use super::worker::{Beginning, Served, Worker};
use super::{Engine, NotBegun};
use crate::errno::{Errno, Result};
use crate::session::LoopShape;
use crate::sys::errand::send_on_errand;
use crate::sys::fd::wait_readable;
use crate::sys::thread::{spawn, SignalMask, Thread};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at the handler threads.
pub const TICK: Duration = Duration::from_millis(1);
/// Looks without any movement before the keeper goes to sleep.
const QUIET_TICKS: u32 = 50;
/// Looks for which a request may wait for a thread that is about to be done.
const PENDING_LOOKS: u32 = 2;
/// Completions that may wait; the kernel keeps more than these on a list.
const COMPLETIONS: u32 = 4096;

/// Entries that wait for the keeper: a stack that any thread pushes to, also in a
/// signal handler, and the keeper empties.
#[derive(Default)]
pub struct Answers(AtomicPtr<Entry>);

impl Answers {
    /// Adds an entry, which the caller owns; true if the list was empty, so
    /// that the keeper must be woken.
    pub fn push(&self, entry: &Entry) -> bool {
        let pointer = entry.pointer().as_ptr();
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            entry.next.store(head, Ordering::Relaxed);
            match self.0.compare_exchange_weak(head, pointer, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// Takes all, oldest first.
    fn take(&self) -> Vec<&'static Entry> {
        let mut taken = Vec::new();
        let mut next = NonNull::new(self.0.swap(std::ptr::null_mut(), Ordering::AcqRel));
        while let Some(pointer) = next {
            let entry = Entry::from_pointer(pointer);
            next = NonNull::new(entry.next.load(Ordering::Relaxed));
            taken.push(entry);
        }
        taken.reverse();
        taken
    }
}

/// The engine's end of the keeper thread.
pub struct Handle {
    thread: Thread,
    go: SyncSender<()>,
    registered: Receiver<std::result::Result<(), NotBegun>>,
}

impl Handle {
    /// Starts the keeper, which sets up its ring; `first` are the entries that
    /// it will register.
    pub fn spawn(engine: &Arc<Engine>, first: Vec<&'static Entry>) -> Result<Self> {
        let (ready, is_ready) = sync_channel(1);
        let (go, may_go) = sync_channel(1);
        let (done, registered) = sync_channel(1);
        let engine = engine.clone();
        let thread = spawn(c"fuse-keeper", SignalMask::All, move || {
            let ring = Ring::new(&engine.files, COMPLETIONS)
                .and_then(|mut ring| ring.try_out().map(|()| ring));
            let ring = match ring {
                Ok(ring) => ring,
                Err(errno) => {
                    let _ = ready.send(Err(errno));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            let mut keeper = Keeper {
                ring,
                engine,
                watch: Watch::default(),
                started: Started::default(),
                streams: Vec::new(),
                batches: Vec::new(),
                rechecks: Vec::new(),
                oldest_pending: None,
                pending_for: 0,
                quiet: 0,
                retry: Vec::new(),
            };
            // The engine was started, or dropped without having been.
            if may_go.recv().is_ok() {
                let result = keeper.register(&first);
                let result = result.map_err(|errno| NotBegun::new(&mut keeper.ring, errno));
                let ok = result.is_ok();
                let _ = done.send(result);
                if ok {
                    keeper.run();
                }
            }
        })?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(Self { thread, go, registered }),
            Ok(Err(errno)) => {
                thread.join();
                Err(errno)
            }
            Err(_) => Err(Errno(libc::EIO)),
        }
    }

    /// Lets the keeper register its entries and begin.
    pub fn register(&self) -> std::result::Result<(), NotBegun> {
        let _ = self.go.send(());
        let ended = NotBegun { errno: Errno(libc::EIO), can_go_back: false };
        self.registered.recv().unwrap_or(Err(ended))
    }

    /// Waits for the keeper's end, which the engine has asked for.
    pub fn join(self) {
        drop(self.go);
        self.thread.join();
    }
}

struct Keeper {
    ring: Ring,
    engine: Arc<Engine>,
    watch: Watch,
    started: Started,
    streams: Vec<stream::Seen>,
    batches: Vec<batch::Seen>,
    rechecks: Vec<Recheck>,
    /// The request that waited longest for a thread then.
    oldest_pending: Option<NonNull<Entry>>,
    /// Looks since it became that.
    pending_for: u32,
    quiet: u32,
    /// Registrations that the kernel was not ready for.
    retry: Vec<&'static Entry>,
}

impl Keeper {
    fn register(&mut self, entries: &[&'static Entry]) -> Result<()> {
        for entry in entries {
            self.engine.give(entry, &self.ring);
            self.ring.push(&sqe::register(entry))?;
        }
        self.ring.submit()?;
        // A refusal is there at once; a success is silent until a request comes.
        let mut early = Vec::new();
        while let Some(completion) = self.ring.next() {
            match (completion.token, completion.result) {
                (Token::Entry(entry), result) if result < 0 && result != -libc::EAGAIN => {
                    self.engine
                        .queue(Entry::from_pointer(entry))
                        .available
                        .fetch_sub(1, Ordering::SeqCst);
                    return Err(Errno(-result));
                }
                _ => early.push(completion),
            }
        }
        for completion in early {
            self.completed(completion.token, completion.result)?;
        }
        Ok(())
    }

    fn run(&mut self) {
        let Err(errno) = self.serve() else {
            return;
        };
        self.engine.failed(format_args!("the keeper's ring failed"), errno);
        // The handler threads must hear of the end all the same.
        while !self.engine.stopping.load(Ordering::SeqCst) {
            wait_readable(self.engine.bell.as_raw_fd(), Some(Duration::from_millis(100)));
        }
        let dismissed = Ring::new(&self.engine.files, 0).and_then(|ring| {
            self.ring = ring;
            self.dismiss_workers()
        });
        self.engine.unheard.store(dismissed.is_err(), Ordering::SeqCst);
    }

    fn serve(&mut self) -> Result<()> {
        self.ring.push(&sqe::poll(self.engine.bell.as_raw_fd(), Token::Wake))?;
        let mut next_look = Instant::now() + TICK;
        while !self.engine.stopping.load(Ordering::SeqCst) {
            if self.engine.keeper_asleep.load(Ordering::SeqCst) && self.quiet > QUIET_TICKS + 1 {
                self.sleep()?;
            } else {
                let now = Instant::now();
                self.ring
                    .submit_and_wait_for(next_look.saturating_duration_since(now).min(TICK))?;
            }
            while let Some(completion) = self.ring.next() {
                self.completed(completion.token, completion.result)?;
            }
            for entry in self.engine.answers.take() {
                self.commit(entry)?;
            }
            for entry in self.engine.cleared.take() {
                self.stir();
                self.arrived(entry)?;
            }
            for entry in self.engine.passed_on.take() {
                self.find_owner(entry)?;
            }
            let wanted = std::mem::take(&mut *self.engine.wanted.lock());
            for queue in wanted {
                self.register_another(queue)?;
            }
            let now = Instant::now();
            if now >= next_look {
                next_look = now + TICK;
                // Commits do not wait for what a look takes.
                self.ring.submit()?;
                self.look()?;
            }
        }
        self.dismiss_workers()
    }

    /// Until something moves; first the memory of a burst is given back.
    fn sleep(&mut self) -> Result<()> {
        if self.engine.memory.is_warm() {
            self.ring.submit_and_wait_for(memory::IDLE)?;
            let moved = !self.engine.keeper_asleep.load(Ordering::SeqCst);
            if moved || !self.ring.is_drained() {
                return Ok(());
            }
            let others = self.engine.warm_rings();
            self.engine.cool(&mut self.ring)?;
            for ring in others {
                self.ring.push(&sqe::message(ring, Token::Cool, Token::Ignore))?;
            }
        }
        self.ring.submit_and_wait()
    }

    fn completed(&mut self, token: Token, result: i32) -> Result<()> {
        match token {
            Token::Entry(entry) => {
                let entry = Entry::from_pointer(entry);
                match result {
                    0 => {
                        self.stir();
                        self.engine.taken(entry);
                        self.arrived(entry)?;
                    }
                    _ if result == -libc::EAGAIN => self.retry.push(entry),
                    _ => self.engine.lost(entry, result),
                }
            }
            Token::Wake => {
                self.engine.bell.drain();
                self.stir();
                self.ring.push(&sqe::poll(self.engine.bell.as_raw_fd(), Token::Wake))?;
            }
            Token::AdoptSent(entry) if result < 0 => self.commit(Entry::from_pointer(entry))?,
            // The thread is gone; another will serve the request.
            Token::HandOverSent(entry) if result < 0 => {
                self.hand_over(Entry::from_pointer(entry))?
            }
            _ => {}
        }
        Ok(())
    }

    /// Something happened: look often again.
    fn stir(&mut self) {
        self.quiet = 0;
        self.engine.keeper_asleep.store(false, Ordering::SeqCst);
    }

    fn commit(&mut self, entry: &'static Entry) -> Result<()> {
        self.stir();
        entry.prepare_commit();
        self.engine.give(entry, &self.ring);
        self.ring.push(&sqe::commit(entry))
    }

    /// Registers an entry for a queue whose threads cannot.
    fn register_another(&mut self, queue: u16) -> Result<()> {
        let Ok(entry) = self.engine.new_entry(queue, false) else {
            return Ok(());
        };
        self.engine.give(entry, &self.ring);
        self.ring.push(&sqe::register(entry))?;
        self.ring.submit()?;
        self.engine.strand(queue);
        self.stir();
        Ok(())
    }

    /// A request came to an entry of the keeper's.
    fn arrived(&mut self, entry: &'static Entry) -> Result<()> {
        if self.engine.kicks.is_one_of_ours(&entry.receive()) {
            // Answered without a callback.
            let idle = Worker::new();
            return match self.engine.serve(&idle, entry, &|| Ok(())) {
                Served::Answered | Served::Retrieved => {
                    self.commit(entry)?;
                    self.ring.submit()?;
                    self.engine.kick_done(entry);
                    Ok(())
                }
                _ => Ok(()),
            };
        }
        self.hand_over(entry)
    }

    /// Finds a thread for the request in `entry`.
    fn hand_over(&mut self, entry: &'static Entry) -> Result<()> {
        self.engine.queue(entry).handed_over.fetch_add(1, Ordering::Relaxed);
        if self.engine.shape == LoopShape::Serial {
            let target = self.engine.workers.lock().first().cloned();
            return match target.map(|worker| worker.ring_fd.load(Ordering::SeqCst)) {
                Some(ring) if ring >= 0 => {
                    self.send(ring, Token::HandedOver(entry.pointer()), entry)
                }
                // The loop has returned; the request waits for another one.
                _ => Ok(()),
            };
        }
        if self.give_to_spare(entry)? {
            return Ok(());
        }
        if self.is_quickly_busy(entry.queue()) {
            // A thread of the queue is about to be done, and takes it along.
            self.engine.add_pending(entry);
            if self.is_quickly_busy(entry.queue()) {
                return Ok(());
            }
            return match self.engine.take_pending() {
                Some(entry) => self.give_to_new_thread(entry),
                None => Ok(()),
            };
        }
        self.give_to_new_thread(entry)
    }

    fn give_to_spare(&mut self, entry: &'static Entry) -> Result<bool> {
        let spare = self.engine.exchange.lock().spares.pop();
        let Some(worker) = spare else {
            return Ok(false);
        };
        worker.expecting.store(true, Ordering::SeqCst);
        self.engine.assign(&worker, Some(entry.queue()));
        let ring = worker.ring_fd.load(Ordering::SeqCst);
        self.send(ring, Token::HandedOver(entry.pointer()), entry)?;
        Ok(true)
    }

    fn give_to_new_thread(&mut self, entry: &'static Entry) -> Result<()> {
        if self.engine.add_worker(Beginning::Serve(entry)).is_err() {
            // As many threads as there may be: the first that is done takes it.
            self.engine.add_pending(entry);
        }
        Ok(())
    }

    /// Finds a thread without an entry for the answered `entry`, which commits it.
    fn find_owner(&mut self, entry: &'static Entry) -> Result<()> {
        self.stir();
        let spare = self.engine.exchange.lock().spares.pop();
        if let Some(worker) = spare {
            self.engine.assign(&worker, Some(entry.queue()));
            let ring = worker.ring_fd.load(Ordering::SeqCst);
            let (adopt, sent) = (Token::Adopt(entry.pointer()), Token::AdoptSent(entry.pointer()));
            return self.ring.push(&sqe::message(ring, adopt, sent));
        }
        match self.engine.add_worker(Beginning::Commit(entry)) {
            Ok(()) => Ok(()),
            Err(_) => self.commit(entry),
        }
    }

    /// Whether a thread of `queue` runs a callback, or is about to, that it did
    /// not run at the last look.
    fn is_quickly_busy(&self, queue: u16) -> bool {
        self.engine
            .workers
            .lock()
            .iter()
            .any(|worker| worker.serves(queue) && worker.is_quickly_busy())
    }

    fn send(&mut self, ring: i32, message: Token, entry: &Entry) -> Result<()> {
        self.ring.push(&sqe::message(ring, message, Token::HandOverSent(entry.pointer())))
    }

    /// Looks at every queue and every handler thread.
    fn look(&mut self) -> Result<()> {
        for entry in std::mem::take(&mut self.retry) {
            self.ring.push(&sqe::register(entry))?;
        }
        let findings = self.watch.look(&self.engine);
        let mut busy = findings.moved;
        for entry in findings.held_up {
            // Its callback goes on after the answer: the client need not wait.
            self.commit(entry)?;
        }
        if !self.engine.gone.load(Ordering::SeqCst) {
            for (queue, threads) in findings.grow {
                // More threads than may run callbacks would only wait for their turn.
                busy |= self.engine.gate.has_room() && self.grow(queue, threads)?;
            }
            busy |= self.engine.look_after_kicks(&mut self.rechecks);
        }
        busy |= self.look_after_pending()?;
        self.engine.look_at_placement(&mut self.started);
        self.engine.look_at_streams(&mut self.streams);
        self.engine.look_at_batches(&mut self.batches, findings.lasts);
        findings.stuck.into_iter().for_each(send_on_errand);
        busy |= self.engine.look_at_yielding();
        busy |= !self.retry.is_empty();
        self.quiet = if busy { 0 } else { self.quiet.saturating_add(1) };
        if self.quiet == QUIET_TICKS {
            self.engine.keeper_asleep.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Adds a thread if the oldest request without one has waited for some
    /// looks; true while any waits.
    fn look_after_pending(&mut self) -> Result<bool> {
        let oldest = self.engine.oldest_pending();
        let before = std::mem::replace(&mut self.oldest_pending, oldest);
        self.pending_for = if before == oldest { self.pending_for + 1 } else { 0 };
        if self.pending_for >= PENDING_LOOKS {
            if let Some(entry) = self.engine.take_pending() {
                if !self.give_to_spare(entry)? {
                    self.give_to_new_thread(entry)?;
                }
            }
        }
        Ok(oldest.is_some())
    }

    /// More threads for `queue`. False if there can be no more.
    fn grow(&mut self, queue: u16, threads: usize) -> Result<bool> {
        if self.engine.shape == LoopShape::Serial {
            return Ok(false);
        }
        if self.engine.has_no_rings() {
            // What arrives here is served by threads that need none.
            self.register_another(queue)?;
            return Ok(true);
        }
        let mut grown = 0;
        for _ in 0..threads {
            let spare = self.engine.exchange.lock().spares.pop();
            let added = match spare {
                Some(worker) => {
                    let ring = worker.ring_fd.load(Ordering::SeqCst);
                    self.ring.push(&sqe::message(ring, Token::Grow(queue), Token::Ignore))
                }
                None => self.engine.add_worker(Beginning::Register(queue)),
            };
            if added.is_err() {
                break;
            }
            grown += 1;
        }
        self.engine.queues[queue as usize].grown.fetch_add(grown, Ordering::Relaxed);
        Ok(grown > 0)
    }

    /// Tells all handler threads to end.
    fn dismiss_workers(&mut self) -> Result<()> {
        let workers: Vec<Arc<Worker>> = self.engine.workers.lock().clone();
        for worker in workers {
            let ring = worker.ring_fd.load(Ordering::SeqCst);
            if ring >= 0 {
                self.ring.push(&sqe::message(ring, Token::Stop, Token::Ignore))?;
            }
        }
        self.ring.submit()
    }
}
