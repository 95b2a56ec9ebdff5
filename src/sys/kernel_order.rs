//! The order that the kernel makes between threads, told to ThreadSanitizer.
//!
//! A thread answers, the client goes on and asks for more, and another thread
//! gets that: what the first did before its answer has happened before all that
//! the second does. The same holds for what one ring sends to another. The
//! sanitizer sees this on `/dev/fuse`, whose reads and writes it knows, but not
//! on a ring: it would report every file that one thread opens and another
//! closes. So each SQE and each answer is told as a release, each completion and
//! each request as an acquire, of one thing. That is more order than there is
//! (not every request follows from every earlier answer): what is found all the
//! same is a race, but some races may be missed.
//!
//! Only with `--cfg ringfuse_tsan` (`scripts/sanitize.sh`); nothing otherwise.
#![cfg_attr(ringfuse_tsan, allow(unsafe_code))] // two functions of the sanitizer's

/// What is released and acquired.
#[cfg(ringfuse_tsan)]
static KERNEL: u8 = 0;

#[cfg(ringfuse_tsan)]
extern "C" {
    fn __tsan_acquire(address: *const std::ffi::c_void);
    fn __tsan_release(address: *const std::ffi::c_void);
}

/// The kernel is about to learn of what this thread has done.
#[inline(always)]
pub fn before_handing_over() {
    #[cfg(ringfuse_tsan)]
    // SAFETY: the address is a name; nothing is read or written.
    unsafe {
        __tsan_release(std::ptr::from_ref(&KERNEL).cast());
    }
}

/// The kernel has given this thread what may follow from it.
#[inline(always)]
pub fn after_receiving() {
    #[cfg(ringfuse_tsan)]
    // SAFETY: as above.
    unsafe {
        __tsan_acquire(std::ptr::from_ref(&KERNEL).cast());
    }
}
