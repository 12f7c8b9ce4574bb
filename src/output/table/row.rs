//! What one row of the table says.

use std::net::SocketAddr;

use crate::ids::{Fd, Inode, Pid};
use crate::kind::Kind;
use crate::net::TcpState;
use crate::report::{FdReport, Outcome, TargetReport};

/// One row, borrowed from a report.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub(super) pid: Pid,
    pub(super) comm: &'a [u8],
    pub(super) uid: Option<u32>,
    pub(super) fd: Fd,
    pub(super) inode: Option<Inode>,
    pub(super) kind: Kind,
    pub(super) state: Option<TcpState>,
    pub(super) outcome: Option<Outcome>,
    pub(super) recv_q: Option<u32>,
    pub(super) send_q: Option<u32>,
    pub(super) idle_ms: Option<u64>,
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) name: &'a [u8],
    pub(super) deleted: bool,
}

impl Row<'_> {
    /// Whether it shows a connection rather than a name.
    pub(super) fn has_ends(&self) -> bool {
        self.local.is_some()
    }
}

impl<'a> From<&'a FdReport> for Row<'a> {
    fn from(fd: &'a FdReport) -> Self {
        Self {
            pid: fd.pid,
            comm: fd.comm.as_bytes(),
            uid: fd.uid,
            fd: fd.fd,
            inode: fd.inode,
            kind: fd.kind,
            state: fd.state,
            outcome: None,
            recv_q: fd.recv_q,
            send_q: fd.send_q,
            idle_ms: fd.idle_ms,
            local: fd.local,
            peer: fd.peer,
            name: fd.name.as_bytes(),
            deleted: fd.deleted,
        }
    }
}

impl<'a> From<&'a TargetReport> for Row<'a> {
    fn from(target: &'a TargetReport) -> Self {
        Self {
            pid: target.pid,
            comm: target.comm.as_bytes(),
            uid: None,
            fd: target.fd,
            inode: target.inode,
            kind: target.kind,
            state: target.state,
            outcome: Some(target.outcome),
            recv_q: None,
            send_q: None,
            idle_ms: None,
            local: target.local,
            peer: target.peer,
            name: target.name.as_bytes(),
            deleted: target.deleted,
        }
    }
}
