//! Performs operations and writes down what came of each.
//!
//! A record is what any two correct servers must agree on: the value or error
//! number, a hash of the data, names, attributes. What may differ from run to
//! run is replaced: a time is kept only if an operation set it, an inode number
//! becomes the rank in which this client first met it.

use super::ops::{Op, Target, DIR_SLOTS, FILE_SLOTS};
use super::sys::{self, Object, Outcome};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which data the kernel keeps: it decides when the server gets to know of
/// reads and writes, and thus which times can be predicted.
#[derive(Clone, Copy, PartialEq)]
pub enum Cache {
    Nothing,
    /// It may still be reading ahead when a call has returned.
    Reads,
    /// It writes back when it likes, and keeps the modification times itself.
    ReadsAndWrites,
}

/// A client that owns one directory and everything below it.
pub struct Client {
    mountpoint: CString,
    root: CString,
    cache: Cache,
    files: [Option<OwnedFd>; FILE_SLOTS],
    dirs: [Option<OwnedFd>; DIR_SLOTS],
    ranks: HashMap<u64, usize>,
}

/// What the record of a failed operation starts with.
pub const FAILED: &str = "failed: ";

/// The hash by which records compare data.
pub fn hash(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// A time if an operation set it; those lie far in the past.
pub fn fixed_time(seconds: i64, nanoseconds: i64) -> String {
    if seconds < 1_300_000_000 {
        format!("{seconds}.{nanoseconds:09}")
    } else {
        "now".into()
    }
}

fn filled(seed: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut data);
    data
}

/// Gives up all locks of an open file. A close does that too, but only when the
/// server gets to know of it, some time after the caller has gone on.
fn unlock(fd: &OwnedFd) {
    let _ = sys::lock(fd.as_raw_fd(), libc::F_OFD_SETLK, libc::F_UNLCK, 0, 0);
    let _ = sys::flock(fd.as_raw_fd(), libc::LOCK_UN);
}

impl Client {
    /// A client in the directory `root` of the mount.
    pub fn new(mountpoint: &Path, root: &str, cache: Cache) -> Self {
        let text =
            |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL");
        Self {
            mountpoint: text(mountpoint),
            root: text(&mountpoint.join(root)),
            cache,
            files: [const { None }; FILE_SLOTS],
            dirs: [const { None }; DIR_SLOTS],
            ranks: HashMap::new(),
        }
    }

    /// Performs `op` and gives its record.
    pub fn run(&mut self, op: &Op) -> String {
        match self.perform(op) {
            Ok(text) => text,
            Err(number) => format!("{FAILED}{}", std::io::Error::from_raw_os_error(number)),
        }
    }

    /// An operation's path below the client's directory; the empty path stays.
    fn path(&self, path: &CStr) -> CString {
        if path.is_empty() {
            return path.into();
        }
        CString::new([self.root.to_bytes(), b"/", path.to_bytes()].concat())
            .expect("no NUL in a path")
    }

    fn file(&self, slot: usize) -> RawFd {
        self.files[slot].as_ref().map_or(-1, |fd| fd.as_raw_fd())
    }

    fn dir(&self, slot: usize) -> RawFd {
        self.dirs[slot].as_ref().map_or(-1, |fd| fd.as_raw_fd())
    }

    fn on<T>(&self, target: &Target, call: impl FnOnce(Object) -> Outcome<T>) -> Outcome<T> {
        match target {
            Target::Path(path) => call(Object::Path(&self.path(path))),
            Target::Link(path) => call(Object::Link(&self.path(path))),
            Target::Slot(slot) => call(Object::File(self.file(*slot))),
        }
    }

    fn rank(&mut self, inode: u64) -> usize {
        let next = self.ranks.len();
        *self.ranks.entry(inode).or_insert(next)
    }

    fn attributes(&mut self, stat: &libc::stat) -> String {
        format!(
            "file#{} mode {:o} links {} owner {}:{} size {} device {:x} block {} mtime {}",
            self.rank(stat.st_ino),
            stat.st_mode,
            stat.st_nlink,
            stat.st_uid,
            stat.st_gid,
            stat.st_size,
            stat.st_rdev,
            stat.st_blksize,
            self.modified(stat),
        )
    }

    fn modified(&self, stat: &libc::stat) -> String {
        match self.cache {
            Cache::ReadsAndWrites => String::new(),
            _ => fixed_time(stat.st_mtime, stat.st_mtime_nsec),
        }
    }

    fn entry(&mut self, entry: &sys::Entry) -> String {
        let name = entry.name.escape_ascii();
        match entry.name.as_slice() {
            // Above the client's directory are those of others.
            b".." => format!("{name} {}", entry.kind),
            _ => format!("{name} {} file#{}", entry.kind, self.rank(entry.inode)),
        }
    }

    fn read_all(&self, path: &CStr) -> Outcome<String> {
        let fd = sys::open(&self.path(path), libc::O_RDONLY | libc::O_NONBLOCK, 0)?;
        let mut data = Vec::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            match sys::read(fd.as_raw_fd(), None, &mut buffer)? {
                0 => break,
                got => data.extend_from_slice(&buffer[..got]),
            }
        }
        sys::close(fd)?;
        Ok(format!("{} bytes {:x}", data.len(), hash(&data)))
    }

    /// Waits for a lock that is free, on a file nobody else has: so it does
    /// not wait. A second open file must then see it.
    fn lock_new(&self, path: &CStr) -> Outcome<String> {
        let path = self.path(path);
        let fd = sys::open(&path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600)?;
        let granted = sys::lock(fd.as_raw_fd(), libc::F_OFD_SETLKW, libc::F_WRLCK, 10, 20);
        let other = sys::open(&path, libc::O_RDWR, 0)?;
        let seen = sys::lock(other.as_raw_fd(), libc::F_OFD_GETLK, libc::F_RDLCK, 0, 0);
        let flocked = sys::flock(fd.as_raw_fd(), libc::LOCK_EX);
        unlock(&fd);
        let after = sys::lock(other.as_raw_fd(), libc::F_OFD_GETLK, libc::F_RDLCK, 0, 0);
        sys::close(fd)?;
        sys::close(other)?;
        sys::unlink(&path)?;
        Ok(format!("{granted:?} {seen:?} {flocked:?} {after:?}"))
    }

    fn list(&mut self, path: &CStr) -> Outcome<String> {
        let fd = sys::open(&self.path(path), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let mut names = Vec::new();
        loop {
            let entries = sys::read_dir(fd.as_raw_fd(), 2048)?;
            if entries.is_empty() {
                break;
            }
            names.extend(entries.iter().map(|entry| self.entry(entry)));
        }
        sys::close(fd)?;
        Ok(names.join(", "))
    }

    fn perform(&mut self, op: &Op) -> Outcome<String> {
        let done = |()| "done".to_string();
        let shown = |value: &dyn std::fmt::Debug| format!("{value:?}");
        match op {
            Op::Open { slot, path, flags, mode } => {
                self.files[*slot].take().inspect(unlock);
                self.files[*slot] = Some(sys::open(&self.path(path), *flags, *mode)?);
                Ok("open".into())
            }
            Op::Close { slot } => match self.files[*slot].take().inspect(unlock) {
                Some(fd) => sys::close(fd).map(done),
                None => Ok("was closed".into()),
            },
            Op::Read { slot, at, len } => {
                let mut buffer = vec![0; *len];
                let got = sys::read(self.file(*slot), *at, &mut buffer)?;
                Ok(format!("{got} bytes {:x}", hash(&buffer[..got])))
            }
            Op::Write { slot, at, len, fill } => {
                sys::write(self.file(*slot), *at, &filled(*fill, *len)).map(|put| shown(&put))
            }
            Op::ReadAll { path } => self.read_all(path),
            Op::Seek { slot, offset, whence } => {
                let asks_server = *whence == libc::SEEK_DATA || *whence == libc::SEEK_HOLE;
                if asks_server && self.cache == Cache::ReadsAndWrites {
                    let _ = sys::sync(self.file(*slot), false);
                }
                if *whence == libc::SEEK_END {
                    // For a directory the kernel takes the size it last heard of.
                    let _ = sys::stat(Object::File(self.file(*slot)));
                }
                sys::seek(self.file(*slot), *offset, *whence).map(|position| shown(&position))
            }
            Op::Truncate { target, len } => {
                self.on(target, |object| sys::truncate(object, *len)).map(done)
            }
            Op::Fallocate { slot, mode, at, len } => {
                sys::fallocate(self.file(*slot), *mode, *at, *len).map(done)
            }
            Op::Copy { from, from_at, to, to_at, len } => {
                sys::copy_file_range(self.file(*from), *from_at, self.file(*to), *to_at, *len)
                    .map(|copied| shown(&copied))
            }
            Op::Sync { slot, data_only } => sys::sync(self.file(*slot), *data_only).map(done),
            Op::Flock { slot, operation } => sys::flock(self.file(*slot), *operation).map(done),
            Op::Lock { slot, command, kind, start, len } => {
                sys::lock(self.file(*slot), *command, *kind, *start, *len).map(|lock| shown(&lock))
            }
            Op::LockNew { path } => self.lock_new(path),
            Op::Ioctl { slot, request } => {
                let mut argument = [0; 64];
                let value = sys::ioctl(self.file(*slot), *request, &mut argument)?;
                Ok(format!("{value} {:x}", hash(&argument)))
            }
            Op::Poll { slot } => sys::poll(self.file(*slot)).map(|events| shown(&events)),
            Op::Stat { target } => {
                let stat = self.on(target, sys::stat)?;
                Ok(self.attributes(&stat))
            }
            Op::Statx { target, sync, mask } => {
                let stat = self.on(target, |object| sys::statx(object, *sync, *mask))?;
                Ok(format!(
                    "mask {:x} file#{} mode {:o} links {} owner {}:{} size {} block {}",
                    stat.stx_mask,
                    self.rank(stat.stx_ino),
                    stat.stx_mode,
                    stat.stx_nlink,
                    stat.stx_uid,
                    stat.stx_gid,
                    stat.stx_size,
                    stat.stx_blksize,
                ))
            }
            Op::Statfs { target } => self.on(target, sys::statfs).map(|stat| {
                format!(
                    "block {} fragment {} blocks {} files {} name {}",
                    stat.f_bsize, stat.f_frsize, stat.f_blocks, stat.f_files, stat.f_namemax
                )
            }),
            Op::Access { path, mode } => sys::access(&self.path(path), *mode).map(done),
            Op::Chmod { target, mode } => {
                self.on(target, |object| sys::chmod(object, *mode)).map(done)
            }
            Op::Chown { target, uid, gid } => {
                self.on(target, |object| sys::chown(object, *uid, *gid)).map(done)
            }
            Op::Utimens { target, times } => {
                self.on(target, |object| sys::utimens(object, *times))?;
                let stat = self.on(target, sys::stat)?;
                let accessed = match self.cache {
                    Cache::Nothing => fixed_time(stat.st_atime, stat.st_atime_nsec),
                    _ => String::new(),
                };
                Ok(format!("{accessed} {}", self.modified(&stat)))
            }
            Op::SetXattr { target, name, len, fill, flags } => {
                let value = filled(*fill, *len);
                self.on(target, |object| sys::set_xattr(object, name, &value, *flags)).map(done)
            }
            Op::GetXattr { target, name, room } => {
                let mut buffer = vec![0; *room];
                let got = self.on(target, |object| sys::get_xattr(object, name, &mut buffer))?;
                Ok(format!("{got} bytes {:x}", hash(&buffer[..got.min(*room)])))
            }
            Op::ListXattr { target, room } => {
                let mut buffer = vec![0; *room];
                let got = self.on(target, |object| sys::list_xattr(object, &mut buffer))?;
                let mut names: Vec<_> = buffer[..got.min(*room)].split(|&byte| byte == 0).collect();
                names.sort();
                Ok(format!("{got} bytes {}", names.join(&b' ').escape_ascii()))
            }
            Op::RemoveXattr { target, name } => {
                self.on(target, |object| sys::remove_xattr(object, name)).map(done)
            }
            Op::Mknod { path, mode, device } => {
                sys::mknod(&self.path(path), *mode, *device).map(done)
            }
            Op::Mkdir { path, mode } => sys::mkdir(&self.path(path), *mode).map(done),
            Op::Rmdir { path } => sys::rmdir(&self.path(path)).map(done),
            Op::Unlink { path } => sys::unlink(&self.path(path)).map(done),
            Op::Rename { from, to, flags } => {
                sys::rename(&self.path(from), &self.path(to), *flags).map(done)
            }
            Op::HardLink { from, to } => sys::link(&self.path(from), &self.path(to)).map(done),
            Op::Symlink { text, path } => sys::symlink(text, &self.path(path)).map(done),
            Op::Readlink { path, room } => {
                let mut buffer = vec![0; *room];
                let got = sys::readlink(&self.path(path), &mut buffer)?;
                Ok(buffer[..got].escape_ascii().to_string())
            }
            Op::OpenDir { slot, path } => {
                self.dirs[*slot] = None;
                let flags = libc::O_RDONLY | libc::O_DIRECTORY;
                self.dirs[*slot] = Some(sys::open(&self.path(path), flags, 0)?);
                Ok("open".into())
            }
            Op::ReadDir { slot, room } => {
                let entries = sys::read_dir(self.dir(*slot), *room)?;
                let entries: Vec<_> = entries.iter().map(|entry| self.entry(entry)).collect();
                Ok(entries.join(", "))
            }
            Op::RewindDir { slot } => {
                sys::seek(self.dir(*slot), 0, libc::SEEK_SET).map(|at| shown(&at))
            }
            Op::SyncDir { slot } => sys::sync(self.dir(*slot), false).map(done),
            Op::CloseDir { slot } => match self.dirs[*slot].take() {
                Some(fd) => sys::close(fd).map(done),
                None => Ok("was closed".into()),
            },
            Op::List { path } => self.list(path),
            Op::DropCaches => sys::drop_caches(&self.mountpoint).map(done),
        }
    }
}
