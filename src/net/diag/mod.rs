//! Asking the kernel about sockets by sock_diag(7): one by its ends, or all of a protocol.
//!
//! Asking for one costs the same however many sockets there are. `/proc/net/tcp` walks the kernel's whole hash
//! table, twice with its v6 sister: 10 to 20 ms on a machine with 24 GB, even with few sockets in it.
//!
//! Requests are built and rows' heads read by `netlink-packet-sock-diag`, attributes walked by
//! `netlink-packet-core`; neither panics on any bytes (their slices are checked before they are cut). What is
//! done here: `struct tcp_info`, which the crate only takes whole at the length of one kernel version.

mod channel;
mod error;
mod inet;
mod message;
mod tcp_info;

use std::net::SocketAddr;

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::ExtensionFlags;
use nix::errno::Errno;
use nix::net::if_::{Interface, if_nameindex};

pub use error::DiagError;

use super::row::SocketInfo;
use crate::kind::Kind;
use channel::{Ask, Channel};

/// A way to ask the kernel about the sockets of one network namespace. Needs no privilege.
#[derive(Debug)]
pub struct Diag {
    channel: Channel,
    /// Whether it is known that this kernel answers about TCP: it says ENOENT for both a socket that is not
    /// there and a part of its own that is not there (the module `tcp_diag`).
    knows_tcp: bool,
    /// The interfaces, once they were needed.
    interfaces: Option<Vec<u32>>,
}

impl Diag {
    /// Opens one on the network namespace of the calling thread; it stays on that one.
    ///
    /// # Errors
    /// [`DiagError::Refused`] where the kernel has no netlink or no sock_diag, or a filter on system calls
    /// forbids it.
    pub fn open() -> Result<Self, DiagError> {
        Ok(Self { channel: Channel::open()?, knows_tcp: false, interfaces: None })
    }

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
        let asked = self.channel.request(SockDiagMessage::InetRequest(request), Ask::One, |row| {
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

    /// As [`Diag::tcp`], for a socket of which it is not known what interface it is bound to. `None` if it is
    /// bound to none and to none of the interfaces of the calling thread's network namespace, which must be the
    /// one asked about.
    ///
    /// # Errors
    /// As [`Diag::tcp`], or if the interfaces can't be listed.
    pub fn tcp_anywhere(
        &mut self,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<Option<SocketInfo>, DiagError> {
        if let Some(found) = self.tcp_bound(local, peer, 0)? {
            return Ok(Some(found));
        }
        let interfaces = match self.interfaces.take() {
            Some(interfaces) => interfaces,
            None => if_nameindex()?.iter().map(Interface::index).collect(),
        };
        let mut found = None;
        for interface in &interfaces {
            found = self.tcp_bound(local, peer, *interface)?;
            if found.is_some() {
                break;
            }
        }
        self.interfaces = Some(interfaces);
        Ok(found)
    }

    /// Makes sure that ENOENT means that there is no such socket, by asking for all sockets in no state at all,
    /// for which the kernel looks at none.
    fn check_tcp(&mut self) -> Result<(), DiagError> {
        if !self.knows_tcp {
            let none = inet::dump(AF_INET, IPPROTO_TCP, 0, ExtensionFlags::empty());
            self.channel.request(SockDiagMessage::InetRequest(none), Ask::All, |_| {})?;
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
    same(socket.local.canonical(), local)
        && same(socket.peer.as_ref().and_then(super::Endpoint::canonical), peer)
}

#[cfg(test)]
mod live_tests;
