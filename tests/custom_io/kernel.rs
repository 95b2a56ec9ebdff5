//! The kernel's side of a session, played over a socket.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use ringfuse::abi::kernel::*;
use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use tempfile::TempDir;
use zerocopy::{FromBytes, IntoBytes};

use super::support::*;

/// A request header of the kernel's, and its answer.
pub struct Reply {
    pub error: i32,
    pub data: Vec<u8>,
}

/// The kernel's side of a session.
pub struct Kernel {
    pub socket: File,
    unique: u64,
    pub child: Child,
    _input: ChildStdin,
    lines: std::sync::mpsc::Receiver<String>,
    pub dir: TempDir,
}

pub struct Setup<'a> {
    pub program: &'a str,
    pub args: &'a [&'a str],
    pub env: &'a [(&'a str, &'a str)],
}

pub const PLAIN: Setup<'_> = Setup { program: "custom_ll", args: &[], env: &[] };

impl Kernel {
    pub fn start(setup: &Setup<'_>) -> Kernel {
        // Tests run in parallel: no other child may keep our end open, ever.
        let flags = SocketFlags::CLOEXEC;
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("sockets");
        let theirs = rustix::io::dup(theirs).expect("dup"); // without the flag
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(20))).expect("timeout");
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
        Kernel { socket: socket.into(), unique: 0, child, _input: input, lines, dir }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn line(&self, prefix: &str) -> String {
        match self.lines.recv_timeout(Duration::from_secs(20)) {
            Ok(line) if line.starts_with(prefix) => line,
            other => panic!("expected '{prefix}', got {other:?}\n{}", self.log()),
        }
    }

    /// Sends a request; its number.
    pub fn send(&mut self, opcode: u32, nodeid: u64, body: &[u8]) -> u64 {
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

    pub fn send_raw(&mut self, message: &[u8]) {
        assert_eq!(self.socket.write(message).expect("send"), message.len());
    }

    /// The next message of the filesystem, however many pieces it comes in.
    pub fn receive(&mut self) -> io::Result<(OutHeader, Vec<u8>)> {
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

    pub fn ask_raw(&mut self, opcode: u32, nodeid: u64, body: &[u8]) -> Reply {
        let unique = self.send(opcode, nodeid, body);
        let (header, data) =
            self.receive().unwrap_or_else(|e| panic!("opcode {opcode}: {e}\n{}", self.log()));
        assert_eq!(header.unique, unique, "opcode {opcode}");
        Reply { error: -header.error, data }
    }

    pub fn ask(&mut self, opcode: Opcode, nodeid: u64, body: &[u8]) -> Reply {
        self.ask_raw(opcode as u32, nodeid, body)
    }

    /// A request that succeeds, with an answer of this type.
    pub fn get<T: FromBytes>(&mut self, opcode: Opcode, nodeid: u64, body: &[u8]) -> T {
        let reply = self.ask(opcode, nodeid, body);
        assert_eq!(reply.error, 0, "{opcode:?}");
        T::read_from_bytes(&reply.data).unwrap_or_else(|_| panic!("{opcode:?}: {:?}", reply.data))
    }

    /// A request that succeeds, with `data`.
    pub fn expect(&mut self, opcode: Opcode, nodeid: u64, body: &[u8], data: &[u8]) {
        let reply = self.ask(opcode, nodeid, body);
        assert_eq!((reply.error, &reply.data[..]), (0, data), "{opcode:?}");
    }

    pub fn init(&mut self) -> InitOut {
        // 0xffffffff would be offers that need more than this test gives.
        let offers = init::ASYNC_READ | init::BIG_WRITES | init::MAX_PAGES | init::POSIX_LOCKS;
        let body = InitIn { major: 7, minor: 38, max_readahead: 1 << 17, flags: offers as u32 };
        let body = [body.as_bytes(), &[0; 48]].concat();
        self.get(Opcode::Init, 0, &body)
    }

    /// The operations that the filesystem saw.
    pub fn operations(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("trace")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').next().unwrap_or("").to_string()).collect()
    }

    /// Waits for the end, which is this result of the loop and status 0.
    pub fn ends_with(mut self, result: i32) -> (String, String) {
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
    pub fn ends(mut self) -> (String, String) {
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

pub fn name(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

pub fn with_name(fixed: &[u8], text: &str) -> Vec<u8> {
    [fixed, &name(text)].concat()
}

pub fn started(setup: &Setup<'_>) -> Kernel {
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
