//! What a survey found, as `list` tells it: every descriptor, and a summary by process.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::growth::Growth;
use crate::host::{self, Fallback};
use crate::ids::{Pid, Tid};
use crate::net::{Endpoint, SocketInfo, TcpMemory, UnixName};
use crate::proc::{FdDir, FdTarget, ProcError, Procfs};
use crate::report::{
    FdReport, FdRows, FileName, ListReport, ProcessUse, SocketsReport, TcpMemoryReport, Text,
};
use crate::selectors::Selectors;
use crate::survey::{Detail, Match, Subject, Survey, SurveyError, sockets, survey_each};

/// Looks at what is selected, and reports on it.
///
/// # Errors
/// As [`survey_each`].
pub fn list(
    procfs: &Procfs,
    selectors: &Selectors,
    growths: Option<&mut Growths>,
) -> Result<(Survey, ListReport), SurveyError> {
    let mut fds = FdRows::default();
    let mut processes: Vec<ProcessUse> = Vec::new();
    // There may be hundreds of thousands: nothing but what is told of each is kept.
    let survey = survey_each(procfs, selectors, Detail::All, &mut |subject, found| {
        if processes.len() <= found.subject {
            processes.push(process_use(subject));
        }
        if let Some(process) = processes.last_mut() {
            let row = fd_report(subject, process.comm.clone(), found);
            count(process, &row);
            fds.push(row);
        }
    })?;
    // Only now that the tables of sockets are gone, and take no room any more.
    let mut first = 0;
    for process in &mut processes {
        let rows = first..first + process.listed;
        first = rows.end;
        process.states = fds.sockets_by_state(rows);
    }
    fds.sort();
    if let Some(growths) = growths {
        growths.note(&survey, &mut processes);
    }
    let memory = TcpMemory::read(procfs).map(TcpMemoryReport::from);
    Ok((survey, ListReport::new(fds, processes, memory)))
}

/// Looks at the TCP sockets that are selected, whoever holds them, and reports on them.
///
/// # Errors
/// As [`sockets`].
pub fn list_sockets(procfs: &Procfs, selectors: &Selectors) -> Result<(Survey, SocketsReport), SurveyError> {
    let (survey, rows) = sockets(procfs, selectors)?;
    let memory = TcpMemory::read(procfs).map(TcpMemoryReport::from);
    Ok((survey, SocketsReport::new(rows, memory)))
}

fn fd_report(subject: &Subject, comm: Text, found: Match) -> FdReport {
    let queue = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let name = match found.identity.target {
        FdTarget::Socket(inode) => FileName::Socket(inode),
        _ => FileName::from(found.name()),
    };
    FdReport {
        pid: subject.process.pid(),
        tid: subject.is_private.then_some(subject.table),
        comm,
        uid: subject.uid,
        fd: found.fd,
        inode: found.identity.target.inode(),
        kind: found.kind(),
        name,
        unix_name: unix_name(found.socket.as_ref()),
        deleted: found.identity.target.is_deleted(),
        state: found.tcp_state(),
        local: found.local(),
        peer: found.peer(),
        recv_q: found.socket.as_ref().map(|socket| queue(socket.recv_q)),
        send_q: found.socket.as_ref().map(|socket| queue(socket.send_q)),
        idle_ms: found.socket.as_ref().and_then(|socket| socket.idle_ms),
        netns: found.netns.or(subject.netns),
        watched_by: found.watched_by,
    }
}

fn unix_name(socket: Option<&SocketInfo>) -> Option<Text> {
    match &socket?.local {
        Endpoint::Unix(UnixName::Path(path)) => Some(Text::from(path.clone())),
        Endpoint::Unix(UnixName::Abstract(name)) => Some(Text::from([b"@", name.as_slice()].concat())),
        Endpoint::Unix(UnixName::Unnamed) | Endpoint::Inet(_) | Endpoint::Other => None,
    }
}

/// By a list of them.
fn counted(dir: &FdDir) -> Result<usize, ProcError> {
    host::fall_back(Fallback::CountByListing);
    dir.list().map(|fds| fds.len())
}

fn process_use(subject: &Subject) -> ProcessUse {
    // The process may end at any time: what can't be read any more is not told.
    let open =
        subject.process.fd_dir(subject.table).and_then(|dir| dir.count().map_or_else(|| counted(&dir), Ok));
    ProcessUse {
        pid: subject.process.pid(),
        tid: subject.is_private.then_some(subject.table),
        comm: Text::from(subject.comm.clone()),
        listed: 0,
        watched: 0,
        tcp: 0,
        states: BTreeMap::new(),
        idle_ms_max: None,
        descriptors: open.ok(),
        descriptors_limit: subject.process.descriptor_limit().ok().flatten(),
        runs_out_in_s: None,
    }
}

fn count(process: &mut ProcessUse, fd: &FdReport) {
    process.listed += 1;
    process.watched += usize::from(!fd.watched_by.is_empty());
    process.tcp += usize::from(fd.state.is_some());
    process.idle_ms_max = process.idle_ms_max.max(fd.idle_ms);
}

/// How the numbers of descriptors of processes grow, from one look to the next.
#[derive(Debug)]
pub struct Growths {
    begun: Instant,
    /// By number and start time: a number may come to mean another process.
    by_process: HashMap<(Pid, Option<Tid>, u64), Growth>,
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
            let key = (process.pid, process.tid, started);
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
