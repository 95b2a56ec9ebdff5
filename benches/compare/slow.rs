//! Filesystems that take their time: many clients of one CPU whose requests are
//! answered late, and one client of the same CPU with a quick request now and
//! then. The filesystem is `benches/slow_ll.c`.

use super::expectations::Target::{self, QuickTail, SameThreads, Sixfold};
use super::process::{cpu_time, on_one_cpu};
use super::rounds::{Plan, Sample, HUNG};
use super::work::Unit;
use crate::server::{watch, Server};
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The source of the filesystem, in this project.
pub const SOURCE: &str = "benches/slow_ll.c";

/// One kind of load; its lines are those of [`measure`]'s samples.
pub struct Load {
    /// What the many clients read.
    file: &'static str,
    pub clients: usize,
    /// Options of the mount.
    pub options: &'static str,
    pub lines: &'static [Line],
}

pub struct Line {
    pub name: &'static str,
    pub what: What,
    pub unit: Unit,
    pub targets: &'static [Target],
    pub plotted: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum What {
    /// How many late answers come.
    Answers,
    /// How long a quick request takes meanwhile: at the median, at the 99th percentile.
    Quick,
    QuickTail,
    /// How long it takes before, when nothing else goes on.
    Idle,
}

impl Line {
    /// How many clients its requests come from.
    pub fn clients(&self, load: &Load) -> usize {
        match self.what {
            What::Answers => load.clients,
            What::Quick | What::QuickTail | What::Idle => 1,
        }
    }
}

/// The name of the line that others are judged by.
pub const IDLE: &str = "quick read, nothing beside it";

#[rustfmt::skip] // a table
pub const LOADS: &[Load] = &[
    Load { file: "sleep", clients: 64, options: "", lines: &[
        Line { name: IDLE, what: What::Idle,
               unit: Unit::Calls, targets: &[], plotted: false },
        Line { name: "handlers that sleep 10 ms, clients of one CPU", what: What::Answers,
               unit: Unit::Answers, targets: &[Sixfold], plotted: true },
        Line { name: "quick read beside them, median", what: What::Quick,
               unit: Unit::Calls, targets: &[], plotted: false },
        Line { name: "quick read beside them, 99th percentile", what: What::QuickTail,
               unit: Unit::Calls, targets: &[QuickTail], plotted: true },
    ] },
    Load { file: "sleep", clients: 64, options: "max_threads=64", lines: &[
        Line { name: "handlers that sleep 10 ms, max_threads=64", what: What::Answers,
               unit: Unit::Answers, targets: &[SameThreads], plotted: false },
    ] },
    Load { file: "park", clients: 256, options: "", lines: &[
        Line { name: "requests parked for 50 ms, clients of one CPU", what: What::Answers,
               unit: Unit::Answers, targets: &[], plotted: true },
        Line { name: "quick read beside these, median", what: What::Quick,
               unit: Unit::Calls, targets: &[], plotted: false },
        Line { name: "quick read beside these, 99th percentile", what: What::QuickTail,
               unit: Unit::Calls, targets: &[QuickTail], plotted: false },
    ] },
];

/// The quick client rests this long between two requests.
const PAUSE: Duration = Duration::from_micros(500);

/// One sitting with one server: a sample for each line of the load.
pub fn measure(
    load: &Load,
    server: &Server,
    plan: &Plan,
) -> std::result::Result<Vec<Sample>, String> {
    let (progress, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || on_one_cpu(|| clients(load, server, plan, &progress, &over));
    watch(&[server.pid()], &progress, work)
        .ok_or_else(|| HUNG.to_string())?
        .map_err(|error| error.to_string())
}

fn clients(
    load: &Load,
    server: &Server,
    plan: &Plan,
    progress: &AtomicU64,
    over: &AtomicBool,
) -> Result<Vec<Sample>> {
    let open = |name: &str| File::open(server.mountpoint().join(name));
    let slow = open(load.file)?;
    let quick = open("quick")?;
    let late = AtomicU64::new(0);
    thread::scope(|scope| {
        // Whatever happens, the clients end.
        let _guard = SetOnDrop(over);
        let idle = quick_reads(&quick, plan.slow, progress)?;
        for _ in 0..load.clients {
            scope.spawn(|| {
                let mut byte = [0];
                while !over.load(Ordering::Relaxed) && slow.read_exact_at(&mut byte, 0).is_ok() {
                    late.fetch_add(1, Ordering::Relaxed);
                    progress.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        quick_reads(&quick, plan.slow, progress)?; // the server finds its pace
        let (start, before, cpu) =
            (Instant::now(), late.load(Ordering::Relaxed), cpu_time(server.pid()));
        let beside = quick_reads(&quick, plan.slow, progress)?;
        let elapsed = start.elapsed().as_secs_f64();
        let answers = late.load(Ordering::Relaxed) - before;
        let cpu = cpu_time(server.pid()).saturating_sub(cpu).as_secs_f64();
        let cpu = cpu / (answers as f64 + beside.len() as f64);
        let sample = |line: &Line| {
            let rate = match line.what {
                What::Answers => answers as f64 / elapsed,
                What::Quick => 1.0 / percentile(&beside, 50).as_secs_f64(),
                What::QuickTail => 1.0 / percentile(&beside, 99).as_secs_f64(),
                What::Idle => 1.0 / percentile(&idle, 50).as_secs_f64(),
            };
            // The quick reads are few, and in the same time: theirs is no number.
            Sample { rate, cpu: if line.what == What::Answers { cpu } else { f64::NAN } }
        };
        Ok(load.lines.iter().map(sample).collect())
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Quick reads for as long as `length`, and at least one: how long each took, in
/// order.
fn quick_reads(file: &File, length: Duration, progress: &AtomicU64) -> Result<Vec<Duration>> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut byte = [0];
    while times.is_empty() || start.elapsed() < length {
        thread::sleep(PAUSE);
        let before = Instant::now();
        file.read_exact_at(&mut byte, 0)?;
        times.push(before.elapsed());
        progress.fetch_add(1, Ordering::Relaxed);
    }
    times.sort();
    Ok(times)
}

/// Of times in order.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[((times.len() - 1) * percent).div_ceil(100)]
}
