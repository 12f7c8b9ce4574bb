//! Asking for one TCP connection by its ends.

use std::net::SocketAddr;

use netlink_packet_sock_diag::constants::{AF_INET, IPPROTO_TCP};
use nix::errno::Errno;

use super::channel::Ask;
use super::{Diag, DiagError, inet};
use crate::kind::Kind;
use crate::net::endpoint::Endpoint;
use crate::net::row::SocketInfo;
use crate::net::state::TcpState;

impl Diag {
    /// The TCP connection with these two ends, whoever owns it: orphaned ones (inode 0) and TIME-WAIT included.
    /// A v4-mapped address and its v4 address are one. `None` if there is none, or if it is bound to an
    /// interface other than the scope of the addresses (0 in a v4 address): see [`Diag::tcp_bound`].
    ///
    /// # Errors
    /// [`DiagError::Refused`] with ENOENT if the kernel has no `tcp_diag`; the others as named.
    pub fn tcp(&mut self, local: SocketAddr, peer: SocketAddr) -> Result<Option<SocketInfo>, DiagError> {
        let interface = match scope(local) {
            0 => scope(peer),
            scope => scope,
        };
        self.tcp_bound(local, peer, interface)
    }

    /// As [`Diag::tcp`], for a socket bound to `interface`, or to none. The kernel never finds one that is bound
    /// to another interface, as it would not give it a segment that came in there; 0 finds only unbound ones.
    ///
    /// # Errors
    /// As [`Diag::tcp`].
    pub fn tcp_bound(
        &mut self,
        local: SocketAddr,
        peer: SocketAddr,
        interface: u32,
    ) -> Result<Option<SocketInfo>, DiagError> {
        let Some(request) = inet::exact_tcp(local, peer, interface) else { return Ok(None) };
        let mut found = None;
        let asked = self.channel.request(request, Ask::One, |row| {
            found = Some(inet::parse(row, Kind::Tcp));
        });
        match asked {
            Ok(_) => self.knows_tcp = true,
            Err(DiagError::Refused(Errno::ENOENT)) => return self.check_tcp().map(|()| None),
            Err(error) => return Err(error),
        }
        let found = found.flatten().ok_or(DiagError::Malformed("row"))?;
        // Where there is no such connection, the kernel answers with who would get a segment for it: a socket
        // that listens on that port.
        Ok(Some(found).filter(|found| has_ends(found, local, peer)))
    }

    /// The same socket again: a TCP connection by its ends and the interface it is bound to, a socket that listens
    /// among all that do. `None` if it is neither, not known to be bound to an interface or to none, or not there any
    /// more.
    ///
    /// # Errors
    /// As [`Diag::tcp`].
    pub fn again(&mut self, socket: &SocketInfo) -> Result<Option<SocketInfo>, DiagError> {
        if socket.kind == Kind::Tcp && socket.state == Some(TcpState::Listen) {
            let mut found = None;
            self.dump_tcp(&[TcpState::Listen], false, |row| {
                if row.inode == socket.inode {
                    found = Some(row);
                }
            })?;
            return Ok(found);
        }
        let (Kind::Tcp, Endpoint::Inet(local), Some(Endpoint::Inet(peer)), Some(interface)) =
            (socket.kind, &socket.local, &socket.peer, socket.interface)
        else {
            return Ok(None);
        };
        let found = self.tcp_bound(*local, *peer, interface)?;
        Ok(found.filter(|found| found.inode == socket.inode))
    }

    /// Makes sure that ENOENT means that there is no such socket, by asking for all sockets in no state at all,
    /// for which the kernel looks at none.
    fn check_tcp(&mut self) -> Result<(), DiagError> {
        if !self.knows_tcp {
            self.channel.request(inet::dump(AF_INET, IPPROTO_TCP, 0), Ask::All, |_| {})?;
            self.knows_tcp = true;
        }
        Ok(())
    }
}

fn scope(addr: SocketAddr) -> u32 {
    match addr {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

fn has_ends(socket: &SocketInfo, local: SocketAddr, peer: SocketAddr) -> bool {
    let same = |one: Option<SocketAddr>, other: SocketAddr| {
        one == Some(SocketAddr::new(other.ip().to_canonical(), other.port()))
    };
    same(socket.local.canonical(), local) && same(socket.peer.as_ref().and_then(Endpoint::canonical), peer)
}
