//! Backing files: reads and writes that the kernel does without asking.

use super::Session;
use crate::abi::kernel::{BackingMap, DEV_IOC_BACKING_CLOSE, DEV_IOC_BACKING_OPEN};
use crate::errno::Errno;
use crate::sys::fd::ioctl_with;

/// Makes `fd` known to the kernel: its backing id, or 0 with a log line.
pub fn open(session: &Session, fd: i32) -> i32 {
    let map = BackingMap { fd, ..BackingMap::default() };
    ioctl_with(session.fd(), DEV_IOC_BACKING_OPEN, &map).unwrap_or_else(|errno| {
        crate::log_error!("fuse: passthrough of descriptor {fd}: {errno}");
        0
    })
}

/// Ends a backing id: 0 or more, or -1 with a log line.
pub fn close(session: &Session, backing_id: i32) -> i32 {
    let id = backing_id as u32;
    ioctl_with(session.fd(), DEV_IOC_BACKING_CLOSE, &id).unwrap_or_else(|errno: Errno| {
        crate::log_error!("fuse: ending passthrough of backing id {backing_id}: {errno}");
        -1
    })
}
