//! The same reasoning for what an action has selected: what was found before it is done, and what follows from it.

use std::collections::{BTreeSet, HashMap};

use super::advice::{Use, advice};
use super::{host, patient};
use crate::ids::{Fd, Inode};
use crate::method::sharers_of;
use crate::plan::{Plan, Protection};
use crate::proc::{Holder, Procfs};
use crate::report::{
    CallReport, ExplainedFd, ExplainedProcess, Explanation, HolderReport, PatientReport, Text,
};
use crate::survey::{CallOn, Match, Subject, Survey, waits_on};
use crate::watchdog;

/// Of each descriptor, so many threads that wait for what an epoll instance watches are named: all of them wait for all
/// that it watches.
const MOST_FOR_WATCHED: usize = 64;

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
        // It is read from its memory what it is and what it waits for.
        let _watched = watchdog::over(subject.process.pid());
        let process: Option<PatientReport> = patient::look_at(procfs, &subject.process).ok();
        let calls = Calls::of(subject, own().map(|(_, found)| found));
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
            calls: calls.on(found),
        });
        let fds: Vec<ExplainedFd> = fds.collect();
        let in_use = Use {
            watched: fds.iter().any(|fd| !fd.watched_by.is_empty()),
            registered: fds.iter().any(|fd| !fd.registered_with.is_empty()),
        };
        let advice = advice(&checks, process.as_ref(), Some(in_use));
        let shares_table_with = sharers_of(procfs, subject.process.pid(), subject.table).unwrap_or_default();
        Some(ExplainedProcess { process, shares_table_with, advice, fds })
    });
    let processes = processes.collect();
    Explanation { checks, all_seen: everyone.complete, processes }
}

/// Which threads of a process wait for what.
struct Calls(HashMap<Fd, Vec<CallOn>>);

impl Calls {
    fn of<'a>(subject: &Subject, matches: impl Iterator<Item = &'a Match>) -> Self {
        let fds = matches.flat_map(|found| found.watched_by.iter().copied().chain([found.fd])).collect();
        let mut calls: HashMap<Fd, Vec<CallOn>> = HashMap::new();
        for call in waits_on(&subject.process, subject.table, &fds).unwrap_or_default() {
            calls.entry(call.fd).or_default().push(call);
        }
        Self(calls)
    }

    fn on(&self, found: &Match) -> Vec<CallReport> {
        let on = |fd: &Fd| self.0.get(fd).map(Vec::as_slice).unwrap_or_default();
        let for_it = found.watched_by.iter().flat_map(on).filter(|call| call.for_watched);
        let calls = on(&found.fd).iter().chain(for_it.take(MOST_FOR_WATCHED));
        calls.map(|call| CallReport { tid: call.tid, call: call.call }).collect()
    }
}

fn report(holder: &Holder) -> HolderReport {
    HolderReport { pid: holder.pid, tid: holder.tid, comm: Text::from(holder.comm.clone()), fd: holder.fd }
}
