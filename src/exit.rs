//! The exit statuses, all of them.

use std::process::ExitCode;

use crate::report::{ActionReport, Summary};

/// How fdclose ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Success = 0,
    /// Nothing matched.
    NothingMatched = 1,
    /// Wrong usage, or refused before anything was touched.
    Refused = 2,
    /// Something failed; the rest was done.
    Failed = 3,
    /// A target could not be restored. Never expected.
    NotRestored = 4,
}

impl Exit {
    /// Every status and what it means, for help and the man page.
    pub const TABLE: &'static [(Self, &'static str)] = &[
        (Self::Success, "everything asked for was done"),
        (Self::NothingMatched, "nothing matched"),
        (Self::Refused, "wrong usage, or refused before anything was touched"),
        (Self::Failed, "something failed; the rest was done"),
        (Self::NotRestored, "a target could not be restored (never expected)"),
    ];

    /// The number the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status of an action with these counts.
    ///
    /// A descriptor that was gone by itself needs nothing more: it counts as done. One that changed was left
    /// alone in spite of what was asked, so it counts as failed. Refusals alone mean that nothing was
    /// touched; beside anything else they are failures.
    #[must_use]
    pub fn of_outcomes(counts: Summary, all_restored: bool) -> Self {
        let refused = counts.refused > 0;
        let touched = counts.done + counts.would_do + counts.failed + counts.changed > 0;
        if !all_restored {
            Self::NotRestored
        } else if counts.matched == 0 {
            Self::NothingMatched
        } else if refused && !touched {
            Self::Refused
        } else if refused || counts.failed + counts.changed > 0 {
            Self::Failed
        } else {
            Self::Success
        }
    }

    /// The status of a whole action.
    #[must_use]
    pub fn of_action(report: &ActionReport) -> Self {
        Self::of_outcomes(report.summary, report.processes.iter().all(|process| process.restored))
    }

    /// This status, if everything that was named was seen: else a part of the task was not done, whatever became of the
    /// rest.
    #[must_use]
    pub fn if_all_seen(self, all_seen: bool) -> Self {
        if self == Self::Success && !all_seen { Self::Failed } else { self }
    }

    /// The status of a listing of `count` descriptors.
    #[must_use]
    pub const fn of_listing(count: usize) -> Self {
        if count == 0 { Self::NothingMatched } else { Self::Success }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    #[test]
    fn statuses() {
        use Outcome::{Changed, Done, Failed, Gone, Refused, WouldDo};
        let table: &[(&[Outcome], u8)] = &[
            (&[], 1),
            (&[Done], 0),
            (&[Done, Gone], 0),
            (&[Gone], 0),
            (&[WouldDo], 0),
            (&[Refused], 2),
            (&[Refused, Gone], 2),
            (&[Refused, Done], 3),
            (&[Refused, WouldDo], 3),
            (&[Refused, Changed], 3),
            (&[Changed], 3),
            (&[Failed], 3),
            (&[Done, Failed], 3),
        ];
        for (outcomes, want) in table {
            let counts = Summary::of(outcomes.iter().copied());
            assert_eq!(Exit::of_outcomes(counts, true).code(), *want, "{outcomes:?}");
            assert_eq!(Exit::of_outcomes(counts, false), Exit::NotRestored, "{outcomes:?}");
        }
    }

    #[test]
    fn what_was_not_seen_was_not_done() {
        for exit in Exit::TABLE.iter().map(|(exit, _)| *exit) {
            assert_eq!(exit.if_all_seen(true), exit);
            let less = if exit == Exit::Success { Exit::Failed } else { exit };
            assert_eq!(exit.if_all_seen(false), less);
        }
    }

    #[test]
    fn the_table_is_complete_and_in_order() {
        let codes: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
    }
}
