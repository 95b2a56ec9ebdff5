//! Scripts for `mock_ll`, and their transcripts on each library.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::support::skip;

const STOCK: &str = "/usr/lib/x86_64-linux-gnu/libfuse3.so.3";

pub fn built(name: &str) -> PathBuf {
    std::env::var_os("RINGFUSE_TEST_BUILD")
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("build"),
            |fs| Path::new(&fs).join("../.."),
        )
        .join(name)
}

/// The installed library, unless it is ours or of another release.
pub fn stock() -> Option<PathBuf> {
    let has = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    match std::fs::read(STOCK) {
        Ok(bytes) if !has(&bytes, b"ringfuse_version") && has(&bytes, b"3.14") => {
            Some(STOCK.into())
        }
        _ => {
            skip(&format!("the comparison with libfuse 3.14: {STOCK} is not that"));
            None
        }
    }
}

/// Variables for init(), see mock_ll.c.
pub type Env<'a> = &'a [(&'a str, &'a str)];

/// The transcript of a script.
pub fn play(library: &Path, args: &[&str], env: Env, script: &[String]) -> Vec<String> {
    play_by("mock_ll", library, args, env, script)
}

/// That of a program of `tests/fs`.
pub fn play_by(
    program: &str,
    library: &Path,
    args: &[&str],
    env: Env,
    script: &[String],
) -> Vec<String> {
    let mut child = Command::new("timeout")
        .args(["-s", "KILL", "20"])
        .arg(built("tests/fs").join(program))
        .arg(library)
        .args(args)
        .env("RINGFUSE_TRANSPORT", "dev")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect(program);
    let text = script.join("\n") + "\n";
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("wait");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}: {}\n{text}", library.display(), output.status);
    text.lines().map(String::from).collect()
}

/// Plays `script` to both of our libraries, which must do the same, and returns
/// the transcript.
pub fn ours(args: &[&str], script: &[String]) -> Vec<String> {
    ours_with(&[], args, script)
}

pub fn ours_with(env: Env, args: &[&str], script: &[String]) -> Vec<String> {
    let [so3, so4] = [3, 4].map(|n| play(&built(&format!("libfuse3.so.{n}")), args, env, script));
    compare(&so3, &so4);
    so3
}

/// The same, and libfuse must do it too.
pub fn same(args: &[&str], script: &[String]) -> Vec<String> {
    same_with(&[], args, script)
}

pub fn same_with(env: Env, args: &[&str], script: &[String]) -> Vec<String> {
    let transcript = ours_with(env, args, script);
    if let Some(stock) = stock() {
        let theirs: Vec<_> =
            play(&stock, args, env, script).into_iter().map(|line| our_minor(&line)).collect();
        compare(&transcript, &theirs);
    }
    transcript
}

/// An answer to INIT has the library's own minor version, 45; libfuse 3.14.0 of
/// Debian has 31.
pub fn our_minor(line: &str) -> String {
    line.replace("body=070000001f000000", "body=070000002d000000")
}

pub fn compare(one: &[String], other: &[String]) {
    for (a, b) in one.iter().zip(other) {
        assert_eq!(a, b, "\nin the transcript\n{}", one.join("\n"));
    }
    assert_eq!(one.len(), other.len(), "{}\n---\n{}", one.join("\n"), other.join("\n"));
}

/// A body: numbers in the machine's order, and names.
#[derive(Default, Clone)]
pub struct Body(Vec<u8>);

impl Body {
    pub fn u32(mut self, value: u32) -> Body {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Body {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub fn zeros(mut self, count: usize) -> Body {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Body {
        self.0.extend(bytes);
        self
    }

    pub fn name(self, name: &str) -> Body {
        self.bytes(name.as_bytes()).bytes(&[0])
    }
}

pub fn body() -> Body {
    Body::default()
}

pub fn request(opcode: u32, unique: u64, body: Body) -> String {
    request_of(0, opcode, unique, body)
}

pub fn request_of(uid: u32, opcode: u32, unique: u64, body: Body) -> String {
    request_at(1, uid, opcode, unique, body)
}

pub fn request_at(node: u64, uid: u32, opcode: u32, unique: u64, body: Body) -> String {
    let hex: String = body.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = if hex.is_empty() { "-" } else { &hex };
    format!("{opcode} {unique} {node} {uid} {hex}")
}

pub fn reply(how: &str) -> String {
    format!("reply {how}")
}

pub fn notify(what: &str) -> String {
    format!("notify {what}")
}

/// All that a kernel of that version may offer, but for the second word.
pub fn init(unique: u64, major: u32, minor: u32) -> String {
    let flags = !(1 << 30);
    request(26, unique, body().u32(major).u32(minor).u32(0x20000).u32(flags))
}

/// Every request in one form, with numbers that tell the fields apart.
pub fn every_request() -> Vec<String> {
    let fh = 0x77;
    let owner = 0x99;
    let lock = |kind: u32, flags: u32| {
        body().u64(fh).u64(owner).u64(10).u64(i64::MAX as u64).u32(kind).u32(1234).u32(flags).u32(0)
    };
    let two = |a: &str, b: &str| body().name(a).name(b);
    [
        (1, body().name("looked-up")),
        (3, body().u32(0).u32(0).u64(fh)),
        (3, body().u32(1).u32(0).u64(fh)),
        (
            4,
            body()
                .u32(0xffff_ffff)
                .u32(0)
                .u64(fh)
                .u64(100)
                .u64(owner)
                .u64(1)
                .u64(2)
                .u64(3)
                .u32(4)
                .u32(5)
                .u32(6)
                .u32(0o100_644)
                .u32(0)
                .u32(7)
                .u32(8)
                .u32(0),
        ),
        (5, body()),
        (6, two("made", "target")),
        (8, body().u32(0o20_600).u32(0x0010_3042).u32(0o22).u32(0).name("node")),
        (9, body().u32(0o755).u32(0o27).name("directory")),
        (10, body().name("gone")),
        (11, body().name("gone-too")),
        (12, body().u64(9).bytes(b"from\0to\0")),
        (45, body().u64(9).u32(1).u32(0).bytes(b"from\0to\0")),
        (13, body().u64(8).name("link")),
        (14, body().u32(0o2).u32(0)),
        (15, body().u64(fh).u64(4096).u32(512).u32(2).u64(owner).u32(0o100_000).u32(0)),
        (16, body().u64(fh).u64(7).u32(4).u32(3).u64(owner).u32(0o1).u32(0).bytes(b"abcd")),
        (17, body()),
        (18, body().u64(fh).u32(2).u32(3).u64(owner)),
        (20, body().u64(fh).u32(1).u32(0)),
        (21, body().u32(3).u32(2).bytes(b"user.x\0abc")),
        (22, body().u32(40).u32(0).name("user.x")),
        (23, body().u32(0).u32(0)),
        (24, body().name("user.x")),
        (25, body().u64(fh).u32(0).u32(0).u64(owner)),
        (27, body().u32(0o200_000).u32(0)),
        (28, body().u64(fh).u64(0).u32(4096).u32(0).u64(0).u32(0).u32(0)),
        (44, body().u64(fh).u64(3).u32(4096).u32(0).u64(0).u32(0).u32(0)),
        (29, body().u64(fh).u32(0o200_000).u32(0).u64(0)),
        (30, body().u64(fh).u32(0).u32(0)),
        (31, lock(0, 0)),
        (32, lock(1, 0)),
        (33, lock(2, 0)),
        (32, lock(1, 1)),
        (33, lock(0, 1)),
        (34, body().u32(5).u32(0)),
        (35, body().u32(0o102).u32(0o640).u32(0o22).u32(0).name("created")),
        (37, body().u64(11).u32(512).u32(0)),
        (39, body().u64(fh).u32(0).u32(0x4004_6601).u64(0x1234).u32(3).u32(8).bytes(b"inp")),
        (39, body().u64(fh).u32(1).u32(0x4004_6601).u64(0x1234).u32(0).u32(0)),
        (39, body().u64(fh).u32(0x10).u32(7).u64(0).u32(0).u32(0)),
        (40, body().u64(fh).u64(55).u32(0).u32(4)),
        (40, body().u64(fh).u64(56).u32(1).u32(4)),
        (43, body().u64(fh).u64(1).u64(2).u32(3).u32(0)),
        (46, body().u64(fh).u64(5).u32(3).u32(0)),
        (47, body().u64(fh).u64(1).u64(8).u64(0x78).u64(2).u64(3).u64(0)),
        (99, body().zeros(16)),
    ]
    .into_iter()
    .zip(5u64..)
    .map(|((opcode, body), number)| request(opcode, 2 * number, body))
    .collect()
}

pub fn count(transcript: &[String], part: &str) -> usize {
    transcript.iter().filter(|line| line.contains(part)).count()
}
