//! A handler thread's own side: its loop.
//!
//! A thread begins with a request that was handed over, or by registering an
//! entry for a queue whose threads all last. After a callback it commits the
//! entry on its own ring, so an entry that arrived elsewhere moves here. When
//! the entry stays behind (parked, or taken by the keeper because the callback
//! went on after its answer) and the thread has no other, it registers another one
//! if the queue has none left, and otherwise waits as a spare for what the keeper
//! hands it.
//!
//! A thread has one entry, or several ([`batch`](super::batch)): then it serves all
//! that came, and commits the answers together.

use super::batch::Work;
use super::entry::Entry;
use super::placement::Place;
use super::sqe::{self, Token};
use super::uring::Completion;
use super::worker::{Beginning, Served, Worker};
use super::{Engine, Handed};
use crate::errno::Result;
use crate::sys::errand::{self, on_errand, Desk};
use crate::sys::put_off::PutOff;
use crate::sys::ticks::Moment;
use crate::sys::wake;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// For how long an answer may wait for others, to be committed with them, in
/// nanoseconds.
const FLUSH: u64 = 30_000;
/// Of so many answers of a thread that is not bound one is committed at once, to see
/// whether it brings the next request along.
const SAMPLE: u64 = 64;

/// A handler thread's own state.
pub struct Handler<'a> {
    engine: &'a Arc<Engine>,
    worker: &'a Arc<Worker>,
    /// Shared with the thread's errands, which come during callbacks.
    desk: &'a Desk<Work>,
    place: Place,
    /// This thread is the collector of its queue.
    collects: bool,
    /// It has registered entries beside those that it had; none was kept since.
    took_more: bool,
    /// The first answer that has not been committed was given then.
    answered_at: Moment,
    answers: u64,
}

impl<'a> Handler<'a> {
    /// The thread of `worker`: serves until the engine stops.
    #[allow(unsafe_code)]
    pub fn run(engine: &'a Arc<Engine>, worker: &'a Arc<Worker>, beginning: Beginning) {
        let ring = match engine.ring_for_handler() {
            Some(ring) => ring,
            None => return engine.serve_without_ring(worker, beginning),
        };
        worker.runs_here(ring.as_raw_fd());
        // Without it the thread can be told of the end by a message only.
        let _ = wake::allow_wakeups();
        let desk = &Desk::new(Work::new(ring));
        let mut this = Handler {
            engine,
            worker,
            desk,
            place: Place::default(),
            collects: false,
            took_more: false,
            answered_at: Moment::now(),
            answers: 0,
        };
        let errand = || {
            if let Some(mut work) = desk.try_use() {
                engine.clear_desk(worker, &mut work);
            }
        };
        let body = || {
            match beginning {
                Beginning::Serve(entry) => this.take_in(entry),
                Beginning::Register(queue) => this.register_first(queue),
                Beginning::Commit(entry) => this.adopt(entry)?,
            }
            this.serve_until_stopped()
        };
        // SAFETY: `clear_desk` is async-signal-safe, and has the desk to itself.
        if let Err(errno) = unsafe { on_errand(&errand, body) } {
            engine.failed(format_args!("a ring failed"), errno);
        }
        worker.ring_fd.store(-1, Ordering::SeqCst);
        *worker.put_off.lock() = None;
    }

    fn serve_until_stopped(&mut self) -> Result<()> {
        // `stopping` is looked at after the ring's descriptor was published, so
        // either it is seen here or the keeper's message arrives.
        let mut stopped = self.engine.stopping.load(Ordering::SeqCst);
        while !stopped {
            while let Some(entry) = self.next_waiting() {
                self.pin(entry.queue());
                let desk = self.desk;
                match self.engine.serve(self.worker, entry, &|| submit(desk)) {
                    Served::Answered => self.commit(entry)?,
                    Served::Retrieved => {
                        self.commit(entry)?;
                        submit(self.desk)?;
                        self.engine.kick_done(entry);
                    }
                    Served::Gone => self.replace(entry),
                    // Others may have been answered.
                    Served::Stopped => return submit(desk),
                }
            }
            self.wait()?;
            stopped = self.look()?;
        }
        Ok(())
    }

    /// The next request to be served.
    fn next_waiting(&mut self) -> Option<&'static Entry> {
        let mut work = self.desk.take_place();
        let entry = work.waiting.pop_front()?;
        // While the callback runs, nobody serves what is here besides.
        work.tell(self.worker);
        Some(entry)
    }

    /// Until something has happened.
    fn wait(&mut self) -> Result<()> {
        self.take_more();
        let mut work = self.desk.take_place();
        work.answered = 0;
        if !work.kept.is_empty() {
            return work.ring.submit();
        }
        // A commit brings the next request along if one was waiting.
        if work.entries == 1 && work.ring.is_ahead() {
            let weight = if self.place.pinned { 1 } else { SAMPLE };
            if let Some(queue) = self.worker.queue() {
                self.engine.queues[queue].chained.fetch_add(weight, Ordering::Relaxed);
            }
            return Ok(());
        }
        work.ring.submit_and_wait()
    }

    /// At what has happened; true if the thread is to end.
    fn look(&mut self) -> Result<bool> {
        let (mut nothing, mut stopped, mut cool) = (true, false, false);
        while let Some(Completion { token, result }) = self.next_completion() {
            nothing = false;
            match token {
                Token::Entry(entry) => self.arrived(Entry::from_pointer(entry), result)?,
                Token::HandedOver(entry) => self.take_in(Entry::from_pointer(entry)),
                Token::Adopt(entry) => self.adopt(Entry::from_pointer(entry))?,
                Token::AdoptSent(entry) if result < 0 => self.adopt(Entry::from_pointer(entry))?,
                Token::Grow(queue) => self.register_first(queue),
                Token::Cool => cool = true,
                Token::Stop => stopped = true,
                _ => {}
            }
        }
        if cool {
            self.engine.cool(&mut self.desk.take_place().ring)?;
        }
        // A signal, which is how the end is told where no message can be sent.
        Ok(stopped || (nothing && self.engine.stopping.load(Ordering::SeqCst)))
    }

    fn next_completion(&self) -> Option<Completion> {
        self.desk.take_place().next()
    }

    /// Another thread hands over the request in `entry`.
    fn take_in(&mut self, entry: &'static Entry) {
        self.pin(entry.queue());
        let mut work = self.desk.take_place();
        work.entries += 1;
        work.waiting.push_back(entry);
    }

    /// Another thread passes on the answered `entry`.
    fn adopt(&mut self, entry: &'static Entry) -> Result<()> {
        self.pin(entry.queue());
        self.desk.take_place().entries += 1;
        self.commit(entry)
    }

    fn arrived(&mut self, entry: &'static Entry, result: i32) -> Result<()> {
        let mut work = self.desk.take_place();
        match result {
            0 => {
                self.engine.taken(entry);
                work.waiting.push_back(entry);
            }
            _ if result == -libc::EAGAIN => work.ring.push(&sqe::register(entry))?,
            _ => self.engine.lost(entry, result),
        }
        Ok(())
    }

    /// Gives the answered entry back to the kernel, at once or with those that follow.
    fn commit(&mut self, entry: &'static Entry) -> Result<()> {
        let mut work = self.desk.take_place();
        if let Some(next) = self.engine.take_pending() {
            // No thread was free for that one: this thread goes on without an
            // entry, so that nothing arrives behind the next callback.
            self.engine.push_answer(entry);
            work.waiting.push_back(next);
            return Ok(());
        }
        let queue = self.engine.queue(entry);
        let allowed = self.engine.entries_allowed(entry.queue());
        if work.entries > allowed {
            work.entries -= 1;
            self.engine.pass_on(entry);
            return Ok(());
        }
        let may_pass = work.entries < allowed && !self.collects;
        if let Some(ring) = may_pass.then(|| queue.ring_of_collector(self.worker)).flatten() {
            let (adopt, sent) = (Token::Adopt(entry.pointer()), Token::AdoptSent(entry.pointer()));
            work.ring.push(&sqe::message(ring, adopt, sent))?;
            work.entries -= 1;
            work.ring.submit()?;
            let entries = work.entries;
            drop(work);
            if entries == 0 {
                self.become_spare();
            }
            return Ok(());
        }
        entry.prepare_commit();
        self.engine.give(entry, &work.ring);
        work.ring.push(&sqe::commit(entry))?;
        self.engine.place(entry.queue(), &mut self.place);
        work.answered += 1;
        self.answers += 1;
        let at_once = if work.answered == 1 && work.waiting.is_empty() {
            // The client runs as soon as this returns to user mode, and sends
            // its next request before this thread goes to sleep. Only where
            // both are bound to one CPU: elsewhere it would be woken there.
            self.place.pinned || self.answers % SAMPLE == 0
        } else if work.answered == 1 {
            self.answered_at = Moment::now();
            // What else waits may last.
            work.entries == 1 || !self.engine.is_batching()
        } else {
            self.answered_at.elapsed() > FLUSH
        };
        if at_once {
            work.answered = 0;
            work.ring.submit()?;
        }
        Ok(())
    }

    /// The entry stays behind: the thread gets another, or becomes a spare.
    fn replace(&mut self, entry: &'static Entry) {
        let mut work = self.desk.take_place();
        work.entries -= 1;
        if let Some(next) = self.engine.take_pending() {
            work.entries += 1;
            work.waiting.push_back(next);
        }
        let entries = work.entries;
        drop(work);
        if std::mem::take(&mut self.took_more) {
            // Requests may have waited then, which only commits take along; this is none.
            self.engine.strand(entry.queue());
        }
        if entries > 0 {
            return;
        }
        if self.engine.queue(entry).available.load(Ordering::SeqCst) <= 0 {
            self.register_first(entry.queue());
        } else {
            self.become_spare();
        }
    }

    /// Registers an entry for `queue`.
    fn register(&mut self, queue: u16) -> Result<()> {
        let entry = self.engine.new_entry(queue, false)?;
        self.pin(queue);
        let mut work = self.desk.take_place();
        self.engine.give(entry, &work.ring);
        work.entries += 1;
        work.ring.push(&sqe::register(entry))
    }

    /// The same for a thread that has none, or may have none.
    fn register_first(&mut self, queue: u16) {
        let known = self.register(queue).and_then(|()| submit(self.desk));
        match known {
            // By the kernel, before the kick that follows.
            Ok(()) => self.engine.strand(queue),
            Err(_) if self.desk.take_place().entries == 0 => self.become_spare(),
            Err(_) => {}
        }
    }

    /// Registers what the thread may have and its queue has not. What waits in the
    /// kernel then comes with the commits of the entry that the thread has already.
    fn take_more(&mut self) {
        let Some(queue) = self.worker.queue() else { return };
        let (queue, entries) = (queue as u16, self.desk.take_place().entries);
        let allowed = self.engine.entries_allowed(queue);
        // Asked once in a time of batches.
        self.collects &= allowed > 1;
        if entries == 0 || entries >= allowed {
            return;
        }
        self.collects = self.collects
            || (self.can_be_seen() && self.engine.queues[queue as usize].collects(self.worker));
        if !self.collects {
            return;
        }
        // What others have will come.
        let usable = self.engine.queues[queue as usize].usable_entries();
        for _ in usable..allowed {
            if self.register(queue).is_err() {
                break;
            }
            self.took_more = true;
        }
    }

    /// Whether the keeper can see what comes to the thread's ring during a callback, be
    /// woken then, and have it cleared.
    fn can_be_seen(&self) -> bool {
        if !errand::are_possible() {
            return false;
        }
        let mut put_off = self.worker.put_off.lock();
        if put_off.is_none() {
            let ring = self.worker.ring_fd.load(Ordering::Relaxed);
            let seen = PutOff::of(ring).and_then(|seen| {
                self.desk.take_place().ring.call(&self.engine.bell).map(|()| seen)
            });
            *put_off = seen.ok();
        }
        put_off.is_some()
    }

    fn become_spare(&mut self) {
        self.collects = false;
        if let Some(queue) = self.worker.queue().filter(|_| self.engine.is_batching()) {
            self.engine.queues[queue].collects_no_more(self.worker);
        }
        self.engine.assign(self.worker, None);
        let mut exchange = self.engine.exchange.lock();
        match exchange.pending.pop_front() {
            Some(Handed(entry)) => {
                self.engine.pending.store(exchange.pending.len(), Ordering::Release);
                drop(exchange);
                self.take_in(Entry::from_pointer(entry));
            }
            None => exchange.spares.push(self.worker.clone()),
        }
    }

    /// Binds the thread to the queue's CPU, where that is safe.
    fn pin(&mut self, queue: u16) {
        self.engine.assign(self.worker, Some(queue));
        self.engine.place(queue, &mut self.place);
    }
}

/// Gives the kernel all that waits for it.
fn submit(desk: &Desk<Work>) -> Result<()> {
    let mut work = desk.take_place();
    work.answered = 0;
    work.ring.submit()
}
