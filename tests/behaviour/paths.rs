//! Scripts for `mock_path`, and their transcripts on each library.

use std::path::{Path, PathBuf};

use super::script::{self, compare, count, our_minor, request_at, Body, Env};

/// What happens, in order. Requests are numbered as they come; nodes are from 2
/// on, in the order of their first lookup.
#[derive(Default, Clone)]
pub struct Script(Vec<String>);

/// A connection that has begun.
pub fn begun() -> Script {
    let init = script::body().u32(7).u32(31).u32(0x20000).u32(!(1 << 30));
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
        self.ask(1, parent, script::body().name(name))
    }

    pub fn lookups(self, parent: u64, names: &[&str]) -> Script {
        names.iter().fold(self, |script, name| script.lookup(parent, name))
    }

    pub fn forget(self, node: u64, count: u64) -> Script {
        self.ask(2, node, script::body().u64(count))
    }

    pub fn getattr(self, node: u64) -> Script {
        self.ask(3, node, script::body().u32(0).u32(0).u64(0))
    }

    pub fn open(self, node: u64) -> Script {
        self.ask(14, node, script::body().u32(2).u32(0))
    }

    pub fn release(self, node: u64) -> Script {
        self.ask(18, node, script::body().u64(0x77).u32(2).u32(0).u64(0))
    }

    pub fn unlink(self, parent: u64, name: &str) -> Script {
        self.ask(10, parent, script::body().name(name))
    }

    pub fn rename(self, parent: u64, name: &str, to: u64, new: &str, flags: u32) -> Script {
        let body = script::body().u64(to).u32(flags).u32(0).name(name).name(new);
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
