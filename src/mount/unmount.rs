//! Unmounting at the end of a session.

use std::ffi::CStr;
use std::os::fd::AsFd;

use super::{fusermount, Mount};
use crate::errno::Errno;
use crate::sys::mount as sys;
use crate::{log_debug, log_error};

impl Mount {
    /// Unmounts, unless somebody else has already done so. Lazily: who still
    /// uses the mount does not keep it from disappearing.
    ///
    /// Drops `device` (the session's descriptor, or its share of it) first:
    /// with the last descriptor the connection ends, and with it whatever
    /// waits for answers that nobody will give any more.
    pub fn unmount(self, device: impl AsFd) {
        let gone = sys::is_disconnected(device.as_fd());
        drop(device);
        if !gone {
            detach(&self.mountpoint);
        }
        if let Some(watcher) = self.watcher {
            watcher.release();
        }
    }
}

fn detach(mountpoint: &CStr) {
    let path = mountpoint.to_string_lossy();
    match sys::detach(mountpoint) {
        Ok(()) => {}
        Err(Errno(libc::EPERM)) => {
            if let Err(failure) = fusermount::unmount(mountpoint) {
                log_error!("fuse: unmounting {path} failed: {failure}");
            }
        }
        Err(Errno(libc::EINVAL)) => log_debug!("fuse: nothing is mounted at {path} any more"),
        Err(errno) => log_error!("fuse: unmounting {path} failed: {errno}"),
    }
}
