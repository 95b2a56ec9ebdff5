//! The trace of a test filesystem: one line per operation, `op key=value ...`.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use super::client::eventually;

/// One operation as the filesystem saw it.
#[derive(Clone, Debug)]
pub struct Line {
    pub op: String,
    args: HashMap<String, String>,
    text: String,
}

impl Line {
    pub fn parse(text: &str) -> Line {
        let mut words = text.split(' ');
        let op = words.next().expect("an operation").to_string();
        let pair = |word: &str| word.split_once('=').map(|(k, v)| (k.to_string(), v.to_string()));
        Line { op, args: words.filter_map(pair).collect(), text: text.to_string() }
    }

    pub fn has(&self, key: &str) -> bool {
        self.args.contains_key(key)
    }

    pub fn text(&self, key: &str) -> &str {
        self.args.get(key).unwrap_or_else(|| panic!("no {key} in: {}", self.text))
    }

    fn number(&self, key: &str, base: u32) -> i128 {
        i128::from_str_radix(self.text(key), base)
            .unwrap_or_else(|_| panic!("{key} is no number in: {}", self.text))
    }

    pub fn dec(&self, key: &str) -> i128 {
        self.number(key, 10)
    }

    pub fn hex(&self, key: &str) -> u64 {
        self.number(key, 16) as u64
    }

    pub fn oct(&self, key: &str) -> u64 {
        self.number(key, 8) as u64
    }
}

/// Reads a trace; what was read once is not seen again.
pub struct Trace {
    path: PathBuf,
    read: Mutex<usize>,
}

impl Trace {
    pub fn new(path: PathBuf) -> Trace {
        Trace { path, read: Mutex::new(0) }
    }

    fn unread(&self, from: usize) -> (Vec<Line>, usize) {
        let text = fs::read(&self.path).unwrap_or_default();
        let end = text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let new = String::from_utf8_lossy(&text[from.min(end)..end]).into_owned();
        (new.lines().map(Line::parse).collect(), end)
    }

    /// All operations since the last call.
    pub fn take(&self) -> Vec<Line> {
        let mut read = self.read.lock().expect("lock");
        let (lines, end) = self.unread(*read);
        *read = end;
        lines
    }

    /// The operations `op` since the last call; forgets all others.
    pub fn all(&self, op: &str) -> Vec<Line> {
        self.take().into_iter().filter(|line| line.op == op).collect()
    }

    /// The one operation `op` since the last call; forgets all others.
    pub fn one(&self, op: &str) -> Line {
        let lines = self.take();
        let mut found = lines.iter().filter(|line| line.op == op);
        match (found.next(), found.next()) {
            (Some(line), None) => line.clone(),
            _ => panic!("not exactly one {op} in {lines:#?}"),
        }
    }

    /// Waits for the first operation `op` that the client does not wait for,
    /// such as a release.
    pub fn wait(&self, op: &str) -> Line {
        let mut found = None;
        eventually(&format!("a {op} request"), || {
            let (lines, _) = self.unread(*self.read.lock().expect("lock"));
            found = lines.into_iter().find(|line| line.op == op);
            found.is_some()
        });
        self.take();
        found.expect("found")
    }
}
