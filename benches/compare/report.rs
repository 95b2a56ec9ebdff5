//! The table, on the terminal and in docs/performance.md.

use super::statistics::{estimate, Estimate};
use super::work::{Row, Unit};
use crate::server::{Library, Result};
use std::fs;
use std::path::Path;

/// A row is worse than stock if its whole interval lies below this.
const WORSE: f64 = 0.97;

pub struct Line {
    row: &'static str,
    unit: Unit,
    clients: usize,
    /// Stock's own rate, in units per second.
    stock: Estimate,
    /// The others' rates relative to stock's.
    ratios: Vec<Estimate>,
}

impl Line {
    /// `rates[server][sitting]`, stock first.
    pub fn new(row: &Row, clients: usize, rates: &[Vec<f64>]) -> Self {
        let ratio = |other: &Vec<f64>| {
            let pairs: Vec<f64> =
                other.iter().zip(&rates[0]).map(|(other, stock)| other / stock).collect();
            estimate(&pairs)
        };
        Self {
            row: row.name,
            unit: row.unit,
            clients,
            stock: estimate(&rates[0]),
            ratios: rates[1..].iter().map(ratio).collect(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let stock = match self.unit {
            Unit::Bytes => format!("{:.0} MiB/s", self.stock.median / f64::from(1 << 20)),
            // What each client waits for one call.
            Unit::Calls => format!("{:.1} us", self.clients as f64 / self.stock.median * 1e6),
        };
        let spread = (self.stock.high - self.stock.low) / 2.0 / self.stock.median * 100.0;
        let mut cells =
            vec![self.row.to_string(), self.clients.to_string(), format!("{stock} +-{spread:.0}%")];
        cells.extend(self.ratios.iter().map(|ratio| {
            let mark = if ratio.high < WORSE { " WORSE" } else { "" };
            format!("{:.2} [{:.2}, {:.2}]{mark}", ratio.median, ratio.low, ratio.high)
        }));
        cells
    }

    pub fn text(&self) -> String {
        columns(&self.cells())
    }
}

fn titles(libraries: &[Library]) -> Vec<String> {
    let mut titles = vec!["".into(), "clients".into(), "stock".into()];
    titles.extend(libraries[1..].iter().map(|library| format!("{library} : stock")));
    titles
}

fn columns(cells: &[String]) -> String {
    let widths = [30, 8, 20, 26, 26];
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    padded.concat().trim_end().to_string()
}

/// The first line of the table.
pub fn head(libraries: &[Library]) -> String {
    format!("\n{}", columns(&titles(libraries)))
}

/// What the whole table says.
pub fn verdict(lines: &[Line]) -> String {
    let worse =
        lines.iter().flat_map(|line| &line.ratios).filter(|ratio| ratio.high < WORSE).count();
    format!(
        "\nRatios are medians of throughput relative to stock (above 1 is faster) with 95% intervals.\n\
         {worse} of {} ratios have an interval wholly below {WORSE}.",
        lines.iter().map(|line| line.ratios.len()).sum::<usize>(),
    )
}

/// Replaces the table between the two marks of docs/performance.md.
pub fn write_docs(facts: &str, libraries: &[Library], lines: &[Line]) -> Result<()> {
    const BEGIN: &str = "<!-- bench: begin -->\n";
    const END: &str = "<!-- bench: end -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let name = path.display();
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let parts =
        text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.ok_or_else(|| format!("{name} has no lines {BEGIN:?} and {END:?}"))?;

    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let titles = titles(libraries);
    let mut table: String = facts.lines().map(|fact| format!("* {fact}\n")).collect();
    table += &format!("\n{}|{}\n", row(&titles), "---|".repeat(titles.len()));
    table.extend(lines.iter().map(|line| row(&line.cells())));
    fs::write(&path, format!("{before}{BEGIN}\n{table}\n{END}{after}"))
        .map_err(|error| format!("cannot write {name}: {error}"))
}
