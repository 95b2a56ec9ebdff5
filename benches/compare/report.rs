//! The tables, on the terminal and in docs/performance.md.

use super::cells::{time, times, Cell};
use super::expectations::{interval, memory, verdicts, Verdict, EXPECTED};
use super::plot;
use super::statistics::Estimate;
use crate::server::{Library, Result};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// All that a run has found out.
pub struct Report {
    pub facts: Vec<String>,
    pub titles: Vec<String>,
    pub libraries: Vec<Library>,
    pub cells: Vec<Cell>,
    /// The floor of a 4 KiB read, in seconds.
    pub floor: Option<Estimate>,
    /// For each column, in MiB; see [`MEMORY`].
    pub memory: Vec<Option<[Estimate; 4]>>,
}

/// When memory is looked at, as in [`Report::memory`].
const MEMORY: [&str; 4] = ["a new mount", "after all rows", "10 s later", "at the most"];
const NEW: usize = 0;
const LATER: usize = 2;

/// A table: its first line is the titles.
type Table = Vec<Vec<String>>;

impl Report {
    fn verdicts(&self, cell: &Cell) -> Vec<Verdict> {
        let title = |library| {
            let place = self.libraries.iter().position(|other| *other == library);
            place.map_or_else(|| library.to_string(), |place| self.titles[place].clone())
        };
        verdicts(cell, &self.cells, self.floor.map(|floor| floor.median), &title)
    }

    fn titles(&self, first: &[&str], last: &[&str]) -> Vec<String> {
        let first = first.iter().map(|title| title.to_string());
        let last = last.iter().map(|title| title.to_string());
        first.chain(self.titles.iter().cloned()).chain(last).collect()
    }

    /// Throughput: the first column's own, the others' relative to it.
    fn rates(&self) -> Table {
        let mut table = vec![self.titles(&["", "clients"], &["as expected"])];
        for cell in &self.cells {
            let mut line = vec![cell.name.to_string(), cell.clients.to_string()];
            for column in 0..self.libraries.len() {
                let value = match (cell.failure(column), column) {
                    (Some(failure), _) => Some(failure.to_string()),
                    (None, 0) => cell.rate(0).map(|rate| cell.text(&rate)),
                    // Without the first column there is nothing to relate to.
                    (None, _) if cell.failure(0).is_some() => {
                        cell.rate(column).map(|rate| cell.text(&rate))
                    }
                    (None, _) => cell.ratio(column, 0).map(|ratio| interval(&ratio)),
                };
                line.push(value.unwrap_or_else(|| "-".into()));
            }
            line.push(words(&self.verdicts(cell)));
            table.push(line);
        }
        table
    }

    fn cpu(&self) -> Table {
        let mut table = vec![self.titles(&["", "clients"], &[])];
        for cell in &self.cells {
            let cpu: Vec<Option<Estimate>> =
                (0..self.libraries.len()).map(|column| cell.cpu(column)).collect();
            if cpu.iter().all(Option::is_none) {
                continue;
            }
            let mut line = vec![cell.name.to_string(), cell.clients.to_string()];
            line.extend(cpu.iter().map(|cpu| cpu.as_ref().map_or_else(|| "-".into(), times)));
            table.push(line);
        }
        table
    }

    fn memory(&self) -> Table {
        let mut table = vec![self.titles(&["MiB"], &["as expected"])];
        for (place, name) in MEMORY.iter().enumerate() {
            let mut line = vec![name.to_string()];
            line.extend(self.memory.iter().map(|memory| match memory {
                Some(all) => {
                    let Estimate { median, low, high } = all[place];
                    format!("{median:.1} [{low:.1}, {high:.1}]")
                }
                None => "-".into(),
            }));
            line.push(words(self.memory_verdict(place).as_slice()));
            table.push(line);
        }
        table
    }

    fn memory_verdict(&self, place: usize) -> Option<Verdict> {
        let of = |library: Library, place: usize| {
            let column = self.libraries.iter().position(|other| *other == library)?;
            self.memory[column].map(|all| all[place].median)
        };
        let (new, later) = (of(Library::OursOnRings, NEW)?, of(Library::OursOnRings, LATER)?);
        let [of_new, of_later] = memory(new, later, of(Library::OursOnDev, NEW));
        match place {
            NEW => of_new,
            LATER => of_later,
            _ => None,
        }
    }

    fn has_memory(&self) -> bool {
        self.memory.iter().any(Option::is_some)
    }

    /// How many rows are as expected.
    fn summary(&self) -> String {
        let judged: Vec<Vec<Verdict>> = self
            .cells
            .iter()
            .map(|cell| self.verdicts(cell))
            .filter(|verdicts| !verdicts.is_empty())
            .collect();
        let held = judged.iter().filter(|verdicts| verdicts.iter().all(|verdict| verdict.holds));
        let mut text = format!("{} of {} rows are as expected.", held.count(), judged.len());
        if let Some(floor) = self.floor {
            let _ = write!(text, " The floor of a 4 KiB read: {}.", time(floor.median));
        }
        text
    }

    /// For the terminal, where the facts have been printed before.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = write!(
            text,
            "\nThroughput: of the first column, and of the others relative to it (above 1: faster)\n\n{}\
             \n{}\n\nCPU time of the server per call, or per MiB\n\n{}",
            padded(&self.rates()),
            self.summary(),
            padded(&self.cpu()),
        );
        if self.has_memory() {
            let _ = write!(text, "\nResident memory\n\n{}", padded(&self.memory()));
        }
        text
    }

    /// For the page.
    fn markdown(&self) -> String {
        let mut text: String = self.facts.iter().map(|fact| format!("* {fact}\n")).collect();
        let _ = write!(
            text,
            "\n![Ratios of the main rows](performance.svg)\n\n\
             ### Throughput\n\nMedians with 95% intervals. The first column is in units, the others are \
             relative to it: above 1 is faster.\n\n{}\n{} Expected was:\n\n{EXPECTED}\n\
             ### CPU time of the server\n\nPer call, or per MiB where the row counts bytes.\n\n{}",
            piped(&self.rates()),
            self.summary(),
            piped(&self.cpu()),
        );
        if self.has_memory() {
            let _ = write!(
                text,
                "\n### Resident memory\n\nOf the servers of the rows that read and write data, with the \
                 pages of the program and its libraries, MiB.\n\n{}",
                piped(&self.memory())
            );
        }
        text
    }

    /// Replaces what is between the two marks of docs/performance.md, and the plot.
    pub fn write_docs(&self) -> Result<()> {
        const BEGIN: &str = "<!-- bench: begin -->\n";
        const END: &str = "<!-- bench: end -->";
        let path = in_docs("performance.md");
        let name = path.display();
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let parts = text
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) =
            parts.ok_or_else(|| format!("{name} has no lines {BEGIN:?} and {END:?}"))?;
        write(&path, &format!("{before}{BEGIN}\n{}\n{END}{after}", self.markdown()))?;
        write(&in_docs("performance.svg"), &plot::svg(&self.titles, &self.cells))
    }
}

fn in_docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// "yes", or what does not hold.
fn words(verdicts: &[Verdict]) -> String {
    let missed: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| !verdict.holds)
        .map(|verdict| verdict.text.as_str())
        .collect();
    if verdicts.is_empty() {
        "-".into()
    } else if missed.is_empty() {
        "yes".into()
    } else {
        format!("NO: {}", missed.join("; "))
    }
}

fn piped(table: &Table) -> String {
    let mut text = String::new();
    for (number, line) in table.iter().enumerate() {
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if number == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(line.len()));
        }
    }
    text
}

fn padded(table: &Table) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        table.iter().map(|line| line[column].chars().count()).max().unwrap_or(0) + 2
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in table {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.concat().trim_end());
    }
    text
}
