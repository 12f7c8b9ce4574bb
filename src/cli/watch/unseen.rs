//! What a look could not see: told when it is something else than the last time, and no success.

use std::collections::BTreeSet;

use crate::ids::Pid;
use crate::survey::Survey;

/// What stayed unseen in one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unseen {
    /// Processes that were named and can't be looked into.
    processes: BTreeSet<Pid>,
    /// Network namespaces that can't be asked, in words.
    namespaces: BTreeSet<String>,
    /// For how long connections have been idle.
    idle_times: bool,
}

impl Unseen {
    /// What `survey` did not see. Where no process `is_named`, those of others are not asked for, and are none.
    pub(super) fn of(survey: &Survey, is_named: bool) -> Self {
        let denied = survey.unreadable.iter().filter(|(_, error)| is_named && !error.is_gone());
        Self {
            processes: denied.map(|(pid, _)| *pid).collect(),
            namespaces: survey.unasked.iter().map(ToString::to_string).collect(),
            idle_times: survey.idle_unknown > 0,
        }
    }

    /// Whether all was seen.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
