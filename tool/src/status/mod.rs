//! `ringfuse status`: the mounts that ringfuse serves on this machine.
//!
//! All of it is from /proc and /sys: the library leaves no files about its mounts.
//! So what only the session knows, such as its reason for `/dev/fuse`, is told as
//! far as it can be seen from outside, and not beyond.

mod mounts;
mod process;

use crate::style::{self, Style, Tone};
use mounts::Mounts;
use process::Server;
use serde::Serialize;
use std::collections::HashMap;
use std::{fs, io};

/// A session with a mount.
#[derive(Debug, Serialize)]
struct Row {
    mount_point: String,
    /// The number of the connection in /sys/fs/fuse/connections.
    connection: u64,
    program: String,
    pid: u32,
    /// "ring" or "dev".
    transport: &'static str,
    reason: String,
    /// 0 without rings.
    queues: u32,
    /// That run callbacks, on this session's transport; for a program with a loop
    /// of its own, or `-s`, 0.
    handler_threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rings: Option<process::RingCounts>,
    /// Requests that have no answer yet. None if this user may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    mounts: Vec<Row>,
    /// FUSE mounts of others: of libfuse, or of processes that this user may not see.
    other_mounts: usize,
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

fn look() -> Report {
    let here = Mounts::of("self");
    // A descriptor may be in several processes: the one that serves is listed.
    let mut rows: HashMap<(u64, String), (Server, Row)> = HashMap::new();
    for server in process::servers() {
        let mounts = Mounts::of(&server.pid.to_string());
        for session in server.sessions(&mounts) {
            let Some(point) = here.point(session).or_else(|| mounts.point(session)) else {
                continue;
            };
            let row = row(&server, session, point);
            let key = (session, row.mount_point.clone());
            if rows.get(&key).is_none_or(|(other, _)| other.activity() < server.activity()) {
                rows.insert(key, (server.clone(), row));
            }
        }
    }
    let mut mounts: Vec<_> = rows.into_values().map(|(_, row)| row).collect();
    mounts.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    let listed = |connection| mounts.iter().any(|row| row.connection == connection);
    let other_mounts = here.connections().filter(|&connection| !listed(connection)).count();
    Report { mounts, other_mounts }
}

fn row(server: &Server, connection: u64, point: &str) -> Row {
    let on_rings = server.is_on_rings(connection);
    Row {
        mount_point: point.to_owned(),
        connection,
        program: server.program.clone(),
        pid: server.pid,
        transport: if on_rings { "ring" } else { "dev" },
        reason: if on_rings { "the kernel offered rings".into() } else { server.why_dev() },
        queues: if on_rings { possible_cpus() } else { 0 },
        handler_threads: server.threads(if on_rings { "fuse-ring-" } else { "fuse_worker" }),
        rings: on_rings.then_some(server.rings),
        waiting: fs::read_to_string(format!("/sys/fs/fuse/connections/{connection}/waiting"))
            .ok()
            .and_then(|text| text.trim().parse().ok()),
    }
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
        let tone = if row.transport == "ring" { Tone::Good } else { Tone::Warning };
        text += &format!(
            "{}  {}  {} (pid {})\n    {}\n",
            style.paint(Tone::Strong, &row.mount_point),
            style.paint(tone, row.transport),
            row.program,
            row.pid,
            row.reason,
        );
        let mut facts = vec![count(row.handler_threads as u64, "handler thread")];
        if let Some(rings) = &row.rings {
            facts.insert(0, count(row.queues.into(), "queue"));
            facts.push(count(rings.descriptors, "ring"));
            facts.push(format!("{} submitted, {} completed", rings.submitted, rings.completed));
        }
        if let Some(waiting) = row.waiting {
            facts.push(format!("{} without an answer", count(waiting, "request")));
        }
        text += &format!("    {}\n", facts.join(", "));
    }
    if report.mounts.is_empty() {
        text += "No mounts of ringfuse.\n";
    }
    if report.other_mounts > 0 {
        let others = count(report.other_mounts as u64, "other FUSE mount");
        text += &format!(
            "{others}: not of ringfuse, or of processes that this user may not look into.\n"
        );
    }
    text
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
