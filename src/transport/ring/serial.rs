//! One handler at a time: `fuse_session_loop`, `-s`, `max_threads=1`.
//!
//! The calling thread's ring carries an entry of every queue and watches
//! `/dev/fuse` too, whose descriptor is non-blocking while the loop runs. Nobody
//! else may run a callback, so entries that wait behind one take nothing from
//! anybody. The keeper commits what other threads answer, and what a callback
//! has answered that goes on for long; requests that then arrive at its entries
//! it sends here.

use super::entry::Entry;
use super::sqe::{self, Token};
use super::uring::Ring;
use super::worker::{Served, Worker};
use super::{Engine, NotBegun};
use crate::errno::{Errno, Result};
use crate::sys::fd;
use crate::sys::memory::Buffer;
use crate::sys::thread::gettid;
use crate::transport::dev::{self, OwnedSlot, Received};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// The ring of a single-threaded loop, kept between loops.
pub struct SerialLoop {
    ring: Ring,
    /// The thread that made the ring, and alone may use it.
    tid: i32,
    worker: Arc<Worker>,
    entries: Vec<&'static Entry>,
    waiting: VecDeque<&'static Entry>,
    /// Whether the polls for the device and the exit are pending.
    watching: [bool; 2],
    /// Memory is to be given back.
    cool: bool,
}

/// Bound of what may complete at once before the kernel keeps a list.
const COMPLETIONS: u32 = 1024;

impl SerialLoop {
    /// A ring for the calling thread; `entries` will be registered on it.
    pub fn new(engine: &Engine, entries: &[&'static Entry]) -> Result<Self> {
        let ring = Ring::new(&engine.files, COMPLETIONS)?;
        let worker = Arc::new(Worker::new());
        worker.runs_here(ring.as_raw_fd());
        engine.workers.lock().push(worker.clone());
        engine.session.page().count_ring_threads(1);
        Ok(Self {
            ring,
            tid: gettid(),
            worker,
            entries: entries.to_vec(),
            waiting: VecDeque::new(),
            watching: [false; 2],
            cool: false,
        })
    }

    /// Registers the entries; INIT was answered.
    pub fn register(&mut self, engine: &Engine) -> std::result::Result<(), NotBegun> {
        self.register_entries(engine).map_err(|errno| NotBegun::new(&mut self.ring, errno))?;
        match engine.keeper.lock().as_ref() {
            Some(keeper) => keeper.register(),
            None => Err(NotBegun { errno: Errno(libc::EIO), can_go_back: false }),
        }
    }

    fn register_entries(&mut self, engine: &Engine) -> Result<()> {
        for entry in std::mem::take(&mut self.entries) {
            engine.give(entry, &self.ring);
            self.ring.push(&sqe::register(entry))?;
        }
        self.ring.submit()?;
        while let Some(completion) = self.ring.next() {
            if completion.result < 0 && completion.result != -libc::EAGAIN {
                return Err(Errno(-completion.result));
            }
            self.completed(engine, completion.token, completion.result)?;
        }
        Ok(())
    }

    /// Serves until the session exits.
    pub fn run(&mut self, engine: &Arc<Engine>) -> Result<()> {
        if self.tid != gettid() {
            self.move_to_this_thread(engine)?;
        }
        let was_nonblocking = fd::set_nonblocking(engine.fuse_fd, true)?;
        let result = self.serve(engine);
        if !was_nonblocking {
            let _ = fd::set_nonblocking(engine.fuse_fd, false);
        }
        result
    }

    fn serve(&mut self, engine: &Arc<Engine>) -> Result<()> {
        let session = &engine.session;
        let mut buffer = Buffer::new(session.buffer_size())?;
        let mut slot = session.slots.take();
        while !session.exited() {
            self.watch(engine)?;
            if self.waiting.is_empty() {
                self.ring.submit_and_wait()?;
            } else {
                // The loop before this one was told to exit when they had come.
                self.ring.submit()?;
            }
            while let Some(completion) = self.ring.next() {
                self.completed(engine, completion.token, completion.result)?;
            }
            if std::mem::take(&mut self.cool) {
                engine.cool(&mut self.ring)?;
            }
            while let Some(entry) = self.waiting.pop_front() {
                if session.exited() {
                    self.waiting.push_front(entry);
                    break;
                }
                match engine.serve(&self.worker, entry, &|| self.ring.submit()) {
                    Served::Answered => self.commit(engine, entry)?,
                    Served::Retrieved => {
                        self.commit(engine, entry)?;
                        self.ring.submit()?;
                        engine.kick_done(entry);
                    }
                    Served::Gone => self.replace(engine, entry)?,
                    Served::Stopped => return self.ring.submit(),
                }
            }
            if !self.watching[0] {
                slot = self.read_device(engine, &mut buffer, slot)?;
            }
        }
        session.slots.put_back(slot);
        // The last answers do not wait for another loop.
        self.ring.submit()
    }

    fn watch(&mut self, engine: &Engine) -> Result<()> {
        let [device, exit] = &mut self.watching;
        if !std::mem::replace(device, true) {
            self.ring.push(&sqe::poll(engine.fuse_fd, Token::Device))?;
        }
        if !std::mem::replace(exit, true) {
            self.ring.push(&sqe::poll(engine.session.wakeup_fd(), Token::Exit))?;
        }
        Ok(())
    }

    fn completed(&mut self, engine: &Engine, token: Token, result: i32) -> Result<()> {
        match token {
            Token::Entry(entry) => {
                let entry = Entry::from_pointer(entry);
                match result {
                    0 => {
                        engine.taken(entry);
                        self.waiting.push_back(entry);
                    }
                    _ if result == -libc::EAGAIN => self.ring.push(&sqe::register(entry))?,
                    _ => engine.lost(entry, result),
                }
            }
            Token::HandedOver(entry) => self.waiting.push_back(Entry::from_pointer(entry)),
            Token::Device => self.watching[0] = false,
            Token::Exit => self.watching[1] = false,
            Token::Cool => self.cool = true,
            _ => {}
        }
        Ok(())
    }

    /// Commits at once if another callback is about to run, else with the wait.
    fn commit(&mut self, engine: &Engine, entry: &'static Entry) -> Result<()> {
        entry.prepare_commit();
        engine.give(entry, &self.ring);
        self.ring.push(&sqe::commit(entry))?;
        if self.waiting.is_empty() {
            Ok(())
        } else {
            self.ring.submit()
        }
    }

    /// The entry stays behind; its queue must not be left without one.
    fn replace(&mut self, engine: &Engine, entry: &'static Entry) -> Result<()> {
        if engine.queue(entry).available.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        let Ok(new) = engine.new_entry(entry.queue(), false) else {
            return Ok(());
        };
        engine.give(new, &self.ring);
        self.ring.push(&sqe::register(new))?;
        self.ring.submit()?;
        engine.strand(entry.queue());
        Ok(())
    }

    /// Serves what `/dev/fuse` has: forgets, interrupts, and requests from
    /// before the rings.
    fn read_device(
        &mut self,
        engine: &Engine,
        buffer: &mut [u8],
        mut slot: OwnedSlot,
    ) -> Result<OwnedSlot> {
        let session = &engine.session;
        while !session.exited() {
            match dev::receive(session, engine.fuse_fd, buffer) {
                Ok(Received::Message(len)) => {
                    let permit = engine.gate.pass(&self.worker.activity, || ());
                    slot = dev::serve(session, engine.fuse_fd, buffer, len, slot);
                    if permit {
                        self.worker.activity.leave();
                    }
                }
                Ok(Received::Again) => {}
                Ok(Received::Unmounted) => session.exit(),
                Err(Errno(libc::EAGAIN)) => break,
                Err(errno) => return Err(errno),
            }
            // Answers on the rings must not wait for a long list of forgets.
            self.ring.submit()?;
        }
        Ok(slot)
    }

    /// The loop goes on in another thread than the one whose ring it is: that
    /// ring is given up with its entries, and new ones are registered here.
    fn move_to_this_thread(&mut self, engine: &Arc<Engine>) -> Result<()> {
        // What has been delivered is not lost.
        while let Some(completion) = self.ring.next() {
            match completion.token {
                Token::Entry(entry) if completion.result == 0 => {
                    let entry = Entry::from_pointer(entry);
                    engine.taken(entry);
                    self.waiting.push_back(entry);
                }
                Token::HandedOver(entry) => self.waiting.push_back(Entry::from_pointer(entry)),
                _ => {}
            }
        }
        let ring = Ring::new(&engine.files, COMPLETIONS)?;
        self.worker.runs_here(ring.as_raw_fd());
        self.ring = ring;
        self.tid = gettid();
        self.watching = [false; 2];
        for queue in 0..engine.queues.len() as u16 {
            let entry = engine.new_entry(queue, true)?;
            engine.give(entry, &self.ring);
            self.ring.push(&sqe::register(entry))?;
            self.ring.submit()?;
            engine.strand(queue);
        }
        Ok(())
    }
}
