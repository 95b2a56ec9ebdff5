//! Going to the background before mounting (libfuse 3.19).
//!
//! [`start`] forks; the caller's process waits and ends with the status that the
//! child reports: 0 from [`success`], the caller's number from [`fail`], 1 if the
//! child ends without a report. A session reports success by itself as soon as it
//! is mounted and INIT is answered ([`note_ready`]).
//!
//! Until the report, parent and child live and die together: a thread of the
//! child waits for the parent's end (somebody pressed Ctrl-C), takes away what
//! was mounted meanwhile, and ends the process. With the report that thread ends.
//!
//! All of it concerns the whole process, so the state is one per process. The
//! functions may be called from any thread; the first of several reports counts.

use super::failed;
use crate::errno::{Errno, Result};
use crate::log_error;
use crate::session::Session;
use crate::sys::fd::{self, EventFd};
use crate::sys::process::{self, Side};
use crate::sys::thread::{self, SignalMask, Thread};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Stay in the working directory.
pub const NO_CHDIR: u32 = 1 << 0;
/// Stay in the foreground; nothing is reported to anybody.
pub const NO_BACKGROUND: u32 = 1 << 1;

/// A start without a report so far.
struct Start {
    background: Option<Background>,
    /// What was mounted meanwhile.
    mounted: Vec<Weak<Session>>,
}

/// The child's side.
struct Background {
    report: File,
    leave_parent: Arc<EventFd>,
    parent_watch: Thread,
}

static START: Mutex<Option<Start>> = Mutex::new(None);
static USED: AtomicBool = AtomicBool::new(false);

/// Begins: changes to `/` and goes to the background, as far as `flags` do not
/// forbid it. Returns in the child. Once per process. A failure has been logged.
pub fn start(flags: u32) -> Result<()> {
    if USED.swap(true, Ordering::SeqCst) {
        log_error!("fuse: fuse_daemonize_early_start() was called before");
        return Err(Errno(libc::EALREADY));
    }
    let background = begin(flags).inspect_err(|_| USED.store(false, Ordering::SeqCst))?;
    *START.lock() = Some(Start { background, mounted: Vec::new() });
    Ok(())
}

fn begin(flags: u32) -> Result<Option<Background>> {
    if flags & NO_CHDIR == 0 {
        process::chdir(c"/").map_err(failed("change to directory /"))?;
    }
    (flags & NO_BACKGROUND == 0).then(background).transpose()
}

/// Whether [`start`] succeeded.
pub fn was_used() -> bool {
    USED.load(Ordering::SeqCst)
}

/// Whether a start waits for its report.
pub fn is_active() -> bool {
    START.lock().is_some()
}

/// Reports success; the standard descriptors go to `/dev/null`. Without an
/// active start nothing happens.
pub fn success() {
    let start = START.lock().take();
    if let Some(background) = start.and_then(|start| start.background) {
        // It goes on even so: the filesystem works.
        let _ = process::silence_standard_descriptors().map_err(failed("open /dev/null"));
        background.report(0);
    }
}

/// Reports a failure. Without an active start, the process ends with `status`.
pub fn fail(status: i32) {
    let start = START.lock().take();
    match start {
        Some(start) => {
            if let Some(background) = start.background {
                background.report((status as u8).max(1));
            }
        }
        None => {
            log_error!("fuse: the filesystem failed, and nobody waits to be told");
            process::exit(status);
        }
    }
}

/// `session` was mounted.
pub fn note_mounted(session: &Session) {
    if let (Some(start), Some(session)) = (START.lock().as_mut(), session.share()) {
        start.mounted.push(Arc::downgrade(&session));
    }
}

/// A session is mounted, and INIT is answered.
pub fn note_ready() {
    if was_used() {
        success();
    }
}

fn background() -> Result<Background> {
    let (report_in, report) = process::pipe(0).map_err(failed("create a pipe"))?;
    let (parent_lives, parent) = process::pipe(0).map_err(failed("create a pipe"))?;
    if let Side::Parent(child) = process::fork().map_err(failed("fork"))? {
        drop((report, parent_lives));
        wait_and_exit(report_in.into(), child);
    }
    drop((report_in, parent));
    process::setsid().map_err(failed("start a session"))?;
    let leave_parent = Arc::new(EventFd::new().map_err(failed("create an eventfd"))?);
    let leave = leave_parent.clone();
    let parent_watch = thread::spawn(c"fuse_parent", SignalMask::All, move || {
        watch_parent(&parent_lives, &leave);
    })
    .map_err(failed("start a thread"))?;
    Ok(Background { report: report.into(), leave_parent, parent_watch })
}

/// The parent's part.
fn wait_and_exit(mut report: File, child: libc::pid_t) -> ! {
    process::wait_for_report(report.as_raw_fd(), child);
    // If the child has ended, another process may hold the far end: no waiting.
    let _ = fd::set_nonblocking(report.as_raw_fd(), true);
    let mut status = [1];
    let told = report.read_exact(&mut status).is_ok();
    process::exit_now(if told { status[0].into() } else { 1 });
}

/// Returns when asked to; ends the process when the parent has ended first.
fn watch_parent(parent: &OwnedFd, leave: &EventFd) {
    if fd::wait_either(parent.as_raw_fd(), leave.as_raw_fd()) == leave.as_raw_fd() {
        return;
    }
    let Some(start) = START.lock().take() else {
        return; // it was told, and has ended as it should
    };
    log_error!("fuse: the process that started this one has ended, so this one ends as well");
    for session in start.mounted.iter().filter_map(Weak::upgrade) {
        session.exit();
        session.unmount();
    }
    process::exit_now(1);
}

impl Background {
    fn report(mut self, status: u8) {
        self.leave_parent.signal();
        self.parent_watch.join();
        // Whoever does not wait any more need not be told.
        let _ = self.report.write_all(&[status]);
    }
}
