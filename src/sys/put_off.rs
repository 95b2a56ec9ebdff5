//! Whether the kernel has put off work for a thread's io_uring.
//!
//! With deferred task work, what comes to a ring waits until its thread enters it. The
//! kernel says so in the ring's flags (IORING_SQ_TASKRUN, io_uring_setup(2)), which
//! other threads may read as well: they are in memory that anyone can map. If it is asked
//! to, it also signals the ring's eventfd (io_uring_register_eventfd(3)), when work is put
//! off and there was none.

use super::fork;
use super::memory::Map;
use crate::errno::{Errno, Result};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

/// `struct io_uring_params` of <linux/io_uring.h>, in words.
#[repr(C, align(8))]
struct Params([u32; 30]);
/// In it: `features`, `sq_off.flags` and `cq_off.flags`.
const FEATURES: usize = 5;
const SQ_FLAGS: usize = 14;
const CQ_FLAGS: usize = 26;
const FEAT_SINGLE_MMAP: u32 = 1;
const SQ_TASKRUN: u32 = 1 << 2;
const CQ_EVENTFD_DISABLED: u32 = 1;

/// Where the flags of a ring are in its memory, those of its two halves; `None` if that
/// cannot be told.
fn offsets() -> Option<[usize; 2]> {
    static OFFSETS: OnceLock<Option<[usize; 2]>> = OnceLock::new();
    *OFFSETS.get_or_init(|| {
        let mut params = Params([0; 30]);
        // SAFETY: the kernel fills the structure.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &mut params) };
        if fd < 0 {
            return None;
        }
        super::fd::close(fd as RawFd);
        let words = params.0;
        let offsets = [SQ_FLAGS, CQ_FLAGS].map(|index| words[index] as usize);
        (words[FEATURES] & FEAT_SINGLE_MMAP != 0).then_some(offsets)
    })
}

/// The halves of a ring, in this order.
const SQ: usize = 0;
const CQ: usize = 1;

/// The flags of one ring. Keeps the ring alive: to be dropped before the thread ends.
pub struct PutOff {
    map: Map,
    offsets: [usize; 2],
}

// SAFETY: of the map, only atomics are used.
unsafe impl Send for PutOff {}
// SAFETY: as above.
unsafe impl Sync for PutOff {}

impl PutOff {
    /// Of the io_uring `ring`, which was set up with IORING_SETUP_TASKRUN_FLAG. If it has
    /// an eventfd, that is not signalled from now on.
    pub fn of(ring: RawFd) -> Result<Self> {
        let offsets = offsets().ok_or(Errno(libc::EOPNOTSUPP))?;
        let end = offsets[0].max(offsets[1]) + size_of::<u32>();
        let put_off = fork::undisturbed(|| -> Result<_> {
            let map = Map::of_file(ring, end)?;
            map.hide_from_children()?;
            Ok(Self { map, offsets })
        })?;
        put_off.signal_event(false);
        Ok(put_off)
    }

    /// Whether there is such work.
    pub fn is_any(&self) -> bool {
        self.flags(SQ).load(Ordering::SeqCst) & SQ_TASKRUN != 0
    }

    /// Whether the ring's eventfd, if it has one, is to be signalled when there is. What
    /// was put off about now may be missed.
    pub fn signal_event(&self, wanted: bool) {
        self.flags(CQ).store(if wanted { 0 } else { CQ_EVENTFD_DISABLED }, Ordering::SeqCst);
    }

    fn flags(&self, half: usize) -> &AtomicU32 {
        // SAFETY: an aligned word in the map, which the kernel uses as an atomic.
        unsafe { self.map.start().add(self.offsets[half]).cast::<AtomicU32>().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::{wait_readable, EventFd};
    use io_uring::{cqueue, opcode, squeue, types, IoUring};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn ring() -> Option<IoUring<squeue::Entry, cqueue::Entry>> {
        let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        builder.build(4).ok()
    }

    fn poll(ring: &mut IoUring<squeue::Entry, cqueue::Entry>, fd: RawFd) {
        let poll = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32);
        // SAFETY: a poll has no memory.
        unsafe { ring.submission().push(&poll.build()).expect("push") };
        ring.submit().expect("submit");
    }

    #[test]
    fn work_is_put_off_until_the_ring_is_entered() {
        let Some(mut ring) = ring() else {
            return eprintln!("skipped: this kernel has no deferred task work");
        };
        let event = EventFd::new().expect("eventfd");
        let put_off = PutOff::of(ring.as_raw_fd()).expect("flags");
        poll(&mut ring, event.as_raw_fd());
        assert!(!put_off.is_any());
        event.signal();
        assert!(put_off.is_any());
        ring.submit_and_wait(1).expect("wait");
        assert!(!put_off.is_any());
    }

    #[test]
    fn the_event_is_signalled_when_it_is_wanted() {
        let Some(mut ring) = ring() else {
            return eprintln!("skipped: this kernel has no deferred task work");
        };
        let told = EventFd::new().expect("eventfd");
        ring.submitter().register_eventfd(told.as_raw_fd()).expect("register");
        let put_off = PutOff::of(ring.as_raw_fd()).expect("flags");
        for wanted in [false, true, false, true] {
            // No eventfd, of which one's signal does not bring another's.
            let (end, other_end) = UnixStream::pair().expect("pair");
            poll(&mut ring, end.as_raw_fd());
            put_off.signal_event(wanted);
            drop(other_end);
            assert!(put_off.is_any());
            // Kernels from 7.1 on do it a little later.
            let patience = Duration::from_millis(if wanted { 10_000 } else { 100 });
            assert_eq!(wait_readable(told.as_raw_fd(), Some(patience)), wanted);
            put_off.signal_event(false);
            told.drain();
            ring.submit_and_wait(1).expect("wait");
            assert!(ring.completion().next().is_some());
        }
    }
}
