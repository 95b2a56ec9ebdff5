//! Memory that other processes find in `/proc/PID/fd` by its name and can read,
//! but neither change nor shorten: a sealed memfd.
//!
//! A fork shares it. What the process does without it (too few descriptors, a
//! file size limit, a seccomp filter that refuses): the same memory, unpublished.

use super::fd;
use super::memory::Map;
use crate::errno::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// A process that has been allowed fewer descriptors than this needs them all.
const FEW: usize = 64;
/// Where our descriptor goes if it can: the numbers below stay those that the
/// program would see without it.
const OUT_OF_THE_WAY: usize = 512;

/// Zeroed pages, published if that is possible.
pub struct Published {
    map: Map,
    file: Option<File>,
}

/// A descriptor that the program may have closed, and whose number may be
/// another file's by now.
struct File {
    fd: RawFd,
    identity: (u64, u64),
}

impl Published {
    /// `len` bytes under `name`.
    pub fn new(name: &CStr, len: usize) -> Result<Self> {
        match Self::publish(name, len) {
            Ok(published) => Ok(published),
            Err(_) => Self::private(len),
        }
    }

    /// `len` bytes that nobody else finds.
    pub fn private(len: usize) -> Result<Self> {
        Ok(Self { map: Map::reserve(len)?, file: None })
    }

    fn publish(name: &CStr, len: usize) -> Result<Self> {
        if fd::limit() < FEW || fd::size_limit() < len {
            // Beyond the second one a signal would end the process.
            return Err(Errno(libc::EFBIG));
        }
        let file = out_of_the_way(create(name)?);
        // SAFETY: no memory involved.
        if unsafe { libc::ftruncate(file.as_raw_fd(), len as libc::off_t) } < 0 {
            return Err(Errno::last());
        }
        let map = Map::of_file(file.as_raw_fd(), len)?;
        seal(file.as_raw_fd())?;
        let identity = identity(file.as_raw_fd()).ok_or(Errno(libc::EBADF))?;
        Ok(Self { map, file: Some(File { fd: file.into_raw_fd(), identity }) })
    }

    /// The first byte; as many follow as were asked for.
    pub fn start(&self) -> NonNull<u8> {
        self.map.start()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some(File { fd, identity: ours }) = self.file.take() {
            if identity(fd) == Some(ours) {
                fd::close(fd);
            }
        }
    }
}

fn create(name: &CStr) -> Result<OwnedFd> {
    // Linux 6.3 and later: no program can be made of it, which some systems demand.
    const NOEXEC_SEAL: libc::c_uint = 8;
    let common = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let mut fd = -1;
    for flags in [common | NOEXEC_SEAL, common] {
        // SAFETY: a C string.
        fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) as RawFd };
        if fd >= 0 || Errno::last().0 != libc::EINVAL {
            break;
        }
    }
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn out_of_the_way(file: OwnedFd) -> OwnedFd {
    let number = OUT_OF_THE_WAY.min(fd::limit() / 2);
    fd::duplicate_from(file.as_raw_fd(), number as RawFd).unwrap_or(file)
}

/// Our map stays writable, all later ones are not. A file that could be shortened
/// could have us killed.
fn seal(fd: RawFd) -> Result<()> {
    // Linux 5.1.
    const FUTURE_WRITE: libc::c_int = 0x10;
    let size = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    let add = |seals: libc::c_int| {
        // SAFETY: no memory involved.
        unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) == 0 }
    };
    match add(size | FUTURE_WRITE | libc::F_SEAL_SEAL) || add(size | libc::F_SEAL_SEAL) {
        true => Ok(()),
        false => Err(Errno::last()),
    }
}

fn identity(fd: RawFd) -> Option<(u64, u64)> {
    fd::stat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn others_read_and_cannot_write() {
        let published = Published::new(c"ringfuse-test", 8192).unwrap();
        let File { fd, .. } = published.file.as_ref().expect("published");
        assert!(*fd >= 64, "{fd} is in the way");
        let path = format!("/proc/self/fd/{fd}");
        // SAFETY: the map is longer than that, and nobody else's.
        unsafe { published.start().as_ptr().add(5000).write(7) };
        assert_eq!(fs::read(&path).unwrap()[5000], 7);
        let name = fs::read_link(&path).unwrap();
        assert_eq!(name.to_str(), Some("/memfd:ringfuse-test (deleted)"));
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
        use std::io::Write;
        assert!((&file).write(&[1]).is_err());
    }

    #[test]
    fn a_number_that_is_somebody_elses_by_now_is_not_closed() {
        let published = Published::new(c"ringfuse-test", 4096).unwrap();
        let fd = published.file.as_ref().expect("published").fd;
        let other = fs::File::open("/dev/null").unwrap();
        // SAFETY: no memory involved; the number is replaced, as a program may.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), fd) }, fd);
        drop(published);
        assert!(fd::stat(fd).is_some());
        fd::close(fd);
    }
}
