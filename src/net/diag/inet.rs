//! TCP and UDP: what is asked of inet_diag, and the rows it answers with (sock_diag(7)). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;

use netlink_packet_core::{NetlinkSerializable, NlasIterator, Parseable};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, INET_DIAG_INFO, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};

use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::endpoint::Endpoint;
use crate::net::row::SocketInfo;
use crate::net::state::TcpState;
use crate::net::tcp_info;

/// A row without its attributes: `struct inet_diag_msg` (linux/inet_diag.h).
const HEAD: usize = 72;
/// INET_DIAG_NOCOOKIE: whatever the socket's cookie.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// Asks for the TCP socket with these two ends; `None` if they are of two families, which no socket's are.
///
/// A v4-mapped address is asked for as the v4 address. A connection over IPv4 is found by its v4 addresses
/// whichever family its socket is of, as the kernel keeps both in one table and does not compare families.
/// The mapped form finds the same, but only since Linux 4.5.
pub(super) fn exact_tcp(local: SocketAddr, peer: SocketAddr, interface: u32) -> Option<SockDiagMessage> {
    let (source, destination) = (local.ip().to_canonical(), peer.ip().to_canonical());
    let family = match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => AF_INET,
        (IpAddr::V6(_), IpAddr::V6(_)) => AF_INET6,
        _ => return None,
    };
    Some(SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: peer.port(),
            source_address: source,
            destination_address: destination,
            interface_id: interface,
            cookie: NO_COOKIE,
        },
    }))
}

/// Names one socket by its ends, interface and cookie; `None` if it has no ends or no cookie. A socket of the v6 family
/// with v4 ends is named by its v4 ends, as in [`exact_tcp`].
pub(super) fn exact(socket: &SocketInfo) -> Option<SockDiagMessage> {
    let protocol = match socket.kind {
        Kind::Tcp => IPPROTO_TCP,
        Kind::Udp => IPPROTO_UDP,
        _ => return None,
    };
    let Endpoint::Inet(local) = socket.local else { return None };
    let (source, family) = match local.ip().to_canonical() {
        ip @ IpAddr::V4(_) => (ip, AF_INET),
        ip @ IpAddr::V6(_) => (ip, AF_INET6),
    };
    let nobody = if family == AF_INET { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let (destination, destination_port) = match socket.peer {
        Some(Endpoint::Inet(peer)) => (peer.ip().to_canonical(), peer.port()),
        _ => (nobody, 0),
    };
    Some(SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port,
            source_address: source,
            destination_address: destination,
            interface_id: socket.interface.unwrap_or(0),
            cookie: socket.cookie?.to_ne_bytes(),
        },
    }))
}

/// Asks for every socket of a family and protocol in one of `states`, a mask of `1 << state`.
pub(super) fn dump(family: u8, protocol: u8, states: u32) -> SockDiagMessage {
    SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        // A state the crate has no name for has its bit all the same.
        states: StateFlags::from_bits_retain(states),
        socket_id: SocketId::new_v4(),
    })
}

/// Asks for every TCP socket, v4 and v6, in one of `states`, a mask of `1 << state`: one walk through the
/// kernel's table, which holds both, instead of two. sock_diag(7) itself knows no request for both families; the
/// message it replaced, TCPDIAG_GETSOCK with `struct inet_diag_req` (linux/inet_diag.h), does, and every kernel
/// that has inet_diag takes it.
#[derive(Debug)]
pub(super) struct AllTcp {
    pub(super) states: u32,
    pub(super) want_info: bool,
}

impl AllTcp {
    /// TCPDIAG_GETSOCK.
    const TYPE: u16 = 18;
    /// The length of `struct inet_diag_req`.
    const LENGTH: usize = 60;
    /// Where its extensions and states lie. All the rest stays 0: AF_UNSPEC, and nothing to compare with.
    const EXTENSIONS: usize = 3;
    const STATES: Range<usize> = 52..56;
}

impl NetlinkSerializable for AllTcp {
    fn message_type(&self) -> u16 {
        Self::TYPE
    }

    fn buffer_len(&self) -> usize {
        Self::LENGTH
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        if self.want_info {
            buffer[Self::EXTENSIONS] = ExtensionFlags::INFO.bits();
        }
        buffer[Self::STATES].copy_from_slice(&self.states.to_ne_bytes());
    }
}

/// A row; `None` if it is none.
pub(super) fn parse(row: &[u8], kind: Kind) -> Option<SocketInfo> {
    let head = InetResponseHeader::parse(row).ok()?;
    let id = &head.socket_id;
    let local = address(id.source_address, id.source_port, id.interface_id);
    let peer = address(id.destination_address, id.destination_port, id.interface_id);
    let state = TcpState::from_kernel(head.state);
    let connected = peer.port() != 0 || !peer.ip().is_unspecified();
    Some(SocketInfo {
        inode: Inode(head.inode.into()),
        kind,
        state,
        local: Endpoint::Inet(local),
        peer: connected.then_some(Endpoint::Inet(peer)),
        recv_q: head.recv_queue.into(),
        send_q: head.send_queue.into(),
        // A socket in TIME-WAIT has no owner any more and is always shown with 0.
        uid: (state != Some(TcpState::TimeWait)).then_some(head.uid),
        idle_ms: if kind == Kind::Tcp { idle_ms(row, state) } else { None },
        cookie: Some(u64::from_ne_bytes(id.cookie)),
        interface: Some(id.interface_id),
    })
}

/// The scope of a link-local address is the interface its socket is bound to: the kernel binds it to that one
/// (`__ip6_datagram_connect`, `tcp_v6_connect`).
fn address(ip: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, interface).into(),
        ip => SocketAddr::new(ip, port),
    }
}

fn idle_ms(row: &[u8], state: Option<TcpState>) -> Option<u64> {
    let attributes = NlasIterator::new(row.get(HEAD..)?);
    // What follows a broken attribute is not one.
    attributes
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == INET_DIAG_INFO)
        .and_then(|info| tcp_info::idle_ms(info.value(), state?))
}

#[cfg(test)]
#[path = "inet_tests.rs"]
mod tests;
