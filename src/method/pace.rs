//! How many descriptors fit into one pause.

use std::time::Duration;

/// The first slice: at 2 us a descriptor, far below any sensible longest pause.
const FIRST: usize = 128;

/// More gains nothing, and needs more room below a stack and more copies of descriptors.
pub(super) const MOST: usize = 1024;

/// The size of the next slice, from what the last one took.
#[derive(Debug)]
pub(super) struct Pace {
    size: usize,
    /// What a slice is to take: less than the longest pause allowed, as no two take the same.
    aim: Duration,
}

impl Pace {
    /// For pauses no longer than `max_pause`.
    pub(super) fn new(max_pause: Duration) -> Self {
        // Even if one descriptor took 10 us, the first slice is to hold.
        let fits = usize::try_from(max_pause.as_micros() / 10).unwrap_or(MOST);
        Self { size: FIRST.min(fits).max(1), aim: max_pause / 4 }
    }

    /// How many descriptors to try next.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// A slice of `done` descriptors paused the target for `pause`.
    pub(super) fn took(&mut self, done: usize, pause: Duration) {
        let aim = self.aim.as_nanos().saturating_mul(done as u128);
        let fits = aim / pause.as_nanos().max(1);
        let fits = usize::try_from(fits).unwrap_or(MOST);
        // Upwards in steps: one quick slice is no promise.
        self.size = fits.min(self.size.saturating_mul(4)).clamp(1, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_longest_pause() {
        let mut pace = Pace::new(Duration::from_millis(10));
        assert_eq!(pace.size(), 128);
        pace.took(128, Duration::from_micros(200));
        assert_eq!(pace.size(), 512, "not all at once");
        pace.took(512, Duration::from_micros(500));
        assert_eq!(pace.size(), 1024, "no further than that");
        pace.took(1024, Duration::from_millis(10));
        assert_eq!(pace.size(), 256);
        pace.took(256, Duration::from_secs(1));
        assert_eq!(pace.size(), 1);
        assert_eq!(Pace::new(Duration::from_micros(1)).size(), 1);
        assert_eq!(Pace::new(Duration::from_micros(100)).size(), 10);
    }
}
