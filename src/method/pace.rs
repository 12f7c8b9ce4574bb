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
    /// The longest pause allowed.
    longest: Duration,
}

impl Pace {
    /// For pauses no longer than `max_pause`.
    pub(super) fn new(max_pause: Duration) -> Self {
        // Even if one descriptor took 10 us, the first slice is to hold.
        let fits = usize::try_from(max_pause.as_micros() / 10).unwrap_or(MOST);
        Self { size: FIRST.min(fits).max(1), longest: max_pause }
    }

    /// How many descriptors to try next.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// A slice of `done` descriptors paused the target for `pause`, of which `work` was spent on them.
    pub(super) fn took(&mut self, done: usize, pause: Duration, work: Duration) {
        // To stop all threads and let them go, 10 us each, which many descriptors cost no more than one.
        let stopping = pause.saturating_sub(work);
        // Less than the longest allowed, as no two take the same; but no less than stopping is worth.
        let aim = (self.longest / 4).max(stopping * 2).min(self.longest * 3 / 4);
        let budget = aim.saturating_sub(stopping).max(self.longest / 8);
        let fits = budget.as_nanos().saturating_mul(done as u128) / work.as_nanos().max(1);
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
        let took = |pace: &mut Pace, done, micros| {
            let time = Duration::from_micros(micros);
            pace.took(done, time, time);
        };
        assert_eq!(pace.size(), 128);
        took(&mut pace, 128, 200);
        assert_eq!(pace.size(), 512, "not all at once");
        took(&mut pace, 512, 500);
        assert_eq!(pace.size(), 1024, "no further than that");
        took(&mut pace, 1024, 10_000);
        assert_eq!(pace.size(), 256);
        took(&mut pace, 256, 1_000_000);
        assert_eq!(pace.size(), 1);
        assert_eq!(Pace::new(Duration::from_micros(1)).size(), 1);
        assert_eq!(Pace::new(Duration::from_micros(100)).size(), 10);
    }

    #[test]
    fn a_process_that_takes_long_to_stop_is_stopped_seldom() {
        let mut pace = Pace::new(Duration::from_millis(10));
        // 400 threads: 4 ms for stopping, and 2 us for each descriptor.
        for _ in 0..4 {
            let work = Duration::from_micros(2 * pace.size() as u64);
            pace.took(pace.size(), Duration::from_millis(4) + work, work);
        }
        assert_eq!(pace.size(), 1024);
        // 2,000 threads: no pause can be short enough, and there is to be no such pause for each descriptor.
        pace.took(1024, Duration::from_millis(22), Duration::from_millis(2));
        assert_eq!(pace.size(), 640);
    }
}
