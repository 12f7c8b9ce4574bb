//! What a survey found, as `list` tells it: every descriptor, and a summary by process.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::growth::Growth;
use crate::ids::Pid;
use crate::net::TcpMemory;
use crate::proc::Procfs;
use crate::report::{FdReport, ListReport, ProcessUse, TcpMemoryReport, Text};
use crate::survey::{Match, Subject, Survey};

/// Reports on everything in `survey`.
#[must_use]
pub fn listing(procfs: &Procfs, survey: &Survey, growths: Option<&mut Growths>) -> ListReport {
    let mut fds: Vec<FdReport> = survey.matches.iter().map(|found| fd_report(survey, found)).collect();
    let mut processes: Vec<ProcessUse> = survey.subjects.iter().map(process_use).collect();
    // Both are in the order of their processes.
    let mut rest = fds.as_slice();
    for process in &mut processes {
        let (own, others) = rest.split_at(rest.partition_point(|fd| fd.pid <= process.pid));
        count(process, own);
        rest = others;
    }
    fds.sort_by_key(|fd| (fd.pid, Reverse(fd.idle_ms)));
    if let Some(growths) = growths {
        growths.note(survey, &mut processes);
    }
    ListReport::new(fds, processes, TcpMemory::read(procfs).map(TcpMemoryReport::from))
}

fn fd_report(survey: &Survey, found: &Match) -> FdReport {
    let subject = survey.subject_of(found);
    let queue = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    FdReport {
        pid: subject.process.pid(),
        comm: Text::from(subject.comm.clone()),
        uid: subject.uid,
        fd: found.fd,
        inode: found.identity.target.inode(),
        kind: found.kind(),
        name: Text::from(found.name()),
        deleted: found.identity.target.is_deleted(),
        state: found.tcp_state(),
        local: found.local(),
        peer: found.peer(),
        recv_q: found.socket.as_ref().map(|socket| queue(socket.recv_q)),
        send_q: found.socket.as_ref().map(|socket| queue(socket.send_q)),
        idle_ms: found.socket.as_ref().and_then(|socket| socket.idle_ms),
        netns: found.netns.or(subject.netns),
        watched_by: found.watched_by.clone(),
    }
}

fn process_use(subject: &Subject) -> ProcessUse {
    // The process may end at any time: what can't be read any more is not told.
    let open = subject
        .process
        .fd_dir(subject.table)
        .and_then(|dir| dir.count().map_or_else(|| dir.list().map(|fds| fds.len()), Ok));
    ProcessUse {
        pid: subject.process.pid(),
        comm: Text::from(subject.comm.clone()),
        listed: 0,
        watched: 0,
        states: BTreeMap::new(),
        idle_ms_max: None,
        descriptors: open.ok(),
        descriptors_limit: subject.process.descriptor_limit().ok().flatten(),
        runs_out_in_s: None,
    }
}

fn count(process: &mut ProcessUse, fds: &[FdReport]) {
    process.listed = fds.len();
    process.watched = fds.iter().filter(|fd| !fd.watched_by.is_empty()).count();
    for state in fds.iter().filter_map(|fd| fd.state) {
        *process.states.entry(state).or_default() += 1;
    }
    process.idle_ms_max = fds.iter().filter_map(|fd| fd.idle_ms).max();
}

/// How the numbers of descriptors of processes grow, from one look to the next.
#[derive(Debug)]
pub struct Growths {
    begun: Instant,
    /// By number and start time: a number may come to mean another process.
    by_process: HashMap<(Pid, u64), Growth>,
}

impl Default for Growths {
    fn default() -> Self {
        Self { begun: Instant::now(), by_process: HashMap::new() }
    }
}

impl Growths {
    /// Adds what is there now, and says of each process when it will run out. Those no longer there are forgotten.
    fn note(&mut self, survey: &Survey, processes: &mut [ProcessUse]) {
        let now = self.begun.elapsed();
        let mut before = std::mem::take(&mut self.by_process);
        for (subject, process) in survey.subjects.iter().zip(processes) {
            let (Ok(started), Some(open)) = (subject.process.start_time(), process.descriptors) else {
                continue;
            };
            let key = (process.pid, started);
            let mut growth = before.remove(&key).unwrap_or_default();
            growth.note(now, open);
            process.runs_out_in_s = process
                .descriptors_limit
                .and_then(|limit| growth.runs_out_in(limit))
                .map(|span| span.as_secs());
            self.by_process.insert(key, growth);
        }
    }
}
