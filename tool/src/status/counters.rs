//! What sessions count, as `ringfuse.h` has it.

use crate::units;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use std::fmt;
use std::iter::Sum;

/// Of a whole session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counters {
    pub dev_requests: u64,
    pub ring_requests: u64,
    pub parked: u64,
    pub threads: u64,
    pub threads_peak: u64,
    pub entries: u64,
    pub kicks: u64,
    pub grown: u64,
    pub handed_over: u64,
    pub foreign_answers: u64,
    /// What came by /dev/fuse, or by the program's functions.
    pub dev: QueueCounters,
    /// Of each of the kernel's queues; of rings only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueCounters>,
}

impl Counters {
    /// All that came.
    pub fn sum(&self) -> QueueCounters {
        self.queues.iter().copied().chain([self.dev]).sum()
    }
}

/// Of one queue, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueCounters {
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub handling: u64,
    pub parked: u64,
    pub threads: u64,
    pub threads_peak: u64,
    pub entries: u64,
    pub entries_used: u64,
    pub entries_used_peak: u64,
    pub kicks: u64,
    pub grown: u64,
    pub handed_over: u64,
    pub foreign_answers: u64,
    /// Nanoseconds.
    pub handler_time: u64,
    pub handler_times: Times,
}

impl QueueCounters {
    /// By `f`, each number from those of both.
    pub fn with(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            requests: f(self.requests, other.requests),
            bytes_in: f(self.bytes_in, other.bytes_in),
            bytes_out: f(self.bytes_out, other.bytes_out),
            handling: f(self.handling, other.handling),
            parked: f(self.parked, other.parked),
            threads: f(self.threads, other.threads),
            threads_peak: f(self.threads_peak, other.threads_peak),
            entries: f(self.entries, other.entries),
            entries_used: f(self.entries_used, other.entries_used),
            entries_used_peak: f(self.entries_used_peak, other.entries_used_peak),
            kicks: f(self.kicks, other.kicks),
            grown: f(self.grown, other.grown),
            handed_over: f(self.handed_over, other.handed_over),
            foreign_answers: f(self.foreign_answers, other.foreign_answers),
            handler_time: f(self.handler_time, other.handler_time),
            handler_times: Times(std::array::from_fn(|class| {
                f(self.handler_times.0[class], other.handler_times.0[class])
            })),
        }
    }
}

impl Sum for QueueCounters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum.with(one, u64::wrapping_add))
    }
}

/// Classes of times; see `RINGFUSE_TIMES`.
pub const TIMES: usize = 32;
/// See `RINGFUSE_FIRST_TIME`.
const FIRST_TIME: u64 = 256;

/// How many operations took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times(pub [u64; TIMES]);

/// In JSON: what a class has its times below, in nanoseconds.
#[derive(Serialize)]
struct Class {
    below: Option<u64>,
    operations: u64,
}

/// The end of a class of times, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It was less.
    Below(u64),
    /// The last class has no end: it was at least this.
    AtLeast(u64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Below(nanos) => write!(f, "<{}", units::time(nanos)),
            Self::AtLeast(nanos) => write!(f, ">{}", units::time(nanos)),
        }
    }
}

impl Times {
    /// What `percent` of the times are within; None if there are none.
    pub fn quantile(&self, percent: u64) -> Option<Bound> {
        let all: u128 = self.0.iter().copied().map(u128::from).sum();
        let rank = (all * u128::from(percent)).div_ceil(100);
        let mut so_far = 0;
        let class = self.0.iter().position(|&count| {
            so_far += u128::from(count);
            count > 0 && so_far >= rank
        })?;
        Some(match bound(class) {
            Some(nanos) => Bound::Below(nanos),
            None => Bound::AtLeast(FIRST_TIME << (class - 1)),
        })
    }

    /// Of all classes.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, &count| sum.wrapping_add(count))
    }
}

/// What the times of a class are below; None for the last one.
fn bound(class: usize) -> Option<u64> {
    (class < TIMES - 1).then(|| FIRST_TIME << class)
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut classes = serializer.serialize_seq(None)?;
        for (class, &operations) in self.0.iter().enumerate().filter(|(_, &count)| count > 0) {
            classes.serialize_element(&Class { below: bound(class), operations })?;
        }
        classes.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let of = |counts: &[(usize, u64)], percent| {
            let mut times = Times::default();
            counts.iter().for_each(|&(class, count)| times.0[class] = count);
            times.quantile(percent)
        };
        assert_eq!(of(&[], 50), None);
        assert_eq!(of(&[(0, 1)], 50), Some(Bound::Below(256)));
        assert_eq!(of(&[(0, 1)], 99), Some(Bound::Below(256)));
        let some = [(1, 98), (3, 1), (TIMES - 1, 1)];
        assert_eq!(of(&some, 98), Some(Bound::Below(512)));
        assert_eq!(of(&some, 99), Some(Bound::Below(2048)));
        assert_eq!(of(&some, 100), Some(Bound::AtLeast(1 << 38)));
        assert_eq!(of(&[(0, u64::MAX), (1, u64::MAX)], 50), Some(Bound::Below(256)));
        assert_eq!(Bound::Below(256 << 12).to_string(), "<1.0ms");
        assert_eq!(Bound::AtLeast(1 << 38).to_string(), ">275s");
    }

    #[test]
    fn in_json() {
        let mut times = Times::default();
        (times.0[2], times.0[TIMES - 1]) = (5, 1);
        let json = serde_json::to_value(times).unwrap();
        let wanted = serde_json::json!([
            {"below": 1024, "operations": 5},
            {"below": null, "operations": 1},
        ]);
        assert_eq!(json, wanted);
    }
}
