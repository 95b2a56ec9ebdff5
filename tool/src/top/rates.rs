//! What happened between two looks at the same counters.

use crate::status::counters::{Bound, QueueCounters};
use std::time::Duration;

/// Per second, and of the requests of that time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub requests: f64,
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub kicks: f64,
    /// What half of the operations that have returned took no longer than.
    pub median: Option<Bound>,
    /// The same of 99 of 100.
    pub p99: Option<Bound>,
}

impl Rates {
    /// Counters that have begun anew since are taken for unchanged.
    pub fn between(before: QueueCounters, now: QueueCounters, time: Duration) -> Self {
        let more = now.with(before, u64::saturating_sub);
        let each = |count: u64| count as f64 / time.as_secs_f64().max(1e-6);
        Self {
            requests: each(more.requests),
            bytes_in: each(more.bytes_in),
            bytes_out: each(more.bytes_out),
            kicks: each(more.kicks),
            median: more.handler_times.quantile(50),
            p99: more.handler_times.quantile(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(requests: u64, times: &[(usize, u64)]) -> QueueCounters {
        let mut counters = QueueCounters { requests, ..QueueCounters::default() };
        times.iter().for_each(|&(class, count)| counters.handler_times.0[class] = count);
        counters
    }

    #[test]
    fn between_two_looks() {
        let before = counters(100, &[(5, 1000), (6, 100)]);
        let now = counters(150, &[(5, 1000), (6, 198), (8, 2)]);
        let rates = Rates::between(before, now, Duration::from_millis(500));
        assert_eq!((rates.requests, rates.bytes_in), (100.0, 0.0));
        assert_eq!(rates.median, Some(Bound::Below(256 << 6)));
        assert_eq!(rates.p99, Some(Bound::Below(256 << 8)));
        let begun_anew = Rates::between(now, counters(3, &[]), Duration::from_secs(1));
        assert_eq!(begun_anew, Rates::default());
    }
}
