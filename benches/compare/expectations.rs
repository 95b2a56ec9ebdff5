//! What is expected of our columns, and whether it holds. Nothing fails here: a
//! table that says "NO" is still a table.

use super::cells::{time, Cell};
use super::slow::IDLE;
use super::statistics::Estimate;
use super::work::Unit;
use crate::server::Library::{self, BuiltOnRings, OursOnDev, OursOnRings, Stock};

/// What is expected of a row besides that it is not worse than stock.
#[derive(Clone, Copy, PartialEq)]
pub enum Target {
    /// One client, rings: at least 1.1 times stock's rings.
    Latency,
    /// /dev/fuse: at least 1.5 times stock's /dev/fuse.
    DevReads,
    /// At least 6 times stock as it comes.
    Sixfold,
    /// At least 0.95 of stock's /dev/fuse with as many threads.
    SameThreads,
    /// At most 0.5 ms more than nothing beside it at the median.
    QuickTail,
    /// One client, rings: at most 1.7 times the floor.
    Floor,
}

/// A row is worse than stock if its whole interval lies below this.
const WORSE: f64 = 0.97;

/// In words, for the page.
pub const EXPECTED: &str = "\
* no row wholly below 0.97 of the best of stock's columns (our /dev/fuse: of stock's /dev/fuse)
* one client that waits for each answer, rings: at least 1.1 times stock's rings
* handlers that sleep: at least 6 times stock as it comes; with `max_threads=64` at least 0.95 of \
it; a quick read beside them takes at most 0.5 ms more than alone, at the 99th percentile
* 1 MiB reads, our /dev/fuse: at least 1.5 times stock's
* one client's 4 KiB read, rings: at most 1.7 times the floor
* resident memory on rings: of a new mount at most 2 MiB more than on our /dev/fuse, 10 s after the \
last row at most 8 MiB more than that of a new mount
";

/// Whether one expectation holds, and the words for it.
pub struct Verdict {
    pub holds: bool,
    pub text: String,
}

fn verdict(holds: bool, text: String) -> Verdict {
    Verdict { holds, text }
}

/// All that is expected of a row. `title` names a column, `floor` is in seconds.
pub fn verdicts(
    cell: &Cell,
    all: &[Cell],
    floor: Option<f64>,
    title: &dyn Fn(Library) -> String,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for ours in [OursOnDev, OursOnRings] {
        verdicts.extend(not_worse(cell, ours, title));
    }
    for target in cell.targets {
        match target {
            Target::SameThreads => verdicts.extend(same_threads(cell)),
            other => verdicts.extend(judge(*other, cell, all, floor)),
        }
    }
    verdicts
}

/// `what` is what the ratio is one of.
fn at_least(ratio: Estimate, least: f64, what: &str) -> Verdict {
    verdict(ratio.median >= least, format!("{what} {:.2} ({least} expected)", ratio.median))
}

/// Both of ours.
fn same_threads(cell: &Cell) -> Vec<Verdict> {
    let one = |ours| {
        let ratio = cell.ratio(cell.column(ours)?, cell.column(Stock)?)?;
        Some(at_least(ratio, 0.95, &format!("{} : stock", short(ours))))
    };
    [OursOnDev, OursOnRings].into_iter().filter_map(one).collect()
}

fn short(ours: Library) -> &'static str {
    if ours.on_rings() {
        "rings"
    } else {
        "/dev/fuse"
    }
}

fn not_worse(cell: &Cell, ours: Library, title: &dyn Fn(Library) -> String) -> Option<Verdict> {
    let name = short(ours);
    let column = cell.any_column(ours)?;
    if let Some(failure) = cell.failure(column) {
        return Some(verdict(false, format!("{name} {failure}")));
    }
    let best = cell.best(|other| !other.is_ours() && (ours.on_rings() || !other.on_rings()))?;
    let ratio = cell.ratio(column, best)?;
    let text = format!("{name} : {} {}", title(cell.library(best)), interval(&ratio));
    Some(verdict(ratio.high >= WORSE, text))
}

fn judge(target: Target, cell: &Cell, all: &[Cell], floor: Option<f64>) -> Option<Verdict> {
    // What a filesystem gets that does not choose.
    let ours = cell.column(OursOnRings).or_else(|| cell.column(OursOnDev));
    match target {
        Target::Latency if cell.clients == 1 => {
            let ratio = cell.ratio(cell.column(OursOnRings)?, cell.column(BuiltOnRings)?)?;
            Some(at_least(ratio, 1.1, "rings : stock's rings"))
        }
        Target::DevReads => {
            let ratio = cell.ratio(cell.column(OursOnDev)?, cell.column(Stock)?)?;
            Some(at_least(ratio, 1.5, "/dev/fuse : stock's"))
        }
        Target::Sixfold => {
            Some(at_least(cell.ratio(ours?, cell.column(Stock)?)?, 6.0, "ours : stock"))
        }
        Target::QuickTail => {
            let idle = all.iter().find(|other| other.name == IDLE)?.rate(ours?)?;
            let more = 1.0 / cell.rate(ours?)?.median - 1.0 / idle.median;
            let text = format!("{} more than alone (500 us expected)", time(more.max(0.0)));
            Some(verdict(more <= 500e-6, text))
        }
        Target::Floor if cell.clients == 1 && cell.unit == Unit::Calls => {
            let times = 1.0 / cell.rate(cell.column(OursOnRings)?)?.median / floor?;
            Some(verdict(times <= 1.7, format!("{times:.2} times the floor (1.7 expected)")))
        }
        Target::Latency | Target::Floor | Target::SameThreads => None,
    }
}

/// What is expected of the resident memory on rings, in MiB: `new` and `later` of a
/// mount on rings, `dev` of a new one on /dev/fuse.
pub fn memory(new: f64, later: f64, dev: Option<f64>) -> [Option<Verdict>; 2] {
    let more = |than: f64, what: f64, most: f64| {
        verdict(what - than <= most, format!("{:.1} MiB more ({most} expected)", what - than))
    };
    [dev.map(|dev| more(dev, new, 2.0)), Some(more(new, later, 8.0))]
}

/// As the table has it: large ratios need no digits.
pub fn interval(estimate: &Estimate) -> String {
    let digits = match estimate.median {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let Estimate { low, median, high } = estimate;
    format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]")
}
