//! Whether the kernel has put off work for a thread's io_uring.
//!
//! With deferred task work, what comes to a ring waits until its thread enters it. The
//! kernel says so in the ring's flags (IORING_SQ_TASKRUN, io_uring_setup(2)), which
//! other threads may read as well: they are in memory that anyone can map.

use super::fork;
use super::memory::Map;
use crate::errno::{Errno, Result};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

/// `struct io_uring_params` of <linux/io_uring.h>, in words.
#[repr(C, align(8))]
struct Params([u32; 30]);
/// In it: `features`, and `sq_off.flags`.
const FEATURES: usize = 5;
const SQ_FLAGS: usize = 14;
const FEAT_SINGLE_MMAP: u32 = 1;
const SQ_TASKRUN: u32 = 1 << 2;

/// Where the flags of a ring are in its memory; `None` if that cannot be told.
fn offset() -> Option<usize> {
    static OFFSET: OnceLock<Option<usize>> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let mut params = Params([0; 30]);
        // SAFETY: the kernel fills the structure.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &mut params) };
        if fd < 0 {
            return None;
        }
        super::fd::close(fd as RawFd);
        let words = params.0;
        (words[FEATURES] & FEAT_SINGLE_MMAP != 0).then_some(words[SQ_FLAGS] as usize)
    })
}

/// The flags of one ring. Keeps the ring alive: to be dropped before the thread ends.
pub struct PutOff {
    map: Map,
    offset: usize,
}

// SAFETY: the map is read as an atomic only.
unsafe impl Send for PutOff {}
// SAFETY: as above.
unsafe impl Sync for PutOff {}

impl PutOff {
    /// Of the io_uring `ring`, which was set up with IORING_SETUP_TASKRUN_FLAG.
    pub fn of(ring: RawFd) -> Result<Self> {
        let offset = offset().ok_or(Errno(libc::EOPNOTSUPP))?;
        fork::undisturbed(|| {
            let map = Map::of_file(ring, offset + size_of::<u32>())?;
            map.hide_from_children()?;
            Ok(Self { map, offset })
        })
    }

    /// Whether there is such work.
    pub fn is_any(&self) -> bool {
        // SAFETY: an aligned word in the map, which the kernel changes atomically.
        let flags = unsafe { self.map.start().add(self.offset).cast::<AtomicU32>().as_ref() };
        flags.load(Ordering::Relaxed) & SQ_TASKRUN != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::EventFd;
    use io_uring::{cqueue, opcode, squeue, types, IoUring};
    use std::os::fd::AsRawFd;

    #[test]
    fn work_is_put_off_until_the_ring_is_entered() {
        let ring = IoUring::<squeue::Entry, cqueue::Entry>::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(4);
        let Ok(mut ring) = ring else {
            return eprintln!("skipped: this kernel has no deferred task work");
        };
        let event = EventFd::new().expect("eventfd");
        let put_off = PutOff::of(ring.as_raw_fd()).expect("flags");
        let poll = opcode::PollAdd::new(types::Fd(event.as_raw_fd()), libc::POLLIN as u32);
        // SAFETY: a poll has no memory.
        unsafe { ring.submission().push(&poll.build()).expect("push") };
        ring.submit().expect("submit");
        assert!(!put_off.is_any());
        event.signal();
        assert!(put_off.is_any());
        ring.submit_and_wait(1).expect("wait");
        assert!(!put_off.is_any());
    }
}
