//! `ringfuse top`: what the mounts of ringfuse do right now.
//!
//! Every so often it looks at what `ringfuse status` looks at, and shows the difference.
//! On a terminal that is one screen; elsewhere one report follows the other.

mod rates;
mod screen;
mod table;

use crate::status::counters::Counters;
use crate::status::mounts::{self, Mounts};
use crate::status::{self, Report, Row};
use crate::style::{self, Style};
use rustix::process::geteuid;
use screen::{Event, Screen};
use std::io::{self, IsTerminal};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use table::Shape;

/// What was asked for.
pub struct Request {
    /// Between two looks.
    pub delay: Duration,
    /// Reports; None: until somebody ends it.
    pub count: Option<NonZeroU64>,
    /// Lines for queues, too.
    pub queues: bool,
    /// No screen, even on a terminal.
    pub batch: bool,
    /// Of these only; all if there are none.
    pub mounts: Vec<PathBuf>,
}

/// The first report comes sooner than the others.
const FIRST: Duration = Duration::from_millis(500);
/// There is nothing to look at.
const NOTHING: u8 = 1;

/// Shows them; the exit status is 0, or 1 if there is nothing to show.
pub fn top(request: &Request) -> io::Result<u8> {
    let first = match Look::take(request) {
        Ok(look) if !look.rows.is_empty() => look,
        Ok(look) => return says(&look.why_nothing(), NOTHING),
        Err(reason) => return says(&reason, NOTHING),
    };
    if request.batch || !io::stdout().is_terminal() {
        reports(request, first)
    } else {
        live(request, first)
    }
}

fn says(reason: &str, status: u8) -> io::Result<u8> {
    eprintln!("ringfuse: {reason}");
    Ok(status)
}

fn reports(request: &Request, mut before: Look) -> io::Result<u8> {
    let (style, shape) = (Style::of_stdout(), Shape { queues: request.queues, width: usize::MAX });
    let most = request.count.map_or(u64::MAX, NonZeroU64::get);
    for number in 0..most {
        std::thread::sleep(if number == 0 { request.delay.min(FIRST) } else { request.delay });
        let now = match Look::take(request) {
            Ok(now) => now,
            Err(reason) => return says(&reason, 0),
        };
        let blank = if number > 0 { "\n" } else { "" };
        let text = table::lines(&before, &now, shape, &style).join("\n");
        if !style::is_read(&format!("{blank}{text}\n"))? {
            break;
        }
        before = now;
    }
    Ok(0)
}

fn live(request: &Request, mut before: Look) -> io::Result<u8> {
    let style = Style::of_stdout();
    let mut screen = Screen::open()?;
    let mut queues = request.queues;
    let mut now: Option<Look> = None;
    let mut left = request.count.map_or(u64::MAX, NonZeroU64::get);
    let mut next = before.at + request.delay.min(FIRST);
    loop {
        match screen.wait(next)? {
            Event::Quit => return Ok(0),
            Event::Queues => queues = !queues,
            Event::Draw => {}
            Event::Look => {
                let look = match Look::take(request) {
                    Ok(look) => look,
                    Err(reason) => {
                        drop(screen);
                        return says(&reason, 0);
                    }
                };
                if let Some(last) = now.replace(look) {
                    before = last;
                }
                left -= 1;
                next = Instant::now() + request.delay;
            }
        }
        let Some(now) = &now else { continue };
        let lines = table::lines(&before, now, Shape { queues, width: screen.size().0 }, &style);
        if left == 0 {
            // It stays.
            drop(screen);
            return style::print(&(lines.join("\n") + "\n")).map(|()| 0);
        }
        screen.show(&lines)?;
    }
}

/// What was seen at one moment.
pub struct Look {
    at: Instant,
    day: SystemTime,
    rows: Vec<Row>,
    /// FUSE mounts that are not among the rows.
    others: usize,
    as_root: bool,
}

impl Look {
    /// At what `request` is about. `Err` says what is not to be seen.
    fn take(request: &Request) -> Result<Self, String> {
        let mut report = status::look();
        let rows = match &request.mounts[..] {
            [] => std::mem::take(&mut report.mounts),
            some => chosen(some, &mut report)?,
        };
        let others = if request.mounts.is_empty() { report.other_mounts } else { 0 };
        let (at, day) = (Instant::now(), SystemTime::now());
        Ok(Self { at, day, rows, others, as_root: report.as_root })
    }

    /// Why there is no mount to look at.
    fn why_nothing(&self) -> String {
        let others = table::others(self.others);
        match (self.others, self.as_root) {
            (0, _) => "there are no mounts of ringfuse".into(),
            (_, true) => format!("there are no mounts of ringfuse, and {others}"),
            (_, false) => format!(
                "there are no mounts of ringfuse that this user may look into, and {others}: not \
                 of ringfuse, or of processes that only root may look into (sudo ringfuse top)"
            ),
        }
    }

    /// What was then counted of `row`.
    fn counters_of(&self, row: &Row) -> Option<&Counters> {
        let same = |other: &&Row| (other.inode, other.connection) == (row.inode, row.connection);
        self.rows.iter().find(same)?.counters.as_ref()
    }

    fn time(&self) -> String {
        table::clock(self.day.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}

/// The rows of the mounts at `paths`.
fn chosen(paths: &[PathBuf], report: &mut Report) -> Result<Vec<Row>, String> {
    let directory = std::env::current_dir().unwrap_or_default();
    let mut rows: Vec<Row> = Vec::new();
    for path in paths {
        let name = path.display();
        let point = mounts::resolve(&directory.join(path));
        let point = point.ok_or_else(|| format!("{name}: no such path"))?;
        let is_it = |row: &Row| row.mount_point.as_deref().map(Path::new) == Some(&point);
        if rows.iter().any(is_it) {
            continue;
        }
        let index = report.mounts.iter().position(is_it);
        let index = index.ok_or_else(|| format!("{name}: {}", why_not(&point, report.as_root)))?;
        let row = report.mounts.swap_remove(index);
        if row.counters.is_none() {
            let pid = row.pid;
            return Err(format!(
                "{name}: its process ({pid}) shows no counters, see RINGFUSE_STATUS in ringfuse(7)"
            ));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Why there is no row of the mount at `point`.
fn why_not(point: &Path, as_root: bool) -> String {
    let Some(owner) = point.to_str().and_then(|point| Mounts::of("self").owner(point)) else {
        return "not the mount point of a FUSE mount".into();
    };
    match as_root || owner == geteuid().as_raw() {
        true => "not served by ringfuse".into(),
        false => format!(
            "mounted by the user with ID {owner}; only they and root may look into the process \
             that serves it (sudo ringfuse top)"
        ),
    }
}
