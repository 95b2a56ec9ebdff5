//! Reading, writing and waiting on descriptors.

use crate::errno::{Errno, Result};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// read(2).
pub fn read(fd: RawFd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is valid for its length.
    let n = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(n).map_err(|_| Errno::last())
}

/// writev(2).
pub fn writev(fd: RawFd, iov: &[IoSlice<'_>]) -> Result<usize> {
    // SAFETY: IoSlice is guaranteed to be laid out like iovec.
    let n = unsafe { libc::writev(fd, iov.as_ptr().cast(), iov.len() as i32) };
    usize::try_from(n).map_err(|_| Errno::last())
}

/// Sets or clears O_NONBLOCK; returns whether it was set before.
pub fn set_nonblocking(fd: RawFd, on: bool) -> Result<bool> {
    // SAFETY: no memory involved.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return Err(Errno::last());
    }
    let wanted = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: no memory involved.
    if wanted != flags && unsafe { libc::fcntl(fd, libc::F_SETFL, wanted) } < 0 {
        return Err(Errno::last());
    }
    Ok(flags & libc::O_NONBLOCK != 0)
}

/// Whether `fd` is a regular file or a block device, which give less than was
/// asked for only at their end.
pub fn is_file(fd: RawFd) -> bool {
    stat(fd)
        .is_some_and(|stat| matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFBLK))
}

/// fstat(2); `None` for what is no descriptor.
pub fn stat(fd: RawFd) -> Option<libc::stat64> {
    let mut stat = std::mem::MaybeUninit::<libc::stat64>::uninit();
    // SAFETY: room for the result.
    if unsafe { libc::fstat64(fd, stat.as_mut_ptr()) } < 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it is filled in.
    Some(unsafe { stat.assume_init() })
}

/// Waits until `fd` is readable; false on timeout or a signal.
pub fn wait_readable(fd: RawFd, timeout: Option<Duration>) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let millis = timeout.map_or(-1, |t| t.as_millis().min(i32::MAX as u128) as i32);
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, millis) == 1 }
}

/// Waits until one of two descriptors is readable, at its end or in error, and
/// returns it (`second` if both are).
pub fn wait_either(first: RawFd, second: RawFd) -> RawFd {
    wait_events([(first, libc::POLLIN), (second, libc::POLLIN)])
}

/// As [`wait_either`], but of `first` only an error or its end counts.
pub fn wait_error_or(first: RawFd, second: RawFd) -> RawFd {
    wait_events([(first, 0), (second, libc::POLLIN)])
}

fn wait_events(pair: [(RawFd, libc::c_short); 2]) -> RawFd {
    loop {
        let mut poll = pair.map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
        // SAFETY: two valid structures.
        unsafe { libc::poll(poll.as_mut_ptr(), 2, -1) };
        // None after a signal.
        if let Some(ready) = poll.iter().rev().find(|one| one.revents != 0) {
            return ready.fd;
        }
    }
}

/// An eventfd(2): a counter to wake somebody with.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new counter at 0, non-blocking and close-on-exec.
    pub fn new() -> Result<Self> {
        // SAFETY: no memory involved.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds one. Async-signal-safe, and no cancellation point as write(2) is: programs
    /// cancel threads that tell others of the end.
    pub fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight valid bytes. A full counter (EAGAIN) wakes as well.
        unsafe { libc::syscall(libc::SYS_write, self.0.as_raw_fd(), one.as_ptr(), one.len()) };
    }

    /// Resets to 0.
    pub fn drain(&self) {
        let mut count = [0; 8];
        let _ = read(self.0.as_raw_fd(), &mut count);
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Calls `ioctl(fd, request, argument)` where the argument is plain data.
pub fn ioctl_with<T: zerocopy::IntoBytes + zerocopy::Immutable>(
    fd: RawFd,
    request: libc::c_ulong,
    argument: &T,
) -> Result<i32> {
    // SAFETY: the kernel reads at most the size encoded in `request`, which is
    // that of the argument for every ioctl this library uses.
    let result = unsafe { libc::ioctl(fd, request as _, std::ptr::from_ref(argument)) };
    if result < 0 {
        Err(Errno::last())
    } else {
        Ok(result)
    }
}

/// Calls `ioctl(fd, request)`, which takes no argument.
pub fn ioctl_plain(fd: RawFd, request: libc::c_ulong) -> Result<i32> {
    // SAFETY: no memory involved.
    let result = unsafe { libc::ioctl(fd, request as _) };
    if result < 0 {
        Err(Errno::last())
    } else {
        Ok(result)
    }
}

/// Another `/dev/fuse` descriptor for the connection of `fd`, with a request
/// list of its own.
pub fn clone_fuse(fd: RawFd, device: &std::path::Path) -> Result<OwnedFd> {
    let new = OwnedFd::from(std::fs::OpenOptions::new().read(true).write(true).open(device)?);
    let source = fd as u32;
    ioctl_with(new.as_raw_fd(), crate::abi::kernel::DEV_IOC_CLONE, &source)?;
    Ok(new)
}

/// Another number for the same open file, closed on exec.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd> {
    duplicate_from(fd, 3)
}

/// As [`duplicate`], with the first free number from `least` on.
pub fn duplicate_from(fd: RawFd, least: RawFd) -> Result<OwnedFd> {
    // SAFETY: no memory involved.
    let new = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) };
    if new < 0 {
        return Err(Errno::last());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Descriptors that the process may have (RLIMIT_NOFILE).
pub fn limit() -> usize {
    // SAFETY: `place` is valid.
    limit_by(|place| unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, place) })
}

/// Bytes that a file may get by this process (RLIMIT_FSIZE).
pub fn size_limit() -> usize {
    // SAFETY: `place` is valid.
    limit_by(|place| unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, place) })
}

fn limit_by(get: impl Fn(*mut libc::rlimit) -> libc::c_int) -> usize {
    // On failure it stays as it is.
    let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    get(&mut limit);
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// close(2) of a descriptor that a C program handed over.
pub fn close(fd: RawFd) {
    // SAFETY: no memory involved; the caller owns the descriptor.
    unsafe { libc::close(fd) };
}
