//! The tables of sockets that a survey has read so far.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic;
use std::thread::{self, JoinHandle};

use super::bulk::Wanted;
use super::namespaces::Chosen;
use super::{Subject, crew};
use crate::ids::{Fd, Inode};
use crate::net::{Diag, DiagError, NetError, Protocols, SocketInfo, SocketTable};
use crate::proc::Process;

/// Ways to ask about single sockets, one for each network namespace: to make one takes as long as ten questions.
#[derive(Debug, Default)]
pub struct Diags {
    /// `None` where there is none.
    by_netns: HashMap<Option<u64>, Option<Diag>>,
}

impl Diags {
    /// The one for the network namespace of `subject`, if there is a way to ask.
    pub fn of(&mut self, subject: &Subject) -> Option<&mut Diag> {
        let open = || Diag::of_process(&subject.process, subject.netns).ok();
        self.by_netns.entry(subject.netns).or_insert_with(open).as_mut()
    }
}

/// The socket tables read so far, each network namespace once. The tables of the other protocols are only read
/// when the ones before leave a socket unknown.
#[derive(Debug, Default)]
pub(super) struct Tables {
    by_netns: HashMap<Option<u64>, TableSet>,
    /// Those being read meanwhile.
    reading: Vec<Reading>,
    pub(super) diags: Diags,
    pub(super) wanted: Wanted,
    /// Where sockets of certain namespaces are looked for, those alone.
    pub(super) chosen: Option<Chosen>,
}

/// A table being read on a thread of its own; what it can't be read by is left to whoever needs it.
#[derive(Debug)]
struct Reading {
    netns: Option<u64>,
    thread: JoinHandle<Result<SocketTable, DiagError>>,
}

#[derive(Debug)]
pub(super) struct TableSet {
    pub(super) tcp: Option<SocketTable>,
    pub(super) rest: Option<SocketTable>,
}

impl TableSet {
    pub(super) fn get(&self, inode: Inode) -> Option<SocketInfo> {
        [&self.tcp, &self.rest].into_iter().flatten().find_map(|table| table.get(inode))
    }

    pub(super) fn has(&self, inode: Inode) -> bool {
        [&self.tcp, &self.rest].into_iter().flatten().any(|table| table.has(inode))
    }
}

impl Tables {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Begins to read the TCP sockets of the network namespace of `process`, unless they are known or being read. What
    /// needs them has to wait for [`Tables::finish`].
    pub(super) fn begin(&mut self, process: &Process) {
        // Where certain namespaces are chosen, they have been asked.
        if self.chosen.is_some() {
            return;
        }
        let netns = process.netns().ok();
        if self.by_netns.contains_key(&netns) || self.reading.iter().any(|reading| reading.netns == netns) {
            return;
        }
        let Ok(mut diag) = Diag::of_process(process, netns) else { return };
        let wanted = self.wanted.clone();
        // One thread more than CPUs, if it must be: nothing else takes as long.
        let place = crew::join();
        let read = move || {
            let answer = wanted.ask(&mut diag);
            drop(place);
            answer
        };
        // Without a thread it will be read when it is needed.
        let thread = thread::Builder::new().name("sockets".to_owned()).spawn(read);
        self.reading.extend(thread.ok().map(|thread| Reading { netns, thread }));
    }

    /// Whether [`Tables::finish`] has something to do.
    pub(super) fn has_begun(&self) -> bool {
        !self.reading.is_empty()
    }

    /// [`Tables::finish`], if there is nothing to wait for.
    pub(super) fn finish_if_read(&mut self) {
        if self.reading.iter().all(|reading| reading.thread.is_finished()) {
            self.finish();
        }
    }

    /// Waits for what was begun.
    pub(super) fn finish(&mut self) {
        for Reading { netns, thread } in self.reading.drain(..) {
            match thread.join() {
                Ok(Ok(tcp)) => {
                    self.by_netns.insert(netns, TableSet { tcp: Some(tcp), rest: None });
                }
                // Whoever needs it reads it by another way.
                Ok(Err(_)) => {}
                Err(panic) => panic::resume_unwind(panic),
            }
        }
    }

    /// The tables of the namespace of `subject`, with as many protocols as it takes to know `sockets`.
    pub(super) fn with(&mut self, subject: &Subject, sockets: &[(Fd, Inode)]) -> Option<&TableSet> {
        if sockets.is_empty() {
            return None;
        }
        let (process, wanted) = (&subject.process, &self.wanted);
        let set = match self.by_netns.entry(subject.netns) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(TableSet { tcp: wanted.read(process), rest: None }),
        };
        let unknown = |(_, inode): &(Fd, Inode)| set.tcp.as_ref().is_none_or(|table| !table.has(*inode));
        if set.rest.is_none() && !wanted.only_tcp && sockets.iter().any(unknown) {
            let table: Result<SocketTable, NetError> =
                SocketTable::read(process, Protocols { tcp: false, ..Protocols::ALL });
            set.rest = table.ok();
        }
        Some(set)
    }
}
