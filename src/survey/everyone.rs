//! Everybody who holds what was found.

use std::collections::BTreeSet;

use super::{Detail, Match, Survey, SurveyError, survey};
use crate::ids::{Inode, Pid};
use crate::proc::{FdTarget, Procfs};
use crate::selectors::Selectors;

/// Adds every other descriptor, in any process, of the sockets that `found` has. What is no socket is held by itself.
///
/// # Errors
/// As [`survey`].
pub fn with_all_holders(procfs: &Procfs, found: Survey) -> Result<Survey, SurveyError> {
    let inodes: BTreeSet<Inode> = found.matches.iter().filter_map(socket).collect();
    if inodes.is_empty() {
        return Ok(found);
    }
    let selectors = Selectors { inodes, idle_for: found.idle_for, ..Selectors::default() };
    let mut all = survey(procfs, &selectors, Detail::Ends)?;
    let Survey { subjects, matches, .. } = found;
    let place = |all: &Survey, pid: Pid| all.subjects.iter().position(|other| other.process.pid() == pid);
    let pids: Vec<Pid> = subjects.iter().map(|subject| subject.process.pid()).collect();
    let has_more =
        |index: usize| matches.iter().any(|found| found.subject == index && socket(found).is_none());
    for (index, subject) in subjects.into_iter().enumerate() {
        if place(&all, subject.process.pid()).is_none() && has_more(index) {
            all.subjects.push(subject);
        }
    }
    for other in matches.into_iter().filter(|found| socket(found).is_none()) {
        if let Some(subject) = pids.get(other.subject).and_then(|pid| place(&all, *pid)) {
            all.matches.push(Match { subject, ..other });
        }
    }
    all.matches.sort_by_key(|found| (found.subject, found.fd));
    Ok(all)
}

fn socket(found: &Match) -> Option<Inode> {
    match found.identity.target {
        FdTarget::Socket(inode) => Some(inode),
        _ => None,
    }
}
