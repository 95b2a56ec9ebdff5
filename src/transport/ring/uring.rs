//! One io_uring: created, used and dropped by one thread.

use super::sqe::{self, Token};
use crate::errno::{Errno, Result};
use crate::sys::fd::EventFd;
use crate::sys::fork::Unshared;
use crate::sys::kernel_order;
use io_uring::squeue::Entry128;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{cqueue, squeue, IoUring};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Submissions that fit before they must be handed to the kernel.
const SUBMISSIONS: u32 = 16;

/// An io_uring with `/dev/fuse` as its registered file 0. Neither its maps nor its
/// descriptor are inherited by forked children, so that none of them keeps a dead
/// server's mount alive.
pub struct Ring {
    uring: Unshared<IoUring<Entry128, cqueue::Entry>>,
}

/// Something that happened on a ring.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What it is about.
    pub token: Token,
    /// 0 or more: success. Less: a negated errno.
    pub result: i32,
}

impl Ring {
    /// A ring with the registered `files`, of which the first is `/dev/fuse`, on
    /// which up to `completions` may wait at a time. Only the calling thread may
    /// use it.
    pub fn new(files: &[RawFd], completions: u32) -> Result<Self> {
        let mut builder = IoUring::<squeue::Entry128, cqueue::Entry>::builder();
        builder
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_cqsize(completions.max(2 * SUBMISSIONS).next_power_of_two());
        let uring = Unshared::new(|| Ok(builder.build(SUBMISSIONS)?))?;
        uring.submitter().register_files(files)?;
        Ok(Self { uring })
    }

    /// Whether the kernel lets this thread use the ring: it may be allowed to make one,
    /// and not to enter it.
    pub fn try_out(&mut self) -> Result<()> {
        self.push(&sqe::nothing())?;
        self.submit()?;
        let done = self.next().ok_or(Errno(libc::EIO))?;
        if done.result < 0 {
            Err(Errno(-done.result))
        } else {
            Ok(())
        }
    }

    /// Registers what the kernel has to refuse, by which a connection that waits for
    /// ring entries goes back to `/dev/fuse`. `Err` if it has not heard of it.
    pub fn give_up(&mut self) -> Result<()> {
        // What came before is of no interest any more.
        while self.next().is_some() {}
        self.push(&sqe::refused())?;
        self.submit()?;
        while let Some(completion) = self.next() {
            if let Token::Refused = completion.token {
                return match -completion.result {
                    libc::EINVAL | libc::EFAULT | libc::EOPNOTSUPP => Ok(()),
                    errno => Err(Errno(errno)),
                };
            }
        }
        Err(Errno(libc::EIO))
    }

    /// `bell` is the ring's eventfd from now on. Whether it is signalled is another matter
    /// ([`crate::sys::put_off`]).
    pub fn call(&self, bell: &EventFd) -> Result<()> {
        Ok(self.uring.submitter().register_eventfd(bell.as_raw_fd())?)
    }

    /// Queues `sqe` for the next submission.
    pub fn push(&mut self, sqe: &Entry128) -> Result<()> {
        kernel_order::before_handing_over();
        loop {
            if Self::try_push(&mut self.uring, sqe) {
                return Ok(());
            }
            self.submit()?;
        }
    }

    #[allow(unsafe_code)]
    fn try_push(uring: &mut IoUring<Entry128, cqueue::Entry>, sqe: &Entry128) -> bool {
        // SAFETY: what the SQEs of this module point to are entries, which live
        // until all rings are gone, and plain numbers.
        unsafe { uring.submission().push(sqe).is_ok() }
    }

    /// Hands what was queued to the kernel. What it has to do in this thread is done
    /// then, too.
    pub fn submit(&self) -> Result<()> {
        loop {
            match self.uring.submit().map_err(Errno::from) {
                Err(Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => continue,
                other => return other.map(|_| ()),
            }
        }
    }

    /// Hands what was queued to the kernel, and waits for a completion.
    /// Returns early on a signal.
    pub fn submit_and_wait(&self) -> Result<()> {
        match self.uring.submit_and_wait(1).map_err(Errno::from) {
            Ok(_) | Err(Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// As [`Ring::submit_and_wait`], for at most `timeout`.
    pub fn submit_and_wait_for(&self, timeout: Duration) -> Result<()> {
        let timespec = Timespec::from(timeout);
        let args = SubmitArgs::new().timespec(&timespec);
        match self.uring.submitter().submit_with_args(1, &args).map_err(Errno::from) {
            Ok(_) | Err(Errno(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the next thing has happened, and nothing is queued for the kernel: so
    /// that there is no need to enter it.
    pub fn is_ahead(&mut self) -> bool {
        self.uring.submission().is_empty() && !self.uring.completion().is_empty()
    }

    /// Whether something has happened that was not seen yet.
    pub fn has_next(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    /// Whether nothing that has happened is left to be seen.
    pub fn is_drained(&mut self) -> bool {
        let overflowed = self.uring.submission().cq_overflow();
        !overflowed && self.uring.completion().is_empty()
    }

    /// The next thing that happened.
    pub fn next(&mut self) -> Option<Completion> {
        let cqe = self.uring.completion().next()?;
        kernel_order::after_receiving();
        Some(Completion { token: Token::decode(cqe.user_data()), result: cqe.result() })
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}
