//! Random file operations: a function of a seed.
//!
//! A model of what exists and what is open makes most operations meet a
//! suitable file. Names come from a small pool, so that they collide.

use super::model::{Handle, Kind, Model};
use super::ops::{Op, Target, DIR_SLOTS, FILE_SLOTS};
use fastrand::Rng;
use std::ffi::CString;

/// `count` operations. `rehearse` performs each and tells whether it succeeded;
/// the same seed and the same answers give the same operations. `links`: whether
/// hard links are among them.
pub fn generate(
    seed: u64,
    count: usize,
    links: bool,
    mut rehearse: impl FnMut(&Op) -> bool,
) -> Vec<Op> {
    let mut generator = Generator { rng: Rng::with_seed(seed), model: Model::default() };
    let mut next = || {
        let op = generator.next(links);
        let succeeded = rehearse(&op);
        generator.model.learn(&op, succeeded);
        op
    };
    (0..count).map(|_| next()).collect()
}

struct Generator {
    rng: Rng,
    model: Model,
}

const DIRS: [&[u8]; 5] = [b"d0", b"d1", b"d0/e", b"d1/e", b"d0/e/f"];
const LEAVES: [&[u8]; 5] = [b"a", b"b", b"c", b"\xff\n *", &[b'x'; 255]];
const XATTRS: [&str; 6] =
    ["user.a", "user.b", "user.long-name-of-an-attribute", "trusted.t", "unknown.u", "security.s"];

fn c_string(bytes: Vec<u8>) -> CString {
    CString::new(bytes).expect("no name of the pool contains a NUL")
}

type Maker = fn(&mut Generator) -> Op;

/// Every kind of operation with its share.
const MAKERS: &[(u32, Maker)] = &[
    (90, Generator::open),
    (12, Generator::tmpfile),
    (35, |g| Op::Close { slot: g.slot(|_| true) }),
    (80, Generator::read),
    (80, Generator::write),
    (25, |g| Op::ReadAll { path: g.path(&[Kind::File, Kind::Link]) }),
    (30, Generator::seek),
    (30, |g| Op::Truncate { target: g.followed(&[Kind::File]), len: g.offset() }),
    (20, Generator::fallocate),
    (60, Generator::copy),
    (25, |g| Op::Sync { slot: g.slot(|_| true), data_only: g.rng.bool() }),
    (20, Generator::flock),
    (45, Generator::lock),
    (16, |g| Op::LockNew { path: g.fresh_path() }),
    (16, Generator::ioctl),
    (5, |g| Op::Poll { slot: g.slot(|_| true) }),
    (60, |g| Op::Stat { target: g.target() }),
    (25, Generator::statx),
    (15, |g| Op::Statfs { target: g.followed(&[Kind::File, Kind::Dir]) }),
    (20, |g| Op::Access { path: g.some_path(), mode: g.rng.i32(0..8) }),
    (25, |g| Op::Chmod { target: g.followed(&[Kind::File, Kind::Dir]), mode: g.mode() }),
    (20, Generator::chown),
    (25, Generator::utimens),
    (30, Generator::set_xattr),
    (25, |g| Op::GetXattr { target: g.target(), name: g.xattr(), room: g.room() }),
    (25, |g| Op::ListXattr { target: g.target(), room: g.room() }),
    (20, |g| Op::RemoveXattr { target: g.target(), name: g.xattr() }),
    (25, Generator::mknod),
    (35, Generator::mkdir),
    (15, |g| Op::Rmdir { path: g.path(&[Kind::Dir]) }),
    (35, |g| Op::Unlink { path: g.path(&[Kind::File, Kind::Link, Kind::Fifo]) }),
    (45, Generator::rename),
    (30, Generator::hard_link),
    (25, Generator::symlink),
    (20, |g| Op::Readlink { path: g.path(&[Kind::Link]), room: g.choose(&[0, 1, 64, 4096]) }),
    (30, |g| Op::OpenDir { slot: g.rng.usize(0..DIR_SLOTS), path: g.dir_path() }),
    (30, |g| Op::ReadDir { slot: g.dir_slot(), room: g.choose(&[0, 24, 64, 300, 1024, 32768]) }),
    (8, |g| Op::RewindDir { slot: g.dir_slot() }),
    (20, |g| Op::SyncDir { slot: g.dir_slot() }),
    (12, |g| Op::CloseDir { slot: g.dir_slot() }),
    (25, |g| Op::List { path: g.dir_path() }),
    (12, |_| Op::DropCaches),
];

impl Generator {
    fn next(&mut self, links: bool) -> Op {
        loop {
            match self.any() {
                Op::HardLink { .. } if !links => {}
                op => return op,
            }
        }
    }

    fn any(&mut self) -> Op {
        let total: u32 = MAKERS.iter().map(|(share, _)| share).sum();
        let mut ticket = self.rng.u32(0..total);
        for (share, make) in MAKERS {
            if ticket < *share {
                return make(self);
            }
            ticket -= share;
        }
        unreachable!("the ticket is below the sum of the shares")
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn choose<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.rng.usize(0..items.len())]
    }

    /// A name of the pool, or now and then one that cannot work.
    fn any_path(&mut self) -> Vec<u8> {
        if self.chance(4) {
            let odd: [&[u8]; 6] = [b"", b"missing/a", b"a/b", &[b'y'; 256], b"d0/..", b"d1/"];
            return self.choose(&odd).to_vec();
        }
        self.pool_path()
    }

    fn pool_path(&mut self) -> Vec<u8> {
        if self.chance(25) {
            return self.choose(&DIRS).to_vec();
        }
        let leaf = self.choose(&LEAVES);
        match self.rng.usize(0..=DIRS.len()) {
            0 => leaf.to_vec(),
            i => [DIRS[i - 1], b"/", leaf].concat(),
        }
    }

    /// Most often a path that exists and is one of `kinds`.
    fn path(&mut self, kinds: &[Kind]) -> CString {
        let fitting: Vec<&Vec<u8>> = self
            .model
            .tree
            .iter()
            .filter(|(_, kind)| kinds.contains(kind))
            .map(|(path, _)| path)
            .collect();
        if !fitting.is_empty() && self.rng.u32(0..100) < 85 {
            return c_string(fitting[self.rng.usize(0..fitting.len())].clone());
        }
        c_string(self.any_path())
    }

    fn some_path(&mut self) -> CString {
        self.path(&[Kind::File, Kind::Dir, Kind::Link, Kind::Fifo])
    }

    fn dir_path(&mut self) -> CString {
        if self.chance(25) {
            return c".".into();
        }
        self.path(&[Kind::Dir])
    }

    /// Most often a path that does not exist, in a directory that does.
    fn fresh_path(&mut self) -> CString {
        for _ in 0..20 {
            let path = self.any_path();
            if !self.model.tree.contains_key(&path) && self.model.has_parent(&path) {
                return c_string(path);
            }
        }
        c_string(self.any_path())
    }

    fn slot(&mut self, fits: fn(Handle) -> bool) -> usize {
        let fitting: Vec<usize> =
            (0..FILE_SLOTS).filter(|&slot| self.model.files[slot].is_some_and(fits)).collect();
        if !fitting.is_empty() && self.chance(92) {
            return self.choose(&fitting);
        }
        self.rng.usize(0..FILE_SLOTS)
    }

    fn dir_slot(&mut self) -> usize {
        let open: Vec<usize> = (0..DIR_SLOTS).filter(|&slot| self.model.dirs[slot]).collect();
        if !open.is_empty() && self.chance(92) {
            return self.choose(&open);
        }
        self.rng.usize(0..DIR_SLOTS)
    }

    fn target(&mut self) -> Target {
        match self.rng.u32(0..3) {
            0 => Target::Path(self.some_path()),
            1 => Target::Link(self.some_path()),
            _ => Target::Slot(self.slot(|_| true)),
        }
    }

    /// A target for a call that cannot stop at a symbolic link.
    fn followed(&mut self, kinds: &[Kind]) -> Target {
        match self.chance(60) {
            true => Target::Path(self.path(kinds)),
            false => Target::Slot(self.slot(|_| true)),
        }
    }

    fn mode(&mut self) -> u32 {
        let mode =
            self.choose(&[0, 0o400, 0o600, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6711]);
        // An owner other than root soon could do nothing.
        mode | if self.chance(80) { 0o700 } else { 0 }
    }

    fn length(&mut self) -> usize {
        match self.rng.u32(0..100) {
            0..=2 => 0,
            3..=39 => self.rng.usize(1..200),
            40..=64 => self.rng.usize(1..9000),
            65..=74 => 4096,
            75..=94 => self.rng.usize(1..70_000),
            95..=97 => self.rng.usize(1..300_000),
            _ => (1 << 20) + self.choose(&[0, 1, 4096]),
        }
    }

    fn offset(&mut self) -> i64 {
        match self.rng.u32(0..100) {
            0..=9 => 0,
            10 => -1,
            11..=39 => self.rng.i64(0..60) * 4096,
            40..=94 => self.rng.i64(0..200_000),
            _ => self.rng.i64(0..3 << 20),
        }
    }

    fn room(&mut self) -> usize {
        self.choose(&[0, 0, 1, 10, 100, 4096, 65536])
    }

    fn xattr(&mut self) -> CString {
        let share = if self.chance(70) { 2 } else { XATTRS.len() };
        c_string(XATTRS[self.rng.usize(0..share)].into())
    }

    fn open(&mut self) -> Op {
        // Without O_NONBLOCK the open of a FIFO would wait for its other end.
        let mut flags = libc::O_NONBLOCK
            | self.choose(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
        for (percent, flag) in [
            (15, libc::O_TRUNC),
            (20, libc::O_APPEND),
            (15, libc::O_DIRECT),
            (5, libc::O_NOFOLLOW),
            (5, libc::O_DIRECTORY),
            (3, libc::O_SYNC),
            (2, libc::O_PATH),
        ] {
            if self.chance(percent) {
                flags |= flag;
            }
        }
        let path = if self.chance(40) {
            flags |= libc::O_CREAT | if self.chance(30) { libc::O_EXCL } else { 0 };
            self.fresh_path()
        } else if flags & libc::O_DIRECTORY != 0 {
            self.path(&[Kind::Dir])
        } else {
            self.path(&[Kind::File, Kind::File, Kind::Link, Kind::Fifo])
        };
        Op::Open { slot: self.rng.usize(0..FILE_SLOTS), path, flags, mode: self.mode() }
    }

    fn tmpfile(&mut self) -> Op {
        let flags = libc::O_TMPFILE | self.choose(&[libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
        let (slot, path) = (self.rng.usize(0..FILE_SLOTS), self.dir_path());
        Op::Open { slot, path, flags, mode: self.mode() }
    }

    fn read(&mut self) -> Op {
        let at = if self.rng.bool() { Some(self.offset()) } else { None };
        Op::Read { slot: self.slot(|handle| handle.reads), at, len: self.length() }
    }

    fn write(&mut self) -> Op {
        let at = if self.rng.bool() { Some(self.offset()) } else { None };
        let slot = self.slot(|handle| handle.writes);
        let mut len = self.length();
        if self.model.files[slot].is_some_and(|handle| handle.appends) {
            // The kernel may split a large direct write, and a server that
            // appends to its file then writes the parts in either order.
            len %= 1 << 16;
        }
        Op::Write { slot, at, len, fill: self.rng.u64(..) }
    }

    fn seek(&mut self) -> Op {
        let whence = self.choose(&[
            libc::SEEK_SET,
            libc::SEEK_CUR,
            libc::SEEK_END,
            libc::SEEK_DATA,
            libc::SEEK_HOLE,
        ]);
        let offset =
            if whence == libc::SEEK_SET { self.offset() } else { self.rng.i64(-10..20_000) };
        Op::Seek { slot: self.slot(|_| true), offset, whence }
    }

    fn fallocate(&mut self) -> Op {
        let (keep, punch) = (libc::FALLOC_FL_KEEP_SIZE, libc::FALLOC_FL_PUNCH_HOLE);
        let mode = self.choose(&[
            0,
            0,
            keep,
            punch | keep,
            punch | keep,
            punch,
            libc::FALLOC_FL_ZERO_RANGE,
            0x4000,
        ]);
        Op::Fallocate {
            slot: self.slot(|handle| handle.writes),
            mode,
            at: self.offset(),
            len: self.offset(),
        }
    }

    fn copy(&mut self) -> Op {
        Op::Copy {
            from: self.slot(|handle| handle.reads),
            from_at: self.rng.i64(0..50_000),
            to: self.slot(|handle| handle.writes),
            to_at: self.rng.i64(0..50_000),
            len: self.rng.usize(0..100_000),
        }
    }

    fn flock(&mut self) -> Op {
        let operation = libc::LOCK_NB | self.choose(&[libc::LOCK_SH, libc::LOCK_EX, libc::LOCK_UN]);
        Op::Flock { slot: self.slot(|_| true), operation }
    }

    fn lock(&mut self) -> Op {
        let command =
            self.choose(&[libc::F_SETLK, libc::F_GETLK, libc::F_OFD_SETLK, libc::F_OFD_GETLK]);
        let kind = self.choose(&[libc::F_RDLCK, libc::F_WRLCK, libc::F_UNLCK]);
        Op::Lock {
            slot: self.slot(|handle| handle.reads && handle.writes),
            command,
            kind,
            start: self.rng.i64(0..100),
            len: self.rng.i64(0..50),
        }
    }

    fn ioctl(&mut self) -> Op {
        const FIBMAP: u64 = 1;
        const FS_IOC_GETFLAGS: u64 = 0x8008_6601;
        const UNKNOWN_TO_ALL: u64 = 0xc040_f7f7;
        Op::Ioctl {
            slot: self.slot(|_| true),
            request: self.choose(&[FIBMAP, FS_IOC_GETFLAGS, UNKNOWN_TO_ALL]),
        }
    }

    fn statx(&mut self) -> Op {
        Op::Statx {
            target: self.target(),
            sync: self.choose(&[libc::AT_STATX_SYNC_AS_STAT, libc::AT_STATX_FORCE_SYNC]),
            mask: self.choose(&[libc::STATX_BASIC_STATS, libc::STATX_ALL]),
        }
    }

    fn chown(&mut self) -> Op {
        let unchanged = u32::MAX;
        Op::Chown {
            target: self.target(),
            uid: self.choose(&[0, 1, 1000, 70_000, unchanged]),
            gid: self.choose(&[0, 1, 1000, 70_000, unchanged]),
        }
    }

    fn utimens(&mut self) -> Op {
        let mut time = || {
            let seconds =
                self.choose(&[0, 1, 1_000_000_000, 1_234_567_890]) + self.rng.i64(0..1000);
            let nanoseconds = match self.rng.u32(0..10) {
                0 => libc::UTIME_NOW,
                1 => libc::UTIME_OMIT,
                2 => 1_000_000_000, // out of range
                _ => self.rng.i64(0..1_000_000_000),
            };
            (seconds, nanoseconds)
        };
        let times = [time(), time()];
        Op::Utimens { target: self.target(), times }
    }

    fn set_xattr(&mut self) -> Op {
        Op::SetXattr {
            target: self.target(),
            name: self.xattr(),
            len: self.choose(&[0, 1, 7, 100, 3000]),
            fill: self.rng.u64(..),
            flags: self.choose(&[0, 0, libc::XATTR_CREATE, libc::XATTR_REPLACE]),
        }
    }

    fn mknod(&mut self) -> Op {
        let path = self.fresh_path();
        let (kind, device) = self.choose(&[
            (libc::S_IFREG, 0),
            (libc::S_IFREG, 0),
            (libc::S_IFIFO, 0),
            (libc::S_IFSOCK, 0),
            // A device that nothing drives: opening it fails at once.
            (libc::S_IFCHR, libc::makedev(240, 7)),
        ]);
        Op::Mknod { path, mode: kind | self.mode(), device }
    }

    fn mkdir(&mut self) -> Op {
        let missing: Vec<&[u8]> = DIRS
            .into_iter()
            .filter(|dir| !self.model.tree.contains_key(*dir) && self.model.has_parent(dir))
            .collect();
        let path = if !missing.is_empty() && self.chance(85) {
            c_string(self.choose(&missing).to_vec())
        } else {
            self.fresh_path()
        };
        Op::Mkdir { path, mode: self.mode() | 0o700 }
    }

    fn rename(&mut self) -> Op {
        let exchange = libc::RENAME_EXCHANGE;
        let flags = self.choose(&[
            0,
            0,
            0,
            libc::RENAME_NOREPLACE,
            exchange,
            libc::RENAME_NOREPLACE | exchange,
            1 << 7,
        ]);
        let from = self.some_path();
        let to =
            if flags == exchange || self.chance(30) { self.some_path() } else { self.fresh_path() };
        Op::Rename { from, to, flags }
    }

    fn hard_link(&mut self) -> Op {
        let from = self.path(&[Kind::File, Kind::File, Kind::Link, Kind::Fifo]);
        Op::HardLink { from, to: self.fresh_path() }
    }

    fn symlink(&mut self) -> Op {
        let path = self.fresh_path();
        let mut text = self.pool_path();
        if path.to_bytes().contains(&b'/') && self.rng.bool() {
            // At most one level up: above the client's directory is one more
            // of its own, so that a link that is moved to the top stays there.
            text = [b"../", text.as_slice()].concat();
        }
        Op::Symlink { text: c_string(text), path }
    }
}
