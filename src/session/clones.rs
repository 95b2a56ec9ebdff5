//! Descriptors of `/dev/fuse` that workers have of their own (`clone_fd`).
//!
//! The kernel wants an answer on the descriptor that the request was read from, and
//! ends what is unanswered when that is closed; the answer may come long after the
//! worker has ended. So they are the session's, open until it is unmounted or
//! destroyed: a worker that ends leaves its descriptor to the next one.

use super::Session;
use crate::errno::{Errno, Result};
use crate::sys::fd;
use crate::sys::fork::Unshared;
use parking_lot::Mutex;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Those that no worker has at the moment.
#[derive(Default)]
pub struct Clones(Mutex<Vec<ClonedFd>>);

impl Clones {
    /// One for a worker, which gives it back at its end.
    pub fn take(&self, session: &Session) -> Result<ClonedFd> {
        let spare = self.0.lock().pop();
        match spare {
            Some(fd) => Ok(fd),
            None => ClonedFd::new(session),
        }
    }

    /// A worker's again.
    pub fn put_back(&self, fd: ClonedFd) {
        self.0.lock().push(fd);
    }

    /// Closes all that no worker has. Nobody may be writing to them.
    pub fn close(&self) {
        self.0.lock().clear();
    }
}

/// A worker's descriptor.
pub enum ClonedFd {
    /// Made by the library.
    Ours(Unshared<OwnedFd>),
    /// Made by the function of `fuse_session_custom_io`.
    Programs(RawFd),
}

impl ClonedFd {
    fn new(session: &Session) -> Result<Self> {
        match session.custom_io() {
            Some(_) => Self::from_program(session),
            None => {
                let clone = || fd::clone_fuse(session.fd(), &crate::mount::device_path());
                Unshared::new(clone).map(Self::Ours)
            }
        }
    }

    #[allow(unsafe_code)]
    fn from_program(session: &Session) -> Result<Self> {
        let clone = session.custom_io().and_then(|io| io.clone_fd).ok_or(Errno(libc::ENOTSUP))?;
        // SAFETY: the program's own function.
        let fd = unsafe { clone(session.fd()) };
        match fd {
            0.. => Ok(Self::Programs(fd)),
            // The convention of system calls, or of the kernel.
            -1 => Err(Errno::last()),
            _ => Err(Errno(-fd)),
        }
    }
}

impl AsRawFd for ClonedFd {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Ours(fd) => fd.as_raw_fd(),
            Self::Programs(fd) => *fd,
        }
    }
}

impl Drop for ClonedFd {
    fn drop(&mut self) {
        if let Self::Programs(fd) = self {
            fd::close(*fd);
        }
    }
}
