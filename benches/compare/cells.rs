//! What was measured: a row of the table with what each column did in it.

use super::expectations::Target;
use super::rounds::Sample;
use super::statistics::{estimate, Estimate};
use super::work::Unit;
use crate::server::Library;

/// Times of rows that count bytes are per this many.
pub const MIB: f64 = (1 << 20) as f64;

pub struct Cell {
    pub name: &'static str,
    pub clients: usize,
    pub unit: Unit,
    pub targets: &'static [Target],
    pub plotted: bool,
    columns: Vec<Column>,
}

struct Column {
    library: Library,
    /// One for each sitting; none where something failed.
    samples: Vec<Option<Sample>>,
    failure: Option<String>,
}

impl Cell {
    pub fn new(
        name: &'static str,
        clients: usize,
        unit: Unit,
        targets: &'static [Target],
        plotted: bool,
        libraries: &[Library],
    ) -> Self {
        let column = |&library| Column { library, samples: Vec::new(), failure: None };
        let columns = libraries.iter().map(column).collect();
        Self { name, clients, unit, targets, plotted, columns }
    }

    pub fn add(&mut self, column: usize, sample: Option<Sample>) {
        self.columns[column].samples.push(sample);
    }

    /// A column that has failed is not tried again: most have hung.
    pub fn fail(&mut self, column: usize, reason: &str) {
        self.columns[column].failure = Some(reason.to_string());
    }

    pub fn failure(&self, column: usize) -> Option<&str> {
        self.columns[column].failure.as_deref()
    }

    pub fn library(&self, column: usize) -> Library {
        self.columns[column].library
    }

    /// The columns in which nothing has failed.
    pub fn sound(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.columns.len()).filter(|&column| self.failure(column).is_none())
    }

    /// The column of a library, whatever happened there.
    pub fn any_column(&self, library: Library) -> Option<usize> {
        self.columns.iter().position(|column| column.library == library)
    }

    /// The column of a library, if nothing has failed there.
    pub fn column(&self, library: Library) -> Option<usize> {
        self.sound().find(|&column| self.library(column) == library)
    }

    /// Units per second.
    pub fn rate(&self, column: usize) -> Option<Estimate> {
        self.estimate(column, |sample| sample.rate)
    }

    /// CPU seconds of the server per call or MiB.
    pub fn cpu(&self, column: usize) -> Option<Estimate> {
        let units = if self.unit == Unit::Bytes { MIB } else { 1.0 };
        self.estimate(column, |sample| sample.cpu * units).filter(|cpu| cpu.median.is_finite())
    }

    fn estimate(&self, column: usize, value: impl Fn(&Sample) -> f64) -> Option<Estimate> {
        self.failure(column).is_none().then_some(())?;
        let samples: Vec<f64> = self.columns[column].samples.iter().flatten().map(value).collect();
        (!samples.is_empty()).then(|| estimate(&samples))
    }

    /// How much more one column did than another, sitting by sitting.
    pub fn ratio(&self, column: usize, other: usize) -> Option<Estimate> {
        if self.failure(column).is_some() || self.failure(other).is_some() {
            return None;
        }
        let pairs = self.columns[column].samples.iter().zip(&self.columns[other].samples);
        let ratios: Vec<f64> =
            pairs.filter_map(|(one, two)| Some((*one)?.rate / (*two)?.rate)).collect();
        (!ratios.is_empty()).then(|| estimate(&ratios))
    }

    /// The fastest of the columns that `wanted` picks.
    pub fn best(&self, wanted: impl Fn(Library) -> bool) -> Option<usize> {
        let rate = |column: usize| self.rate(column).map(|rate| rate.median);
        self.sound()
            .filter(|&column| wanted(self.library(column)) && rate(column).is_some())
            .max_by(|&one, &two| rate(one).unwrap_or(0.0).total_cmp(&rate(two).unwrap_or(0.0)))
    }

    /// What one column did, in words.
    pub fn text(&self, rate: &Estimate) -> String {
        let amount = match self.unit {
            Unit::Bytes => format!("{:.0} MiB/s", rate.median / MIB),
            Unit::Answers => format!("{:.0} /s", rate.median),
            // What each client waits for one call.
            Unit::Calls => time(self.clients as f64 / rate.median),
        };
        let spread = (rate.high - rate.low) / 2.0 / rate.median * 100.0;
        format!("{amount} ±{spread:.0}%")
    }
}

/// Seconds, in words.
pub fn time(seconds: f64) -> String {
    let (scale, unit) = scale(seconds);
    format!("{:.1} {unit}", seconds * scale)
}

/// The same with an interval, in the unit of the median.
pub fn times(estimate: &Estimate) -> String {
    let (scale, unit) = scale(estimate.median);
    let [low, median, high] =
        [estimate.low, estimate.median, estimate.high].map(|seconds| seconds * scale);
    format!("{median:.1} {unit} [{low:.1}, {high:.1}]")
}

fn scale(seconds: f64) -> (f64, &'static str) {
    if seconds < 0.01 {
        (1e6, "us")
    } else {
        (1e3, "ms")
    }
}
