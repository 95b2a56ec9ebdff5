//! Mounting through the setuid program `fusermount3` of the system's fuse3
//! package, for users who may not mount themselves.
//!
//! The program gets one end of a socket pair, mounts, and sends the open
//! device back. With `auto_unmount` it stays for as long as this process holds
//! the other end, and then unmounts what nobody serves any more: that is how a
//! mount disappears after a crash. Every release of fusermount3 knows this as
//! a mount option; the separate `--auto-unmount` of newer ones is not used,
//! because none tells whether it has it.
//!
//! The numbers of both ends stay in this process's environment: the program
//! reads its end from `_FUSE_COMMFD`, and a filesystem may close the end that
//! `_FUSE_COMMFD2` names to have the mount removed at once.

use std::env;
use std::ffi::{CStr, CString};
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Attempt, Failure, MountOptions, Target};
use crate::errno::Errno;
use crate::sys::mount as sys;
use crate::sys::spawn::{self, Command};

const PROGRAM: &str = "fusermount3";

/// Where it is looked for before PATH; fixed when the library is built.
const DIRECTORY: &str = match option_env!("RINGFUSE_FUSERMOUNT_DIR") {
    Some(directory) => directory,
    None => "/usr/bin",
};

/// How long [`Watcher::release`] waits for the program to end. It looks at the
/// mountpoint before it goes, which takes as long as whoever serves that now.
const PATIENCE: Duration = Duration::from_secs(1);

/// Mounts at `target` and returns the open device, and with `auto_unmount` the
/// program that watches over the mount.
pub(super) fn mount(
    options: &MountOptions,
    target: &Target,
    auto_unmount: bool,
) -> Attempt<(OwnedFd, Option<Watcher>)> {
    if options.subtype().is_some() {
        // Silent: a kernel or helper without subtypes is no news to the user.
        match attempt(&options.helper_list(true, auto_unmount), target, auto_unmount, true) {
            Err(Failure { errno: Errno(libc::EPERM), .. }) => {}
            other => return other,
        }
    }
    attempt(&options.helper_list(false, auto_unmount), target, auto_unmount, false)
}

/// Runs the program once. `EPERM` when it ran and did not mount.
fn attempt(
    list: &CStr,
    target: &Target,
    auto_unmount: bool,
    quiet: bool,
) -> Attempt<(OwnedFd, Option<Watcher>)> {
    let (ours, theirs) = UnixStream::pair().map_err(Errno::from)?;
    env::set_var("_FUSE_COMMFD", theirs.as_raw_fd().to_string());
    env::set_var("_FUSE_COMMFD2", ours.as_raw_fd().to_string());
    let pid = run(&[c"-o", list, c"--", &target.path], Some(&theirs), quiet)?;
    drop(theirs);
    match spawn::receive_descriptor(ours.as_fd()) {
        Ok(Some(device)) if auto_unmount => Ok((device, Some(Watcher::new(ours, pid)))),
        received => {
            drop(ours);
            // Only to leave no zombie: whether it mounted is known.
            let _ = spawn::wait(pid);
            match received? {
                Some(device) => Ok((device, None)),
                None => Err(Failure {
                    errno: Errno(libc::EPERM),
                    message: format!("{PROGRAM} could not mount it, see its message above"),
                }),
            }
        }
    }
}

/// Lazily unmounts what the user has mounted at `mountpoint`.
pub(super) fn unmount(mountpoint: &CStr) -> Attempt<()> {
    // The short options: all releases know them.
    let pid = run(&[c"-u", c"-q", c"-z", c"--", mountpoint], None, false)?;
    match spawn::wait(pid) {
        Ok(status) if !status.success() => Err(Failure {
            errno: Errno(libc::EPERM),
            message: format!("{PROGRAM} -u failed ({status})"),
        }),
        // Without a status the program has ended all the same.
        _ => Ok(()),
    }
}

/// Lets the program print its version to standard output, if there is one.
pub(super) fn print_version() {
    if let Ok(pid) = run(&[c"--version"], None, false) {
        let _ = spawn::wait(pid);
    }
}

/// Starts the program with `arguments`.
fn run(arguments: &[&CStr], socket: Option<&UnixStream>, quiet: bool) -> Attempt<libc::pid_t> {
    let name = CString::new(PROGRAM).expect("a constant without NUL");
    let path = CString::new(format!("{DIRECTORY}/{PROGRAM}")).expect("constants without NUL");
    let arguments = [&[name.as_c_str()], arguments].concat();
    let spawn = |program: &CStr| {
        Command { program, arguments: &arguments, keep: socket.map(AsFd::as_fd), quiet }.spawn()
    };
    spawn(&path).or_else(|first| spawn(&name).map_err(|_| first)).map_err(|errno| Failure {
        errno,
        message: match errno.0 {
            libc::ENOENT => {
                format!("{PROGRAM} is neither in {DIRECTORY} nor in PATH: install the system's fuse3 package")
            }
            _ => format!("cannot run {DIRECTORY}/{PROGRAM}"),
        },
    })
}

/// The fusermount3 process that unmounts when this process is gone.
///
/// Owns one end of its socket by number, because the filesystem may close that
/// number (see above); so the number may stand for something else by now.
#[derive(Debug)]
pub(super) struct Watcher {
    socket: RawFd,
    identity: Option<(libc::dev_t, libc::ino64_t)>,
    pid: libc::pid_t,
}

impl Watcher {
    fn new(socket: UnixStream, pid: libc::pid_t) -> Self {
        let socket = socket.into_raw_fd();
        Self { socket, identity: spawn::identity(socket), pid }
    }

    /// Ends the watch after the mount is gone, and waits until the program can
    /// no longer mistake a later mount at the same place for its own.
    pub(super) fn release(mut self) {
        let Some(mut socket) = self.take_socket() else {
            return;
        };
        // Not only closing: a child of this process may hold the socket too.
        let _ = socket.shutdown(Shutdown::Write);
        let ended = socket.set_read_timeout(Some(PATIENCE)).is_ok()
            && matches!(socket.read(&mut [0]), Ok(0));
        if ended {
            let _ = spawn::wait(self.pid);
        }
    }

    /// The end of the socket, unless the filesystem has closed it.
    pub(super) fn socket(&self) -> Option<RawFd> {
        (self.identity.is_some() && self.identity == spawn::identity(self.socket))
            .then_some(self.socket)
    }

    fn take_socket(&mut self) -> Option<UnixStream> {
        let identity = self.identity.take();
        if identity.is_none() || identity != spawn::identity(self.socket) {
            return None;
        }
        sys::adopt(self.socket).ok().map(UnixStream::from)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.take_socket());
    }
}
