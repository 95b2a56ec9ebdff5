//! A median and how sure it is, without assumptions about the noise.

/// A median with an interval that contains the true one in at least 95 of 100
/// such measurements.
#[derive(Clone, Copy)]
pub struct Estimate {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

/// Estimates the median of what `samples` were drawn from.
///
/// The true median lies below the k smallest or above the k largest samples
/// only if a coin thrown once per sample shows one side fewer than k times; the
/// interval ends at the largest k that makes this rare. Fewer than 6 samples
/// cannot be that sure: their interval is all of them.
pub fn estimate(samples: &[f64]) -> Estimate {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0;
    let mut tail = 0.0;
    let mut chance = 0.5f64.powi(count as i32); // of no head at all
    let mut outside = 0;
    while outside < count / 2 && tail + chance <= 0.025 {
        tail += chance;
        chance *= (count - outside) as f64 / (outside + 1) as f64;
        outside += 1;
    }
    // `outside` samples at each end may be left out, the next one is the end.
    let end = outside.saturating_sub(1);
    Estimate { low: sorted[end], median, high: sorted[count - 1 - end] }
}
