//! The tables of sockets that a survey has read so far.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Subject;
use super::bulk::Wanted;
use super::namespaces::Chosen;
use crate::ids::{Fd, Inode};
use crate::net::{Diag, NetError, Protocols, SocketInfo, SocketTable};

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
    pub(super) by_netns: HashMap<Option<u64>, TableSet>,
    pub(super) diags: Diags,
    pub(super) wanted: Wanted,
    /// Where sockets of certain namespaces are looked for, those alone.
    pub(super) chosen: Option<Chosen>,
}

#[derive(Debug)]
pub(super) struct TableSet {
    pub(super) tcp: Option<SocketTable>,
    pub(super) rest: Option<SocketTable>,
}

impl TableSet {
    pub(super) fn get(&self, inode: Inode) -> Option<&SocketInfo> {
        let of = |table: &'_ Option<SocketTable>| table.as_ref().is_some_and(|t| t.get(inode).is_some());
        if of(&self.tcp) { self.tcp.as_ref()?.get(inode) } else { self.rest.as_ref()?.get(inode) }
    }
}

impl Tables {
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
        let unknown =
            |(_, inode): &(Fd, Inode)| set.tcp.as_ref().is_none_or(|table| table.get(*inode).is_none());
        if set.rest.is_none() && !wanted.only_tcp && sockets.iter().any(unknown) {
            let table: Result<SocketTable, NetError> =
                SocketTable::read(process, Protocols { tcp: false, ..Protocols::ALL });
            set.rest = table.ok();
        }
        Some(set)
    }
}
