//! The document of `list --no-holders`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::SCHEMA;
use super::list::TcpMemoryReport;
use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::{Endpoint, SocketInfo, SocketRows, TcpState};

/// A socket as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SocketReport {
    /// Its inode number; `None` of one without a descriptor (TIME-WAIT, orphaned, not yet accepted).
    pub inode: Option<Inode>,
    /// What sort of file.
    pub kind: Kind,
    /// Who made it.
    pub uid: Option<u32>,
    /// Its state.
    pub state: Option<TcpState>,
    /// This end.
    pub local: Option<SocketAddr>,
    /// The other end, if connected.
    pub peer: Option<SocketAddr>,
    /// As in [`super::FdReport::recv_q`].
    pub recv_q: u32,
    /// As in [`super::FdReport::send_q`].
    pub send_q: u32,
    /// As in [`super::FdReport::idle_ms`].
    pub idle_ms: Option<u64>,
    /// The number of its network namespace, where that is known.
    pub netns: Option<u64>,
}

impl SocketReport {
    fn new(socket: &SocketInfo, netns: Option<u64>) -> Self {
        let queue = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            inode: Some(socket.inode).filter(|inode| *inode != Inode(0)),
            kind: socket.kind,
            uid: socket.uid,
            state: socket.state,
            local: socket.local.canonical(),
            peer: socket.peer.as_ref().and_then(Endpoint::canonical),
            recv_q: queue(socket.recv_q),
            send_q: queue(socket.send_q),
            idle_ms: socket.idle_ms,
            netns,
        }
    }
}

/// The sockets of some network namespaces.
#[derive(Debug, Clone, Default)]
pub struct Sockets(Vec<(Option<u64>, SocketRows)>);

impl Sockets {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = SocketReport> + Clone {
        self.0.iter().flat_map(|(netns, rows)| rows.iter().map(|socket| SocketReport::new(&socket, *netns)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Serialize for Sockets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// The document.
#[derive(Debug, Clone, Serialize)]
pub struct SocketsReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `list`.
    pub command: &'static str,
    /// Every socket that matched: by network namespace, the longest idle first.
    pub sockets: Sockets,
    /// How many are in which state.
    pub states: BTreeMap<TcpState, usize>,
    /// The longest [`SocketReport::idle_ms`] among them.
    pub idle_ms_max: Option<u64>,
    /// As in [`super::ListReport::tcp_memory`].
    pub tcp_memory: Option<TcpMemoryReport>,
}

impl SocketsReport {
    /// The document around what was found.
    #[must_use]
    pub fn new(sockets: Vec<(Option<u64>, SocketRows)>, tcp_memory: Option<TcpMemoryReport>) -> Self {
        let (mut states, mut idle_ms_max) = (BTreeMap::new(), None);
        for socket in sockets.iter().flat_map(|(_, rows)| rows.iter()) {
            if let Some(state) = socket.state {
                *states.entry(state).or_default() += 1;
            }
            idle_ms_max = idle_ms_max.max(socket.idle_ms);
        }
        Self { schema: SCHEMA, command: "list", sockets: Sockets(sockets), states, idle_ms_max, tcp_memory }
    }
}
