//! Looking a mount up in /proc/self/mountinfo, which asks no filesystem
//! anything: a `stat` of a FUSE mount would be a request to the very process
//! that asks.

use std::ffi::CStr;
use std::fs;

/// The `st_dev` of the FUSE filesystem that is mounted at `mountpoint`, an
/// absolute path without symbolic links; of the uppermost if there are more.
pub fn device_of(mountpoint: &CStr) -> Option<libc::dev_t> {
    find(&fs::read("/proc/self/mountinfo").ok()?, mountpoint.to_bytes())
}

fn find(mountinfo: &[u8], mountpoint: &[u8]) -> Option<libc::dev_t> {
    mountinfo.split(|&byte| byte == b'\n').rev().find_map(|line| {
        let entry = Entry::parse(line)?;
        (entry.is_fuse() && unescaped(entry.mountpoint) == mountpoint).then_some(entry.device)
    })
}

struct Entry<'a> {
    device: libc::dev_t,
    mountpoint: &'a [u8],
    fs_type: &'a [u8],
}

impl<'a> Entry<'a> {
    /// `ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS`
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
        let mountpoint = fields.nth(1)?;
        fields.find(|&field| field == b"-")?;
        Some(Self {
            device: libc::makedev(major.parse().ok()?, minor.parse().ok()?),
            mountpoint,
            fs_type: fields.next()?,
        })
    }

    fn is_fuse(&self) -> bool {
        let base = self.fs_type.split(|&byte| byte == b'.').next();
        matches!(base, Some(b"fuse" | b"fuseblk"))
    }
}

/// Undoes the kernel's `\ooo` for blanks, tabs, newlines and backslashes.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / /mnt/a rw,nosuid,nodev,relatime shared:7 master:2 - fuse.one one rw,user_id=0
41 40 0:41 / /mnt/a rw,nosuid,nodev,relatime - fuse two rw,user_id=0
42 41 0:42 / /mnt/a rw - tmpfs over rw
43 22 0:300 / /mnt/with\\040blank\\011\\134 rw - fuseblk /dev/sdb rw
44 22 0:44 / /mnt/other rw - fusectl none rw
";

    #[test]
    fn the_uppermost_fuse_mount_is_found() {
        assert_eq!(find(MOUNTINFO, b"/mnt/a"), Some(libc::makedev(0, 41)));
    }

    #[test]
    fn escapes_and_fuseblk_are_understood() {
        assert_eq!(find(MOUNTINFO, b"/mnt/with blank\t\\"), Some(libc::makedev(0, 300)));
    }

    #[test]
    fn what_is_no_fuse_mount_is_not_found() {
        for path in [&b"/"[..], b"/mnt/other", b"/mnt", b"/mnt/a/", b""] {
            assert_eq!(find(MOUNTINFO, path), None);
        }
    }

    #[test]
    fn lines_cut_short_are_passed_over() {
        assert_eq!(find(b"41 40 0:41 / /mnt/a rw", b"/mnt/a"), None);
        assert_eq!(find(b"41 40 0:41 / /mnt/a rw -", b"/mnt/a"), None);
        assert_eq!(find(b"41 40 zero / /mnt/a rw - fuse x rw", b"/mnt/a"), None);
    }
}
