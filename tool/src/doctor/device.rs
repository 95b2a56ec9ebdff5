//! What every mount needs: the kernel's filesystem, its device, and the right
//! to mount, by oneself or through fusermount3.

use super::{is_admin, read, status_field, Check, State};
use rustix::fs::{major, minor, statvfs, StatVfsMountFlags};
use rustix::io::Errno;
use std::env;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DEVICE: &str = "/dev/fuse";
const MAJOR: u32 = 10;
const MINOR: u32 = 229;

pub(super) fn checks() -> Vec<Check> {
    // First the device: to open it loads the module.
    let device = device();
    let mut checks = vec![module(), device];
    let admin = is_admin();
    if admin {
        checks.push(Check::good("right to mount", "this user mounts without help (CAP_SYS_ADMIN)"));
    }
    checks.push(fusermount(admin));
    checks.push(allow_other(admin));
    checks
}

fn module() -> Check {
    let known = fs::read_to_string("/proc/filesystems").is_ok_and(|text| {
        text.lines().any(|line| line.trim_start_matches("nodev").trim() == "fuse")
    });
    if known {
        Check::good("fuse in the kernel", "there")
    } else {
        Check::bad(
            "fuse in the kernel",
            State::NoMounts,
            "not there (CONFIG_FUSE_FS)",
            "modprobe fuse",
        )
    }
}

fn device() -> Check {
    let bad = |found: String, remedy: &str| Check::bad(DEVICE, State::NoMounts, found, remedy);
    let file = match fs::metadata(DEVICE) {
        Ok(file) => file,
        Err(error) => {
            return bad(
                format!("{error}"),
                "modprobe fuse || mknod -m 666 /dev/fuse c 10 229; for a container: --device /dev/fuse",
            );
        }
    };
    let number = (major(file.rdev()), minor(file.rdev()));
    if !file.file_type().is_char_device() || number != (MAJOR, MINOR) {
        return bad(
            "is not the device of FUSE".into(),
            "rm /dev/fuse && mknod -m 666 /dev/fuse c 10 229",
        );
    }
    let mode = file.mode() & 0o777;
    let error = match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => return Check::good(DEVICE, format!("mode {mode:04o}, this user may open it")),
        Err(error) => error,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::ACCESS) => {
            bad(format!("mode {mode:04o}, this user may not open it"), "chmod 666 /dev/fuse")
        }
        Some(Errno::PERM) => bad(
            "forbidden here (a container's list of devices)".into(),
            "for a container: --device /dev/fuse",
        ),
        Some(Errno::NXIO | Errno::NODEV) => bad(format!("{error}"), "modprobe fuse"),
        _ => bad(format!("cannot be opened: {error}"), "chmod 666 /dev/fuse"),
    }
}

/// The library looks there first (`src/mount/fusermount.rs`).
const DIRECTORY: &str = match option_env!("RINGFUSE_FUSERMOUNT_DIR") {
    Some(directory) => directory,
    None => "/usr/bin",
};

/// Users need it to mount; who may mount needs it for `auto_unmount` only.
fn fusermount(admin: bool) -> Check {
    const NAME: &str = "fusermount3";
    let state = if admin { State::Notice } else { State::NoMounts };
    let bad = |found: String, remedy: String| Check::bad(NAME, state, found, remedy);
    let Some(path) = find(NAME) else {
        let needed = if admin { "; the option auto_unmount needs it" } else { "" };
        return bad(format!("not found{needed}"), "apt-get install fuse3".into());
    };
    let shown = path.display();
    let version = version(&path);
    let Ok(file) = path.metadata() else {
        return bad(
            format!("{shown} cannot be looked at"),
            "apt-get install --reinstall fuse3".into(),
        );
    };
    let setuid = file.mode() & 0o4000 != 0 && file.uid() == 0;
    let capable = rustix::fs::getxattr(&path, "security.capability", &mut [0; 64]).is_ok();
    if !admin && !setuid && !capable {
        return bad(
            format!("{shown} {version}, not set-user-ID root"),
            format!("chown root {shown} && chmod u+s {shown}"),
        );
    }
    let nosuid = statvfs(&path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID));
    if !admin && nosuid {
        return bad(
            format!("{shown} {version} is on a filesystem that is mounted nosuid"),
            format!("mount -o remount,suid {}", mount_of(&path)),
        );
    }
    if !admin && status_field("NoNewPrivs").as_deref() == Some("1") {
        return bad(
            format!("{shown} {version} gets no privileges here (no_new_privs)"),
            "start this process without no_new_privs (systemd: NoNewPrivileges=no; containers: without --security-opt no-new-privileges)".into(),
        );
    }
    let kind = if setuid {
        "set-user-ID root"
    } else if capable {
        "with file capabilities"
    } else {
        "not set-user-ID"
    };
    Check::good(NAME, format!("{shown} {version}, {kind}"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(PathBuf::from(DIRECTORY))
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// "3.14.0", from "fusermount3 version: 3.14.0".
fn version(path: &Path) -> String {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let last = text.ok().and_then(|text| text.split_whitespace().last().map(str::to_owned));
    last.unwrap_or_else(|| "of unknown version".into())
}

/// The mount point that `path` is below.
fn mount_of(path: &Path) -> String {
    let device = |path: &Path| path.metadata().map(|file| file.dev()).ok();
    let own = device(path);
    let point = path.ancestors().take_while(|above| device(above) == own).last();
    point.unwrap_or(Path::new("/")).display().to_string()
}

const CONFIGURATION: &str = "/etc/fuse.conf";

fn allow_other(admin: bool) -> Check {
    const NAME: &str = "user_allow_other";
    let set = fs::read_to_string(CONFIGURATION)
        .is_ok_and(|text| text.lines().any(|line| line.trim() == NAME));
    match (set, admin) {
        (true, _) => Check::good(NAME, format!("set in {CONFIGURATION}")),
        (false, true) => Check::good(NAME, "not set; matters to ordinary users only"),
        (false, false) => Check::bad(
            NAME,
            State::Notice,
            format!("not set in {CONFIGURATION}: this user's mounts cannot have allow_other"),
            format!("echo {NAME} >> {CONFIGURATION}"),
        ),
    }
}

/// Whether the kernel offers rings to new mounts.
pub(super) fn offered() -> Option<bool> {
    read(ENABLE_URING).map(|value| value == "Y")
}

pub(super) const ENABLE_URING: &str = "/sys/module/fuse/parameters/enable_uring";
