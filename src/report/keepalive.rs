//! What `keepalive` found and set.

use std::net::SocketAddr;

use serde::Serialize;

use super::{Outcome, SCHEMA, Summary, Text};
use crate::ids::{Fd, Inode, Pid};
use crate::kind::Kind;
use crate::net::{Keepalive, TcpState};

/// One selected descriptor and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeepaliveTarget {
    /// The process.
    pub pid: Pid,
    /// Its name.
    pub comm: Text,
    /// The descriptor.
    pub fd: Fd,
    /// The socket.
    pub inode: Option<Inode>,
    /// What sort of file.
    pub kind: Kind,
    /// The state of the connection.
    pub state: Option<TcpState>,
    /// This end.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// What became of it.
    pub outcome: Outcome,
    /// What was in force.
    pub before: Option<Keepalive>,
    /// What is in force, read back; in a dry run, what would be.
    pub after: Option<Keepalive>,
    /// What went wrong and why, in one line.
    pub error: Option<String>,
    /// What to do about it, in one line.
    pub hint: Option<String>,
}

/// The document of `keepalive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeepaliveReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `keepalive`.
    pub command: &'static str,
    /// Whether nothing was to be touched.
    pub dry_run: bool,
    /// Every selected descriptor.
    pub targets: Vec<KeepaliveTarget>,
    /// The counts.
    pub summary: Summary,
}

impl KeepaliveReport {
    /// The document around `targets`, with its summary.
    #[must_use]
    pub fn new(dry_run: bool, targets: Vec<KeepaliveTarget>) -> Self {
        let summary = Summary::of(targets.iter().map(|target| target.outcome));
        Self { schema: SCHEMA, command: "keepalive", dry_run, targets, summary }
    }
}
