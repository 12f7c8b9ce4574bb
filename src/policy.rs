//! What `watch` leaves of a plan: which processes are worth acting on, and how much at once. Pure.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use crate::plan::Plan;

/// How many idle connections a process must have before anything is done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinCount {
    /// At least so many.
    Connections(u64),
    /// More than so many percent of the descriptors it may have (RLIMIT_NOFILE).
    Percent(u64),
}

/// A text that is no [`MinCount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither a number nor a percentage")]
pub struct ParseMinCountError;

impl FromStr for MinCount {
    type Err = ParseMinCountError;

    /// `N` or `N%`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|number| plain && *number > 0).ok_or(ParseMinCountError)
        };
        match text.strip_suffix('%') {
            Some(percent) => number(percent).and_then(|percent| {
                if percent <= 100 { Ok(Self::Percent(percent)) } else { Err(ParseMinCountError) }
            }),
            None => number(text).map(Self::Connections),
        }
    }
}

impl fmt::Display for MinCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl MinCount {
    /// Whether `count` is enough where `limit` descriptors are allowed; `None` if there is no limit or it is not known.
    fn is_reached(self, count: usize, limit: Option<u64>) -> bool {
        let count = u128::try_from(count).unwrap_or(u128::MAX);
        match (self, limit) {
            (Self::Connections(least), _) => count >= least.into(),
            (Self::Percent(percent), Some(limit)) => {
                count.saturating_mul(100) > u128::from(percent) * u128::from(limit)
            }
            (Self::Percent(_), None) => false,
        }
    }
}

/// The bounds that are set to a watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Leave processes alone that have less.
    pub min_count: Option<MinCount>,
    /// Act on no more than so many connections at once, those that have been idle for longest.
    pub max_per_run: Option<usize>,
}

impl Policy {
    /// What of `plan` is to be carried out. `limit_of` tells how many descriptors a process may have, by its index, and
    /// `idle_ms` for how long a match has been idle.
    #[must_use]
    pub fn bound(
        self,
        mut plan: Plan,
        limit_of: impl Fn(usize) -> Option<u64>,
        idle_ms: impl Fn(usize) -> Option<u64>,
    ) -> Plan {
        if let Some(least) = self.min_count {
            plan.processes.retain(|share| {
                let limit = match least {
                    MinCount::Connections(_) => None,
                    MinCount::Percent(_) => limit_of(share.subject),
                };
                least.is_reached(share.act_on.len(), limit)
            });
        }
        if let Some(most) = self.max_per_run.filter(|most| *most < plan.len()) {
            let mut all: Vec<usize> =
                plan.processes.iter().flat_map(|share| share.act_on.iter().copied()).collect();
            all.sort_by_key(|index| (Reverse(idle_ms(*index)), *index));
            all.truncate(most);
            all.sort_unstable();
            for share in &mut plan.processes {
                share.act_on.retain(|index| all.binary_search(index).is_ok());
            }
            plan.processes.retain(|share| !share.act_on.is_empty());
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ProcessPlan;

    fn plan(shares: &[&[usize]]) -> Plan {
        let share = |(subject, act_on): (usize, &&[usize])| ProcessPlan { subject, act_on: act_on.to_vec() };
        Plan { processes: shares.iter().enumerate().map(share).collect(), refused: Vec::new() }
    }

    fn left(policy: Policy, shares: &[&[usize]]) -> Vec<Vec<usize>> {
        let limits = [Some(100), Some(10), None];
        let idle = [50, 10, 40, 30, 20, 60];
        let bound = policy.bound(plan(shares), |subject| limits[subject], |index| idle.get(index).copied());
        bound.processes.into_iter().map(|share| share.act_on).collect()
    }

    #[test]
    fn counts_are_numbers_or_percentages() {
        assert_eq!("100".parse(), Ok(MinCount::Connections(100)));
        assert_eq!("80%".parse(), Ok(MinCount::Percent(80)));
        for wrong in ["", "%", "0", "0%", "101%", "-1", "+1", "1.5", "5 %", "99999999999999999999"] {
            assert_eq!(wrong.parse::<MinCount>(), Err(ParseMinCountError), "{wrong}");
        }
    }

    #[test]
    fn processes_with_too_few_are_left_alone() {
        let of = |min_count| Policy { min_count: Some(min_count), max_per_run: None };
        let shares: &[&[usize]] = &[&[0, 1, 2], &[3, 4], &[5]];
        assert_eq!(left(of(MinCount::Connections(2)), shares), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(left(of(MinCount::Connections(4)), shares), Vec::<Vec<usize>>::new());
        // 3 of 100, 2 of 10, 1 without a limit.
        assert_eq!(left(of(MinCount::Percent(2)), shares), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(left(of(MinCount::Percent(3)), shares), [vec![3, 4]]);
        assert_eq!(
            left(of(MinCount::Percent(20)), shares),
            Vec::<Vec<usize>>::new(),
            "more than, not as much as"
        );
    }

    #[test]
    fn the_longest_idle_go_first() {
        let of = |max| Policy { min_count: None, max_per_run: Some(max) };
        let shares: &[&[usize]] = &[&[0, 1, 2], &[3, 4], &[5]];
        assert_eq!(left(of(6), shares).concat(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(left(of(3), shares), [vec![0, 2], vec![5]]);
        assert_eq!(left(of(1), shares), [vec![5]]);
        assert_eq!(left(Policy::default(), shares).concat().len(), 6);
    }
}
