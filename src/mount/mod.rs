//! Mounting a session's filesystem, and unmounting it.
//!
//! [`MountOptions`] collects what the command line says. [`mount`] turns it
//! into an open /dev/fuse descriptor whose other side is a mount: through the
//! kernel's mount API (module `direct`), or, where the user may not do that,
//! through the setuid program `fusermount3` (module `fusermount`).
//! [`Mount::unmount`] undoes it. [`device_of`] looks a mount up without
//! touching it.
//!
//! One thread at a time mounts or unmounts a session. Nothing here keeps state
//! beyond the returned values, but for the environment variables that
//! `fusermount` describes. Failures are logged where they end; the caller only
//! gets the error number.
//!
//! /etc/mtab is left alone. It is a link to /proc/self/mounts on every current
//! system, and mount(8), whose task it would be to write a regular one, is no
//! longer built to. So options that were only notes for it (`user=`, `-n`,
//! `x-...`) are accepted and have no effect.

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::errno::{Errno, Result};
use crate::sys::mount as sys;
use crate::{log_error, log_warning};

mod direct;
mod fusermount;
mod mountinfo;
mod options;
mod unmount;

#[cfg(test)]
mod tests;

pub use direct::device_path;
pub use mountinfo::device_of;
pub use options::{MountOptions, Parameter};

/// What a session serves: the connection's descriptor, and the mount it belongs to.
#[derive(Debug)]
pub struct Mounted {
    /// /dev/fuse, connected. The session owns it.
    pub fd: OwnedFd,
    /// The mount to undo at the end. None when `fd` was handed over as
    /// /dev/fd/N: its mount is the business of whoever made it.
    pub mount: Option<Mount>,
}

/// A mount of this process. Dropped without [`Mount::unmount`] it stays, unless
/// `auto_unmount` removes it once nobody serves it any more.
#[derive(Debug)]
pub struct Mount {
    mountpoint: CString,
    watcher: Option<fusermount::Watcher>,
}

impl Mount {
    /// The mountpoint as an absolute path without symbolic links: valid
    /// wherever the process's working directory is by now.
    pub fn mountpoint(&self) -> &CStr {
        &self.mountpoint
    }

    /// With `auto_unmount`, the descriptor whose last copy keeps the mount.
    pub fn lifeline(&self) -> Option<RawFd> {
        self.watcher.as_ref()?.socket()
    }
}

/// What is done with a device while this process itself mounts it: synchronous
/// INIT, which has to be served before the mount is there.
pub trait Early {
    /// `device` was opened for an attempt to mount; after an error there is none.
    fn opened(&self, device: BorrowedFd<'_>) -> Result<()>;

    /// The attempt is over. Returns whether the device's INIT was served, after
    /// which there is no other attempt.
    fn mounted(&self, success: bool) -> bool;
}

/// Prints the version of the program that mounts for users.
pub fn print_version() {
    fusermount::print_version();
}

/// Mounts a filesystem with `options` at `mountpoint`, or takes the descriptor
/// over that a mountpoint of the form `/dev/fd/N` names.
pub fn mount(
    options: &MountOptions,
    mountpoint: &CStr,
    early: Option<&dyn Early>,
) -> Result<Mounted> {
    sys::open_standard_descriptors()?;
    if let Some(number) = descriptor_number(mountpoint) {
        let fd = sys::adopt(number).inspect_err(|errno| {
            log_error!("fuse: invalid file descriptor {}: {errno}", mountpoint.to_string_lossy());
        })?;
        return Ok(Mounted { fd, mount: None });
    }
    let target = Target::find(mountpoint)?;
    match mount_at(options, &target, early) {
        Ok((fd, watcher)) => {
            Ok(Mounted { fd, mount: Some(Mount { mountpoint: target.path, watcher }) })
        }
        Err(failure) => {
            log_error!("fuse: mount failed: {}: {failure}", target.path.to_string_lossy());
            Err(failure.errno)
        }
    }
}

/// With `auto_unmount` fusermount3 comes first, since it is who stays to
/// unmount; otherwise it comes where this process may not mount.
fn mount_at(
    options: &MountOptions,
    target: &Target,
    early: Option<&dyn Early>,
) -> Attempt<(OwnedFd, Option<fusermount::Watcher>)> {
    if !options.auto_unmount() {
        return match direct::mount(options, target, early) {
            Err(failure) if failure.is_for_lack_of_rights() => {
                fusermount::mount(options, target, false).map_err(|helper| Failure {
                    message: format!(
                        "this process may not mount ({failure}), and {}",
                        helper.message
                    ),
                    ..helper
                })
            }
            result => Ok((result?, None)),
        };
    }
    let unwatched = match fusermount::mount(options, target, true) {
        Err(failure) => failure,
        mounted => return mounted,
    };
    match direct::mount(options, target, early) {
        Err(failure) if failure.is_for_lack_of_rights() => Err(unwatched),
        result => {
            let fd = result?;
            log_warning!(
                "fuse: auto_unmount has no effect on {}: {unwatched}",
                target.path.to_string_lossy()
            );
            Ok((fd, None))
        }
    }
}

/// Where to mount.
struct Target {
    /// Absolute, without symbolic links.
    path: CString,
    /// Its file mode.
    mode: libc::mode_t,
}

impl Target {
    fn find(mountpoint: &CStr) -> Result<Self> {
        let path = Path::new(OsStr::from_bytes(mountpoint.to_bytes()));
        let found = fs::canonicalize(path).and_then(|path| Ok((fs::metadata(&path)?.mode(), path)));
        match found {
            Ok((mode, path)) => {
                let path =
                    CString::new(path.into_os_string().into_vec()).expect("a path holds no NUL");
                Ok(Self { path, mode })
            }
            Err(error) => {
                let advice = match error.raw_os_error() {
                    Some(libc::ENOTCONN) => {
                        " (the filesystem that was mounted there has ended: `fusermount3 -u' frees the place)"
                    }
                    _ => "",
                };
                let errno = Errno::from(error);
                log_error!("fuse: mountpoint not accessible: {}: {errno}{advice}", path.display());
                Err(errno)
            }
        }
    }
}

/// N of a whole `/dev/fd/N`.
fn descriptor_number(mountpoint: &CStr) -> Option<RawFd> {
    let digits = mountpoint.to_bytes().strip_prefix(b"/dev/fd/")?;
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

type Attempt<T> = std::result::Result<T, Failure>;

/// Why one way to mount did not work.
#[derive(Debug)]
struct Failure {
    errno: Errno,
    /// What the error number alone does not say; may be empty.
    message: String,
}

impl Failure {
    fn is_for_lack_of_rights(&self) -> bool {
        matches!(self.errno, Errno(libc::EPERM | libc::EACCES))
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, message: String::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.is_empty() {
            true => self.errno.fmt(f),
            false => write!(f, "{} ({})", self.message, self.errno),
        }
    }
}
