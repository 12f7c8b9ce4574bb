//! When a process will have no descriptor left, judged by how their number grew. Pure: times are handed in.

use std::collections::VecDeque;
use std::time::Duration;

/// So many observations are remembered.
const MOST: usize = 60;
/// A growth this slow is none that anybody has to act on.
const FARTHEST: Duration = Duration::from_secs(30 * 86_400);

/// How many descriptors a process had, and when.
#[derive(Debug, Clone, Default)]
pub struct Growth {
    /// The time since some beginning, and the number then.
    seen: VecDeque<(Duration, usize)>,
}

impl Growth {
    /// Remembers that there were `open` descriptors `at` some time, which never goes back.
    pub fn note(&mut self, at: Duration, open: usize) {
        if self.seen.len() == MOST {
            self.seen.pop_front();
        }
        self.seen.push_back((at, open));
    }

    /// In which time `limit` is reached, counted from what was seen last, if it goes on like this. `None` if the number
    /// does not grow, or so slowly that it would take more than a month.
    #[must_use]
    pub fn runs_out_in(&self, limit: u64) -> Option<Duration> {
        let ((begin, few), (end, many)) = (*self.seen.front()?, *self.seen.back()?);
        let left = limit.saturating_sub(u64::try_from(many).ok()?);
        if left == 0 {
            return Some(Duration::ZERO);
        }
        let grown = u128::try_from(many.checked_sub(few).filter(|grown| *grown > 0)?).ok()?;
        let millis = end.checked_sub(begin)?.as_millis().checked_mul(left.into())? / grown;
        let span = Duration::from_millis(u64::try_from(millis).ok()?);
        (span <= FARTHEST).then_some(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(numbers: &[(u64, usize)]) -> Growth {
        let mut growth = Growth::default();
        for (second, open) in numbers {
            growth.note(Duration::from_secs(*second), *open);
        }
        growth
    }

    #[test]
    fn a_steady_growth_goes_on() {
        // 20 a second, 1,024 - 224 = 800 left.
        let leak = seen(&[(0, 24), (1, 50), (5, 120), (10, 224)]);
        assert_eq!(leak.runs_out_in(1024), Some(Duration::from_secs(40)));
        assert_eq!(leak.runs_out_in(224), Some(Duration::ZERO));
        assert_eq!(leak.runs_out_in(100), Some(Duration::ZERO), "the limit was lowered");
    }

    #[test]
    fn without_growth_there_is_nothing_to_say() {
        for numbers in
            [&[][..], &[(0, 5)], &[(0, 5), (10, 5)], &[(0, 5), (10, 4)], &[(0, 5), (5, 9), (10, 5)]]
        {
            assert_eq!(seen(numbers).runs_out_in(1024), None, "{numbers:?}");
        }
        assert_eq!(seen(&[(0, 5), (86_400, 6)]).runs_out_in(1_048_576), None, "in thousands of years");
        assert_eq!(seen(&[(0, 5), (u64::MAX, 6)]).runs_out_in(u64::MAX), None);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut growth = seen(&[(0, 1000)]);
        for second in 1..=60 {
            growth.note(Duration::from_secs(second), usize::try_from(second).unwrap());
        }
        assert_eq!(growth.runs_out_in(70), Some(Duration::from_secs(10)));
    }
}
