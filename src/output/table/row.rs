//! What one row of the table says.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::ids::{Fd, Inode, Pid, Tid};
use crate::kind::Kind;
use crate::net::TcpState;
use crate::output::sanitize::printable;
use crate::report::{FdReport, FileName, Outcome, SocketReport, TargetReport, Text};

/// One row of a report.
#[derive(Debug, Clone)]
pub struct Row {
    pub(super) pid: Option<Pid>,
    pub(super) tid: Option<Tid>,
    pub(super) comm: Text,
    pub(super) uid: Option<u32>,
    pub(super) fd: Option<Fd>,
    pub(super) inode: Option<Inode>,
    pub(super) kind: Kind,
    pub(super) state: Option<TcpState>,
    pub(super) outcome: Option<Outcome>,
    pub(super) recv_q: Option<u32>,
    pub(super) send_q: Option<u32>,
    pub(super) idle_ms: Option<u64>,
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) name: FileName,
    pub(super) deleted: bool,
}

impl Row {
    /// Whether it shows a connection rather than a name.
    pub(super) fn has_ends(&self) -> bool {
        self.local.is_some()
    }

    /// The name, fit to be shown.
    pub(super) fn shown_name(&self) -> Cow<'_, str> {
        match &self.name {
            FileName::Socket(_) => Cow::Owned(self.name.to_string()),
            FileName::Text(text) => printable(text.as_bytes()),
        }
    }
}

impl From<FdReport> for Row {
    fn from(fd: FdReport) -> Self {
        Self {
            pid: Some(fd.pid),
            tid: fd.tid,
            comm: fd.comm,
            uid: fd.uid,
            fd: Some(fd.fd),
            inode: fd.inode,
            kind: fd.kind,
            state: fd.state,
            outcome: None,
            recv_q: fd.recv_q,
            send_q: fd.send_q,
            idle_ms: fd.idle_ms,
            local: fd.local,
            peer: fd.peer,
            name: fd.unix_name.map_or(fd.name, FileName::Text),
            deleted: fd.deleted,
        }
    }
}

impl From<SocketReport> for Row {
    fn from(socket: SocketReport) -> Self {
        Self {
            pid: None,
            tid: None,
            comm: Text::default(),
            uid: socket.uid,
            fd: None,
            inode: socket.inode,
            kind: socket.kind,
            state: socket.state,
            outcome: None,
            recv_q: Some(socket.recv_q),
            send_q: Some(socket.send_q),
            idle_ms: socket.idle_ms,
            local: socket.local,
            peer: socket.peer,
            name: FileName::Socket(socket.inode.unwrap_or(Inode(0))),
            deleted: false,
        }
    }
}

impl From<&TargetReport> for Row {
    fn from(target: &TargetReport) -> Self {
        Self {
            pid: Some(target.pid),
            tid: None,
            comm: target.comm.clone(),
            uid: None,
            fd: Some(target.fd),
            inode: target.inode,
            kind: target.kind,
            state: target.state,
            outcome: Some(target.outcome),
            recv_q: None,
            send_q: None,
            idle_ms: None,
            local: target.local,
            peer: target.peer,
            name: FileName::Text(target.name.clone()),
            deleted: target.deleted,
        }
    }
}
