//! Mounting by this process itself: the mount API of Linux 5.2, or `mount(2)`
//! where that is missing or fails.

use std::ffi::{c_ulong, CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::{Attempt, Early, Failure, MountOptions, Target};
use crate::errno::{Errno, Result};
use crate::log_warning;
use crate::sys::mount as sys;

/// The device, unless FUSE_KERN_DEVICE names another.
pub(super) const DEVICE: &str = "/dev/fuse";

/// `MS_*` bits and the `MOUNT_ATTR_*` bits of the same meaning.
const ATTRIBUTES: &[(c_ulong, u32)] = &[
    (libc::MS_RDONLY, 0x1),
    (libc::MS_NOSUID, 0x2),
    (libc::MS_NODEV, 0x4),
    (libc::MS_NOEXEC, 0x8),
    (libc::MS_NOATIME, 0x10),
    (libc::MS_NODIRATIME, 0x80),
    (libc::MS_NOSYMFOLLOW, 0x20_0000),
];

/// `MS_*` bits that belong to the superblock, and their names there.
const SUPERBLOCK_FLAGS: &[(c_ulong, &CStr)] =
    &[(libc::MS_RDONLY, c"ro"), (libc::MS_SYNCHRONOUS, c"sync"), (libc::MS_DIRSYNC, c"dirsync")];

/// The two ways to ask the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Api {
    /// `fsopen`, `fsconfig`, `fsmount`, `move_mount`.
    Context,
    /// `mount(2)`.
    Classic,
}

/// Mounts at `target` and returns the open device. The failure has the error
/// of `mount(2)`, and the kernel's explanation if it gave one: only the newer
/// API explains, only the older one is never missing or filtered.
pub(super) fn mount(
    options: &MountOptions,
    target: &Target,
    early: Option<&dyn Early>,
) -> Attempt<OwnedFd> {
    let path = device_path();
    match attempt(Api::Context, &path, options, target, early) {
        (Err(context), false) => {
            attempt(Api::Classic, &path, options, target, early).0.map_err(|classic| match classic
                .message
                .is_empty()
            {
                true => Failure { message: context.message, ..classic },
                false => classic,
            })
        }
        (result, _) => result,
    }
}

/// Mounts through one API, and tells whether no other is to be tried. The device
/// is opened for each attempt: one that failed late may have used it up.
pub(super) fn attempt(
    api: Api,
    path: &Path,
    options: &MountOptions,
    target: &Target,
    early: Option<&dyn Early>,
) -> (Attempt<OwnedFd>, bool) {
    let device = match open_device(path) {
        Ok(device) => device,
        Err(failure) => return (Err(failure), false),
    };
    let result = early
        .map_or(Ok(()), |early| early.opened(device.as_fd()))
        .map_err(Failure::from)
        .and_then(|()| through(api, &device, path, options, target));
    let is_last = early.is_some_and(|early| early.mounted(result.is_ok()));
    let result = match result {
        // What the kernel says of a filesystem that failed INIT.
        Err(Failure { errno: errno @ Errno(libc::ENOTCONN), .. }) if is_last => {
            Err(Failure { errno, message: "INIT failed, see the message above".into() })
        }
        result => result,
    };
    (result.map(|()| device), is_last)
}

fn through(
    api: Api,
    device: &OwnedFd,
    path: &Path,
    options: &MountOptions,
    target: &Target,
) -> Attempt<()> {
    let (user, group) = sys::real_ids();
    let parameters = [
        (c"fd", device.as_raw_fd().to_string()),
        (c"rootmode", format!("{:o}", target.mode & libc::S_IFMT)),
        (c"user_id", user.to_string()),
        (c"group_id", group.to_string()),
    ];
    let source = CString::new(path.as_os_str().as_bytes()).expect("a path that was opened");
    let source = options.source(&source);
    match api {
        Api::Context => through_context(options, target, source, &parameters),
        Api::Classic => through_mount(options, target, source, &parameters),
    }
}

/// The parameters that the kernel needs in any case.
type Required = [(&'static CStr, String)];

fn through_context(
    options: &MountOptions,
    target: &Target,
    source: &CStr,
    required: &Required,
) -> Attempt<()> {
    let context = sys::fsopen(options.fs_type())?;
    configure(context.as_fd(), options, source, required)
        .and_then(|()| {
            let attributes = ATTRIBUTES
                .iter()
                .filter(|(flag, _)| options.flags() & flag != 0)
                .fold(0, |all, (_, bit)| all | bit);
            let mount = sys::fsmount(context.as_fd(), attributes)?;
            sys::move_mount(mount.as_fd(), &target.path)
        })
        .map_err(|errno| Failure { errno, message: explanation(context) })
}

fn configure(
    context: BorrowedFd<'_>,
    options: &MountOptions,
    source: &CStr,
    required: &Required,
) -> Result<()> {
    sys::fsconfig_string(context, c"source", source)?;
    if let Some(subtype) = options.subtype() {
        sys::fsconfig_string(context, c"subtype", subtype)?;
    }
    for (name, value) in required {
        sys::fsconfig_string(context, name, &CString::new(value.as_str()).expect("a number"))?;
    }
    for (_, name) in SUPERBLOCK_FLAGS.iter().filter(|(flag, _)| options.flags() & flag != 0) {
        sys::fsconfig_flag(context, name)?;
    }
    for parameter in options.parameters() {
        match &parameter.value {
            Some(value) => sys::fsconfig_string(context, &parameter.name, value)?,
            None => sys::fsconfig_flag(context, &parameter.name)?,
        }
    }
    sys::fsconfig_create(context)
}

/// What the kernel has noted in a failed context: one message per read, each
/// after a letter for its severity and a blank.
fn explanation(context: OwnedFd) -> String {
    let mut context = File::from(context);
    let mut messages = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = context.read(&mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]);
        let line = line.trim_end();
        messages.push(line.get(2..).unwrap_or(line).to_owned());
    }
    messages.join("; ")
}

fn through_mount(
    options: &MountOptions,
    target: &Target,
    source: &CStr,
    required: &Required,
) -> Attempt<()> {
    let required: Vec<String> = required
        .iter()
        .map(|(name, value)| format!("{}={value}", name.to_string_lossy()))
        .collect();
    let data = c_string([required.join(",").as_bytes(), &options.parameter_list()]);
    let fs_type = options.fs_type();
    let mount = |source: &CStr, fs_type: &CStr| {
        sys::mount(source, &target.path, fs_type, options.flags(), &data)
    };
    let result = match options.subtype() {
        None => mount(source, fs_type),
        Some(subtype) => {
            let full_type = c_string([fs_type.to_bytes(), b".", subtype.to_bytes()]);
            match mount(source, &full_type) {
                // A kernel that knows no subtypes: say it in the source.
                Err(Errno(libc::ENODEV)) => match options.fsname() {
                    Some(name) => {
                        mount(&c_string([subtype.to_bytes(), b"#", name.to_bytes()]), fs_type)
                    }
                    None => mount(source, fs_type),
                },
                other => other,
            }
        }
    };
    Ok(result?)
}

fn c_string<const N: usize>(parts: [&[u8]; N]) -> CString {
    CString::new(parts.concat()).expect("made of C strings and numbers")
}

/// /dev/fuse, or another device below /dev that FUSE_KERN_DEVICE names.
pub fn device_path() -> PathBuf {
    let Some(path) = std::env::var_os("FUSE_KERN_DEVICE") else {
        return DEVICE.into();
    };
    let is_device =
        fs::metadata(&path).map_or(true, |metadata| metadata.file_type().is_char_device());
    if path.as_bytes().starts_with(b"/dev/") && is_device {
        path.into()
    } else {
        log_warning!(
            "fuse: FUSE_KERN_DEVICE={} is no character device below /dev: using {DEVICE}",
            path.to_string_lossy()
        );
        DEVICE.into()
    }
}

fn open_device(path: &Path) -> Attempt<OwnedFd> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(device) => Ok(device.into()),
        Err(error) => {
            let errno = Errno::from(error);
            let message = match errno.0 {
                libc::ENOENT | libc::ENODEV | libc::ENXIO => {
                    format!(
                        "device not found: {} (try `modprobe fuse' as root first)",
                        path.display()
                    )
                }
                _ => format!("failed to open {}", path.display()),
            };
            Err(Failure { errno, message })
        }
    }
}
