//! Sessions whose messages the program carries (fuse_session_custom_io): over a
//! socket on which this test plays the kernel, and over /dev/fuse.
#![allow(missing_docs)]

#[path = "custom_io/kernel.rs"]
mod kernel;
mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel::*;
use ringfuse::abi::kernel::*;
use rustix::process::{kill_process, Pid, Signal};
use support::*;
use zerocopy::IntoBytes;

/// Every operation, with answers of the right kind.
fn every_operation(kernel: &mut Kernel) {
    use Opcode::*;
    let root = ROOT_ID;
    assert_eq!(kernel.ask(Lookup, root, &name("file")).error, libc::ENOENT);
    let mknod = MknodIn { mode: libc::S_IFREG | 0o644, ..MknodIn::default() };
    let file: EntryOut = kernel.get(Mknod, root, &with_name(mknod.as_bytes(), "file"));
    let found: EntryOut = kernel.get(Lookup, root, &name("file"));
    assert_eq!((found.nodeid, found.attr.ino), (file.nodeid, file.nodeid));
    let file = file.nodeid;
    kernel.get::<AttrOut>(Getattr, file, GetattrIn::default().as_bytes());
    let size = SetattrIn { valid: 1 << 3, size: 10, ..SetattrIn::default() };
    let attr: AttrOut = kernel.get(Setattr, file, size.as_bytes());
    assert_eq!(attr.attr.size, 10);
    let open: OpenOut = kernel.get(Open, file, OpenIn { flags: 2, open_flags: 0 }.as_bytes());
    let fh = open.fh;

    let data = b"hello over a socket";
    let write = WriteIn { fh, offset: 3, size: data.len() as u32, ..WriteIn::default() };
    let written: WriteOut = kernel.get(Write, file, &[write.as_bytes(), data].concat());
    assert_eq!(written.size as usize, data.len());
    let read = ReadIn { fh, offset: 3, size: 4096, ..ReadIn::default() };
    kernel.expect(Read, file, read.as_bytes(), data);
    kernel.expect(Flush, file, FlushIn { fh, ..FlushIn::default() }.as_bytes(), b"");
    kernel.expect(Fsync, file, FsyncIn { fh, ..FsyncIn::default() }.as_bytes(), b"");
    let fallocate = FallocateIn { fh, length: 100, ..FallocateIn::default() };
    kernel.expect(Fallocate, file, fallocate.as_bytes(), b"");
    let lseek = LseekIn { fh, offset: 4096, whence: libc::SEEK_DATA as u32, padding: 0 };
    assert_eq!(kernel.get::<LseekOut>(Lseek, file, lseek.as_bytes()).offset, 4096);
    let poll = PollIn { fh, ..PollIn::default() };
    kernel.get::<PollOut>(Poll, file, poll.as_bytes());
    let number = 1 | u32::from(b'T') << 8; // _IO('T', 1)
    let ioctl = IoctlIn { fh, cmd: number, ..IoctlIn::default() };
    assert_eq!(kernel.get::<IoctlOut>(Ioctl, file, ioctl.as_bytes()).result, 7);
    let lock = LkIn { fh, ..LkIn::default() };
    kernel.get::<LkOut>(Getlk, file, lock.as_bytes());
    for opcode in [Setlk, Setlkw] {
        let unlock = LkIn {
            fh,
            lk: FileLock { kind: libc::F_UNLCK as u32, ..FileLock::default() },
            ..LkIn::default()
        };
        kernel.expect(opcode, file, unlock.as_bytes(), b"");
    }
    let bmap = BmapIn { block: 4, blocksize: 512, padding: 0 };
    assert_eq!(kernel.get::<BmapOut>(Bmap, file, bmap.as_bytes()).block, 15);
    let set = [&5u32.to_ne_bytes()[..], &0u32.to_ne_bytes(), b"user.small\0value"].concat();
    kernel.expect(Setxattr, file, &set, b"");
    let get = GetxattrIn { size: 100, padding: 0 };
    assert_eq!(kernel.ask(Getxattr, file, &with_name(get.as_bytes(), "user.small")).error, 0);
    assert_eq!(kernel.ask(Listxattr, file, get.as_bytes()).error, 0);
    assert_eq!(kernel.ask(Removexattr, file, &name("user.small")).error, 0);
    kernel.expect(Access, file, AccessIn { mask: 4, padding: 0 }.as_bytes(), b"");
    kernel.get::<EntryOut>(Link, root, &with_name(LinkIn { oldnodeid: file }.as_bytes(), "other"));
    let copy = CopyFileRangeIn {
        fh_in: fh,
        nodeid_out: file,
        fh_out: fh,
        off_out: 200,
        len: 8,
        ..CopyFileRangeIn::default()
    };
    assert_eq!(kernel.get::<WriteOut>(CopyFileRange, file, copy.as_bytes()).size, 8);
    kernel.expect(Release, file, ReleaseIn { fh, ..ReleaseIn::default() }.as_bytes(), b"");

    let symlink: EntryOut = kernel.get(Symlink, root, b"name\0target\0");
    kernel.expect(Readlink, symlink.nodeid, b"", b"target");
    let create = CreateIn { flags: 2, mode: libc::S_IFREG | 0o600, ..CreateIn::default() };
    let reply = kernel.ask(Create, root, &with_name(create.as_bytes(), "made"));
    assert_eq!((reply.error, reply.data.len()), (0, size_of::<EntryOut>() + size_of::<OpenOut>()));

    let mkdir = MkdirIn { mode: 0o755, umask: 0 };
    let directory: EntryOut = kernel.get(Mkdir, root, &with_name(mkdir.as_bytes(), "dir"));
    let open: OpenOut = kernel.get(Opendir, root, OpenIn::default().as_bytes());
    for opcode in [Readdir, Readdirplus] {
        let list = ReadIn { fh: open.fh, size: 4096, ..ReadIn::default() };
        let reply = kernel.ask(opcode, root, list.as_bytes());
        assert!(reply.error == 0 && reply.data.len() > 100, "{opcode:?}");
    }
    kernel.expect(Fsyncdir, root, FsyncIn { fh: open.fh, ..FsyncIn::default() }.as_bytes(), b"");
    kernel.expect(
        Releasedir,
        root,
        ReleaseIn { fh: open.fh, ..ReleaseIn::default() }.as_bytes(),
        b"",
    );
    assert_eq!(kernel.ask(Statfs, root, b"").data.len(), 80);
    let rename = RenameIn { newdir: directory.nodeid };
    kernel.expect(Rename, root, &[rename.as_bytes(), b"made\0moved\0"].concat(), b"");
    let rename = Rename2In { newdir: root, flags: libc::RENAME_NOREPLACE, padding: 0 };
    kernel.expect(Rename2, directory.nodeid, &[rename.as_bytes(), b"moved\0back\0"].concat(), b"");
    kernel.expect(Unlink, root, &name("back"), b"");
    kernel.expect(Rmdir, root, &name("dir"), b"");

    // No answers to these: the next one is that of the request behind them.
    kernel.send(Forget as u32, file, &1u64.to_ne_bytes());
    let forgets = [&2u32.to_ne_bytes()[..], &[0; 4], &[1; 32]].concat();
    kernel.send(BatchForget as u32, 0, &forgets);
    kernel.get::<AttrOut>(Getattr, file, GetattrIn::default().as_bytes());
    assert_eq!(kernel.ask_raw(999, root, &[0; 64]).error, libc::ENOSYS);
}

fn check_operations(kernel: &Kernel) {
    let seen = kernel.operations();
    for operation in [
        "lookup",
        "mknod",
        "getattr",
        "setattr",
        "open",
        "write",
        "read",
        "flush",
        "fsync",
        "fallocate",
        "lseek",
        "poll",
        "ioctl",
        "getlk",
        "setlk",
        "bmap",
        "setxattr",
        "getxattr",
        "listxattr",
        "removexattr",
        "access",
        "link",
        "copy_file_range",
        "release",
        "symlink",
        "readlink",
        "create",
        "mkdir",
        "opendir",
        "readdir",
        "readdirplus",
        "fsyncdir",
        "releasedir",
        "statfs",
        "rename",
        "unlink",
        "rmdir",
        "forget",
    ] {
        assert!(seen.iter().any(|seen| seen == operation), "no {operation} in {seen:?}");
    }
}

/// With splice functions, their structure of 40 bytes, one thread or more.
const SETUPS: [Setup<'_>; 5] = [
    PLAIN,
    Setup { args: &["-s"], ..PLAIN },
    Setup { env: &[("CUSTOM_SPLICE", "1")], ..PLAIN },
    Setup { program: "custom317_ll", ..PLAIN },
    Setup { program: "custom317_ll", env: &[("CUSTOM_SPLICE", "1")], ..PLAIN },
];

fn exists(setup: &Setup<'_>) -> bool {
    // Stock before 3.17 has no second form.
    !(stock() && setup.program == "custom317_ll")
}

#[test]
fn every_operation_is_decoded_and_answered() {
    for setup in SETUPS.iter().filter(|setup| exists(setup)) {
        let mut kernel = started(setup);
        every_operation(&mut kernel);
        check_operations(&kernel);
        kernel.expect(Opcode::Destroy, 0, b"", b"");
        let (counts, log) = kernel.ends();
        assert!(counts.starts_with("clones 0 spliced "), "{counts}");
        if !stock() {
            let line = "ringfuse: transport custom: the program carries the messages itself";
            assert!(log.contains(line), "{log}");
        }
    }
}

/// An order to splice uses the program's function; without one it is a copy.
#[test]
fn spliced_answers() {
    for (env, spliced) in [(&[("CUSTOM_SPLICE", "1")][..], true), (&[], false)] {
        let mut kernel = started(&Setup { env, ..PLAIN });
        // Without functions for it, splice is not among the capabilities.
        let capable = trace::Trace::new(kernel.dir.path().join("trace")).one("init").hex("capable");
        assert_eq!(capable & 0x380, if spliced { 0x380 } else { 0 });
        let mknod = MknodIn { mode: libc::S_IFREG | 0o644, ..MknodIn::default() };
        let body = with_name(mknod.as_bytes(), "forced_datafd");
        let file: EntryOut = kernel.get(Opcode::Mknod, ROOT_ID, &body);
        let open = OpenIn { flags: 2, open_flags: 0 };
        let OpenOut { fh, .. } = kernel.get(Opcode::Open, file.nodeid, open.as_bytes());
        let data = client::pattern(30_000, 3);
        let write = WriteIn { fh, size: data.len() as u32, ..WriteIn::default() };
        let body = [write.as_bytes(), &data].concat();
        kernel.get::<WriteOut>(Opcode::Write, file.nodeid, &body);
        for (offset, size) in [(0, 30_000), (5000, 20_000), (29_999, 4096), (40_000, 4096)] {
            let read = ReadIn { fh, offset, size, ..ReadIn::default() };
            let end = data.len().min(offset as usize + size as usize);
            let expected = &data[end.min(offset as usize)..end];
            kernel.expect(Opcode::Read, file.nodeid, read.as_bytes(), expected);
        }
        let (counts, _) = kernel.ends();
        if !stock() {
            assert_eq!(!counts.ends_with("spliced 0"), spliced, "{counts}");
        }
    }
}

#[test]
fn answers_in_pieces() {
    for piece in ["1", "16", "17", "100"] {
        if stock() {
            return skip("libfuse drops the rest of a message that was sent in part");
        }
        let mut kernel = started(&Setup { env: &[("CUSTOM_PIECE", piece)], ..PLAIN });
        every_operation(&mut kernel);
        kernel.ends();
    }
}

#[test]
fn failures_of_the_functions() {
    // Receiving: the loop ends with it.
    let mut kernel = started(&Setup { args: &["-s"], ..PLAIN });
    signal(&kernel, Signal::USR1);
    // A message gets it out of the receiving that it is in, if it still is.
    let header = InHeader {
        len: 40,
        opcode: Opcode::Statfs as u32,
        nodeid: 1,
        unique: 2,
        ..InHeader::default()
    };
    let _ = kernel.socket.write(header.as_bytes());
    kernel.ends_with(-libc::EIO);

    // Sending: that answer is lost and told of, the next one is not.
    let mut kernel = started(&Setup { args: &["-s"], ..PLAIN });
    signal(&kernel, Signal::USR2);
    kernel.send(Opcode::Statfs as u32, ROOT_ID, b"");
    assert_eq!(kernel.ask(Opcode::Lookup, ROOT_ID, &name("none")).error, libc::ENOENT);
    let (_, log) = kernel.ends();
    assert!(log.contains("Broken pipe"), "{log}");
}

/// Sends a signal and waits until the filesystem has had it.
fn signal(kernel: &Kernel, signal: Signal) {
    let pid = Pid::from_child(&kernel.child);
    kill_process(pid, signal).expect("kill");
    let pid = pid.as_raw_pid();
    let pending = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("ShdPnd");
        u64::from_str_radix(mask.trim(), 16).expect("a mask")
    };
    eventually("the signal", || pending() == 0);
}

#[test]
fn malformed_messages() {
    let mut kernel = started(&PLAIN);
    if stock() {
        return skip("libfuse believes what a header says");
    }
    for (opcode, body) in
        [(Opcode::Getattr, &b""[..]), (Opcode::Write, &[0; 39]), (Opcode::Lookup, b"no end")]
    {
        assert_eq!(kernel.ask(opcode, ROOT_ID, body).error, libc::EIO, "{opcode:?}");
    }
    // The header tells another length.
    let mut header = InHeader {
        len: 1000,
        opcode: Opcode::Statfs as u32,
        unique: 4712,
        nodeid: 1,
        ..InHeader::default()
    };
    kernel.send_raw(header.as_bytes());
    let (reply, _) = kernel.receive().expect("an answer");
    assert_eq!((reply.unique, reply.error), (4712, -libc::EIO));
    header.len = 40;
    kernel.send_raw(header.as_bytes());
    assert_eq!(kernel.receive().expect("an answer").0.error, 0);
    kernel.ends();
}

#[test]
fn descriptors_are_cloned_by_the_program() {
    if stock() {
        return skip("libfuse has the function since 3.17");
    }
    for (error, told) in [("0", false), ("95", true)] {
        let mut kernel = started(&Setup {
            program: "custom317_ll",
            args: &["-o", "clone_fd"],
            env: &[("CUSTOM_CLONE", error)],
        });
        every_operation(&mut kernel);
        let (counts, log) = kernel.ends();
        assert_eq!(log.contains("cannot clone the device descriptor"), told, "{log}");
        assert_eq!(counts.starts_with("clones 0"), told, "{counts}");
    }
}

/// The functions talk to the real /dev/fuse, mounted by the program.
#[test]
fn over_the_device() {
    if let Err(reason) = machine::device() {
        return skip(&reason);
    }
    if !machine::is_root() {
        return skip("only root may call mount(2)");
    }
    for (program, options, env) in [
        ("custom_ll", &[][..], &[][..]),
        ("custom_ll", &[], &[("CUSTOM_SPLICE", "1")]),
        ("custom317_ll", &["clone_fd"], &[("CUSTOM_CLONE", "0")]),
        ("custom317_ll", &["clone_fd"], &[("CUSTOM_CLONE", "38"), ("CUSTOM_SPLICE", "1")]),
    ] {
        if stock() && program != "custom_ll" {
            continue;
        }
        let mut server = Server::new(program).env("RINGFUSE_TRANSPORT", "ring");
        server = options.iter().fold(server, |server, option| server.option(option));
        server = env.iter().fold(server, |server, (name, value)| server.env(name, value));
        let fs = server.mount_expecting(Transport::Dev);
        for size in [1, 5000, 300_000] {
            let data = client::pattern(size, 7);
            for name in ["file", "datafd", "datamix", "forced_datafd"] {
                let path = fs.at(&format!("{name}_{size}"));
                fs::write(&path, &data).expect("write");
                assert!(fs::read(&path).expect("read") == data, "{name}");
            }
        }
        assert_eq!(fs::read_dir(&fs.path).expect("readdir").count(), 12);
        fs.unmount();
        let ending = fs.ended();
        assert_eq!(ending.result, Some(0), "{ending:?}");
    }
}

/// `custom_io_ll` plays the kernel to itself; compiled against the stock library
/// of the system it does so there and on our libfuse3.so.3. `own_loop_ll` has to
/// compile, too.
#[test]
fn the_examples() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let test = |program: &Path, libraries: Option<&Path>| {
        let mut command = Command::new(program);
        command.arg("--self-test").env_remove("LD_LIBRARY_PATH");
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let output = command.output().expect("custom_io_ll");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains("the root directory has mode 40555"), "{said}");
    };
    let build = std::env::var_os("RINGFUSE_TEST_LIBDIR")
        .map_or_else(|| project.join("build"), PathBuf::from);
    test(&build.join("examples-c/custom_io_ll"), None);

    let mut ask = Command::new("pkg-config");
    ask.args(["--cflags", "--libs", "fuse3"]).env_remove("PKG_CONFIG_PATH");
    let flags = match ask.output() {
        Ok(output) if output.status.success() => output.stdout,
        _ => return skip("the examples on stock: libfuse3-dev or pkg-config is not installed"),
    };
    let flags = String::from_utf8(flags).expect("text");
    for name in ["own_loop_ll", "custom_io_ll"] {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-stock"));
        let output = Command::new("cc")
            .args(["-Wall", "-Werror", "-pthread", "-o"])
            .arg(&program)
            .arg(project.join(format!("examples-c/{name}.c")))
            .args(flags.split_whitespace())
            .args(machine::checker_link_args())
            .output()
            .expect("cc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if name == "custom_io_ll" {
            test(&program, None);
            test(&program, Some(&build));
        }
    }
}
