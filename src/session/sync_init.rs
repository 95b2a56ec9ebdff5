//! Synchronous INIT: the kernel answers mount(2) only when INIT is answered.
//!
//! Usually INIT waits in `/dev/fuse` until the loop begins, long after mount(2)
//! has returned. With synchronous INIT (Linux 6.18: an ioctl on the descriptor
//! before it is mounted) a helper thread reads and serves requests until mount(2)
//! has returned, and a failure of INIT is a failure to mount.
//!
//! # When
//! INIT is the moment at which rings are agreed on, and that takes the loop that
//! will serve them. So by itself this is chosen only where rings are out of the
//! question anyway, and only with the early daemonize functions, whose parent
//! process learns of a failed INIT either way. `fuse_session_set_sync_init` orders
//! or forbids it. Where the kernel does not know it, or fusermount3 mounts, INIT
//! comes in the loop.

use super::options::Transport;
use super::Session;
use crate::abi::kernel::DEV_IOC_SYNC_INIT;
use crate::daemonize::early;
use crate::errno::Result;
use crate::mount::Early;
use crate::sys::fd;
use crate::sys::memory::Buffer;
use crate::sys::thread::{gettid, spawn, SignalMask, Thread};
use crate::sys::wake;
use crate::transport::dev::{self, Received};
use crate::transport::ring;
use crate::{log_error, log_warning};
use parking_lot::Mutex;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};
use std::sync::Arc;

/// What the program said about synchronous INIT.
#[derive(Default)]
pub struct Choice {
    said: AtomicU8,
    /// Whether a mount with synchronous INIT is under way.
    mounting: AtomicBool,
}

const SAID_NO: u8 = 1;
const SAID_YES: u8 = 2;

/// The state of a helper thread.
#[derive(Default)]
struct Helper {
    tid: AtomicI32,
    stop: AtomicBool,
    /// Whether it is in, or about to enter, a blocking read.
    reading: AtomicBool,
    /// Whether INIT has come.
    served: AtomicBool,
}

/// Serves a session while it is being mounted.
pub struct SyncInit {
    session: Arc<Session>,
    running: Mutex<Option<(Arc<Helper>, Thread)>>,
}

impl Session {
    /// Orders or forbids synchronous INIT for mounts from now on.
    pub fn set_sync_init(&self, on: bool) {
        self.sync_init.said.store(if on { SAID_YES } else { SAID_NO }, Ordering::Relaxed);
    }

    /// Whether INIT is being served while mounting.
    pub(super) fn is_mounting(&self) -> bool {
        self.sync_init.mounting.load(Ordering::Acquire)
    }

    /// Tells whoever ordered synchronous INIT that it was not to be had.
    pub(super) fn check_sync_init(&self) {
        if self.sync_init.said.load(Ordering::Relaxed) == SAID_YES && !self.is_initialized() {
            log_warning!(
                "fuse: INIT will be answered in the loop: answering it while mounting takes \
                 Linux 6.18 and the right to mount"
            );
        }
    }

    /// What serves INIT while mounting; `None` if the loop shall.
    pub(super) fn init_while_mounting(&self) -> Option<SyncInit> {
        let wanted = match self.sync_init.said.load(Ordering::Relaxed) {
            SAID_NO => false,
            SAID_YES => true,
            _ => {
                let rings = !matches!(self.options.transport, Transport::Dev(_));
                early::is_active() && !(rings && ring::is_enabled())
            }
        };
        let session = self.share().filter(|_| wanted && self.custom_io().is_none())?;
        Some(SyncInit { session, running: Mutex::default() })
    }
}

impl Early for SyncInit {
    fn opened(&self, device: BorrowedFd<'_>) -> Result<()> {
        let device = device.as_raw_fd();
        if fd::ioctl_plain(device, DEV_IOC_SYNC_INIT).is_err() {
            return Ok(());
        }
        let (helper, session) = (Arc::<Helper>::default(), self.session.clone());
        let its_helper = helper.clone();
        session.fd.store(device, Ordering::Release);
        session.sync_init.mounting.store(true, Ordering::Release);
        let thread = spawn(c"fuse_init", SignalMask::Handler, move || {
            helper_thread(&session, device, &its_helper);
        });
        let thread = thread.inspect_err(|errno| {
            log_error!("fuse: cannot start a thread for INIT: {errno}");
        })?;
        *self.running.lock() = Some((helper, thread));
        Ok(())
    }

    fn mounted(&self, success: bool) -> bool {
        let session = &self.session;
        let mut had_init = false;
        if let Some((helper, mut thread)) = self.running.lock().take() {
            helper.stop.store(true, Ordering::SeqCst);
            loop {
                if helper.reading.load(Ordering::SeqCst) {
                    wake::wake(helper.tid.load(Ordering::SeqCst));
                }
                match thread.join_for(1) {
                    Ok(()) => break,
                    Err(still_there) => thread = still_there,
                }
            }
            had_init = helper.served.load(Ordering::SeqCst);
        }
        session.sync_init.mounting.store(false, Ordering::Release);
        if !success {
            session.fd.store(-1, Ordering::Release);
            if session.is_initialized() {
                // Its connection is gone again.
                session.handle_destroy();
            }
        }
        had_init
    }
}

fn helper_thread(session: &Session, device: RawFd, helper: &Helper) {
    helper.tid.store(gettid(), Ordering::SeqCst);
    if let Err(errno) = wake::allow_wakeups().and_then(|()| serve(session, device, helper)) {
        session.fail(errno);
    }
    helper.reading.store(false, Ordering::SeqCst);
}

fn serve(session: &Session, device: RawFd, helper: &Helper) -> Result<()> {
    let mut buffer = Buffer::new(session.buffer_size())?;
    let mut slot = session.slots.take();
    loop {
        helper.reading.store(true, Ordering::SeqCst);
        if helper.stop.load(Ordering::SeqCst) {
            break;
        }
        let received = dev::receive(session, device, &mut buffer);
        helper.reading.store(false, Ordering::SeqCst);
        match received? {
            Received::Again => {}
            Received::Unmounted => break,
            Received::Message(len) => {
                helper.served.store(true, Ordering::SeqCst);
                slot = dev::serve(session, device, &mut buffer, len, slot);
                buffer.require(session.buffer_size())?;
            }
        }
    }
    session.slots.put_back(slot);
    Ok(())
}
