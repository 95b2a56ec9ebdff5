//! Scripts for `mock_path`, what they ask, and their transcripts on each library.

use std::path::{Path, PathBuf};

use super::script::{self, body, compare, count, our_minor, request_at, Body, Env};

/// What happens, in order. Requests are numbered as they come; nodes are from 2
/// on, in the order of their first lookup.
#[derive(Default, Clone)]
pub struct Script(Vec<String>);

/// A connection that has begun.
pub fn begun() -> Script {
    let init = body().u32(7).u32(31).u32(0x20000).u32(!(1 << 30));
    Script::default().ask(26, 0, init)
}

impl Script {
    pub fn ask(self, opcode: u32, node: u64, body: Body) -> Script {
        self.ask_as(0, opcode, node, body)
    }

    pub fn ask_as(mut self, uid: u32, opcode: u32, node: u64, body: Body) -> Script {
        let unique = 2 * (self.0.len() as u64 + 1);
        self.0.push(request_at(node, uid, opcode, unique, body));
        self
    }

    pub fn line(mut self, line: impl Into<String>) -> Script {
        self.0.push(line.into());
        self
    }

    /// The script but for some requests.
    pub fn without(mut self, opcodes: &[u32]) -> Script {
        let start = |line: &String| line.split(' ').next().and_then(|opcode| opcode.parse().ok());
        self.0.retain(|line| start(line).is_none_or(|opcode| !opcodes.contains(&opcode)));
        self
    }

    /// What the next calls of `op` return.
    pub fn result(self, op: &str, result: i64) -> Script {
        self.line(format!("result {op} {result}"))
    }

    pub fn lookup(self, parent: u64, name: &str) -> Script {
        self.ask(1, parent, body().name(name))
    }

    pub fn lookups(self, parent: u64, names: &[&str]) -> Script {
        names.iter().fold(self, |script, name| script.lookup(parent, name))
    }

    pub fn forget(self, node: u64, count: u64) -> Script {
        self.ask(2, node, body().u64(count))
    }

    pub fn getattr(self, node: u64) -> Script {
        self.ask(3, node, body().u32(0).u32(0).u64(0))
    }

    pub fn open(self, node: u64) -> Script {
        self.ask(14, node, body().u32(2).u32(0))
    }

    pub fn release(self, node: u64) -> Script {
        self.ask(18, node, body().u64(0x77).u32(2).u32(0).u64(0))
    }

    pub fn unlink(self, parent: u64, name: &str) -> Script {
        self.ask(10, parent, body().name(name))
    }

    pub fn rename(self, parent: u64, name: &str, to: u64, new: &str, flags: u32) -> Script {
        let body = body().u64(to).u32(flags).u32(0).name(name).name(new);
        self.ask(45, parent, body)
    }
}

/// What came of a script.
pub struct Told(Vec<String>);

impl Told {
    pub fn count(&self, part: &str) -> usize {
        count(&self.0, part)
    }

    /// How often each part is in a line of its own.
    #[track_caller]
    pub fn has(&self, parts: &[(&str, usize)]) {
        for (part, times) in parts {
            assert_eq!(self.count(part), *times, "{part}\n{}", self.0.join("\n"));
        }
    }

    /// The calls of the filesystem, by name and path, but for the first and the
    /// last, init and destroy.
    pub fn calls(&self) -> Vec<String> {
        let calls = self.0.iter().filter_map(|line| line.strip_prefix("op "));
        let calls = calls.filter(|call| !call.contains("private=1"));
        calls.map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }

    /// The answers, in hexadecimal digits.
    pub fn bodies(&self) -> Vec<String> {
        self.0.iter().filter_map(|line| Some(line.split_once("body=")?.1.to_owned())).collect()
    }

    /// The errors of the answers, and 0.
    pub fn errors(&self) -> Vec<i32> {
        let error = |line: &String| line.split("error=").nth(1)?.split(' ').next()?.parse().ok();
        self.0.iter().filter_map(error).collect()
    }
}

fn play(library: &Path, ops: &str, args: &[&str], env: Env, script: &Script) -> Vec<String> {
    let args: Vec<_> = std::iter::once(ops).chain(args.iter().copied()).collect();
    script::play_by("mock_path", library, &args, env, &script.0)
}

/// Plays `script` to both of our libraries, with the operations `ops`, options
/// and settings.
pub fn ours(ops: &str, args: &[&str], env: Env, script: &Script) -> Told {
    let library = |n: u32| script::built(&format!("libfuse3.so.{n}"));
    let [so3, so4] = [3, 4].map(|n| play(&library(n), ops, args, env, script));
    compare(&so3, &so4);
    Told(so3)
}

/// The same, and libfuse must do it too.
pub fn same_with(ops: &str, args: &[&str], env: Env, script: &Script) -> Told {
    let told = ours(ops, args, env, script);
    let stock: Option<PathBuf> = script::stock();
    if let Some(stock) = stock {
        let theirs = play(&stock, ops, args, env, script);
        compare(&told.0, &theirs.iter().map(|line| our_minor(line)).collect::<Vec<_>>());
    }
    told
}

pub fn same(script: &Script) -> Told {
    same_with("all", &[], &[], script)
}

pub const ENOENT: i64 = -2;
pub const EIO: i64 = -5;
pub const ENOSYS: i64 = -38;
pub const FH: u64 = 0x77;
pub const OWNER: u64 = 0x99;

// Opcodes.
pub const SETATTR: u32 = 4;
pub const READLINK: u32 = 5;
pub const SYMLINK: u32 = 6;
pub const MKNOD: u32 = 8;
pub const MKDIR: u32 = 9;
pub const RMDIR: u32 = 11;
pub const RENAME: u32 = 12;
pub const LINK: u32 = 13;
pub const READ: u32 = 15;
pub const WRITE: u32 = 16;
pub const STATFS: u32 = 17;
pub const RELEASE: u32 = 18;
pub const FSYNC: u32 = 20;
pub const SETXATTR: u32 = 21;
pub const GETXATTR: u32 = 22;
pub const LISTXATTR: u32 = 23;
pub const REMOVEXATTR: u32 = 24;
pub const FLUSH: u32 = 25;
pub const OPENDIR: u32 = 27;
pub const READDIR: u32 = 28;
pub const RELEASEDIR: u32 = 29;
pub const FSYNCDIR: u32 = 30;
pub const GETLK: u32 = 31;
pub const SETLK: u32 = 32;
pub const SETLKW: u32 = 33;
pub const ACCESS: u32 = 34;
pub const CREATE: u32 = 35;
pub const BMAP: u32 = 37;
pub const DESTROY: u32 = 38;
pub const IOCTL: u32 = 39;
pub const POLL: u32 = 40;
pub const BATCH_FORGET: u32 = 42;
pub const FALLOCATE: u32 = 43;
pub const READDIRPLUS: u32 = 44;
pub const LSEEK: u32 = 46;
pub const COPY_FILE_RANGE: u32 = 47;

/// SETATTR: with a handle if bit 6 of `valid` is set.
pub fn setattr(valid: u32) -> Body {
    let head = body().u32(valid).u32(0).u64(FH).u64(100).u64(OWNER).u64(1).u64(2).u64(3);
    head.u32(4).u32(5).u32(6).u32(0o100_644).u32(0).u32(7).u32(8).u32(0)
}

pub fn lock(owner: u64, kind: u32, start: u64, end: u64) -> Body {
    body().u64(FH).u64(owner).u64(start).u64(end).u32(kind).u32(1234).u32(0).u32(0)
}

pub fn flush(owner: u64) -> Body {
    body().u64(FH).u32(0).u32(0).u64(owner)
}

pub fn read(size: u32) -> Body {
    body().u64(FH).u64(4096).u32(size).u32(2).u64(OWNER).u32(2).u32(0)
}

pub fn write(data: &[u8]) -> Body {
    let size = data.len() as u32;
    body().u64(FH).u64(7).u32(size).u32(2).u64(OWNER).u32(2).u32(0).bytes(data)
}

/// READDIR, READDIRPLUS.
pub fn list(off: u64, size: u32) -> Body {
    body().u64(0).u64(off).u32(size).u32(0).u64(0).u32(0).u32(0)
}

pub fn create(name: &str) -> Body {
    body().u32(0o102).u32(0o100_640).u32(0o22).u32(0).name(name)
}

pub fn mknod(mode: u32, name: &str) -> Body {
    body().u32(mode).u32(0x0010_3042).u32(0o22).u32(0).name(name)
}

pub fn ioctl(flags: u32, input: &[u8], out: u32) -> Body {
    let cmd = if input.is_empty() { 0x8003_5401 } else { 0xc003_5401 };
    let head = body().u64(FH).u32(flags).u32(cmd).u64(0x1234);
    head.u32(input.len() as u32).u32(out).bytes(input)
}

/// All operations, on a file (2), a directory (3), a link (4) and a file in the
/// directory (5).
pub fn every_operation() -> Script {
    let script =
        begun().lookups(1, &["file", "dir", "link"]).lookup(3, "inner").lookup(1, "missing");
    let copy = body().u64(FH).u64(1).u64(5).u64(0x78).u64(2).u64(3).u64(0);
    script
        .getattr(2)
        .ask(3, 5, body().u32(1).u32(0).u64(FH))
        .ask(SETATTR, 5, setattr(0xffff_ffff))
        .ask(SETATTR, 2, setattr(1))
        .ask(READLINK, 4, body())
        .ask(SYMLINK, 3, body().name("lnew").name("../target"))
        .ask(MKNOD, 3, mknod(0o20_600, "special"))
        .ask(MKDIR, 3, body().u32(0o755).u32(0o27).name("dnew"))
        .unlink(3, "special")
        .ask(RMDIR, 3, body().name("dnew"))
        .ask(RENAME, 1, body().u64(3).name("file").name("after"))
        .getattr(2)
        .rename(3, "after", 1, "file", 0)
        .ask(LINK, 3, body().u64(2).name("second"))
        .open(2)
        .ask(READ, 2, read(16))
        .ask(WRITE, 2, write(b"abcd"))
        .ask(STATFS, 3, body())
        .ask(FSYNC, 2, body().u64(FH).u32(1).u32(0))
        .ask(SETXATTR, 2, body().u32(3).u32(2).bytes(b"user.x\0abc"))
        .ask(GETXATTR, 2, body().u32(40).u32(0).name("user.x"))
        .ask(GETXATTR, 2, body().u32(0).u32(0).name("user.x"))
        .ask(LISTXATTR, 2, body().u32(0).u32(0))
        .ask(LISTXATTR, 2, body().u32(40).u32(0))
        .ask(REMOVEXATTR, 2, body().name("user.x"))
        .ask(FLUSH, 2, flush(OWNER))
        .ask(ACCESS, 5, body().u32(5).u32(0))
        .ask(GETLK, 2, lock(OWNER, 0, 10, i64::MAX as u64))
        .ask(SETLK, 2, lock(OWNER, 1, 10, 19))
        .ask(SETLKW, 2, lock(OWNER, 2, 0, i64::MAX as u64))
        .ask(SETLK, 2, body().u64(FH).u64(OWNER).u64(0).u64(0).u32(1).u32(0).u32(1).u32(0))
        .ask(BMAP, 2, body().u64(11).u32(512).u32(0))
        .ask(IOCTL, 2, ioctl(0, b"inp", 3))
        .ask(IOCTL, 2, ioctl(0, b"", 0))
        .ask(POLL, 2, body().u64(FH).u64(55).u32(0).u32(4))
        .ask(POLL, 2, body().u64(FH).u64(56).u32(1).u32(4))
        .ask(FALLOCATE, 2, body().u64(FH).u64(1).u64(2).u32(3).u32(0))
        .ask(LSEEK, 2, body().u64(FH).u64(5).u32(3).u32(0))
        .ask(COPY_FILE_RANGE, 2, copy)
        .release(2)
        .ask(CREATE, 3, create("created"))
        .ask(OPENDIR, 3, body().u32(0o200_000).u32(0))
        .line("list .,0,0,- ..,0,0,- inner,0,0,100600 other,0,0,-")
        .ask(READDIR, 3, list(0, 4096))
        .ask(FSYNCDIR, 3, body().u64(0).u32(1).u32(0))
        .ask(IOCTL, 3, ioctl(1 << 4, b"", 3))
        .ask(RELEASEDIR, 3, body().u64(0).u32(0o200_000).u32(0).u64(0))
        .ask(99, 2, body().zeros(16))
        .ask(DESTROY, 0, body())
}

/// What operations by handle do without a path, and those by name do not.
pub fn without_a_name(script: Script, node: u64) -> Script {
    let copy = |to: u64| body().u64(FH).u64(1).u64(to).u64(0x78).u64(2).u64(3).u64(0);
    script
        .ask(3, node, body().u32(1).u32(0).u64(FH))
        .ask(SETATTR, node, setattr(0x1ff))
        .ask(READ, node, read(16))
        .ask(WRITE, node, write(b"abcd"))
        .ask(FSYNC, node, body().u64(FH).u32(1).u32(0))
        .ask(FLUSH, node, flush(OWNER))
        .ask(GETLK, node, lock(OWNER, 0, 10, 12))
        .ask(SETLK, node, lock(OWNER, 1, 10, 19))
        .ask(SETLK, node, body().u64(FH).u64(OWNER).u64(0).u64(0).u32(1).u32(0).u32(1).u32(0))
        .ask(IOCTL, node, ioctl(0, b"inp", 3))
        .ask(POLL, node, body().u64(FH).u64(56).u32(0).u32(4))
        .ask(FALLOCATE, node, body().u64(FH).u64(1).u64(2).u32(3).u32(0))
        .ask(COPY_FILE_RANGE, node, copy(node))
        .release(node)
        // By name.
        .getattr(node)
        .ask(SETATTR, node, setattr(0x1bf))
        .ask(LSEEK, node, body().u64(FH).u64(5).u32(3).u32(0))
        .ask(STATFS, node, body())
        .ask(ACCESS, node, body().u32(5).u32(0))
        .ask(GETXATTR, node, body().u32(40).u32(0).name("user.x"))
        .ask(SETXATTR, node, body().u32(3).u32(2).bytes(b"user.x\0abc"))
        .ask(LISTXATTR, node, body().u32(40).u32(0))
        .ask(REMOVEXATTR, node, body().name("user.x"))
        .ask(READLINK, node, body())
        .ask(BMAP, node, body().u64(11).u32(512).u32(0))
        .ask(LINK, 1, body().u64(node).name("second"))
        .open(node)
}

pub fn without_a_directory(script: Script, node: u64) -> Script {
    script
        .line("list a,0,0,-")
        .ask(READDIR, node, list(0, 4096))
        .ask(FSYNCDIR, node, body().u64(0).u32(1).u32(0))
        .ask(IOCTL, node, ioctl(1 << 4, b"", 3))
        .ask(RELEASEDIR, node, body().u64(0).u32(0o200_000).u32(0).u64(0))
        .ask(OPENDIR, node, body().u32(0o200_000).u32(0))
        .lookup(node, "inside")
        .ask(MKDIR, node, body().u32(0o755).u32(0).name("inside"))
        .unlink(node, "inside")
        .rename(node, "inside", 1, "outside", 0)
}
