//! The path API: what the operations of a filesystem are called with, and what
//! the kernel is answered, played to our two libraries and to libfuse. Nodes,
//! names and attributes.

use super::paths::*;
use super::script::body;

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
    let script =
        begun().getattr(99).lookup(99, "x").lookup(99, ".").forget(99, 1).open(99).lookup(1, "f");
    let told = ours("all", &[], &[], &script.rename(99, "a", 1, "b", 0));
    assert_eq!(told.errors(), [0, -116, -116, -116, -116, 0, -116]);
}

/// Nodes: what is remembered has its number again.
#[test]
fn remembered_nodes() {
    let script =
        begun().lookups(1, &["a", "b"]).forget(2, 1).forget(3, 1).lookups(1, &["b", "a", "c"]);
    let again =
        script.clone().line("clean").forget(4, 1).lookup(1, "c").unlink(1, "c").lookup(1, "c");
    for option in ["-oremember=1000", "-onoforget"] {
        same_with("all", &[option], &[], &again);
    }
    same(&script.line("clean"));
    for (option, again) in [("remember=100", 60), ("remember=5000", 500), ("remember=100000", 3600)]
    {
        let told = same_with("all", &["-o", option], &[], &begun().lookup(1, "a").line("clean"));
        told.has(&[(&format!("again in {again}"), 1)]);
    }
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
        &[
            ("CFG_entry_timeout", "2.5"),
            ("CFG_attr_timeout", "0.25"),
            ("CFG_negative_timeout", "3"),
        ],
        &[("CFG_set_mode", "1"), ("CFG_umask", "027")],
        &[("CFG_set_uid", "1"), ("CFG_uid", "12"), ("CFG_set_gid", "1"), ("CFG_gid", "34")],
        &[("CFG_direct_io", "1")],
        &[("CFG_kernel_cache", "1")],
    ] {
        same_with("all", &[], env, &script.clone().open(2).release(2));
    }
    for option in [
        "umask=027",
        "uid=12,gid=34",
        "entry_timeout=0,attr_timeout=7",
        "negative_timeout=9",
        "kernel_cache",
    ] {
        same_with("all", &["-o", option], &[], &script.clone().open(2));
    }
}

/// Attributes are set one after the other, until one fails.
#[test]
fn attributes_in_order() {
    let script = begun().lookup(1, "f");
    let script = (0..12).fold(script, |script, bit| script.ask(SETATTR, 2, setattr(1 << bit)));
    let told = same(
        &script
            .ask(SETATTR, 2, setattr(0x110))
            .ask(SETATTR, 2, setattr(0xa0))
            .ask(SETATTR, 2, setattr(0x1bf))
            .result("chown", -1)
            .ask(SETATTR, 2, setattr(0x1bf))
            .result("getattr", -116)
            .ask(SETATTR, 2, setattr(0x1bf)),
    );
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
    let told =
        same(&begun().line(format!("result getattr {}", 0o40_755)).ask(CREATE, 1, create("f")));
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
    let told =
        same(&open().result("getattr", 0).unlink(1, "f").getattr(2).lookup(1, "f").release(2));
    told.has(&[
        ("op rename /f to=/.fuse_hidden0000000200000002", 1),
        ("op unlink /.fuse_hidden", 1),
    ]);
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
    same(
        &open()
            .result("rename", 0)
            .result("rename", -1)
            .rename(1, "g", 1, "f", 0)
            .getattr(3)
            .release(2),
    );
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

/// What the connection offers a filesystem, and what is answered to INIT.
#[test]
fn what_is_wanted_of_the_kernel() {
    for ops in
        ["all", "-lock", "-flock", "-write_buf", "-readdir", "-init", "-lock:flock:write_buf"]
    {
        same_with(ops, &[], &[], &begun().getattr(1));
    }
}

/// fuse_invalidate_path(): by names that are known.
#[test]
fn paths_are_invalidated() {
    let script = begun().lookups(1, &["d", "f"]).lookup(2, "x").unlink(1, "f");
    let paths = ["/", "/d", "/d/x", "//d//x/", "/f", "/d/y", "/d/x/z"];
    let script =
        paths.iter().fold(script, |script, path| script.line(format!("invalidate {path}")));
    let told = same(&script);
    told.has(&[("invalidated 0", 4), ("invalidated -2", 3)]);
}

/// DESTROY, or the end without one: destroy() once, with what init() returned.
#[test]
fn the_end() {
    for script in [begun(), begun().ask(DESTROY, 0, body()), begun().lookup(1, "f").open(2)] {
        same(&script).has(&[("op destroy private=1", 1)]);
        same_with("-destroy", &[], &[], &script);
        // Without init() it is what fuse_new() was given.
        same_with("-init", &[], &[], &script.line("end")).has(&[("op destroy private=2", 1)]);
    }
}
