//! Backing files: reads and writes that the kernel does without asking.
//!
//! The kernel grants them to a process with CAP_SYS_ADMIN whose filesystem wants
//! `FUSE_CAP_PASSTHROUGH`, for regular files of a filesystem that is not stacked
//! deeper than `max_backing_stack_depth` says.

use super::Session;
use crate::abi::kernel::{BackingMap, DEV_IOC_BACKING_CLOSE, DEV_IOC_BACKING_OPEN};
use crate::abi::public::cap;
use crate::errno::Errno;
use crate::sys::fd::ioctl_with;
use crate::sys::set_errno;

/// Makes `fd` known to the kernel: its backing id, or 0 with a log line and
/// `errno` set.
pub fn open(session: &Session, fd: i32) -> i32 {
    let map = BackingMap { fd, ..BackingMap::default() };
    ioctl_with(session.fd(), DEV_IOC_BACKING_OPEN, &map).unwrap_or_else(|errno| {
        crate::log_error!("fuse: passthrough of descriptor {fd}: {errno}{}", why(session, errno));
        set_errno(errno);
        0
    })
}

/// Ends a backing id: 0 or more, or -1 with a log line and `errno` set.
pub fn close(session: &Session, backing_id: i32) -> i32 {
    let id = backing_id as u32;
    ioctl_with(session.fd(), DEV_IOC_BACKING_CLOSE, &id).unwrap_or_else(|errno| {
        crate::log_error!("fuse: ending passthrough of backing id {backing_id}: {errno}");
        set_errno(errno);
        -1
    })
}

/// What the kernel meant by refusing a file.
fn why(session: &Session, errno: Errno) -> &'static str {
    if session.negotiated().want & cap::PASSTHROUGH == 0 {
        return " (init() did not ask for FUSE_CAP_PASSTHROUGH)";
    }
    match errno.0 {
        libc::EPERM => " (this needs CAP_SYS_ADMIN)",
        libc::EINVAL | libc::EISDIR | libc::EOPNOTSUPP => {
            " (only regular files that are read and written on a filesystem can be passed through)"
        }
        libc::ELOOP => {
            " (the filesystem it is on is stacked deeper than max_backing_stack_depth allows)"
        }
        libc::ENOTTY => " (this kernel has no passthrough)",
        _ => "",
    }
}
