//! The same reasoning for what an action has selected: what was found before it is done, and what follows from it.

use std::collections::{BTreeSet, HashMap};

use super::advice::{Use, advice};
use super::{host, patient};
use crate::ids::{Fd, Inode};
use crate::plan::{Plan, Protection};
use crate::proc::{Holder, Procfs};
use crate::report::{
    CallReport, ExplainedFd, ExplainedProcess, Explanation, HolderReport, PatientReport, Text,
};
use crate::survey::{Match, Survey, calls_of};

/// Explains what `plan` does about the matches of `survey`. Nothing is touched; what this host can do is tried on
/// fdclose's own child and sockets.
#[must_use]
pub fn explain(procfs: &Procfs, survey: &Survey, plan: &Plan) -> Explanation {
    let checks = host::checks(procfs);
    let inodes: BTreeSet<Inode> = survey.matches.iter().filter_map(Match::socket_inode).collect();
    let mut holders: HashMap<Inode, Vec<Holder>> = HashMap::new();
    let everyone = procfs.holders(&inodes, || true);
    for holder in everyone.found {
        holders.entry(holder.inode).or_default().push(holder);
    }
    let refused: HashMap<usize, Protection> = plan.refused.iter().copied().collect();
    let processes = survey.subjects.iter().enumerate().filter_map(|(index, subject)| {
        let own = || survey.matches.iter().enumerate().filter(|(_, found)| found.subject == index);
        own().next()?;
        let process: Option<PatientReport> = patient::look_at(procfs, &subject.process).ok();
        let mut calls: HashMap<Fd, Vec<CallReport>> = HashMap::new();
        for call in calls_of(&subject.process).unwrap_or_default() {
            calls.entry(call.fd).or_default().push(CallReport { tid: call.tid, call: call.call });
        }
        let others = |found: &Match| {
            let inode = found.socket_inode()?;
            let is_other = |holder: &&Holder| holder.pid != subject.process.pid() || holder.fd != found.fd;
            Some(holders.get(&inode)?.iter().filter(is_other).map(report).collect())
        };
        let fds = own().map(|(index, found)| ExplainedFd {
            fd: found.fd,
            inode: found.identity.target.inode(),
            refusal: refused.get(&index).map(ToString::to_string),
            holders: others(found).unwrap_or_default(),
            watched_by: found.watched_by.clone(),
            registered_with: found.registered_with.clone(),
            calls: calls.remove(&found.fd).unwrap_or_default(),
        });
        let fds: Vec<ExplainedFd> = fds.collect();
        let in_use = Use {
            watched: fds.iter().any(|fd| !fd.watched_by.is_empty()),
            registered: fds.iter().any(|fd| !fd.registered_with.is_empty()),
        };
        let advice = advice(&checks, process.as_ref(), Some(in_use));
        Some(ExplainedProcess { process, advice, fds })
    });
    let processes = processes.collect();
    Explanation { checks, all_seen: everyone.complete, processes }
}

fn report(holder: &Holder) -> HolderReport {
    HolderReport { pid: holder.pid, tid: holder.tid, comm: Text::from(holder.comm.clone()), fd: holder.fd }
}
