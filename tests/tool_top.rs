//! `ringfuse top`: what the mounts do, while they do it.

#[path = "support/command.rs"]
mod command;
mod support;
#[path = "tool_top/terminal.rs"]
mod terminal;
#[path = "tool_status/theirs.rs"]
mod theirs;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use command::*;
use rustix::process::Signal;
use support::machine::{device, is_root};
use support::*;
use terminal::{End, Terminal};
use theirs::{Theirs, NOBODY};

fn top(args: &[&str]) -> Output {
    Command::new(tool()).arg("top").args(args).output().expect("ringfuse")
}

/// Both outputs.
fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (text(&output.stdout), text(&output.stderr))
}

/// A report's line about what its last words name, by column.
#[derive(Debug)]
struct Line(Vec<(String, String)>);

impl Line {
    fn of(report: &str, name: &str) -> Self {
        let mut lines = report.lines().skip(1);
        let head = lines.next().unwrap_or_else(|| panic!("no head in {report}"));
        let line = lines.find(|line| line.ends_with(&format!(" {name}")));
        let line = line.unwrap_or_else(|| panic!("no line of {name} in {report}"));
        let columns = head.split_whitespace().zip(line.split_whitespace());
        Self(columns.map(|(head, value)| (head.to_owned(), value.to_owned())).collect())
    }

    fn at(&self, column: &str) -> &str {
        let found = self.0.iter().find(|(head, _)| head == column);
        &found.unwrap_or_else(|| panic!("no {column} in {self:?}")).1
    }

    /// "2/7": now, and of how many.
    fn pair(&self, column: &str) -> (u64, u64) {
        let (now, all) = self.at(column).split_once('/').expect("two numbers");
        (now.parse().unwrap(), all.parse().unwrap())
    }
}

/// A client that reads until it is dropped.
struct Busy(Arc<AtomicBool>, Option<Pinned<()>>);

impl Busy {
    fn start(fs: &Mount, cpu: usize) -> Self {
        let file = File::open(fs.at("zeros")).expect("open");
        let over = Arc::new(AtomicBool::new(false));
        let client = {
            let over = over.clone();
            pinned(cpu, move || {
                while !over.load(Ordering::Relaxed) {
                    file.read_exact_at(&mut [0; 4096], 0).expect("read");
                }
            })
        };
        Self(over, Some(client))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        drop(self.1.take().map(Pinned::join));
    }
}

each_transport! {
    fn rates_while_work_is_done(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        let _busy = Busy::start(&fs, cpu);
        let path = fs.path.to_str().unwrap();
        let output = top(&["-d", "0.2", "--count=3", path]);
        let (out, err) = text(&output);
        assert_eq!((output.status.code(), &*err), (Some(0), ""));
        assert!(!out.contains('\x1b'), "colours without a terminal: {out}");
        let reports: Vec<&str> = out.split("\n\n").collect();
        assert_eq!(reports.len(), 3, "{out}");
        let queue = match on {
            Transport::Ring => format!("queue {cpu}"),
            Transport::Dev => "by /dev/fuse".into(),
        };
        for report in reports {
            assert_eq!(Line::of(report, path).at("VIA"), on.name());
        }
        // Where the machine is busy there may be no request in such a short time.
        eventually("rates", || {
            let (out, _) = text(&top(&["-d", "0.3", "-n", "1", path]));
            [Line::of(&out, path), Line::of(&out, &queue)].iter().all(|line| {
                let (threads, most) = line.pair("THR");
                assert!(threads >= 1 && most >= threads, "{out}");
                ["REQ/S", "IN/S", "OUT/S"].iter().all(|column| line.at(column) != "0")
                    && ["P50", "P99"].iter().all(|column| line.at(column).starts_with('<'))
            })
        });
        // Of all mounts there is one line each; a name said twice is one.
        let (out, _) = text(&top(&["-d0.2", "-n1"]));
        Line::of(&out, path);
        assert!(!out.contains(&queue), "{out}");
        let (out, _) = text(&top(&["-d0.2", "-n1", path, path]));
        assert_eq!(out.matches(path).count(), 1, "{out}");
    }

    fn what_waits_and_what_it_took(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        let reader = |name: &str, i| {
            let file = File::open(fs.at(name)).expect("open");
            pinned(cpu, move || file.read_at(&mut [0; 64], i).expect("read"))
        };
        let inside: Vec<_> = (0..4).map(|i| reader("block", i)).collect();
        fs.until("inside", 4);
        let parked: Vec<_> = (0..20).map(|i| reader("park", i)).collect();
        fs.until("parked", 20);
        let path = fs.path.to_str().unwrap();
        let line = || Line::of(&text(&top(&["-d", "0.1", "-n", "1", path])).0, path);
        let waiting = |running: &str, parked: &str| {
            let line = line();
            (line.at("RUN"), line.at("PARK")) == (running, parked)
        };
        eventually("what waits", || waiting("4", "20"));
        fs.command("release");
        fs.command("unblock");
        for client in inside.into_iter().chain(parked) {
            assert!(client.join().unwrap() > 0);
        }
        eventually("the end of it", || waiting("0", "0"));
        let line = line();
        assert!(line.pair("THR").1 >= 4, "{line:?}");
        match on {
            Transport::Ring => assert!(line.pair("ENT").1 >= 24, "{line:?}"),
            Transport::Dev => assert_eq!(line.at("ENT"), "-"),
        }
    }

    /// The terminal is as it was, whatever ends it.
    fn on_a_terminal(on) {
        if stock() {
            return skip("the command is about ringfuse");
        }
        let fs = Server::new("engine_ll").mount(on);
        let path = fs.path.to_str().unwrap();
        for end in
            [End::Key(b"q"), End::Key(b"xu q"), End::Key(b"\x03"), End::Signal(Signal::TERM)]
        {
            let mut terminal = Terminal::start(&["-d", "0.5", path]);
            eventually("the mount on the screen", || terminal.shown().contains(path));
            terminal.end(end);
            terminal.has_ended();
        }
        // The last report stays.
        let mut terminal = Terminal::start(&["-n", "1", path]);
        terminal.has_ended();
        eventually("the report behind the screen", || terminal.left_behind().contains(path));
        // No screen at all.
        let mut terminal = Terminal::start(&["-b", "-d0.1", "-n2", path]);
        assert_eq!(terminal.child.wait().expect("wait").code(), Some(0));
        eventually("two reports", || terminal.shown().matches(path).count() == 2);
        assert!(!terminal.shown().contains("\x1b[?"), "{}", terminal.shown());
    }
}

/// Who is not root sees what their own processes serve, and is told about the rest.
#[test]
fn of_an_ordinary_user() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    if !is_root() {
        return skip("only root can be somebody else, and mount for them");
    }
    let as_nobody = |args: &[&str]| {
        let tool = tool();
        let words = [&NOBODY[1..], &[tool.to_str().unwrap(), "top", "-d0.1", "-n1"], args];
        let output = Command::new(NOBODY[0]).args(words.concat()).output().expect("setpriv");
        let (out, err) = text(&output);
        (output.status.code(), out, err)
    };
    let refused = |args: &[&str], words: &[&str]| {
        let (status, out, err) = as_nobody(args);
        assert_eq!((status, &*out), (Some(1), ""), "{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{err}");
    };
    let mine = Server::new("engine_ll").mount(Transport::Dev);
    let path = mine.path.to_str().unwrap();
    let who = format!("{path}: mounted by the user with ID 0; only they and root may look into");
    refused(&[path], &[&who, "sudo ringfuse top"]);
    refused(&[], &["that this user may look into", "sudo ringfuse top"]);

    let theirs = Theirs::mount();
    let path = theirs.point.to_str().unwrap();
    let row = || row_in(&status_under(&NOBODY), &theirs.point);
    eventually("INIT", || {
        row().is_some_and(|row| row["reason"].is_string() && row["pid"] == theirs.pid())
    });
    for args in [&[path][..], &[]] {
        let (status, out, err) = as_nobody(args);
        assert_eq!((status, &*err), (Some(0), ""), "{out}");
        assert_eq!(Line::of(&out, path).at("VIA"), "dev");
        assert!(!out.contains(mine.path.to_str().unwrap()), "{out}");
    }
}

#[test]
fn what_cannot_be_looked_at() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    for (args, status, words) in [
        (&["/proc"][..], 1, "/proc: not the mount point of a FUSE mount"),
        (&["/nowhere/at/all"], 1, "/nowhere/at/all: no such path"),
        (&["-d", "0"], 125, "--delay 0: a number of seconds is needed, from 0.1 to 86400"),
        (&["-d", "soon"], 125, "--delay soon: a number"),
        (&["-n", "0"], 125, "\"0\""),
        (&["--json"], 125, "--json"),
    ] {
        let output = top(args);
        let (out, err) = text(&output);
        assert_eq!((output.status.code(), &*out), (Some(status), ""), "{args:?}: {err}");
        assert!(err.starts_with("ringfuse: ") && err.contains(words), "{args:?}: {err}");
    }
    let fs = Server::new("engine_ll").env("RINGFUSE_STATUS", "no").mount(Transport::Dev);
    let path = fs.path.to_str().unwrap();
    let output = top(&["-n1", path]);
    let (out, err) = text(&output);
    assert_eq!((output.status.code(), &*out), (Some(1), ""), "{err}");
    assert!(err.contains("shows no counters, see RINGFUSE_STATUS"), "{err}");
    let (out, err) = text(&top(&["-n1", "-d0.1"]));
    assert!(out.contains(&format!(" {path}: not told")) && err.is_empty(), "{out}{err}");
}

/// It ends with the mount that it was told, and with its reader.
#[test]
fn until_there_is_nothing_left() {
    if stock() {
        return skip("the command is about ringfuse");
    }
    if let Err(reason) = device() {
        return skip(&reason);
    }
    let start = |path: &str| {
        let mut command = Command::new(tool());
        command.args(["top", "-d", "0.1", path]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ringfuse");
        let mut first = String::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut first).unwrap();
        assert!(first.contains("ringfuse top"), "{first}");
        (child, reader)
    };
    let fs = Server::new("engine_ll").mount(Transport::Dev);
    let path = fs.path.to_str().unwrap().to_owned();
    let (child, reader) = start(&path);
    drop(reader);
    let output = child.wait_with_output().expect("wait");
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));

    let (child, reader) = start(&path);
    let reading = thread::spawn(move || reader.lines().count());
    drop(fs);
    let output = child.wait_with_output().expect("wait");
    assert!(reading.join().unwrap() >= 2);
    let (_, err) = text(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    // The directory is not there any more, or not yet gone.
    assert!(err.starts_with(&format!("ringfuse: {path}: no")), "{err}");
}
