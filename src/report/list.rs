//! The document of `list`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::{FdRows, SCHEMA, Text};
use crate::ids::{Fd, Inode, Pid, Tid};
use crate::kind::Kind;
use crate::net::{Shortage, TcpMemory, TcpState};

/// One descriptor, as `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FdReport {
    /// The process.
    pub pid: Pid,
    /// The thread, if it has a descriptor table of its own and is not the main thread.
    pub tid: Option<Tid>,
    /// Its name.
    pub comm: Text,
    /// Its effective user.
    pub uid: Option<u32>,
    /// The descriptor.
    pub fd: Fd,
    /// What it refers to, where that has an inode number of its own.
    pub inode: Option<Inode>,
    /// What sort of file.
    pub kind: Kind,
    /// As in [`super::TargetReport::name`].
    pub name: FileName,
    /// The name of a Unix socket that has one: a path, or `@` and a name in the abstract namespace (unix(7)).
    pub unix_name: Option<Text>,
    /// Whether the file's last name was removed.
    pub deleted: bool,
    /// The state of a TCP socket.
    pub state: Option<TcpState>,
    /// This end of an internet socket.
    pub local: Option<SocketAddr>,
    /// The other end, if connected.
    pub peer: Option<SocketAddr>,
    /// Bytes received and not yet read; connections not yet accepted, for a listening socket.
    pub recv_q: Option<u32>,
    /// Bytes not yet acknowledged; the longest backlog, for a listening socket.
    pub send_q: Option<u32>,
    /// Milliseconds since anything came from the peer, data or acknowledgement; `None` where the kernel does not
    /// tell.
    pub idle_ms: Option<u64>,
    /// The number of the network namespace: with `--netns` that of the socket, else that of the process.
    pub netns: Option<u64>,
    /// The epoll instances of the process that watch it.
    pub watched_by: Vec<Fd>,
}

/// What the link of a descriptor says. The same text is the same, however it is kept.
#[derive(Debug, Clone)]
pub enum FileName {
    /// `socket:[N]`.
    Socket(Inode),
    /// Anything.
    Text(Text),
}

impl FileName {
    /// As bytes, not sanitised.
    #[must_use]
    pub fn into_text(self) -> Text {
        match self {
            Self::Socket(_) => Text::from(self.to_string()),
            Self::Text(text) => text,
        }
    }
}

impl PartialEq for FileName {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Socket(one), Self::Socket(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Socket(_), Self::Text(text)) | (Self::Text(text), Self::Socket(_)) => {
                let socket = if let Self::Socket(_) = self { self } else { other };
                socket.to_string().as_bytes() == text.as_bytes()
            }
        }
    }
}

impl Eq for FileName {}

impl<T: Into<Vec<u8>>> From<T> for FileName {
    fn from(name: T) -> Self {
        Self::Text(Text::from(name))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(inode) => write!(f, "socket:[{inode}]"),
            Self::Text(text) => f.write_str(&String::from_utf8_lossy(text.as_bytes())),
        }
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Socket(_) => serializer.collect_str(self),
            Self::Text(text) => text.serialize(serializer),
        }
    }
}

/// What one process has of what is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessUse {
    /// The process.
    pub pid: Pid,
    /// The thread, if it has a descriptor table of its own and is not the main thread.
    pub tid: Option<Tid>,
    /// Its name.
    pub comm: Text,
    /// How many of its descriptors are listed.
    pub listed: usize,
    /// How many of these an epoll instance of it watches: it has not lost track of them.
    pub watched: usize,
    /// How many of these refer to a TCP socket whose state is known.
    pub tcp: usize,
    /// How many TCP sockets are in which state: one that several of these descriptors refer to counts once.
    pub states: BTreeMap<TcpState, usize>,
    /// The longest [`FdReport::idle_ms`] among them.
    pub idle_ms_max: Option<u64>,
    /// How many of its descriptor numbers are taken, listed or not. Where the kernel tells the count (Linux 6.2), one
    /// that a thread waiting in accept(2) has reserved is among them: it counts against the limit, too.
    pub descriptors: Option<usize>,
    /// How many it may have (RLIMIT_NOFILE, the soft one).
    pub descriptors_limit: Option<u64>,
    /// In how many seconds it will have reached that, if their number grows on as it was seen to grow; `None` if it was
    /// not seen to grow.
    pub runs_out_in_s: Option<u64>,
}

/// The memory of all TCP sockets, in pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TcpMemoryReport {
    /// In use.
    pub used_pages: u64,
    /// The three numbers of `net.ipv4.tcp_mem` (tcp(7)).
    pub min_pages: Option<u64>,
    /// As above.
    pub pressure_pages: Option<u64>,
    /// As above.
    pub max_pages: Option<u64>,
    /// Whether the kernel is short of it: `ok`, `pressure` or `exhausted`.
    pub state: Option<&'static str>,
    /// Sockets that no process holds any more and that are not ended yet.
    pub orphans: u64,
    /// Sockets in TIME-WAIT in fdclose's own network namespace.
    pub time_wait: u64,
}

impl From<TcpMemory> for TcpMemoryReport {
    fn from(memory: TcpMemory) -> Self {
        Self {
            used_pages: memory.used,
            min_pages: memory.limits.map(|limits| limits.min),
            pressure_pages: memory.limits.map(|limits| limits.pressure),
            max_pages: memory.limits.map(|limits| limits.max),
            state: memory.shortage().map(|shortage| match shortage {
                Shortage::None => "ok",
                Shortage::Pressure => "pressure",
                Shortage::Exhausted => "exhausted",
            }),
            orphans: memory.orphans,
            time_wait: memory.time_wait,
        }
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `list`.
    pub command: &'static str,
    /// Every descriptor that matched: by process, those whose peer has been silent for longest first.
    pub fds: FdRows,
    /// What each process has of them.
    pub processes: Vec<ProcessUse>,
    /// The kernel's memory for TCP; `None` where it does not tell.
    pub tcp_memory: Option<TcpMemoryReport>,
}

impl ListReport {
    /// The document around what was found.
    #[must_use]
    pub fn new(fds: FdRows, processes: Vec<ProcessUse>, tcp_memory: Option<TcpMemoryReport>) -> Self {
        Self { schema: SCHEMA, command: "list", fds, processes, tcp_memory }
    }
}
