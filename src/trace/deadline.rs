//! A point in time after which waiting stops.

use std::time::{Duration, Instant};

/// A point in time after which waiting stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The point `span` from now.
    #[must_use]
    pub fn after(span: Duration) -> Self {
        let now = Instant::now();
        // A span that overflows the clock is as good as a year.
        Self(now.checked_add(span).unwrap_or(now + Duration::from_secs(365 * 86_400)))
    }

    /// The time left; `None` once it is over.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The earlier of two.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}
