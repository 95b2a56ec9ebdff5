//! Sessions whose messages the program carries (fuse_session_custom_io): over a
//! socket on which this test plays the kernel, and over /dev/fuse.
#![allow(unsafe_code)] // a socket pair for another process

mod support;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use ringfuse::abi::kernel::*;
use support::*;
use tempfile::TempDir;
use zerocopy::{FromBytes, IntoBytes};

/// A request header of the kernel's, and its answer.
struct Reply {
    error: i32,
    data: Vec<u8>,
}

/// The kernel's side of a session.
struct Kernel {
    socket: File,
    unique: u64,
    child: Child,
    _input: ChildStdin,
    lines: std::sync::mpsc::Receiver<String>,
    dir: TempDir,
}

struct Setup<'a> {
    program: &'a str,
    args: &'a [&'a str],
    env: &'a [(&'a str, &'a str)],
}

const PLAIN: Setup<'_> = Setup { program: "custom_ll", args: &[], env: &[] };

impl Kernel {
    fn start(setup: &Setup<'_>) -> Kernel {
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors.
        let made =
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ends.as_mut_ptr()) };
        assert_eq!(made, 0);
        // SAFETY: new descriptors that nobody else owns.
        let [socket, theirs] = ends.map(|fd| unsafe { File::from_raw_fd(fd) });
        // Tests run in parallel: no other child may keep our end open.
        // SAFETY: no memory involved.
        unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let wait = libc::timeval { tv_sec: 20, tv_usec: 0 };
        // SAFETY: a timeval, as the option takes.
        unsafe {
            let size = size_of_val(&wait) as u32;
            let wait = std::ptr::from_ref(&wait).cast();
            let fd = socket.as_raw_fd();
            assert_eq!(libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, wait, size), 0);
        }
        let dir = TempDir::with_prefix("ringfuse-custom-").expect("a temporary directory");
        let directory = std::env::var_os("RINGFUSE_TEST_BUILD").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("build/tests/fs"),
            Into::into,
        );
        let mut command = Command::new(directory.join(setup.program));
        command
            .arg(dir.path())
            .arg("-f")
            .args(setup.args)
            .args(["-o", &format!("trace={}", dir.path().join("trace").display())])
            .env("CUSTOM_FD", theirs.as_raw_fd().to_string())
            .envs(setup.env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.path().join("log")).expect("log"));
        if let Some(libdir) = std::env::var_os("RINGFUSE_TEST_LIBDIR") {
            command.env("LD_LIBRARY_PATH", libdir);
        }
        let mut child = command.spawn().expect("the filesystem");
        drop(theirs);
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let input = child.stdin.take().expect("piped");
        Kernel { socket, unique: 0, child, _input: input, lines, dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn line(&self, prefix: &str) -> String {
        match self.lines.recv_timeout(Duration::from_secs(20)) {
            Ok(line) if line.starts_with(prefix) => line,
            other => panic!("expected '{prefix}', got {other:?}\n{}", self.log()),
        }
    }

    /// Sends a request; its number.
    fn send(&mut self, opcode: u32, nodeid: u64, body: &[u8]) -> u64 {
        self.unique += 2;
        let header = InHeader {
            len: (size_of::<InHeader>() + body.len()) as u32,
            opcode,
            unique: self.unique,
            nodeid,
            uid: 1,
            gid: 2,
            pid: 3,
            ..InHeader::default()
        };
        self.send_raw(&[header.as_bytes(), body].concat());
        self.unique
    }

    fn send_raw(&mut self, message: &[u8]) {
        assert_eq!(self.socket.write(message).expect("send"), message.len());
    }

    /// The next message of the filesystem, however many pieces it comes in.
    fn receive(&mut self) -> io::Result<(OutHeader, Vec<u8>)> {
        let mut message = Vec::new();
        let mut piece = vec![0; 1 << 21];
        loop {
            let length = self.socket.read(&mut piece)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            message.extend(&piece[..length]);
            if let Ok((header, data)) = OutHeader::read_from_prefix(&message) {
                if message.len() >= header.len as usize {
                    assert_eq!(message.len(), header.len as usize, "the header tells the length");
                    return Ok((header, data.to_vec()));
                }
            }
        }
    }

    fn ask_raw(&mut self, opcode: u32, nodeid: u64, body: &[u8]) -> Reply {
        let unique = self.send(opcode, nodeid, body);
        let (header, data) =
            self.receive().unwrap_or_else(|e| panic!("opcode {opcode}: {e}\n{}", self.log()));
        assert_eq!(header.unique, unique, "opcode {opcode}");
        Reply { error: -header.error, data }
    }

    fn ask(&mut self, opcode: Opcode, nodeid: u64, body: &[u8]) -> Reply {
        self.ask_raw(opcode as u32, nodeid, body)
    }

    /// A request that succeeds, with an answer of this type.
    fn get<T: FromBytes>(&mut self, opcode: Opcode, nodeid: u64, body: &[u8]) -> T {
        let reply = self.ask(opcode, nodeid, body);
        assert_eq!(reply.error, 0, "{opcode:?}");
        T::read_from_bytes(&reply.data).unwrap_or_else(|_| panic!("{opcode:?}: {:?}", reply.data))
    }

    /// A request that succeeds, with `data`.
    fn expect(&mut self, opcode: Opcode, nodeid: u64, body: &[u8], data: &[u8]) {
        let reply = self.ask(opcode, nodeid, body);
        assert_eq!((reply.error, &reply.data[..]), (0, data), "{opcode:?}");
    }

    fn init(&mut self) -> InitOut {
        // 0xffffffff would be offers that need more than this test gives.
        let offers = init::ASYNC_READ | init::BIG_WRITES | init::MAX_PAGES | init::POSIX_LOCKS;
        let body = InitIn { major: 7, minor: 38, max_readahead: 1 << 17, flags: offers as u32 };
        let body = [body.as_bytes(), &[0; 48]].concat();
        self.get(Opcode::Init, 0, &body)
    }

    /// The operations that the filesystem saw.
    fn operations(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("trace")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').next().unwrap_or("").to_string()).collect()
    }

    /// Waits for the end, which is this result of the loop and status 0.
    fn ends_with(mut self, result: i32) -> (String, String) {
        let mut status = None;
        eventually("the end of the filesystem", || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", self.log());
        self.line(&format!("loop {result}"));
        let counts = self.line("clones");
        (counts, self.log())
    }

    /// Closes the socket, which ends the loop.
    fn ends(mut self) -> (String, String) {
        self.socket = File::open("/dev/null").expect("open");
        // libfuse calls the end of the stream a short read.
        self.ends_with(if stock() { -libc::EIO } else { 0 })
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

fn with_name(fixed: &[u8], text: &str) -> Vec<u8> {
    [fixed, &name(text)].concat()
}

fn started(setup: &Setup<'_>) -> Kernel {
    let mut kernel = Kernel::start(setup);
    let refused = kernel.line("refused");
    if !stock() {
        let (einval, ebadf) = (-libc::EINVAL, -libc::EBADF);
        assert_eq!(refused, format!("refused {einval} {einval} {ebadf}"));
    }
    kernel.line("mounted");
    assert!(kernel.init().max_write >= 4096);
    kernel
}

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
    signal(&kernel, libc::SIGUSR1);
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
    signal(&kernel, libc::SIGUSR2);
    kernel.send(Opcode::Statfs as u32, ROOT_ID, b"");
    assert_eq!(kernel.ask(Opcode::Lookup, ROOT_ID, &name("none")).error, libc::ENOENT);
    let (_, log) = kernel.ends();
    assert!(log.contains("Broken pipe"), "{log}");
}

/// Sends a signal and waits until the filesystem has had it.
fn signal(kernel: &Kernel, signal: i32) {
    let pid = kernel.child.id() as i32;
    // SAFETY: our child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
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
