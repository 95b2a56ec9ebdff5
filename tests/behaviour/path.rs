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
/// By the modules of libfuse 3.14.
const NOT_PASSED_ON: &[u32] = &[IOCTL, POLL, FALLOCATE, COPY_FILE_RANGE];

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
    let cmd = if input.is_empty() { 0x8003_5401 } else { 0xc003_5401 };
    let head = body().u64(FH).u32(flags).u32(cmd).u64(0x1234);
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
    // What no table of the time has: SYNCFS, TMPFILE, STATX.
    let later = begun().ask(50, 1, body().u64(0)).ask(51, 1, create("x"));
    let later = later.ask(52, 1, body().u64(0).u64(0).u32(0).u32(0x7ff));
    assert_eq!(same(&later).errors(), [0, -38, -38, -38]);
    let told = same_with("init", &[], &[], &begun().getattr(1).lookup(1, "file").open(1));
    assert!(told.calls().is_empty());
    assert_eq!(told.errors(), [0, -38, -38, 0]);
}

/// Nodes: numbers, what keeps them, and what is told of names.
#[test]
fn nodes_and_their_numbers() {
    let script = begun()
        .lookups(1, &["a", "a", "d", "b"]) // 2, 3, 4
        .lookup(3, "inner") // 5
        .forget(2, 2)
        .lookup(1, "a") // 6
        .forget(3, 1) // has a child
        .lookup(3, "inner")
        .forget(5, 2)
        .lookup(1, "d") // 7
        // Removed, and looked up anew while the kernel still has the old one.
        .unlink(1, "b")
        .lookup(1, "b") // 8
        .ask(BATCH_FORGET, 0, body().u32(2).u32(0).u64(8).u64(1).u64(6).u64(1))
        .lookups(1, &["b", "a"])
        // Of a link both names are nodes.
        .ask(LINK, 1, body().u64(4).name("no-path"))
        .ask(LINK, 1, body().u64(9).name("other"));
    same(&script);
    // What an exported filesystem asks.
    let script = begun().lookup(1, "d").lookup(2, "e").lookups(3, &[".", ".."]).lookup(1, ".");
    same(&script);
    // With generations and a counter that comes round: src/high/tree.
}

/// Nodes: a number that the library has not given, where libfuse aborts.
#[test]
fn nodes_that_nobody_knows() {
    let script = begun().getattr(99).lookup(99, "x").lookup(99, ".").forget(99, 1).open(99).lookup(1, "f");
    let told = ours("all", &[], &[], &script.rename(99, "a", 1, "b", 0));
    assert_eq!(told.errors(), [0, -116, -116, -116, -116, 0, -116]);
}

/// Nodes: what is remembered has its number again.
#[test]
fn remembered_nodes() {
    let script = begun().lookups(1, &["a", "b"]).forget(2, 1).forget(3, 1).lookups(1, &["b", "a", "c"]);
    let again = script.clone().line("clean").forget(4, 1).lookup(1, "c").unlink(1, "c").lookup(1, "c");
    for option in ["-oremember=1000", "-onoforget"] {
        same_with("all", &[option], &[], &again);
    }
    same(&script.line("clean"));
}

/// Settings: timeouts, whose numbers, owners and permissions.
#[test]
fn what_is_told_of_attributes() {
    let script = begun()
        .lookups(1, &["f", "d", "missing"])
        .getattr(2)
        .getattr(3)
        .ask(SETATTR, 2, setattr(1))
        .ask(CREATE, 1, create("new"))
        .ask(MKDIR, 1, body().u32(0o755).u32(0o27).name("dnew"));
    for env in [
        &[("CFG_use_ino", "1")][..],
        &[("CFG_entry_timeout", "2.5"), ("CFG_attr_timeout", "0.25"), ("CFG_negative_timeout", "3")],
        &[("CFG_set_mode", "1"), ("CFG_umask", "027")],
        &[("CFG_set_uid", "1"), ("CFG_uid", "12"), ("CFG_set_gid", "1"), ("CFG_gid", "34")],
        &[("CFG_direct_io", "1")],
        &[("CFG_kernel_cache", "1")],
    ] {
        same_with("all", &[], env, &script.clone().open(2).release(2));
    }
    for option in ["umask=027", "uid=12,gid=34", "entry_timeout=0,attr_timeout=7", "negative_timeout=9", "kernel_cache"] {
        same_with("all", &["-o", option], &[], &script.clone().open(2));
    }
}

/// Settings: auto_cache keeps what has not changed since the last open.
#[test]
fn changes_between_opens() {
    let again = |script: Script| script.open(2).release(2).open(2).release(2);
    let changed = again(begun().lookup(1, "f")).line("size 11").getattr(2);
    let script = again(changed).line("size 12");
    for env in [
        &[("CFG_auto_cache", "1")][..],
        &[("CFG_auto_cache", "1"), ("CFG_ac_attr_timeout_set", "1"), ("CFG_ac_attr_timeout", "1000")],
        &[("CFG_auto_cache", "1"), ("CFG_attr_timeout", "1000")],
    ] {
        same_with("all", &[], env, &again(script.clone()));
    }
}

/// Attributes are set one after the other, until one fails.
#[test]
fn attributes_in_order() {
    let script = begun().lookup(1, "f");
    let script = (0..12).fold(script, |script, bit| script.ask(SETATTR, 2, setattr(1 << bit)));
    let told = same(&script
        .ask(SETATTR, 2, setattr(0x110))
        .ask(SETATTR, 2, setattr(0xa0))
        .ask(SETATTR, 2, setattr(0x1bf))
        .result("chown", -1)
        .ask(SETATTR, 2, setattr(0x1bf))
        .result("getattr", -116)
        .ask(SETATTR, 2, setattr(0x1bf)));
    assert_eq!(told.errors()[16..], [0, -1, -116]);
}

/// What is made: the attributes are asked for, and undone if they are none.
#[test]
fn what_was_made_is_looked_at() {
    let made = |script: Script| {
        script
            .ask(CREATE, 1, create("f"))
            .ask(MKNOD, 1, mknod(0o10_600, "p"))
            .ask(MKDIR, 1, body().u32(0o755).u32(0).name("d"))
            .ask(SYMLINK, 1, body().name("l").name("target"))
    };
    same(&made(begun()).lookup(1, "d"));
    let failing = |op: &str, error: i64| begun().line(format!("result {op} {error} 9"));
    for op in ["getattr", "create", "mknod", "mkdir", "symlink"] {
        for error in [ENOENT, EIO, ENOSYS] {
            // A file that is made by another operation than create is opened by the kernel.
            same(&made(failing(op, error)).lookup(1, "x"));
        }
    }
    // A create that made something else.
    let told = same(&begun().line(format!("result getattr {}", 0o40_755)).ask(CREATE, 1, create("f")));
    assert_eq!(told.errors(), [0, EIO as i32]);
    told.has(&[("op release /f", 1)]);
}

/// mknod(2) of a file is done by create, if there is one.
#[test]
fn files_made_by_mknod() {
    let file = |script: Script, name: &str| script.ask(MKNOD, 1, mknod(0o100_640, name));
    // libfuse asks for the attributes after the release.
    let told = ours("all", &[], &[], &file(begun(), "f"));
    assert_eq!(told.calls(), ["create /f", "getattr /f", "release /f"]);
    let told = same(&file(begun().result("create", ENOSYS), "f"));
    assert_eq!(told.calls(), ["create /f", "mknod /f", "getattr /f"]);
    let told = same(&file(begun().result("create", EIO), "f"));
    assert_eq!(told.calls(), ["create /f"]);
    same_with("-create", &[], &[], &file(begun(), "f"));
    same_with("-create:mknod", &[], &[], &file(begun(), "f"));
}

/// Removed and open: hidden names, and when they go.
#[test]
fn hidden_files() {
    let open = || begun().lookups(1, &["f", "g", "d"]).open(2);
    // A hidden name that is taken, and another one.
    let told = same(&open().result("getattr", 0).unlink(1, "f").getattr(2).lookup(1, "f").release(2));
    told.has(&[("op rename /f to=/.fuse_hidden0000000200000002", 1), ("op unlink /.fuse_hidden", 1)]);
    // All that are tried are taken.
    let told = same(&open().line("result getattr 0 10").unlink(1, "f").getattr(2));
    assert_eq!(told.errors()[5..], [-16, 0]);
    // Neither is another error than that there is none a free name.
    same(&open().result("getattr", EIO).unlink(1, "f"));
    // What fails.
    let told = same(&open().result("rename", -1).unlink(1, "f").getattr(2).release(2));
    assert_eq!(told.errors()[5..], [-1, 0, 0]);
    // A hidden file that could not be removed is tried again at the end. libfuse
    // leaves it.
    let script = open().unlink(1, "f").result("unlink", -1).release(2).getattr(2);
    ours("all", &[], &[], &script).has(&[("op unlink /.fuse_hidden0000000200000001", 2)]);
    // Once it is removed there is no path to it. libfuse still calls getattr.
    let script = open().unlink(1, "f").release(2).getattr(2);
    assert_eq!(*ours("all", &[], &[], &script).errors().last().unwrap(), -116);
    // Opened twice, and in a directory that moves.
    let script = begun().lookup(1, "d").lookup(2, "f").open(3).open(3).unlink(2, "f");
    same(&script.rename(1, "d", 1, "e", 0).release(3).getattr(3).release(3));
    // Renamed over; exchanged; and renamed to itself.
    same(&open().rename(1, "g", 1, "f", 0).release(2).getattr(3));
    same(&open().result("rename", 0).result("rename", -1).rename(1, "g", 1, "f", 0).getattr(3).release(2));
    same(&open().rename(1, "g", 1, "f", 2).getattr(2).getattr(3).release(2));
    same(&open().rename(1, "f", 1, "x", 0).getattr(2).unlink(1, "x").release(2));
    // (In which libfuse waits for itself; no kernel asks for it.)
    let told = ours("all", &[], &[], &open().rename(1, "f", 1, "f", 0).getattr(2).release(2));
    assert_eq!(told.errors()[5..], [0, 0, 0]);
    // At the end.
    let told = same(&open().unlink(1, "f").line("end"));
    assert_eq!(told.calls().last().unwrap(), "unlink /.fuse_hidden0000000200000001");
    same_with("all", &[], &[("CFG_hard_remove", "1")], &open().unlink(1, "f").release(2));
}

/// Paths follow names: renames, removals, exchanges.
#[test]
fn paths_follow_names() {
    let script = begun().lookups(1, &["d", "e"]).lookup(2, "x").lookup(3, "y").lookup(4, "below");
    let all = |script: Script| (2..7).fold(script, |script, node| script.getattr(node));
    let script = all(script.rename(2, "x", 3, "y", 2));
    let script = all(script.rename(1, "e", 2, "deep", 0));
    let script = all(script.unlink(3, "y"));
    let script = all(script.rename(2, "deep", 1, "e", 0));
    let script = all(script.lookup(1, "e").ask(RMDIR, 1, body().name("d")));
    same(&script);
    // What fails changes no name.
    let script = begun().lookups(1, &["a", "b"]).result("rename", -1).rename(1, "a", 1, "b", 0);
    let script = script.result("unlink", -1).unlink(1, "a").result("rmdir", -1);
    same(&script.ask(RMDIR, 1, body().name("b")).getattr(2).getattr(3));
}

/// What operations by handle do without a path, and those by name do not.
fn without_a_name(script: Script, node: u64) -> Script {
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

fn without_a_directory(script: Script, node: u64) -> Script {
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

/// Paths: where there is none, because it is not wanted or the name is gone.
#[test]
fn operations_without_a_path() {
    let file = || begun().lookup(1, "f").open(2);
    let dir = || begun().lookup(1, "d").ask(OPENDIR, 2, body().u32(0o200_000).u32(0));
    for (hard, null) in [("1", "0"), ("1", "1"), ("0", "1")] {
        let env = [("CFG_hard_remove", hard), ("CFG_nullpath_ok", null)];
        if hard == "1" {
            same_with("all", &[], &env, &without_a_name(file().unlink(1, "f"), 2));
            let gone = dir().ask(RMDIR, 1, body().name("d"));
            same_with("all", &[], &env, &without_a_directory(gone, 2));
        } else {
            same_with("all", &[], &env, &without_a_name(file(), 2));
            same_with("all", &[], &env, &without_a_directory(dir(), 2));
        }
    }
}

/// Directories: names with and without attributes and offsets, to the byte.
#[test]
fn listings() {
    let opened = |script: Script| script.lookup(1, "d").lookup(2, "known").ask(OPENDIR, 2, body().u32(0o200_000).u32(0));
    let reads = |script: Script, opcode: u32, offsets: &[u64], size: u32| {
        offsets.iter().fold(opened(script), |script, off| script.ask(opcode, 2, list(*off, size)))
    };
    let lists = [
        "list .,0,0,- ..,0,0,40755 known,0,0,100600 a-longer-name,0,0,- x,0,0,120777",
        "list .,1,0,- ..,2,0,40755 known,3,0,100600 a-longer-name,4,0,- x,5,0,120777",
        "list ",
    ];
    for env in [&[][..], &[("CFG_use_ino", "1")]] {
        for entries in lists {
            for size in [4096, 130, 64, 20] {
                same_with("all", &[], env, &reads(begun().line(entries), READDIR, &[0, 2, 4, 5, 0], size));
                same_with("all", &[], env, &reads(begun().line(entries), READDIRPLUS, &[0, 2, 5], 8 * size));
            }
        }
    }
    // Complete attributes: those are lookups. (Without offsets from 3.17 on.)
    let complete = "list .,1,2,40755 ..,2,2,40755 known,3,2,100600 no-attributes,4,2,- new,5,2,100644";
    for size in [4096, 600, 200] {
        let script = reads(begun().line(complete), READDIRPLUS, &[0, 3, 5, 0], size);
        let script = if size == 200 { script } else { script.forget(3, 2) };
        same(&script.forget(2, 1).lookup(2, "new").getattr(4));
    }
    // Some take no notice of a full buffer. (libfuse fills in what still fits, and
    // the names between are lost.)
    let told = ours("all", &[], &[("MOCK_GOES_ON", "1")], &reads(begun().line(lists[1]), READDIR, &[0, 3], 130));
    told.has(&[("op filled a-longer-name 1", 1), ("op filled x 1", 1), ("op filled a-longer-name 0", 1)]);
    // With readdir_ino libfuse 3.14 has no number for the first two.
    same_with("all", &[], &[("CFG_readdir_ino", "1")], &reads(begun().line("list known,1,0,100600 new,2,0,-"), READDIR, &[0], 4096));
    // keep_cache and cache_readdir are told (from 3.16 on).
    let told = ours("all", &[], &[("MOCK_CACHED", "1")], &begun().ask(OPENDIR, 1, body().u32(0).u32(0)));
    assert_eq!(told.bodies()[1], "ffffffffffffffff0a00000000000000");
    // Errors, and what is said to the filesystem.
    same(&reads(begun().line(lists[0]).result("readdir", EIO), READDIR, &[0, 0], 4096));
    same(&reads(begun().line(lists[1]).result("readdir", EIO), READDIR, &[0, 0], 4096));
    same(&reads(begun().line("list a,0,8,-"), READDIR, &[0], 4096));
    same_with("-readdir", &[], &[], &reads(begun(), READDIR, &[0], 4096));
    same(&begun().result("opendir", -24).ask(OPENDIR, 1, body().u32(0).u32(0)));
}

/// Data: what is read and written, and results that cannot be.
#[test]
fn data_and_results() {
    let script = begun().lookup(1, "f").open(2);
    let ask = |script: Script, result: &str| script.line(format!("result {result}"));
    for op in ["read", "read_buf"] {
        for result in [0, 1, 16, EIO] {
            let without = if op == "read" { "-read_buf" } else { "all" };
            same_with(without, &[], &[], &ask(script.clone(), &format!("{op} {result}")).ask(READ, 2, read(16)));
        }
    }
    for (op, without) in [("write", "-write_buf"), ("write_buf", "all")] {
        for result in [0, 1, 4, EIO] {
            let asked = ask(script.clone(), &format!("{op} {result}")).ask(WRITE, 2, write(b"abcd"));
            same_with(without, &[], &[], &asked);
        }
    }
    for (op, result, opcode, request) in [
        ("readlink", 0, READLINK, body()),
        ("readlink", 4095, READLINK, body()),
        ("readlink", 5000, READLINK, body()),
        ("readlink", EIO, READLINK, body()),
        ("getxattr", 0, GETXATTR, body().u32(40).u32(0).name("user.x")),
        ("getxattr", -34, GETXATTR, body().u32(40).u32(0).name("user.x")),
        ("getxattr", 5000, GETXATTR, body().u32(0).u32(0).name("user.x")),
        ("listxattr", 40, LISTXATTR, body().u32(40).u32(0)),
        ("lseek", 1 << 40, LSEEK, body().u64(FH).u64(5).u32(3).u32(0)),
        ("lseek", -6, LSEEK, body().u64(FH).u64(5).u32(3).u32(0)),
        ("copy_file_range", -18, COPY_FILE_RANGE, body().u64(FH).u64(1).u64(2).u64(0x78).u64(2).u64(3).u64(0)),
        ("ioctl", 5, IOCTL, ioctl(0, b"inp", 3)),
        ("ioctl", -25, IOCTL, ioctl(0, b"inp", 3)),
        ("ioctl", 0, IOCTL, ioctl(0, b"", 3)),
        ("ioctl", 0, IOCTL, ioctl(0, b"inp", 0)),
        ("ioctl", 0, IOCTL, ioctl(2, b"", 0)), // unrestricted
        ("poll", -1, POLL, body().u64(FH).u64(56).u32(1).u32(4)),
        ("bmap", -22, BMAP, body().u64(11).u32(512).u32(0)),
        ("statfs", -5, STATFS, body()),
        ("access", -13, ACCESS, body().u32(5).u32(0)),
        ("flush", -122, FLUSH, flush(OWNER)),
        ("open", -13, 14, body().u32(2).u32(0)),
        ("release", -5, RELEASE, body().u64(FH).u32(2).u32(0).u64(0)),
    ] {
        same(&script.clone().result(op, result).ask(opcode, 2, request));
    }
    // Results above 0 of operations that have none. libfuse says ERANGE.
    let script = script.result("open", 3).open(2).result("access", 3).ask(ACCESS, 2, body().u32(5).u32(0));
    assert_eq!(ours("all", &[], &[], &script).errors()[3..], [0, 0]);
}

/// Locks: what the library knows, and what a flush and a release end.
#[test]
fn locks_and_their_ends() {
    const ALL: u64 = i64::MAX as u64;
    let script = begun().lookups(1, &["f", "g"]).open(2);
    let held = |script: Script| script.ask(SETLK, 2, lock(1, 1, 10, 19)).ask(SETLK, 2, lock(2, 0, 30, ALL));
    let asked = |script: Script| {
        script
            .ask(GETLK, 2, lock(3, 0, 0, ALL))
            .ask(GETLK, 2, lock(1, 1, 0, 29))
            .ask(GETLK, 2, lock(1, 1, 25, 40))
            .ask(GETLK, 2, lock(3, 0, 25, 40))
            .ask(GETLK, 3, lock(3, 1, 0, ALL))
    };
    let taken_back = asked(held(script.clone())).ask(FLUSH, 2, flush(1));
    same(&asked(taken_back).ask(SETLK, 2, lock(2, 2, 40, 49)).ask(GETLK, 2, lock(3, 1, 45, 60)));
    // What is refused is not held.
    same(&asked(script.clone().result("lock", -11).ask(SETLKW, 2, lock(1, 1, 10, 19))));
    same(&asked(script.clone().result("lock", -38).ask(SETLKW, 2, lock(1, 1, 10, 19))));
    // A release that flushes, and one that unlocks what flock() has locked.
    let release = |flags: u32| body().u64(FH).u32(2).u32(flags).u64(1);
    for flags in [1, 2, 3] {
        same(&asked(held(script.clone()).ask(RELEASE, 2, release(flags))));
        same(&script.clone().result("flush", -122).ask(RELEASE, 2, release(flags)).getattr(2));
        same(&script.clone().result("flush", ENOSYS).ask(RELEASE, 2, release(flags)).getattr(2));
    }
    // Flushes without an operation: needed for the locks only.
    for (without, error) in [("-flush", 0), ("-lock", 0), ("-flush:lock", -38)] {
        let told = same_with(without, &[], &[], &script.clone().ask(FLUSH, 2, flush(1)));
        assert_eq!(*told.errors().last().unwrap(), error, "{without}");
    }
    same(&script.clone().result("lock", -5).ask(FLUSH, 2, flush(1)));
    same(&script.result("lock", -38).result("flush", -38).ask(FLUSH, 2, flush(1)));
}

/// What the connection offers a filesystem, and what is answered to INIT.
#[test]
fn what_is_wanted_of_the_kernel() {
    for ops in ["all", "-lock", "-flock", "-write_buf", "-readdir", "-init", "-lock:flock:write_buf"] {
        same_with(ops, &[], &[], &begun().getattr(1));
    }
}

/// fuse_invalidate_path(): by names that are known.
#[test]
fn paths_are_invalidated() {
    let script = begun().lookups(1, &["d", "f"]).lookup(2, "x").unlink(1, "f");
    let paths = ["/", "/d", "/d/x", "//d//x/", "/f", "/d/y", "/d/x/z"];
    let script = paths.iter().fold(script, |script, path| script.line(format!("invalidate {path}")));
    let told = same(&script);
    told.has(&[("invalidated 0", 4), ("invalidated -2", 3)]);
}

/// DESTROY, or the end without one: destroy() once, with what init() returned.
#[test]
fn the_end() {
    for script in [begun(), begun().ask(DESTROY, 0, body()), begun().lookup(1, "f").open(2)] {
        same(&script).has(&[("op destroy private=1", 1)]);
        same_with("-destroy", &[], &[], &script);
        same_with("-init", &[], &[], &script.line("end"));
    }
}

/// Results that cannot be: more than was asked for. libfuse sends what is in
/// memory behind its buffer as well.
#[test]
fn more_than_was_asked_for() {
    let script = begun().lookup(1, "f").open(2);
    same_with("all", &[], &[], &script.clone().result("write_buf", 9).ask(WRITE, 2, write(b"abcd")));
    // The kernel would make EIO of it.
    let told = ours("-write_buf", &[], &[], &script.clone().result("write", 9).ask(WRITE, 2, write(b"abcd")));
    assert_eq!(told.errors()[3..], [EIO as i32]);
    let copy = body().u64(FH).u64(1).u64(2).u64(0x78).u64(2).u64(3).u64(0);
    same(&script.clone().result("copy_file_range", 9).ask(COPY_FILE_RANGE, 2, copy));
    let sized = |size: u32| body().u32(size).u32(0);
    for (op, opcode, request, answer) in [
        ("getxattr", GETXATTR, sized(16).name("user.x"), "76".repeat(16)),
        ("listxattr", LISTXATTR, sized(16), "76".repeat(16)),
        ("read", READ, read(16), "72".repeat(16)),
    ] {
        let script = script.clone().result(op, 17).ask(opcode, 2, request);
        let told = ours("-read_buf", &[], &[], &script);
        assert_eq!(told.bodies().last(), Some(&answer), "{op}");
    }
}

/// Modules that are built in.
#[test]
fn built_in_modules() {
    // libfuse's pass on less.
    let passed_on = |script: Script| script.without(NOT_PASSED_ON);
    for options in [
        &["-omodules=subdir,subdir=/base"][..],
        &["-omodules=subdir,subdir=base/"],
        &["-omodules=subdir,subdir=/base/deep,rellinks"],
        &["-omodules=iconv,from_code=ISO-8859-1,to_code=UTF-8"],
        &["-omodules=subdir:iconv,subdir=/base,from_code=UTF-8,to_code=UTF-8"],
    ] {
        ours("all", options, &[], &every_operation()).has(&[("error=-38", 1)]);
        same_with("all", options, &[], &passed_on(every_operation()));
        let env = [("CFG_nullpath_ok", "1")];
        let file = without_a_name(begun().lookup(1, "f").open(2), 2);
        same_with("all", options, &env, &passed_on(file));
        let dir = begun().lookup(1, "d").ask(OPENDIR, 2, body().u32(0o200_000).u32(0));
        same_with("all", options, &env, &passed_on(without_a_directory(dir, 2)));
    }
}
