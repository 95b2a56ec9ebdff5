//! What the kernel tells about a filesystem process, from outside of it.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use std::{fs, io, thread};

use parking_lot::RwLock;

/// Submissions and completions of all io_urings of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounts {
    pub rings: usize,
    pub submitted: u64,
    pub completed: u64,
}

/// Adds up what /proc/PID/fdinfo says of every io_uring descriptor.
pub fn ring_counts(pid: u32) -> RingCounts {
    let mut counts = RingCounts::default();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc/PID/fd");
    for entry in descriptors.flatten() {
        let is_ring = fs::read_link(entry.path())
            .is_ok_and(|target| target == Path::new("anon_inode:[io_uring]"));
        if !is_ring {
            continue;
        }
        let number = entry.file_name().into_string().expect("a number");
        if let Some((submitted, completed)) = counts_of(pid, &number) {
            counts.rings += 1;
            counts.submitted += submitted;
            counts.completed += completed;
        }
    }
    counts
}

/// The counters are left out while the ring's own lock is taken, so ask again;
/// None if the descriptor is gone.
fn counts_of(pid: u32, descriptor: &str) -> Option<(u64, u64)> {
    for _ in 0..1000 {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).ok()?;
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line[name.len()..].trim().parse().ok()
        };
        if let (Some(submitted), Some(completed)) = (field("SqHead:"), field("CqTail:")) {
            return Some((submitted, completed));
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("fdinfo of io_uring descriptor {descriptor} of {pid} has no counters");
}

static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process. Until it executes its program it has all descriptors of this
/// one, and flushes and perhaps releases the files among them.
pub fn start(command: &mut Command) -> io::Result<Child> {
    let _starting = STARTING.write();
    command.spawn() // which returns when the program is executed
}

/// No process is started here while this lives: for tests in which a flush by anybody
/// else counts. A thread that has it starts none itself.
pub fn none_starts() -> impl Drop {
    STARTING.read()
}

/// What a command prints, which must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}

/// A number of /proc/PID/status, such as RssAnon in KiB.
pub fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc/PID/status");
    let field = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_string());
    let value = text.lines().find_map(field).expect(name);
    value.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).expect("/proc/PID/task").count()
}

pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc/PID/fd").count()
}

/// Threads whose name starts with `prefix`.
pub fn threads_named(pid: u32, prefix: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("/proc/PID/task")
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with(prefix))
        .count()
}

/// Every thread with the number of times that it was put on a CPU: what does
/// anything changes it.
pub fn switches(pid: u32) -> Vec<(u32, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("/proc/PID/task");
    tasks
        .filter_map(|task| {
            let task = task.ok()?;
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            let count =
                lines.map(|(_, count)| count.trim().parse::<u64>().expect("a number")).sum();
            Some((task.file_name().to_str()?.parse().ok()?, count))
        })
        .collect()
}

pub fn alive(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"),
        Err(_) => false,
    }
}

pub fn mounted(mountpoint: &Path) -> bool {
    let wanted = mountpoint.to_str().expect("UTF-8");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(wanted))
}
