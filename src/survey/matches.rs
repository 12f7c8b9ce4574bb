//! What matches, and whose it is.

use std::net::SocketAddr;

use super::{Untold, facts, socket_inode};
use crate::ids::{Fd, Inode, Tid};
use crate::kind::Kind;
use crate::net::{SocketInfo, TcpState};
use crate::proc::{FdIdentity, FdTarget, Process};

/// A process with matches.
#[derive(Debug)]
pub struct Subject {
    /// The process.
    pub process: Process,
    /// Its name, unsanitised; empty if it could not be read.
    pub comm: Vec<u8>,
    /// Its effective user.
    pub uid: Option<u32>,
    /// Its network namespace.
    pub netns: Option<u64>,
    /// The thread whose descriptors were looked at: the first that lives.
    pub table: Tid,
    /// Whether that table is not the one of the process but a thread's own. Only a listing has such.
    pub is_private: bool,
}

/// A descriptor that matches.
#[derive(Debug, Clone)]
pub struct Match {
    /// Its process, as an index into [`super::Survey::subjects`].
    pub subject: usize,
    /// The descriptor.
    pub fd: Fd,
    /// What it refers to.
    pub identity: FdIdentity,
    /// What the socket tables say, if it is a socket they know.
    pub socket: Option<SocketInfo>,
    /// Its network namespace, where sockets were looked for by that: not always the one its process is in.
    pub netns: Option<u64>,
    /// The epoll instances of its process that watch it, as far as is known: where descriptors were selected by number,
    /// not all of the others are looked at.
    pub watched_by: Vec<Fd>,
    /// The io_uring instances of its process that have it registered, as far as is known.
    pub registered_with: Vec<Fd>,
    /// One of which that could not be told, and why.
    pub perhaps_registered_with: Option<(Fd, Untold)>,
}

impl Match {
    pub(super) fn new(
        subject: usize,
        fd: Fd,
        identity: FdIdentity,
        socket: Option<SocketInfo>,
        netns: Option<u64>,
    ) -> Self {
        let (watched_by, registered_with, perhaps_registered_with) = (Vec::new(), Vec::new(), None);
        Self { subject, fd, identity, socket, netns, watched_by, registered_with, perhaps_registered_with }
    }

    /// What it refers to, in words: a path, `socket:[N]`, `anon_inode:[eventfd]`. Unsanitised.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        match &self.identity.target {
            FdTarget::Path { path, .. } => path.clone(),
            target => target.link().unwrap_or_else(|| b"(a path too long to tell)".to_vec()),
        }
    }

    /// The state of a TCP socket.
    #[must_use]
    pub fn tcp_state(&self) -> Option<TcpState> {
        facts(self.socket.as_ref()).state
    }

    /// This end of an internet socket.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        facts(self.socket.as_ref()).local
    }

    /// The other end of an internet socket, if connected.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        facts(self.socket.as_ref()).peer
    }

    /// The inode of a socket.
    #[must_use]
    pub fn socket_inode(&self) -> Option<Inode> {
        socket_inode(&self.identity)
    }

    /// What sort of thing it is: of sockets, as the tables know it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.socket.as_ref().map_or_else(|| self.identity.target.kind(), |socket| socket.kind)
    }
}
