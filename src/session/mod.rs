//! A session: one connection to the kernel, from `fuse_session_new` to
//! `fuse_session_destroy`.
//!
//! # Who owns what
//! The program owns the session; requests, workers and the ring engine hold
//! plain references to it, and `destroy` ends them all before it is freed. The
//! operation table is copied; `userdata` is the program's.
//!
//! # Threads
//! Everything here may be called from any thread. [`Session::exit`] may also be
//! called from a signal handler.

mod clones;
pub mod cuse;
pub mod decode;
pub mod dispatch;
pub mod init;
pub mod interrupt;
pub mod notify;
pub mod options;
pub mod own_loop;
pub mod page;
pub mod passthrough;
pub mod reply;
pub mod request;
pub mod secctx;
pub mod stats;
pub mod sync_init;
pub mod watchdog;
pub mod workers;

use crate::abi::kernel::OutHeader;
use crate::abi::public::{ConnInfo, CustomIo, LowlevelOps};
use crate::daemonize;
use crate::errno::{Errno, Result};
use crate::mount::{self, Mounted};
use crate::sys::fd::EventFd;
use crate::sys::fork::Withheld;
use crate::sys::wake::Alarm;
use crate::transport::dev::Slots;
use crate::transport::ring::Engine;
use decode::Dialect;
use interrupt::Interrupts;
use once_cell::sync::OnceCell;
use options::SessionOptions;
use parking_lot::Mutex;
use std::ffi::{c_void, CStr, CString};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long an answer may take that has begun.
const ANSWERS_END: Duration = Duration::from_secs(10);

/// The loop that serves a session, as far as its requests' transport cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopShape {
    /// `fuse_session_loop`, or one thread allowed: one handler at a time, on
    /// the calling thread.
    Serial,
    /// Threads; `max` handlers at a time if the program or its user said so.
    Threads {
        /// The bound on handlers that run at the same time, if it is explicit.
        max: Option<u32>,
    },
}

/// What INIT settled. Written once per INIT, before any other request.
#[derive(Clone, Copy, Default)]
pub struct Negotiated {
    /// As the filesystem's `init` left it.
    pub conn: ConnInfo,
    /// How requests look from now on.
    pub dialect: Dialect,
    /// What the filesystem wants, of what the kernel can do (`FUSE_CAP_*`).
    pub want: u64,
}

/// A connection to the kernel.
pub struct Session {
    ops: LowlevelOps,
    userdata: *mut c_void,
    /// The character device to make, instead of a mount.
    device: Option<cuse::Device>,
    /// Who may use the mount with `allow_root`.
    owner: libc::uid_t,
    /// What the command line asked for.
    pub options: SessionOptions,
    debug: AtomicBool,
    /// When INIT is to be answered while mounting.
    sync_init: sync_init::Choice,
    fd: AtomicI32,
    custom: OnceCell<CustomIo>,
    mounted: Mutex<Option<Mounted>>,
    exited: AtomicBool,
    /// Why the loop ended: a signal number or a negative errno; 0 if as asked.
    status: AtomicI32,
    /// Readable once the session was asked to exit.
    wakeup: EventFd,
    /// Wakes a single-threaded loop out of its read.
    alarm: Mutex<Option<Arc<Alarm>>>,
    alarm_pointer: AtomicPtr<Alarm>,
    /// Whether the single-threaded loop is in its read.
    reading: AtomicBool,
    /// Threads that are in [`Session::exit`].
    exiting: AtomicUsize,
    /// Threads that answer outside of callbacks, now.
    answering: AtomicUsize,
    shape: Mutex<Option<LoopShape>>,
    negotiated: parking_lot::RwLock<Negotiated>,
    setxattr_ext: AtomicBool,
    /// Whether requests that create something carry security contexts.
    security_ctx: AtomicBool,
    initialized: AtomicBool,
    /// Whether the filesystem's `destroy` has been called, or its `init` has not.
    destroyed: AtomicBool,
    buffer_size: AtomicUsize,
    /// `/dev/fuse` slots.
    pub slots: Slots,
    /// Interrupts on their way to requests.
    pub interrupts: Interrupts,
    /// NOTIFY_RETRIEVEs that wait for their data.
    retrievals: notify::Retrievals,
    /// Workers' descriptors.
    clones: clones::Clones,
    engine: Mutex<Option<Arc<Engine>>>,
    /// The descriptor, from forked children, as long as there are rings.
    withheld: Mutex<Option<Withheld>>,
    /// Engines whose rings have ended.
    retired: Mutex<Vec<Arc<Engine>>>,
    serving: AtomicU32,
    /// What the path API counts, if it is above us.
    paths: OnceCell<stats::CountPaths>,
    reasons: Mutex<Vec<Box<CStr>>>,
    page: Arc<page::Page>,
    /// The number of the connection, where the kernel tells it; else 0.
    connection: AtomicU64,
    /// The device number of the mount; 0 if it is not known.
    device_number: AtomicU64,
    watchdog: Mutex<Weak<watchdog::Watchdog>>,
    this: Weak<Session>,
}

// SAFETY is not needed: the raw pointer is the program's, passed back only.
#[allow(unsafe_code)]
// SAFETY: `userdata` is never dereferenced here; the program's callbacks get it
// on any thread, as libfuse documents.
unsafe impl Send for Session {}
#[allow(unsafe_code)]
// SAFETY: as above; all that changes is atomic or under a lock.
unsafe impl Sync for Session {}

impl Session {
    /// A session that is not mounted yet.
    pub fn new(
        ops: LowlevelOps,
        userdata: *mut c_void,
        options: SessionOptions,
    ) -> Result<Arc<Self>> {
        Self::with_device(ops, userdata, options, None)
    }

    /// As [`Session::new`], and of a character device if there is one.
    pub fn with_device(
        ops: LowlevelOps,
        userdata: *mut c_void,
        options: SessionOptions,
        device: Option<cuse::Device>,
    ) -> Result<Arc<Self>> {
        let wakeup = EventFd::new()?;
        let page = page::Page::new()?;
        Ok(Arc::new_cyclic(|this| Self {
            ops,
            userdata,
            device,
            owner: crate::sys::thread::getuid(),
            debug: AtomicBool::new(options.debug),
            sync_init: Default::default(),
            options,
            fd: AtomicI32::new(-1),
            custom: OnceCell::new(),
            mounted: Mutex::new(None),
            exited: AtomicBool::new(false),
            status: AtomicI32::new(0),
            wakeup,
            alarm: Mutex::new(None),
            alarm_pointer: AtomicPtr::default(),
            reading: AtomicBool::new(false),
            exiting: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
            shape: Mutex::new(None),
            negotiated: Default::default(),
            setxattr_ext: AtomicBool::new(false),
            security_ctx: AtomicBool::new(false),
            initialized: AtomicBool::new(false),
            destroyed: AtomicBool::new(true),
            buffer_size: AtomicUsize::new(init::default_buffer_size()),
            slots: Slots::new(page.clone()),
            interrupts: Interrupts::default(),
            retrievals: Default::default(),
            clones: Default::default(),
            engine: Mutex::new(None),
            withheld: Mutex::new(None),
            retired: Mutex::default(),
            serving: AtomicU32::new(0),
            paths: OnceCell::new(),
            reasons: Mutex::default(),
            page,
            connection: AtomicU64::new(0),
            device_number: AtomicU64::new(0),
            watchdog: Mutex::default(),
            this: this.clone(),
        }))
    }

    /// A share of the session, for a thread that outlives this call.
    pub fn share(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// Logs every request and answer from now on.
    pub fn set_debug(&self) {
        self.debug.store(true, Ordering::Relaxed);
    }

    /// Whether every request and answer is logged.
    pub fn is_debugged(&self) -> bool {
        self.debug.load(Ordering::Relaxed)
    }

    /// The filesystem's operations.
    pub fn ops(&self) -> &LowlevelOps {
        &self.ops
    }

    /// The pointer that the program gave to `fuse_session_new`.
    pub fn userdata(&self) -> *mut c_void {
        self.userdata
    }

    /// The character device that the session is for, if it is for one.
    pub fn device(&self) -> Option<&cuse::Device> {
        self.device.as_ref()
    }

    /// The uid that made the session.
    pub fn owner(&self) -> libc::uid_t {
        self.owner
    }

    /// The `/dev/fuse` descriptor, or the program's with custom io; -1 if there
    /// is none.
    pub fn fd(&self) -> RawFd {
        self.fd.load(Ordering::Acquire)
    }

    /// Whether there is a descriptor to answer on. An answer that is given
    /// [elsewhere](Self::answer_elsewhere) and sees one has it until its end.
    pub fn is_connected(&self) -> bool {
        self.fd.load(Ordering::SeqCst) >= 0
    }

    /// The program's I/O functions, if it set any.
    pub fn custom_io(&self) -> Option<&CustomIo> {
        self.custom.get()
    }

    /// Serves `fd` through the program's functions from now on.
    pub fn set_custom_io(&self, io: CustomIo, fd: RawFd) -> Result<()> {
        self.custom.set(io).map_err(|_| Errno(libc::EBUSY))?;
        self.fd.store(fd, Ordering::Release);
        self.note_connection();
        self.show_state();
        Ok(())
    }

    /// Bytes that a receive buffer must have.
    pub fn buffer_size(&self) -> usize {
        self.buffer_size.load(Ordering::Acquire)
    }

    /// How requests look.
    pub fn dialect(&self) -> Dialect {
        Dialect { setxattr_ext: self.setxattr_ext.load(Ordering::Relaxed) }
    }

    /// Whether requests that create something carry security contexts.
    pub fn sends_security_contexts(&self) -> bool {
        self.security_ctx.load(Ordering::Relaxed)
    }

    /// What INIT settled.
    pub fn negotiated(&self) -> Negotiated {
        *self.negotiated.read()
    }

    /// Whether INIT was answered, and DESTROY has not come since.
    pub fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire)
    }

    /// Mounts on `mountpoint`, or takes over the descriptor of `/dev/fd/N`.
    pub fn mount(&self, mountpoint: &CStr) -> Result<()> {
        let early = self.init_while_mounting();
        let early = early.as_ref().map(|early| early as &dyn mount::Early);
        self.connect(mount::mount(&self.options.mount, mountpoint, early)?);
        self.check_sync_init();
        daemonize::early::note_mounted(self);
        self.note_ready();
        Ok(())
    }

    /// Serves `mounted` from now on, and owns it.
    fn connect(&self, mounted: Mounted) {
        self.fd.store(mounted.fd.as_raw_fd(), Ordering::Release);
        *self.mounted.lock() = Some(mounted);
        self.note_connection();
        self.note_device_number();
        self.show_state();
    }

    /// To be called when the session was mounted, and when INIT was answered:
    /// what comes last ends the wait of the process that started this one.
    fn note_ready(&self) {
        if self.is_initialized() && self.mounted.lock().is_some() {
            daemonize::early::note_ready();
        }
    }

    /// Where the library mounted; `None` for a descriptor that was handed over.
    pub fn mountpoint(&self) -> Option<CString> {
        let mounted = self.mounted.lock();
        mounted.as_ref()?.mount.as_ref().map(|mount| mount.mountpoint().to_owned())
    }

    /// Finds out the device number. Only now: later the process may see the mount no
    /// more, in another mount namespace or after a lazy unmount.
    fn note_device_number(&self) {
        // The kernel's form of device numbers has 20 bits for the minor one.
        let number = match self.connection.load(Ordering::Relaxed) {
            0 => self.mountpoint().as_deref().and_then(mount::device_of),
            dev => Some(libc::makedev((dev >> 20) as u32, (dev & 0xf_ffff) as u32)),
        };
        self.device_number.store(number.unwrap_or(0), Ordering::Relaxed);
    }

    /// The device number of the mount (`st_dev`), if it is known. The mount may not be
    /// visible to this process.
    pub fn device_number(&self) -> Option<libc::dev_t> {
        Some(self.device_number.load(Ordering::Relaxed)).filter(|&number| number != 0)
    }

    /// See [`mount::Mount::lifeline`].
    pub fn lifeline(&self) -> Option<RawFd> {
        self.mounted.lock().as_ref()?.mount.as_ref()?.lifeline()
    }

    /// Unmounts and closes the descriptor. A second call does nothing.
    pub fn unmount(&self) {
        if self.shape().is_none() {
            // No loop runs: the ring's threads only keep the entries alive.
            self.stop_engine();
        }
        self.free_descriptor_of_watchdog();
        let Some(Mounted { fd, mount }) = self.mounted.lock().take() else {
            return;
        };
        self.fd.store(-1, Ordering::SeqCst);
        *self.withheld.lock() = None;
        self.connection.store(0, Ordering::Relaxed);
        self.page.end();
        // They write to descriptors whose numbers may soon be other files'.
        self.await_answers();
        self.clones.close();
        match mount {
            Some(mount) => mount.unmount(fd),
            None => drop(fd),
        }
    }

    /// Asks every loop of the session to return. Async-signal-safe.
    #[allow(unsafe_code)]
    pub fn exit(&self) {
        // First: once the loop sees the rest it may return, and its thread may
        // destroy the session, which waits for us.
        self.exiting.fetch_add(1, Ordering::SeqCst);
        self.exited.store(true, Ordering::SeqCst);
        self.wakeup.signal();
        if self.reading.load(Ordering::SeqCst) {
            // SAFETY: the alarm is in an Arc of ours; whoever replaces it has set
            // the pointer to null and waited for `exiting` to be 0.
            unsafe { crate::sys::wake::ring_alarm(self.alarm_pointer.load(Ordering::SeqCst)) };
        }
        self.exiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// As [`Session::exit`], on behalf of signal number `signal`, which the loop
    /// then returns. Async-signal-safe.
    pub fn exit_by_signal(&self, signal: i32) {
        self.status.store(signal, Ordering::SeqCst);
        self.exit();
    }

    /// As [`Session::exit`], because of `errno`.
    pub fn fail(&self, errno: Errno) {
        self.status.store(errno.to_c(), Ordering::SeqCst);
        self.exit();
    }

    /// Whether the session was asked to exit.
    pub fn exited(&self) -> bool {
        self.exited.load(Ordering::SeqCst)
    }

    /// What a loop returns.
    pub fn status(&self) -> i32 {
        self.status.load(Ordering::SeqCst)
    }

    /// Makes a session that was asked to exit ready for another loop.
    pub fn reset(&self) {
        self.wakeup.drain();
        self.status.store(0, Ordering::SeqCst);
        self.exited.store(false, Ordering::SeqCst);
    }

    /// Readable once the session was asked to exit.
    pub fn wakeup_fd(&self) -> RawFd {
        self.wakeup.as_raw_fd()
    }

    /// Lets [`Session::exit`] wake the calling thread out of a blocking read,
    /// until the guard is dropped.
    pub fn wake_me_on_exit(&self) -> AlarmGuard<'_> {
        match Alarm::for_this_thread() {
            Ok(alarm) => {
                let alarm = Arc::new(alarm);
                *self.alarm.lock() = Some(alarm.clone());
                self.alarm_pointer.store(Arc::as_ptr(&alarm).cast_mut(), Ordering::SeqCst);
                AlarmGuard { session: self, alarm: Some(alarm) }
            }
            Err(errno) => {
                crate::log_warning!(
                    "fuse: no timer ({errno}): fuse_session_exit() takes effect at the next request"
                );
                AlarmGuard { session: self, alarm: None }
            }
        }
    }

    /// The loop that serves the session now, if the library owns one.
    pub fn shape(&self) -> Option<LoopShape> {
        *self.shape.lock()
    }

    /// Whether [`Session::engine`] has something to say; cheap.
    pub fn has_engine(&self) -> bool {
        self.serving.load(Ordering::Relaxed) == stats::Serving::Ring as u32
    }

    /// The ring engine, once INIT settled on rings.
    pub fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.lock().clone()
    }

    /// Ends the rings. Their memory stays: requests in it may still be answered.
    fn stop_engine(&self) {
        let engine = self.engine.lock().take();
        if let Some(engine) = engine {
            engine.stop();
            self.retired.lock().push(engine);
        }
    }

    /// Ends everything; the session may be freed afterwards.
    pub fn destroy(&self) {
        self.await_answers();
        self.free_descriptor_of_watchdog();
        self.stop_engine();
        self.initialized.store(false, Ordering::Release);
        self.call_destroy();
        // Which may have answered what was kept, or waited for who does.
        self.await_answers();
        self.retired.lock().clear();
        self.clones.close();
        *self.withheld.lock() = None;
        if let Some(mounted) = self.mounted.lock().take() {
            // Not unmounted by the program: only the descriptor goes.
            drop(mounted);
        } else if self.custom.get().is_some() {
            let fd = self.fd();
            if fd >= 0 {
                crate::sys::fd::close(fd);
            }
        }
        self.fd.store(-1, Ordering::Release);
        self.await_exits();
    }

    /// A thread that is not the callback's answers, as long as what it gets lives: its
    /// client may unmount as soon as it has the answer, and the session be destroyed
    /// while that thread is still at it.
    pub fn answer_elsewhere(&self) -> impl Drop + '_ {
        struct Answering<'a>(&'a AtomicUsize);
        impl Drop for Answering<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.answering.fetch_add(1, Ordering::SeqCst);
        Answering(&self.answering)
    }

    /// Waits until no such thread is left, which is soon; but not for ever for one
    /// that itself waits for the end of the session, in an interrupt function.
    fn await_answers(&self) {
        let start = Instant::now();
        while self.answering.load(Ordering::SeqCst) != 0 {
            if start.elapsed() > ANSWERS_END {
                crate::log_warning!(
                    "ringfuse: a thread is still answering a request; going on without it"
                );
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Waits until no thread is in [`Session::exit`], which is soon.
    fn await_exits(&self) {
        while self.exiting.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
    }

    /// Runs the filesystem's `destroy`, once.
    #[allow(unsafe_code)]
    fn call_destroy(&self) {
        if !self.destroyed.swap(true, Ordering::AcqRel) {
            if let Some(destroy) = self.ops.destroy {
                // SAFETY: the filesystem's own function and data.
                unsafe { destroy(self.userdata) };
            }
        }
    }

    /// DESTROY came from the kernel: nothing but INIT is served any more.
    pub fn handle_destroy(&self) {
        self.initialized.store(false, Ordering::Release);
        self.call_destroy();
    }

    /// With `debug`, logs an answer.
    pub fn trace_answer(&self, req: &request::Request, OutHeader { error, len, .. }: OutHeader) {
        if self.is_debugged() {
            let outcome = if error == 0 { "success".into() } else { Errno(-error).to_string() };
            crate::log_debug!("   answer to {}: {outcome} ({len} bytes)", req.unique());
        }
    }
}

/// See [`Session::wake_me_on_exit`].
pub struct AlarmGuard<'a> {
    session: &'a Session,
    alarm: Option<Arc<Alarm>>,
}

impl AlarmGuard<'_> {
    /// Runs `read`, out of which [`Session::exit`] wakes the thread. `None` if the
    /// session was asked to exit before: a message that came meanwhile is served, as its
    /// client would wait for ever otherwise if there is another loop. No signal comes
    /// outside of `read`.
    fn reading<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        let session = self.session;
        session.reading.store(true, Ordering::SeqCst);
        let result = (!session.exited()).then(read);
        session.reading.store(false, Ordering::SeqCst);
        result
    }
}

impl Drop for AlarmGuard<'_> {
    fn drop(&mut self) {
        self.session.alarm_pointer.store(std::ptr::null_mut(), Ordering::SeqCst);
        self.session.await_exits();
        if let Some(alarm) = &self.alarm {
            alarm.silence();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.destroy();
    }
}
