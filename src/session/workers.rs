//! The loops that serve a session, and the threads that read `/dev/fuse`.
//!
//! [`run_serial`] serves on the calling thread; [`run_threads`] starts workers
//! and waits. Both return when the session was asked to exit, was unmounted, or
//! failed; every callback has returned by then. When INIT settles on rings, the
//! serial loop goes on in [`Engine::run_serial`], and the workers are left with
//! what stays on `/dev/fuse`.
//!
//! A further worker is started when a request is taken and no other worker
//! waits for one, up to the configured number.

use super::clones::ClonedFd;
use super::page::Page;
use super::{LoopShape, Session};
use crate::abi::kernel::Opcode;
use crate::abi::public::{layout, Layout};
use crate::errno::{Errno, Result};
use crate::sys::fd;
use crate::sys::memory::Buffer;
use crate::sys::thread::{gettid, spawn, SignalMask, Thread};
use crate::sys::wake;
use crate::transport::dev::{self, Received};
use parking_lot::Mutex;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::Arc;

/// How [`run_threads`] goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// Give every worker a descriptor of its own.
    pub clone_fd: bool,
    /// Idle workers beyond this many end; `None`: they stay.
    pub max_idle: Option<u32>,
    /// Workers at most.
    pub max: u32,
    /// Whether the program or its user chose `max`.
    pub explicit: bool,
}

/// Marks the session as served by a loop of the library, until dropped.
struct Looping<'a>(&'a Session);

impl<'a> Looping<'a> {
    fn start(session: &'a Session, shape: LoopShape) -> Self {
        session.set_shape(Some(shape));
        session.page().serve_here();
        if let Some(engine) = session.engine() {
            engine.resume(shape);
        }
        Self(session)
    }
}

impl Drop for Looping<'_> {
    fn drop(&mut self) {
        if let Some(engine) = self.0.engine() {
            engine.pause();
        }
        self.0.set_shape(None);
        self.0.write_stats_file();
    }
}

/// Serves one request at a time on the calling thread. Returns 0, the number of
/// the signal that ended it, or a negative errno.
pub fn run_serial(session: &Arc<Session>) -> i32 {
    if let Err(errno) = check_mounted(session) {
        return errno.to_c();
    }
    let _looping = Looping::start(session, LoopShape::Serial);
    if let Some(engine) = session.engine().filter(|engine| !engine.is_serial()) {
        // INIT came in a loop with threads, and the rings are theirs. They go on,
        // one callback at a time.
        let one = Threads { clone_fd: false, max_idle: None, max: 1, explicit: true };
        drop(engine);
        serve_with_pool(session, one);
    } else if let Err(errno) = serial(session) {
        session.fail(errno);
    }
    ended(session)
}

/// There is nothing to serve before the mount, and after the unmount.
fn check_mounted(session: &Session) -> Result<()> {
    if session.fd() < 0 && session.custom_io().is_none() && !session.exited() {
        crate::log_error!(
            "fuse: nothing to serve: the session is not mounted (fuse_session_mount)"
        );
        return Err(Errno(libc::EBADF));
    }
    Ok(())
}

/// What a loop returns; and what it leaves behind for the next one.
fn ended(session: &Session) -> i32 {
    let status = session.status();
    if layout() != Layout::V317 {
        // Programs of that time may loop again without a reset.
        session.reset();
    }
    status
}

fn serial(session: &Arc<Session>) -> Result<()> {
    if let Some(engine) = session.engine() {
        return engine.run_serial();
    }
    let counted = Counted::new(session);
    let alarm = session.wake_me_on_exit();
    let mut buffer = Buffer::new(session.buffer_size())?;
    let mut slot = session.slots.take();
    while let Some(received) = alarm.reading(|| dev::receive(session, session.fd(), &mut buffer)) {
        match received {
            // The descriptor may be closed by then.
            Err(_) if session.exited() => break,
            Err(errno) => return Err(errno),
            Ok(Received::Again) => {}
            Ok(Received::Unmounted) => session.exit(),
            Ok(Received::Message(len)) => {
                slot = dev::serve(session, session.fd(), &mut buffer, len, slot);
                buffer.require(session.buffer_size())?;
                if let Some(engine) = session.has_engine().then(|| session.engine()).flatten() {
                    session.slots.put_back(slot);
                    drop((alarm, counted));
                    return engine.run_serial();
                }
            }
        }
    }
    session.slots.put_back(slot);
    Ok(())
}

/// Serves with several threads; returns as [`run_serial`].
pub fn run_threads(session: &Arc<Session>, threads: Threads) -> i32 {
    if let Err(errno) = check_mounted(session) {
        return errno.to_c();
    }
    if threads.max <= 1 {
        return run_serial(session);
    }
    let shape = LoopShape::Threads { max: threads.explicit.then_some(threads.max) };
    let _looping = Looping::start(session, shape);
    if let Some(engine) = session.engine().filter(|engine| engine.is_serial()) {
        // INIT came in a single-threaded loop, and the rings are its thread's.
        if let Err(errno) = engine.run_serial() {
            session.fail(errno);
        }
    } else {
        serve_with_pool(session, threads);
    }
    ended(session)
}

fn serve_with_pool(session: &Arc<Session>, threads: Threads) {
    let pool = Arc::new(Pool {
        session: session.clone(),
        threads,
        workers: Mutex::default(),
        running: AtomicUsize::new(0),
        idle: AtomicUsize::new(0),
    });
    match Pool::add_worker(&pool) {
        Ok(()) => {
            while !session.exited() {
                fd::wait_readable(session.wakeup_fd(), None);
            }
        }
        Err(errno) => {
            crate::log_error!("fuse: cannot start a worker thread: {errno}");
            session.fail(errno);
        }
    }
    pool.join_all();
}

/// The threads that read `/dev/fuse` for one loop.
struct Pool {
    session: Arc<Session>,
    threads: Threads,
    workers: Mutex<Vec<(Arc<Reader>, Thread)>>,
    running: AtomicUsize,
    idle: AtomicUsize,
}

/// A thread that serves `/dev/fuse`, counted for other processes to see.
struct Counted(Arc<Page>);

impl Counted {
    fn new(session: &Session) -> Self {
        let page = session.page().clone();
        page.dev_thread_came();
        Self(page)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dev_thread_left();
    }
}

/// What others know of a worker.
#[derive(Default)]
struct Reader {
    tid: AtomicI32,
    /// Whether it is in, or about to enter, a blocking read.
    reading: AtomicBool,
    /// Whether it has nothing more to do.
    done: AtomicBool,
}

impl Pool {
    fn add_worker(pool: &Arc<Self>) -> Result<()> {
        let fd = if pool.threads.clone_fd { pool.own_fd() } else { None };
        let reader = Arc::new(Reader::default());
        let (its_pool, its_reader) = (pool.clone(), reader.clone());
        let mut workers = pool.workers.lock();
        let (ended, running) = std::mem::take(&mut *workers)
            .into_iter()
            .partition(|(reader, _)| reader.done.load(Ordering::SeqCst));
        *workers = running;
        let ended: Vec<(Arc<Reader>, Thread)> = ended;
        ended.into_iter().for_each(|(_, thread)| thread.join());
        // Under the lock: two workers may want a third at the same time.
        if pool.running.load(Ordering::SeqCst) >= pool.threads.max as usize {
            return Ok(());
        }
        pool.running.fetch_add(1, Ordering::SeqCst);
        let counted = Counted::new(&pool.session);
        let thread = spawn(c"fuse_worker", SignalMask::Handler, move || {
            let _counted = counted;
            Pool::work(&its_pool, &its_reader, fd);
        })
        .inspect_err(|_| {
            pool.running.fetch_sub(1, Ordering::SeqCst);
        })?;
        workers.push((reader, thread));
        Ok(())
    }

    fn own_fd(&self) -> Option<ClonedFd> {
        let session = &self.session;
        session
            .clones
            .take(session)
            .inspect_err(|errno| {
                crate::log_error!("fuse: cannot clone the device descriptor (clone_fd): {errno}; continuing without");
            })
            .ok()
    }

    fn work(pool: &Arc<Self>, reader: &Reader, own_fd: Option<ClonedFd>) {
        reader.tid.store(gettid(), Ordering::SeqCst);
        let session = &pool.session;
        let fd = own_fd.as_ref().map(AsRawFd::as_raw_fd);
        if let Err(errno) = wake::allow_wakeups().and_then(|()| pool.serve(pool, reader, fd)) {
            session.fail(errno);
        }
        own_fd.into_iter().for_each(|fd| session.clones.put_back(fd));
        reader.reading.store(false, Ordering::SeqCst);
        reader.tid.store(0, Ordering::SeqCst);
        reader.done.store(true, Ordering::SeqCst);
    }

    fn serve(&self, this: &Arc<Self>, reader: &Reader, own_fd: Option<RawFd>) -> Result<()> {
        let session = &*self.session;
        let mut buffer = Buffer::new(session.buffer_size())?;
        let mut slot = session.slots.take();
        let result = loop {
            let fd = own_fd.unwrap_or_else(|| session.fd());
            reader.reading.store(true, Ordering::SeqCst);
            if session.exited() {
                break Ok(());
            }
            self.idle.fetch_add(1, Ordering::SeqCst);
            let received = dev::receive(session, fd, &mut buffer);
            let was_last = self.idle.fetch_sub(1, Ordering::SeqCst) == 1;
            reader.reading.store(false, Ordering::Relaxed);
            let len = match received {
                Ok(Received::Message(len)) => len,
                Ok(Received::Again) => continue,
                Ok(Received::Unmounted) => {
                    session.exit();
                    break Ok(());
                }
                Err(_) if session.exited() => break Ok(()),
                Err(errno) => {
                    crate::log_error!("reading device: {errno}");
                    break Err(errno);
                }
            };
            // Also if the session was asked to exit meanwhile: see `AlarmGuard::reading`.
            let forget = matches!(
                dev::opcode_of(&buffer[..len]),
                Some(Opcode::Forget | Opcode::BatchForget)
            );
            if was_last && !forget && session.is_initialized() {
                self.grow(this);
            }
            {
                let engine = session.has_engine().then(|| session.engine()).flatten();
                let _permit = engine.as_ref().and_then(|engine| engine.permit());
                slot = dev::serve(session, fd, &mut buffer, len, slot);
            }
            if let Err(errno) = buffer.require(session.buffer_size()) {
                break Err(errno);
            }
            if self.has_too_many_idle() {
                break Ok(());
            }
        };
        session.slots.put_back(slot);
        result
    }

    fn grow(&self, this: &Arc<Self>) {
        if self.running.load(Ordering::SeqCst) < self.threads.max as usize && !self.session.exited()
        {
            if let Err(errno) = Pool::add_worker(this) {
                crate::log_warning!("fuse: cannot start another worker thread: {errno}");
            }
        }
    }

    /// Whether the calling worker may end; if so it is not counted any more.
    fn has_too_many_idle(&self) -> bool {
        let Some(max_idle) = self.threads.max_idle else {
            return false;
        };
        if self.idle.load(Ordering::SeqCst) < (max_idle as usize).max(1) {
            return false;
        }
        let ended = self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |running| {
            (running > 1).then(|| running - 1)
        });
        ended.is_ok()
    }

    /// Wakes and joins all workers. Those inside a callback finish it first.
    fn join_all(&self) {
        loop {
            let Some((reader, mut thread)) = self.workers.lock().pop() else {
                return;
            };
            loop {
                if reader.reading.load(Ordering::SeqCst) {
                    wake::wake(reader.tid.load(Ordering::SeqCst));
                }
                match thread.join_for(1) {
                    Ok(()) => break,
                    Err(still_there) => thread = still_there,
                }
            }
        }
    }
}
