//! System calls of mounting: the mount API of Linux 5.2 (`fsopen` and its
//! family, which libc has no functions for), `mount(2)`, `umount2(2)`, and the
//! descriptors a session starts and ends with.

use std::ffi::{c_int, c_ulong, CStr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::errno::{Errno, Result};

const FSOPEN_CLOEXEC: c_int = 1;
const FSMOUNT_CLOEXEC: c_int = 1;
const FSCONFIG_SET_FLAG: c_int = 0;
const FSCONFIG_SET_STRING: c_int = 1;
const FSCONFIG_CMD_CREATE: c_int = 6;
const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 {
        Err(Errno::last())
    } else {
        Ok(result)
    }
}

/// Makes an owner of the descriptor a system call has just returned.
fn owned(result: libc::c_long) -> Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: the caller passes the result of a call that opened it; nobody
    // else knows this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Starts the configuration of a new filesystem of type `name`.
pub fn fsopen(name: &CStr) -> Result<OwnedFd> {
    // SAFETY: `name` is a C string that lives during the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })
}

fn fsconfig(
    context: BorrowedFd<'_>,
    command: c_int,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: key and value are null or C strings that live during the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            pointer(key),
            pointer(value),
            0,
        )
    })?;
    Ok(())
}

/// Sets the parameter `key=value` of a filesystem context.
pub fn fsconfig_string(context: BorrowedFd<'_>, key: &CStr, value: &CStr) -> Result<()> {
    fsconfig(context, FSCONFIG_SET_STRING, Some(key), Some(value))
}

/// Sets the parameter `key`, which takes no value.
pub fn fsconfig_flag(context: BorrowedFd<'_>, key: &CStr) -> Result<()> {
    fsconfig(context, FSCONFIG_SET_FLAG, Some(key), None)
}

/// Creates the superblock that the context describes.
pub fn fsconfig_create(context: BorrowedFd<'_>) -> Result<()> {
    fsconfig(context, FSCONFIG_CMD_CREATE, None, None)
}

/// Makes a detached mount, with the `MOUNT_ATTR_*` bits `attributes`, of a
/// created context.
pub fn fsmount(context: BorrowedFd<'_>, attributes: u32) -> Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    owned(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes)
    })
}

/// Attaches a detached mount at `target`.
pub fn move_mount(mount: BorrowedFd<'_>, target: &CStr) -> Result<()> {
    // SAFETY: both paths are C strings that live during the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// `mount(2)`.
pub fn mount(
    source: &CStr,
    target: &CStr,
    fs_type: &CStr,
    flags: c_ulong,
    data: &CStr,
) -> Result<()> {
    // SAFETY: all pointers are C strings that live during the call.
    let result = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), fs_type.as_ptr(), flags, data.as_ptr().cast())
    };
    check(result.into()).map(drop)
}

/// Detaches whatever is mounted at `target`, which may not be a symbolic link.
pub fn detach(target: &CStr) -> Result<()> {
    // SAFETY: `target` is a C string that lives during the call.
    let result =
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) };
    check(result.into()).map(drop)
}

/// The real user and group of the process, whom the kernel lets into the mount.
pub fn real_ids() -> (libc::uid_t, libc::gid_t) {
    // SAFETY: these calls cannot fail and touch no memory.
    unsafe { (libc::getuid(), libc::getgid()) }
}

/// Opens descriptors 0 to 2 on /dev/null where they are closed, so that no
/// later descriptor of ours becomes somebody's standard output.
pub fn open_standard_descriptors() -> Result<()> {
    loop {
        // SAFETY: the path is a C string. Without O_CLOEXEC: standard
        // descriptors are meant to be inherited.
        let fd = check(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) }.into())? as RawFd;
        if fd > 2 {
            // SAFETY: opened above, and known to nobody else.
            unsafe { libc::close(fd) };
            return Ok(());
        }
    }
}

/// Takes over descriptor `fd`, which another program handed to this one by its
/// number. Its flags stay as they are.
pub fn adopt(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_GETFD only looks.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) }.into())?;
    // SAFETY: it is open, and who names it as the session's descriptor gives it away.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the kernel has ended the connection of this /dev/fuse descriptor.
pub fn is_disconnected(fd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one valid pollfd, and the count says so.
    let ready = unsafe { libc::poll(&mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLERR != 0
}
