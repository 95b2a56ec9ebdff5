//! `ringfuse status`: the mounts that ringfuse serves on this machine.
//!
//! All of it is from /proc and /sys; sessions show there what they alone know
//! ([`page`]). Where that is not to be had, what can be seen from outside is told,
//! and nothing is guessed.

pub mod counters;
pub mod mounts;
mod page;
mod process;

use crate::style::{self, Style, Tone};
use crate::units;
use counters::Counters;
use mounts::Mounts;
pub use page::Transport;
use page::{Found, Page};
use process::{Activity, Server};
use serde::Serialize;
use std::cmp::Reverse;
use std::{fs, io};

/// A session that is served.
#[derive(Debug, Serialize)]
pub struct Row {
    /// None where the program has made the mount itself, and the kernel does not
    /// tell which it is.
    pub mount_point: Option<String>,
    /// The number of the connection in /sys/fs/fuse/connections.
    pub connection: Option<u64>,
    program: String,
    pub pid: u32,
    pub transport: Transport,
    /// In the session's own words; None if it does not tell.
    reason: Option<String>,
    /// 0 without rings.
    queues: u32,
    /// That run callbacks, on this session's transport; 0 for a program with a
    /// loop of its own.
    handler_threads: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rings: Option<process::RingCounts>,
    /// Requests that have no answer yet. None if this user may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u64>,
    /// Of the page that this is from.
    #[serde(skip)]
    pub inode: Option<u64>,
    /// Mounted where this process says it is. A connection that has just ended may
    /// have had the same number.
    #[serde(skip)]
    agrees: bool,
    /// The larger, the more likely it is this process that serves.
    #[serde(skip)]
    rank: (bool, Activity),
}

#[derive(Serialize)]
pub struct Report {
    pub mounts: Vec<Row>,
    /// FUSE mounts of others: of libfuse, or of processes that this user may not see.
    pub other_mounts: usize,
    /// Whether all processes could be looked into.
    pub as_root: bool,
}

/// Lists them; the exit status is 0, also if there are none.
pub fn status(json: bool) -> io::Result<u8> {
    let report = look();
    if json {
        style::print_json(&report)?;
    } else {
        style::print(&text(&report))?;
    }
    Ok(0)
}

/// What there is now.
pub fn look() -> Report {
    let here = Mounts::of("self");
    let mut rows = Vec::new();
    for server in process::servers() {
        let mounts = Mounts::of(&server.pid.to_string());
        let point = |connection| {
            here.point(connection).or_else(|| mounts.point(connection)).map(str::to_owned)
        };
        let mut silent = server.sessions(&mounts);
        for found in &server.pages {
            let connection = connection_of(&found.page, &server, &mounts);
            silent.retain(|&other| Some(other) != connection);
            if found.page.gone {
                continue;
            }
            let point = connection.and_then(point);
            if point.is_some() || found.page.transport == Transport::Custom && connection.is_none()
            {
                rows.push(told(&server, connection, point, found));
            }
        }
        for connection in silent {
            let named = server.names(&mounts) == Some(connection);
            rows.extend(point(connection).map(|point| seen(&server, connection, point, named)));
        }
    }
    let mut mounts = without_doubles(rows);
    mounts.sort_by(|a, b| (&a.mount_point, a.pid).cmp(&(&b.mount_point, b.pid)));
    let listed = |connection| mounts.iter().any(|row| row.connection == Some(connection));
    let other_mounts = here.connections().filter(|&connection| !listed(connection)).count();
    Report { mounts, other_mounts, as_root: rustix::process::geteuid().is_root() }
}

/// Which mount's the session is, if the process still has anything of that.
fn connection_of(page: &Page, server: &Server, mounts: &Mounts) -> Option<u64> {
    let mounted = || mounts.at(&page.mount_point);
    let only = || match (&server.sessions(mounts)[..], server.pages.len()) {
        (&[connection], 1) => Some(connection),
        _ => None,
    };
    page.connection.or_else(mounted).or_else(only).filter(|&connection| server.holds(connection))
}

/// A session and its descriptor may be in several processes, by forks: one of them
/// serves. Where one has told what it is, others with its mount have nothing to add.
fn without_doubles(mut rows: Vec<Row>) -> Vec<Row> {
    let agreed: Vec<u64> =
        rows.iter().filter(|row| row.agrees).filter_map(|row| row.connection).collect();
    rows.retain(|row| row.agrees || !row.connection.is_some_and(|one| agreed.contains(&one)));
    rows.sort_by_key(|row| Reverse(row.rank));
    let mut kept: Vec<Row> = Vec::new();
    let (settled, rest): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.inode.is_some() && row.transport != Transport::None);
    for row in settled {
        if !kept.iter().any(|other| other.inode == row.inode) {
            kept.push(row);
        }
    }
    for row in rest {
        if !kept.iter().any(|other| other.connection == row.connection) {
            kept.push(row);
        }
    }
    kept
}

/// What a session tells.
fn told(server: &Server, connection: Option<u64>, point: Option<String>, found: &Found) -> Row {
    let page = &found.page;
    let on_rings = page.transport == Transport::Ring;
    Row {
        agrees: page.mount_point.is_empty() || point.as_ref() == Some(&page.mount_point),
        mount_point: point,
        connection,
        program: server.program.clone(),
        pid: server.pid,
        transport: page.transport,
        reason: Some(page.reason.clone()).filter(|reason| !reason.is_empty()),
        queues: page.counters.queues.len() as u32,
        handler_threads: page.counters.threads,
        counters: Some(page.counters.clone()),
        rings: on_rings.then_some(server.rings),
        waiting: connection.and_then(waiting),
        inode: Some(found.inode),
        rank: (server.own_pid == page.pid, server.activity()),
    }
}

/// What is seen of one that does not tell.
fn seen(server: &Server, connection: u64, point: String, agrees: bool) -> Row {
    let on_rings = server.is_on_rings(connection);
    Row {
        mount_point: Some(point),
        connection: Some(connection),
        program: server.program.clone(),
        pid: server.pid,
        transport: if on_rings { Transport::Ring } else { Transport::Dev },
        reason: None,
        queues: if on_rings { possible_cpus() } else { 0 },
        handler_threads: server.threads(if on_rings { "fuse-ring-" } else { "fuse_worker" }),
        counters: None,
        rings: on_rings.then_some(server.rings),
        waiting: waiting(connection),
        inode: None,
        agrees,
        rank: (false, server.activity()),
    }
}

fn waiting(connection: u64) -> Option<u64> {
    let path = format!("/sys/fs/fuse/connections/{connection}/waiting");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The kernel makes a queue for each.
fn possible_cpus() -> u32 {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    text.trim()
        .rsplit(['-', ','])
        .next()
        .and_then(|last| last.parse::<u32>().ok())
        .map_or(0, |last| last + 1)
}

fn text(report: &Report) -> String {
    let style = Style::of_stdout();
    let mut text = String::new();
    for row in &report.mounts {
        let (tone, transport) = match row.transport {
            Transport::Ring => (Tone::Good, "ring"),
            Transport::Dev => (Tone::Warning, "dev"),
            Transport::Custom => (Tone::Warning, "custom"),
            Transport::None => (Tone::Warning, "none yet"),
        };
        text += &format!(
            "{}  {}  {} (pid {})\n    {}\n",
            style.paint(Tone::Strong, row.mount_point.as_deref().unwrap_or("(unknown mount)")),
            style.paint(tone, transport),
            row.program,
            row.pid,
            why(row),
        );
        for facts in [numbers(row), requests(row), amounts(row)]
            .into_iter()
            .filter(|facts| !facts.is_empty())
        {
            text += &format!("    {}\n", facts.join(", "));
        }
    }
    if report.mounts.is_empty() {
        text += "No mounts of ringfuse.\n";
    }
    if report.other_mounts > 0 {
        let others = count(report.other_mounts as u64, "other FUSE mount");
        text += &match report.as_root {
            true => format!("{others}, not of ringfuse.\n"),
            false => format!(
                "{others}: not of ringfuse, or of processes that only root may look into \
                 (sudo ringfuse status).\n"
            ),
        };
    }
    text
}

fn why(row: &Row) -> &str {
    match (&row.reason, row.transport) {
        (Some(reason), _) => reason,
        (None, Transport::None) => "the kernel's INIT has not been answered",
        (None, _) => {
            "why is not known: it does not show that to others, or is of another release, see \
             ringfuse(1); its log has a line 'ringfuse: transport'"
        }
    }
}

fn numbers(row: &Row) -> Vec<String> {
    let mut facts = vec![count(row.handler_threads, "handler thread")];
    if row.queues > 0 {
        facts.insert(0, count(row.queues.into(), "queue"));
    }
    if let (Some(counters), Transport::Ring) = (&row.counters, row.transport) {
        facts.push(count_of(counters.entries, "ring entry", "ring entries"));
    }
    if let Some(rings) = &row.rings {
        facts.push(count(rings.descriptors, "ring"));
        facts.push(format!("{} submitted, {} completed", rings.submitted, rings.completed));
    }
    facts
}

fn requests(row: &Row) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(counters) = &row.counters {
        let by = |number, way| format!("{} {way}", count(number, "request"));
        match row.transport {
            Transport::Ring => {
                facts.push(by(counters.ring_requests, "over rings"));
                facts.push(format!("{} over /dev/fuse", counters.dev_requests));
            }
            Transport::Custom => {
                facts.push(by(counters.dev_requests, "over the program's own functions"));
            }
            _ => facts.push(by(counters.dev_requests, "over /dev/fuse")),
        }
        facts.push(format!("{} parked", counters.parked));
    }
    if let Some(waiting) = row.waiting {
        facts.push(format!("{waiting} without an answer"));
    }
    facts
}

fn amounts(row: &Row) -> Vec<String> {
    let Some(counters) = &row.counters else { return Vec::new() };
    let all = counters.sum();
    let mut facts = vec![
        format!("{} bytes in", units::bytes(all.bytes_in as f64)),
        format!("{} bytes out", units::bytes(all.bytes_out as f64)),
    ];
    let times = all.handler_times;
    if let (Some(half), Some(most)) = (times.quantile(50), times.quantile(99)) {
        facts.push(format!("half of the operations took {half}, 99 of 100 {most}"));
    }
    facts
}

fn count(number: u64, what: &str) -> String {
    count_of(number, what, &format!("{what}s"))
}

fn count_of(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}
