//! The FUSE mounts that a process sees. The mounts themselves are never touched:
//! one whose server hangs would hang this program too.

use std::fs;
use std::path::{Path, PathBuf};

pub struct Mounts(Vec<Mount>);

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    connection: u64,
    point: String,
    /// The user whose mount it is.
    owner: u32,
}

impl Mounts {
    /// From /proc/PROCESS/mountinfo.
    pub fn of(process: &str) -> Self {
        let text = fs::read(format!("/proc/{process}/mountinfo")).unwrap_or_default();
        Self(String::from_utf8_lossy(&text).lines().filter_map(parse).collect())
    }

    /// Where `connection` is mounted.
    pub fn point(&self, connection: u64) -> Option<&str> {
        let mount = self.0.iter().find(|mount| mount.connection == connection)?;
        Some(&mount.point)
    }

    /// What is mounted at `point`; the uppermost of several.
    pub fn at(&self, point: &str) -> Option<u64> {
        self.uppermost(point).map(|mount| mount.connection)
    }

    /// Whose mount is at `point`.
    pub fn owner(&self, point: &str) -> Option<u32> {
        self.uppermost(point).map(|mount| mount.owner)
    }

    fn uppermost(&self, point: &str) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == point)
    }

    /// Each once.
    pub fn connections(&self) -> impl Iterator<Item = u64> + '_ {
        let all = || self.0.iter().map(|mount| mount.connection);
        all()
            .enumerate()
            .filter(move |(i, one)| !all().take(*i).any(|other| other == *one))
            .map(|(_, one)| one)
    }

    /// The connection that is mounted where one of `words`, taken as paths from
    /// `directory` on, says.
    pub fn named_by(&self, words: &[String], directory: &Path) -> Option<u64> {
        let paths: Vec<PathBuf> =
            words.iter().filter_map(|word| resolve(&directory.join(word))).collect();
        let named = |mount: &&Mount| paths.iter().any(|path| path == Path::new(&mount.point));
        self.0.iter().rev().find(named).map(|mount| mount.connection)
    }
}

/// Without a look at the last part, which may be the mount.
pub fn resolve(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS`. A
/// connection has the number of its filesystem's device.
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut filesystem = right.split(' ');
    let kind = filesystem.next()?;
    if !matches!(kind.split('.').next()?, "fuse" | "fuseblk") {
        return None;
    }
    let mut fields = left.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let connection = major.parse::<u64>().ok()? << 20 | minor.parse::<u64>().ok()?;
    let mut options = filesystem.nth(1).unwrap_or_default().split(',');
    let owner = options.find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    Some(Mount { connection, point: unescape(fields.nth(1)?), owner: owner.unwrap_or(0) })
}

/// The kernel writes blanks, newlines and backslashes as `\NNN`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if byte == b'\\' => {
                bytes.push(value);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{parse, Mount};

    #[test]
    fn lines_of_mountinfo() {
        let line = r"89 27 0:47 / /tmp/a\040b\134 rw,nosuid shared:1 - fuse.hello hello rw,user_id=1000,group_id=0";
        let mount =
            |connection, point: &str, owner| Mount { connection, point: point.into(), owner };
        assert_eq!(parse(line), Some(mount(47, r"/tmp/a b\", 1000)));
        let line = "1 2 8:1 / /m rw - fuseblk /dev/sda1 rw";
        assert_eq!(parse(line), Some(mount(8 << 20 | 1, "/m", 0)));
        assert_eq!(parse("1 2 0:9 / /sys/fs/fuse/connections rw - fusectl fusectl rw"), None);
        assert_eq!(parse("1 2 0:9 / / rw - ext4 /dev/root rw"), None);
    }
}
