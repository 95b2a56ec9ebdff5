//! What the filesystems of the tests really did, for `scripts/coverage.py`.
//!
//! With `RINGFUSE_TEST_CALLS=DIR` every mount leaves a file there: the test,
//! the transport, the arguments, the functions of the library that the
//! filesystem called, and the operations in its trace. The dynamic linker tells
//! which functions: it looks a function up when it is called for the first
//! time, and `LD_DEBUG=bindings` has it say so.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, thread};

use super::machine::Transport;

pub struct Record {
    file: PathBuf,
    text: String,
}

impl Record {
    /// To be called before `command` starts. None unless somebody wants records.
    pub fn begin(command: &mut Command, program: &Path, on: Transport) -> Option<Record> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let directory = PathBuf::from(env::var_os("RINGFUSE_TEST_CALLS")?);
        let binary = env::current_exe().expect("our own name");
        let binary = binary.file_stem().and_then(OsStr::to_str).expect("UTF-8");
        let suite = binary.rsplit_once('-').map_or(binary, |(name, _hash)| name);
        let thread = thread::current();
        let test = thread.name().unwrap_or("?");
        let test = test.trim_end_matches("::dev").trim_end_matches("::ring");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = directory.join(format!("{suite}.{}.{number}", std::process::id()));
        let program = program.file_name().and_then(OsStr::to_str).expect("UTF-8");
        let mut text =
            format!("test {suite}::{test}\ntransport {}\nprogram {program}\n", on.name());
        for arg in command.get_args() {
            text += &format!("arg {}\n", arg.to_string_lossy());
        }
        command.env("LD_DEBUG", "bindings").env("LD_DEBUG_OUTPUT", bindings(&file));
        Some(Record { file, text })
    }

    /// To be called when the filesystem has ended.
    pub fn end(mut self, trace: &Path) {
        let directory = self.file.parent().expect("a directory");
        let prefix = bindings(&self.file) + ".";
        let mut functions = BTreeSet::new();
        for entry in fs::read_dir(directory).expect("RINGFUSE_TEST_CALLS").flatten() {
            let path = entry.path();
            if !path.to_string_lossy().starts_with(&prefix) {
                continue;
            }
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            functions.extend(text.lines().filter_map(function_of).map(String::from));
            let _ = fs::remove_file(path);
        }
        for function in functions {
            self.text += &format!("call {function}\n");
        }
        let trace = fs::read(trace).unwrap_or_default();
        let trace = String::from_utf8_lossy(&trace);
        let operations: BTreeSet<_> =
            trace.lines().filter_map(|line| line.split(' ').next()).collect();
        for operation in operations {
            self.text += &format!("op {operation}\n");
        }
        fs::write(&self.file, &self.text).expect("RINGFUSE_TEST_CALLS");
    }
}

/// Where the dynamic linker writes; it adds the number of each process.
fn bindings(file: &Path) -> String {
    format!("{}.ld", file.display())
}

/// `PID: binding file A [0] to .../libfuse3.so.4 [0]: normal symbol `f' [NODE]`
fn function_of(line: &str) -> Option<&str> {
    let (files, symbol) = line.split_once(": normal symbol `")?;
    let (from, to) = files.split_once(" to ")?;
    let called = to.contains("libfuse3.so") && !from.contains("libfuse3.so");
    called.then(|| symbol.split('\'').next())?
}
