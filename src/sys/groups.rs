//! The supplementary groups of another process.

use crate::errno::{Errno, Result};

/// The groups of thread `pid`, from /proc.
pub fn of_process(pid: i32) -> Result<Vec<libc::gid_t>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("Groups:")).ok_or(Errno(libc::EIO))?;
    line.split_whitespace().map(|group| group.parse().map_err(|_| Errno(libc::EIO))).collect()
}
