//! For how long connections have been idle, asked of themselves: `/proc/net/tcp`, which is read where sock_diag(7) is not to
//! be had, does not tell.

use std::cell::OnceCell;
use std::os::fd::AsFd as _;

use nix::errno::Errno;

use super::Subject;
use crate::ids::{Fd, Inode};
use crate::kind::Kind;
use crate::net::{Copies, SocketInfo, TcpState, idle_ms};
use crate::proc::FdTarget;
use crate::watchdog;

/// Asks the connections of one process.
pub(super) struct IdleTimes<'a> {
    subject: &'a Subject,
    copies: OnceCell<Option<Copies>>,
}

impl<'a> IdleTimes<'a> {
    pub(super) fn of(subject: &'a Subject) -> Self {
        Self { subject, copies: OnceCell::new() }
    }

    /// `socket`, whose descriptor is `fd`, with its idle time if it can be told. `None` if it has been closed since it was
    /// listed.
    pub(super) fn complete(&self, fd: Fd, socket: SocketInfo) -> Option<SocketInfo> {
        let is_connection = socket.kind == Kind::Tcp && socket.state.is_some_and(TcpState::is_connection);
        if socket.idle_ms.is_some() || !is_connection {
            return Some(socket);
        }
        watchdog::beat();
        let copies = self.copies.get_or_init(|| Copies::of(&self.subject.process));
        let idle_ms = match copies.as_ref().map(|copies| copies.try_copy(fd, socket.inode)) {
            Some(Ok(Some(copy))) => idle_ms(copy.as_fd()),
            Some(Ok(None) | Err(Errno::EBADF | Errno::ESRCH)) if !self.is_open(fd, socket.inode) => {
                return None;
            }
            _ => None,
        };
        Some(SocketInfo { idle_ms, ..socket })
    }

    /// Whether `fd` still is the socket `inode`, as far as is known: a copy is of what a main thread that lives has by
    /// that number, not of what another thread has for itself.
    fn is_open(&self, fd: Fd, inode: Inode) -> bool {
        let Subject { process, table, .. } = self.subject;
        match process.look(*table, fd) {
            Ok(target) => target == Some(FdTarget::Socket(inode)),
            Err(error) => !error.is_gone(),
        }
    }
}
