//! The report as text.

use super::rates::Rates;
use super::Look;
use crate::status::counters::{Bound, QueueCounters};
use crate::status::Transport;
use crate::style::{Style, Tone};
use crate::units;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Shape {
    /// A line for each queue that has had a request.
    pub queues: bool,
    /// Characters of a line, at most.
    pub width: usize,
}

/// Characters before VIA, which has nine.
const NUMBERS: usize = 63;

/// The lines of a report about what has happened since `before`.
pub fn lines(before: &Look, now: &Look, shape: Shape, style: &Style) -> Vec<String> {
    let time = now.at.duration_since(before.at);
    let head = format!(
        "{:>6}{:>6}{:>6}{:>7}{:>7}{:>5}{:>5}{:>6}{:>8}{:>7}  {:<6} {}",
        "REQ/S",
        "IN/S",
        "OUT/S",
        "P50",
        "P99",
        "RUN",
        "PARK",
        "THR",
        "ENT",
        "KICK/S",
        "VIA",
        "MOUNT"
    );
    let mut lines = vec![summary(now), style.paint(Tone::Strong, &cut(&head, shape.width))];
    for row in &now.rows {
        let via = via(row.transport);
        let name = printable(row.mount_point.as_deref().unwrap_or("(unknown mount)"));
        let name = end_of(&name, shape.width.saturating_sub(NUMBERS + 9));
        let Some(counters) = &row.counters else {
            let text = format!("{:>width$}  {via:<6} {name}: not told", "-", width = NUMBERS);
            lines.push(cut(&text, shape.width));
            continue;
        };
        let old = before.counters_of(row);
        let all = counters.sum();
        let threads = (counters.threads, counters.threads_peak);
        let old_sum = old.map(|old| old.sum()).unwrap_or_default();
        let rates = Rates::between(old_sum, all, time);
        lines.push(cut(&format!("{}  {via:<6} {name}", numbers(all, threads, rates)), shape.width));
        if !shape.queues {
            continue;
        }
        let queues = counters.queues.iter().enumerate().map(|(number, queue)| {
            let old = old.and_then(|old| old.queues.get(number)).copied();
            (format!("queue {number}"), *queue, old)
        });
        let dev = (format!("by {}", how(row.transport)), counters.dev, old.map(|old| old.dev));
        for (name, queue, old) in queues.chain([dev]).filter(|(_, queue, _)| queue.requests > 0) {
            let rates = Rates::between(old.unwrap_or_default(), queue, time);
            let threads = (queue.threads, queue.threads_peak);
            let text = format!("{}    {name}", numbers(queue, threads, rates));
            lines.push(cut(&text, shape.width));
        }
    }
    lines
}

fn summary(now: &Look) -> String {
    let mut text = format!("ringfuse top, {}", now.time());
    text += &match now.rows.len() {
        0 => ": no mounts".into(),
        1 => ": 1 mount".to_owned(),
        mounts => format!(": {mounts} mounts"),
    };
    if now.others > 0 {
        text += &format!(", {}", others(now.others));
    }
    text
}

/// So many mounts that are not listed.
pub fn others(count: usize) -> String {
    format!("{count} other FUSE mount{}", if count == 1 { "" } else { "s" })
}

fn numbers(queue: QueueCounters, (threads, most): (u64, u64), rates: Rates) -> String {
    let entries = match queue.entries {
        0 => "-".into(),
        entries => format!("{}/{entries}", queue.entries_used),
    };
    format!(
        "{:>6}{:>6}{:>6}{:>7}{:>7}{:>5}{:>5}{:>6}{:>8}{:>7}",
        units::count(rates.requests),
        units::bytes(rates.bytes_in),
        units::bytes(rates.bytes_out),
        within(rates.median),
        within(rates.p99),
        queue.handling,
        queue.parked,
        format!("{threads}/{most}"),
        entries,
        units::count(rates.kicks),
    )
}

fn via(transport: Transport) -> &'static str {
    match transport {
        Transport::Ring => "ring",
        Transport::Dev => "dev",
        Transport::Custom => "custom",
        Transport::None => "none",
    }
}

fn how(transport: Transport) -> &'static str {
    match transport {
        Transport::Custom => "its own functions",
        _ => "/dev/fuse",
    }
}

fn within(bound: Option<Bound>) -> String {
    bound.map_or("-".into(), |bound| bound.to_string())
}

/// Nothing that a terminal would obey.
fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}

/// All of it, or the end of a path, which tells more than its beginning.
fn end_of(path: &str, room: usize) -> String {
    const SOME: usize = 6;
    let left_out = path.chars().count().saturating_sub(room.max(SOME));
    match left_out {
        0 => path.into(),
        _ => format!("..{}", path.chars().skip(left_out + 2).collect::<String>()),
    }
}

/// The beginning, of that many characters.
fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

/// HH:MM:SS of a time since 1970.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day() {
        assert_eq!(clock(Duration::from_secs(86_400 * 365 + 3600 * 7 + 65)), "07:01:05 UTC");
    }

    #[test]
    fn no_line_is_too_long() {
        assert_eq!((cut("abcdef", 3), cut("ab", 3)), ("abc".into(), "ab".into()));
        assert_eq!(printable("a\x1b[2Jb\n"), "a?[2Jb?");
        assert_eq!(
            (end_of("/mnt/abc", 8), end_of("/mnt/abc", 7)),
            ("/mnt/abc".into(), "..t/abc".into())
        );
        assert_eq!(end_of("/mnt/abc", 0), "../abc");
    }
}
