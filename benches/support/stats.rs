//! Medians and quartiles of durations.

use std::time::Duration;

/// First quartile, median and third quartile.
#[derive(Clone, Copy)]
pub(crate) struct Quartiles {
    pub(crate) first: Duration,
    pub(crate) median: Duration,
    pub(crate) third: Duration,
}

impl Quartiles {
    /// None of no samples. Each is a measured value (the nearest rank), none is interpolated.
    pub(crate) fn of(samples: &[Duration]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(Self { first: sorted[last / 4], median: sorted[last / 2], third: sorted[last - last / 4] })
    }

    /// How many times `other`'s median this median is.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        self.median.as_secs_f64() / other.median.as_secs_f64()
    }
}
