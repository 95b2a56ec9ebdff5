//! INIT and the end, and nodes that are remembered for a while.
#![allow(unsafe_code)] // the session calls with C's pointers

use super::super::tree::Remember;
use super::super::Fuse;
use crate::abi::public::{cap, ConnInfo};
use crate::conn;
use crate::errno::Result;
use crate::high::context::{self, Operation};
use crate::sys::signal;
use crate::sys::thread::{spawn, SignalMask, Thread};
use parking_lot::{Condvar, Mutex};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The session's `init`: the layers' turn to see the connection and change the
/// settings.
pub unsafe extern "C" fn init(userdata: *mut c_void, connection: *mut ConnInfo) {
    // SAFETY: called by the session; its userdata is the filesystem.
    let (fuse, conn) = unsafe { (&*userdata.cast::<Fuse>(), &mut *connection) };
    if fuse.has_ended() {
        crate::log_error!("fuse: INIT after DESTROY: the filesystem has ended, nothing is served");
        return;
    }
    let ops = fuse.layer().ops();
    let _operation = Operation::of_the_library(fuse);
    conn::set_feature(conn, cap::EXPORT_SUPPORT);
    for (absent, capability) in [
        (ops.write_buf.is_none(), cap::SPLICE_READ),
        (ops.lock.is_none(), cap::POSIX_LOCKS),
        (ops.flock.is_none(), cap::FLOCK_LOCKS),
    ] {
        if absent {
            conn::unset_feature(conn, capability);
        }
    }
    // SAFETY: the layer's own function.
    fuse.change_settings(|config| unsafe { fuse.layer().init(connection, config) });
    let config = fuse.config();
    if config.intr != 0 {
        signal::install_empty(config.intr_signal);
    }
    fuse.pruning.settled.store(true, Ordering::SeqCst);
    fuse.prune_as_set();
}

/// The session's `destroy`.
pub unsafe extern "C" fn destroy(userdata: *mut c_void) {
    // SAFETY: called by the session, once; its userdata is the filesystem.
    let fuse = unsafe { &*userdata.cast::<Fuse>() };
    let _operation = Operation::of_the_library(fuse);
    fuse.layers.end();
    debug_assert!(context::request().is_null());
}

/// The thread that forgets what was remembered for long enough.
#[derive(Default)]
pub struct Pruning {
    thread: Mutex<Option<(Arc<Stop>, Thread)>>,
    /// A loop of the library's runs: the thread is to be there if the settings want it.
    wanted: AtomicBool,
    /// `init` has been: the settings do not change any more.
    settled: AtomicBool,
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits; true if asked to stop.
    fn wait_for(&self, time: Duration) -> bool {
        let mut asked = self.asked.lock();
        if !*asked {
            self.changed.wait_for(&mut asked, time);
        }
        *asked
    }
}

/// Stops the thread when dropped.
pub struct Running<'a>(&'a Fuse);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.pruning.wanted.store(false, Ordering::SeqCst);
        self.0.stop_cleanup_thread();
    }
}

impl Fuse {
    /// What the settings say about forgotten nodes.
    pub(in crate::high) fn remember(&self) -> Remember {
        match self.config().remember {
            0 => Remember::No,
            seconds if seconds > 0 => Remember::Seconds(seconds as u32),
            _ => Remember::Forever,
        }
    }

    /// Forgets what was remembered for long enough. Seconds after which to do so
    /// again.
    pub fn clean_cache(&self) -> i32 {
        self.nodes().prune(Instant::now());
        let interval = self.nodes().prune_interval();
        interval.map_or(60, |interval| interval.as_secs() as i32)
    }

    /// Starts the thread that does, unless nothing is remembered for a while.
    pub fn start_cleanup_thread(&self) -> Result<()> {
        let mut pruning = self.pruning.thread.lock();
        if self.config().remember <= 0 || pruning.is_some() {
            return Ok(());
        }
        let stop = Arc::new(Stop::default());
        let (its_stop, fuse) = (stop.clone(), Handle(self));
        let thread = spawn(c"fuse_prune_node", SignalMask::All, move || {
            // SAFETY: the filesystem joins the thread before it goes.
            let fuse = unsafe { &*fuse.pointer() };
            while !its_stop.wait_for(Duration::from_secs(fuse.clean_cache().max(1) as u64)) {}
        })?;
        *pruning = Some((stop, thread));
        Ok(())
    }

    /// Ends that thread.
    pub fn stop_cleanup_thread(&self) {
        if let Some((stop, thread)) = self.pruning.thread.lock().take() {
            *stop.asked.lock() = true;
            stop.changed.notify_all();
            thread.join();
        }
    }

    /// Starts the thread, as soon as `init` has had its say, for as long as the result
    /// lives.
    pub(in crate::high) fn start_pruning(&self) -> Running<'_> {
        self.pruning.wanted.store(true, Ordering::SeqCst);
        self.prune_as_set();
        Running(self)
    }

    fn prune_as_set(&self) {
        let Pruning { wanted, settled, .. } = &self.pruning;
        if !wanted.load(Ordering::SeqCst) || !settled.load(Ordering::SeqCst) {
            return;
        }
        if let Err(errno) = self.start_cleanup_thread() {
            crate::log_error!("fuse: cannot start the thread that forgets nodes: {errno}");
        }
    }
}

/// The filesystem, for its own thread.
struct Handle(*const Fuse);

// SAFETY: a filesystem may be used from any thread.
unsafe impl Send for Handle {}

impl Handle {
    fn pointer(&self) -> *const Fuse {
        self.0
    }
}
