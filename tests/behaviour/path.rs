//! The path API: what the operations of a filesystem are called with, and what
//! the kernel is answered, played to our two libraries and to libfuse.

use super::paths::{begun, ours, same, same_with, Script};
use super::script::{body, Body};

const ENOENT: i64 = -2;
const EIO: i64 = -5;
const ENOSYS: i64 = -38;
const FH: u64 = 0x77;
const OWNER: u64 = 0x99;

// Opcodes.
const FORGET: u32 = 2;
const SETATTR: u32 = 4;
const READLINK: u32 = 5;
const SYMLINK: u32 = 6;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const RMDIR: u32 = 11;
const RENAME: u32 = 12;
const LINK: u32 = 13;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const SETXATTR: u32 = 21;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
const REMOVEXATTR: u32 = 24;
const FLUSH: u32 = 25;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const FSYNCDIR: u32 = 30;
const GETLK: u32 = 31;
const SETLK: u32 = 32;
const SETLKW: u32 = 33;
const ACCESS: u32 = 34;
const CREATE: u32 = 35;
const BMAP: u32 = 37;
const DESTROY: u32 = 38;
const IOCTL: u32 = 39;
const POLL: u32 = 40;
const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;
const READDIRPLUS: u32 = 44;
const LSEEK: u32 = 46;
const COPY_FILE_RANGE: u32 = 47;

/// SETATTR: with a handle if bit 6 of `valid` is set.
fn setattr(valid: u32) -> Body {
    let head = body().u32(valid).u32(0).u64(FH).u64(100).u64(OWNER).u64(1).u64(2).u64(3);
    head.u32(4).u32(5).u32(6).u32(0o100_644).u32(0).u32(7).u32(8).u32(0)
}

fn lock(owner: u64, kind: u32, start: u64, end: u64) -> Body {
    body().u64(FH).u64(owner).u64(start).u64(end).u32(kind).u32(1234).u32(0).u32(0)
}

fn flush(owner: u64) -> Body {
    body().u64(FH).u32(0).u32(0).u64(owner)
}

fn read(size: u32) -> Body {
    body().u64(FH).u64(4096).u32(size).u32(2).u64(OWNER).u32(2).u32(0)
}

fn write(data: &[u8]) -> Body {
    let size = data.len() as u32;
    body().u64(FH).u64(7).u32(size).u32(2).u64(OWNER).u32(2).u32(0).bytes(data)
}

/// READDIR, READDIRPLUS.
fn list(off: u64, size: u32) -> Body {
    body().u64(0).u64(off).u32(size).u32(0).u64(0).u32(0).u32(0)
}

fn create(name: &str) -> Body {
    body().u32(0o102).u32(0o100_640).u32(0o22).u32(0).name(name)
}

fn mknod(mode: u32, name: &str) -> Body {
    body().u32(mode).u32(0x0010_3042).u32(0o22).u32(0).name(name)
}

fn ioctl(flags: u32, input: &[u8], out: u32) -> Body {
    let head = body().u64(FH).u32(flags).u32(0xc003_5401).u64(0x1234);
    head.u32(input.len() as u32).u32(out).bytes(input)
}

/// All operations, on a file (2), a directory (3), a link (4) and a file in the
/// directory (5).
fn every_operation() -> Script {
    let script = begun().lookups(1, &["file", "dir", "link"]).lookup(3, "inner").lookup(1, "missing");
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

/// Operations: arguments, answers, and the context.
#[test]
fn every_operation_has_its_path() {
    let told = same(&every_operation());
    told.has(&[
        ("error=-38", 1), // opcode 99
        ("op rename /dir/after to=/file", 1),
        ("op symlink ../target path=/dir/lnew", 1),
        ("op destroy private=1", 1),
        ("op init private=1 fuse=1 pid=0", 1),
        ("gid=44 pid=55 private=1 fuse=1 interrupted=0", 1),
    ]);
    // The same where it has none of the operations that others stand in for.
    same_with("-read_buf:write_buf:lock:flock", &[], &[], &every_operation());
}

/// Operations: what is answered without a filesystem's help.
#[test]
fn what_a_table_lacks() {
    same_with("getattr", &[], &[], &every_operation());
    same_with("getattr:lock", &[], &[], &every_operation());
    let told = same_with("init", &[], &[], &begun().getattr(1).lookup(1, "file").open(1));
    assert_eq!(told.calls(), ["init private=1"]);
    assert_eq!(told.errors(), [0, -38, -38, 0]);
}
