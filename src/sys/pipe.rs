//! A pipe of this process that holds one message on its way through splice(2).

use crate::errno::{Errno, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Both ends of a pipe that never blocks and is closed on exec.
#[derive(Debug)]
pub struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    /// The process that made it: a child of fork has a copy of the descriptors,
    /// but must not use them.
    owner: u32,
}

impl Pipe {
    /// An empty pipe.
    pub fn new() -> Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } < 0 {
            return Err(Errno::last());
        }
        // SAFETY: new descriptors that nobody else owns.
        let [output, input] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { output, input, owner: std::process::id() })
    }

    /// Whether this process made it.
    pub fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Makes room for `pages` pieces of up to a page each; false if the system
    /// does not allow that many.
    pub fn reserve(&self, pages: usize) -> bool {
        let fd = self.input.as_raw_fd();
        let wanted = pages.saturating_mul(super::page_size());
        // SAFETY: no memory involved.
        let has = unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) };
        if usize::try_from(has).is_ok_and(|has| has >= wanted) {
            return true;
        }
        let Ok(wanted) = libc::c_int::try_from(wanted) else {
            return false;
        };
        // SAFETY: no memory involved.
        unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, wanted) >= wanted }
    }

    /// Where bytes go in.
    pub fn input(&self) -> RawFd {
        self.input.as_raw_fd()
    }

    /// Where bytes come out.
    pub fn output(&self) -> RawFd {
        self.output.as_raw_fd()
    }

    /// Bytes inside.
    pub fn used(&self) -> Result<usize> {
        let mut len: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int.
        if unsafe { libc::ioctl(self.output(), libc::FIONREAD, &mut len) } < 0 {
            return Err(Errno::last());
        }
        Ok(len as usize)
    }

    /// Puts all of `bytes` in, or fails.
    pub fn write_all(&self, bytes: &[u8]) -> Result<()> {
        match super::fd::writev(self.input(), &[std::io::IoSlice::new(bytes)]) {
            Ok(n) if n == bytes.len() => Ok(()),
            Ok(_) => Err(Errno(libc::EAGAIN)),
            Err(errno) => Err(errno),
        }
    }

    /// Takes bytes out until `buffer` is full; fails if there are too few.
    pub fn read_exact(&self, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match super::fd::read(self.output(), &mut buffer[done..])? {
                0 => return Err(Errno(libc::EIO)),
                n => done += n,
            }
        }
        Ok(())
    }

    /// Moves up to `len` bytes to `fd`.
    pub fn splice_to(&self, fd: RawFd, len: usize, flags: u32) -> Result<usize> {
        let null = std::ptr::null_mut();
        // SAFETY: no offsets; descriptors are checked by the kernel.
        let n = unsafe { libc::splice(self.output(), null, fd, null, len, flags) };
        usize::try_from(n).map_err(|_| Errno::last())
    }
}
