//! The same of open files and directories, and of the modules.

use super::paths::*;
use super::script::body;

/// By the modules of libfuse 3.14.
const NOT_PASSED_ON: &[u32] = &[IOCTL, POLL, FALLOCATE, COPY_FILE_RANGE];

/// Settings: auto_cache keeps what has not changed since the last open.
#[test]
fn changes_between_opens() {
    let again = |script: Script| script.open(2).release(2).open(2).release(2);
    let changed = again(begun().lookup(1, "f")).line("size 11").getattr(2);
    let script = again(changed).line("size 12");
    for env in [
        &[("CFG_auto_cache", "1")][..],
        &[
            ("CFG_auto_cache", "1"),
            ("CFG_ac_attr_timeout_set", "1"),
            ("CFG_ac_attr_timeout", "1000"),
        ],
        &[("CFG_auto_cache", "1"), ("CFG_attr_timeout", "1000")],
    ] {
        same_with("all", &[], env, &again(script.clone()));
    }
}

/// Directories: names with and without attributes and offsets, to the byte.
#[test]
fn listings() {
    let opened = |script: Script| {
        script.lookup(1, "d").lookup(2, "known").ask(OPENDIR, 2, body().u32(0o200_000).u32(0))
    };
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
                same_with(
                    "all",
                    &[],
                    env,
                    &reads(begun().line(entries), READDIR, &[0, 2, 4, 5, 0], size),
                );
                same_with(
                    "all",
                    &[],
                    env,
                    &reads(begun().line(entries), READDIRPLUS, &[0, 2, 5], 8 * size),
                );
            }
        }
    }
    // Complete attributes: those are lookups. (Without offsets from 3.17 on.)
    let complete =
        "list .,1,2,40755 ..,2,2,40755 known,3,2,100600 no-attributes,4,2,- new,5,2,100644";
    for size in [4096, 600, 200] {
        let script = reads(begun().line(complete), READDIRPLUS, &[0, 3, 5, 0], size);
        let script = if size == 200 { script } else { script.forget(3, 2) };
        same(&script.forget(2, 1).lookup(2, "new").getattr(4));
    }
    // Some take no notice of a full buffer. (libfuse fills in what still fits, and
    // the names between are lost.)
    let told = ours(
        "all",
        &[],
        &[("MOCK_GOES_ON", "1")],
        &reads(begun().line(lists[1]), READDIR, &[0, 3], 130),
    );
    told.has(&[
        ("op filled a-longer-name 1", 1),
        ("op filled x 1", 1),
        ("op filled a-longer-name 0", 1),
    ]);
    // With readdir_ino libfuse 3.14 has no number for the first two.
    same_with(
        "all",
        &[],
        &[("CFG_readdir_ino", "1")],
        &reads(begun().line("list known,1,0,100600 new,2,0,-"), READDIR, &[0], 4096),
    );
    // keep_cache and cache_readdir are told (from 3.16 on).
    let told =
        ours("all", &[], &[("MOCK_CACHED", "1")], &begun().ask(OPENDIR, 1, body().u32(0).u32(0)));
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
            same_with(
                without,
                &[],
                &[],
                &ask(script.clone(), &format!("{op} {result}")).ask(READ, 2, read(16)),
            );
        }
    }
    for (op, without) in [("write", "-write_buf"), ("write_buf", "all")] {
        for result in [0, 1, 4, EIO] {
            let asked =
                ask(script.clone(), &format!("{op} {result}")).ask(WRITE, 2, write(b"abcd"));
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
        (
            "copy_file_range",
            -18,
            COPY_FILE_RANGE,
            body().u64(FH).u64(1).u64(2).u64(0x78).u64(2).u64(3).u64(0),
        ),
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
    let script =
        script.result("open", 3).open(2).result("access", 3).ask(ACCESS, 2, body().u32(5).u32(0));
    assert_eq!(ours("all", &[], &[], &script).errors()[3..], [0, 0]);
}

/// Locks: what the library knows, and what a flush and a release end.
#[test]
fn locks_and_their_ends() {
    const ALL: u64 = i64::MAX as u64;
    let script = begun().lookups(1, &["f", "g"]).open(2);
    let held = |script: Script| {
        script.ask(SETLK, 2, lock(1, 1, 10, 19)).ask(SETLK, 2, lock(2, 0, 30, ALL))
    };
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

/// Results that cannot be: more than was asked for. libfuse sends what is in
/// memory behind its buffer as well.
#[test]
fn more_than_was_asked_for() {
    let script = begun().lookup(1, "f").open(2);
    same_with(
        "all",
        &[],
        &[],
        &script.clone().result("write_buf", 9).ask(WRITE, 2, write(b"abcd")),
    );
    // The kernel would make EIO of it.
    let told = ours(
        "-write_buf",
        &[],
        &[],
        &script.clone().result("write", 9).ask(WRITE, 2, write(b"abcd")),
    );
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
    // The first is the closest to the filesystem: its directory is not converted.
    let options = "-omodules=subdir:iconv,subdir=/\u{fc},from_code=ISO-8859-1,to_code=UTF-8";
    let told = same_with("all", &[options], &[], &begun().lookup(1, "f"));
    told.has(&[("op getattr /\u{fc}/f", 1)]);
}
