//! Whether rings are there to be had, and what to tell a person if not.

use crate::errno::Errno;

/// Whether the kernel offers rings for new mounts.
pub fn is_enabled() -> bool {
    std::fs::read_to_string("/sys/module/fuse/parameters/enable_uring")
        .is_ok_and(|value| value.trim() == "Y")
}

/// Why the kernel did not offer rings in INIT, with what to do about it.
pub fn why_not_offered() -> String {
    match std::fs::read_to_string("/sys/module/fuse/parameters/enable_uring") {
        Ok(value) if value.trim() == "N" => {
            "the kernel's rings are switched off; root can switch them on \
             for new mounts: echo Y > /sys/module/fuse/parameters/enable_uring"
                .into()
        }
        Ok(_) => "the kernel did not offer rings for this mount".into(),
        Err(_) => format!(
            "the kernel ({}) has no FUSE over io_uring (Linux 6.14 with CONFIG_FUSE_IO_URING has)",
            crate::sys::kernel_release()
        ),
    }
}

/// What an io_uring that cannot be made means to a person.
pub fn why_not_possible(errno: Errno) -> String {
    match errno.0 {
        libc::EPERM | libc::EACCES => {
            let sysctl =
                std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
            match sysctl.trim() {
                "" | "0" => {
                    "io_uring is forbidden to this process (a seccomp filter or security module)"
                        .into()
                }
                value => {
                    format!("io_uring is switched off (sysctl kernel.io_uring_disabled = {value})")
                }
            }
        }
        libc::ENOSYS => "io_uring is not there (kernel without it, or a seccomp filter)".into(),
        libc::ENOMEM => "io_uring got no memory (see ulimit -l)".into(),
        libc::EMFILE | libc::ENFILE => "io_uring got no descriptor (see ulimit -n)".into(),
        _ => format!("io_uring cannot be set up: {errno}"),
    }
}
