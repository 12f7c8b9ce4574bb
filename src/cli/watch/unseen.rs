//! What a look could not see: told when it is something else than the last time, and no success.

use std::collections::BTreeSet;

use crate::ids::Pid;
use crate::proc::ProcError;
use crate::selectors::Selectors;
use crate::survey::Survey;

/// What stayed unseen in one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unseen {
    /// Processes that were named by number and can't be looked into.
    processes: BTreeSet<Pid>,
    /// Some others can't that were asked for. Which they are may change at each look, and is no news.
    others: bool,
    /// Network namespaces that can't be asked, in words.
    namespaces: BTreeSet<String>,
    /// For how long connections have been idle.
    idle_times: bool,
}

impl Unseen {
    /// What `survey` of what is `selected` did not see. Where all processes are meant, those that the user may not look
    /// into are not asked for.
    pub(super) fn of(survey: &Survey, selected: &Selectors) -> Self {
        let unreadable = || survey.unreadable.iter().filter(|(_, error)| !error.is_gone());
        let by_number = !selected.pids.is_empty();
        let is_asked_for =
            |error: &ProcError| !selected.comms.is_empty() || !matches!(error, ProcError::Denied { .. });
        Self {
            processes: if by_number { unreadable().map(|(pid, _)| *pid).collect() } else { BTreeSet::new() },
            others: !by_number && unreadable().any(|(_, error)| is_asked_for(error)),
            namespaces: survey.unasked.iter().map(ToString::to_string).collect(),
            idle_times: survey.idle_unknown > 0,
        }
    }

    /// Whether all was seen.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
