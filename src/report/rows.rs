//! The rows of a listing in little room: there may be hundreds of thousands.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;

use serde::{Serialize, Serializer};

use super::Text;
use super::list::{FdReport, FileName};
use crate::ids::{Fd, Inode, Pid, Tid};
use crate::kind::Kind;
use crate::net::{PackedEnds, TcpState};

/// Rows, packed; they come out as they went in.
#[derive(Debug, Clone, Default)]
pub struct FdRows {
    owners: Vec<Owner>,
    rows: Vec<Packed>,
}

/// What the rows of one process have in common. Two of one process, where it may not have changed in between, are
/// nothing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    pid: Pid,
    tid: Option<Tid>,
    comm: Text,
    uid: Option<u32>,
    netns: Option<u64>,
}

/// 88 bytes instead of 250 and some on the heap.
#[derive(Debug, Clone)]
struct Packed {
    ends: PackedEnds,
    inode: Option<NonZero<u64>>,
    unusual: Option<Box<Unusual>>,
    owner: u32,
    fd: Fd,
    recv_q: u32,
    send_q: u32,
    idle_ms: u32,
    kind: Kind,
    state: Option<TcpState>,
    /// Which of the last three numbers are known.
    known: u8,
}

/// What most connections do not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Unusual {
    name: Option<Text>,
    unix_name: Option<Text>,
    inode_zero: bool,
    deleted: bool,
    watched_by: Vec<Fd>,
    long_idle_ms: Option<u64>,
}

/// How far back it is looked for what rows have in common.
const RECENT: usize = 8;

const RECV_Q: u8 = 1;
const SEND_Q: u8 = 2;
const IDLE: u8 = 4;

impl FdRows {
    /// Adds one.
    pub fn push(&mut self, row: FdReport) {
        let FdReport { pid, tid, comm, uid, netns, .. } = row;
        let new = Owner { pid, tid, comm, uid, netns };
        // Most often that of the row before; sockets of several network namespaces may alternate.
        let recent = self.owners.iter().rev().take(RECENT).position(|other| *other == new);
        let owner = recent.map_or(self.owners.len(), |back| self.owners.len() - 1 - back);
        if recent.is_none() {
            self.owners.push(new);
        }
        let short_idle = row.idle_ms.and_then(|ms| u32::try_from(ms).ok());
        let is_socket = matches!(row.name, FileName::Socket(inode) if Some(inode) == row.inode);
        let unusual = Unusual {
            name: if is_socket { None } else { Some(row.name.into_text()) },
            unix_name: row.unix_name,
            inode_zero: row.inode == Some(Inode(0)),
            deleted: row.deleted,
            watched_by: row.watched_by,
            long_idle_ms: row.idle_ms.filter(|_| short_idle.is_none()),
        };
        let known = |number: Option<u32>, flag: u8| if number.is_some() { flag } else { 0 };
        self.rows.push(Packed {
            ends: PackedEnds::new(row.local, row.peer),
            inode: row.inode.and_then(|inode| NonZero::new(inode.0)),
            unusual: (unusual != Unusual::default()).then(|| Box::new(unusual)),
            // There are not so many processes.
            owner: u32::try_from(owner).unwrap_or(u32::MAX),
            fd: row.fd,
            recv_q: row.recv_q.unwrap_or(0),
            send_q: row.send_q.unwrap_or(0),
            idle_ms: short_idle.unwrap_or(0),
            kind: row.kind,
            state: row.state,
            known: known(row.recv_q, RECV_Q) | known(row.send_q, SEND_Q) | known(short_idle, IDLE),
        });
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = FdReport> + Clone {
        self.rows.iter().filter_map(|row| Some(row.unpack(self.owners.get(row.owner as usize)?)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many sockets some of the rows have in which state: one that several descriptors refer to counts once.
    pub(crate) fn sockets_by_state(&self, rows: Range<usize>) -> BTreeMap<TcpState, usize> {
        let rows = self.rows.get(rows).unwrap_or_default();
        let mut sockets: Vec<(TcpState, Option<NonZero<u64>>)> =
            rows.iter().filter_map(|row| Some((row.state?, row.inode))).collect();
        sockets.sort_unstable();
        sockets.dedup();
        let mut states = BTreeMap::new();
        for (state, _) in sockets {
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// Puts them in the order in which they are told: by process, the longest idle first.
    pub(crate) fn sort(&mut self) {
        let Self { owners, rows } = self;
        let pid = |row: &Packed| owners.get(row.owner as usize).map(|owner| owner.pid);
        rows.sort_unstable_by_key(|row| (pid(row), Reverse(row.idle_ms()), row.owner, row.fd));
    }
}

impl Packed {
    fn idle_ms(&self) -> Option<u64> {
        let long = || self.unusual.as_ref().and_then(|unusual| unusual.long_idle_ms);
        if self.known & IDLE == 0 { long() } else { Some(self.idle_ms.into()) }
    }

    fn unpack(&self, owner: &Owner) -> FdReport {
        let unusual = self.unusual.as_deref();
        let is_zero = unusual.is_some_and(|unusual| unusual.inode_zero);
        let inode = self.inode.map(|inode| Inode(inode.get())).or(is_zero.then_some(Inode(0)));
        let name = match unusual.and_then(|unusual| unusual.name.clone()) {
            Some(name) => FileName::Text(name),
            None => FileName::Socket(inode.unwrap_or(Inode(0))),
        };
        FdReport {
            pid: owner.pid,
            tid: owner.tid,
            comm: owner.comm.clone(),
            uid: owner.uid,
            fd: self.fd,
            inode,
            kind: self.kind,
            name,
            unix_name: unusual.and_then(|unusual| unusual.unix_name.clone()),
            deleted: unusual.is_some_and(|unusual| unusual.deleted),
            state: self.state,
            local: self.ends.local(),
            peer: self.ends.peer(),
            recv_q: (self.known & RECV_Q != 0).then_some(self.recv_q),
            send_q: (self.known & SEND_Q != 0).then_some(self.send_q),
            idle_ms: self.idle_ms(),
            netns: owner.netns,
            watched_by: unusual.map(|unusual| unusual.watched_by.clone()).unwrap_or_default(),
        }
    }
}

impl FromIterator<FdReport> for FdRows {
    fn from_iter<I: IntoIterator<Item = FdReport>>(rows: I) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.push(row));
        all
    }
}

impl PartialEq for FdRows {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for FdRows {}

impl Serialize for FdRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::sample;

    #[test]
    fn the_awkward_come_out_as_they_went_in() {
        let rows = sample::list_awkward();
        let packed: FdRows = rows.iter().cloned().collect();
        assert_eq!(packed.iter().collect::<Vec<_>>(), rows);
        assert!(size_of::<Packed>() <= 88, "{}", size_of::<Packed>());
    }

    #[test]
    fn the_order_is_by_process_and_idle_time() {
        let row = |pid: i32, idle_ms, fd: i32| FdReport {
            pid: Pid::new(pid).unwrap(),
            fd: Fd::new(fd).unwrap(),
            idle_ms,
            ..sample::list_fd()
        };
        let mut rows: FdRows =
            [row(2, None, 3), row(2, Some(5), 4), row(1, Some(0), 5), row(2, Some(9), 6), row(2, Some(5), 2)]
                .into_iter()
                .collect();
        rows.sort();
        assert_eq!(rows.iter().map(|row| row.fd.as_raw()).collect::<Vec<_>>(), [5, 6, 2, 4, 3]);
    }

    #[test]
    fn a_socket_counts_once_in_each_process() {
        let row = |fd: i32, inode, state| FdReport {
            fd: Fd::new(fd).unwrap(),
            inode: Some(Inode(inode)),
            state,
            ..sample::list_fd()
        };
        let (waiting, listening) = (Some(TcpState::CloseWait), Some(TcpState::Listen));
        let rows: FdRows = [
            row(3, 7, waiting),
            row(4, 9, listening),
            row(5, 8, waiting),
            row(6, 7, waiting),
            row(7, 5, None),
            row(8, 7, waiting),
        ]
        .into_iter()
        .collect();
        let counted = |range| rows.sockets_by_state(range).into_iter().collect::<Vec<_>>();
        assert_eq!(counted(0..5), [(TcpState::CloseWait, 2), (TcpState::Listen, 1)]);
        assert_eq!(counted(5..6), [(TcpState::CloseWait, 1)]);
        assert_eq!(counted(6..6), []);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            inode: Option<u64>,
            socket: Option<u64>,
            idle_ms: Option<u64>,
            queues: (Option<u32>, Option<u32>),
            owner: (Option<u32>, Option<u64>),
            deleted: bool,
        ) {
            let name = socket.map_or_else(|| FileName::from("x"), |inode| FileName::Socket(Inode(inode)));
            let name = if deleted { inode.map_or(name, |inode| FileName::Socket(Inode(inode))) } else { name };
            let row = FdReport {
                inode: inode.map(Inode),
                name,
                unix_name: deleted.then(|| "@x".into()),
                idle_ms,
                recv_q: queues.0,
                send_q: queues.1,
                uid: owner.0,
                netns: owner.1,
                deleted,
                ..sample::list_fd()
            };
            let packed: FdRows = [row.clone(), row.clone()].into_iter().collect();
            for out in packed.iter() {
                prop_assert_eq!(&out, &row);
            }
        }
    }
}
