//! Sockets in little room, for tables of hundreds of thousands: what is usual is packed, what is not stays as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::endpoint::Endpoint;
use super::row::SocketInfo;
use super::state::TcpState;
use crate::ids::Inode;
use crate::kind::Kind;

/// Both ends of a socket in 40 bytes instead of 64; those of a connection without a scope need no more.
#[derive(Debug, Clone)]
pub(crate) struct PackedEnds(Ends);

#[derive(Debug, Clone)]
enum Ends {
    None,
    V4 { local: (Ipv4Addr, u16), peer: (Ipv4Addr, u16) },
    V6 { local: (Ipv6Addr, u16), peer: (Ipv6Addr, u16) },
    Other(Box<(Option<SocketAddr>, Option<SocketAddr>)>),
}

impl PackedEnds {
    pub(crate) fn new(local: Option<SocketAddr>, peer: Option<SocketAddr>) -> Self {
        let plain = |end: Option<SocketAddr>| {
            end.filter(|end| SocketAddr::new(end.ip(), end.port()) == *end).map(|end| (end.ip(), end.port()))
        };
        Self(match (plain(local), plain(peer)) {
            (Some((IpAddr::V4(ip), port)), Some((IpAddr::V4(peer_ip), peer_port))) => {
                Ends::V4 { local: (ip, port), peer: (peer_ip, peer_port) }
            }
            (Some((IpAddr::V6(ip), port)), Some((IpAddr::V6(peer_ip), peer_port))) => {
                Ends::V6 { local: (ip, port), peer: (peer_ip, peer_port) }
            }
            _ if local.is_none() && peer.is_none() => Ends::None,
            _ => Ends::Other(Box::new((local, peer))),
        })
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match &self.0 {
            Ends::None => None,
            Ends::V4 { local, .. } => Some((*local).into()),
            Ends::V6 { local, .. } => Some((*local).into()),
            Ends::Other(ends) => ends.0,
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match &self.0 {
            Ends::None => None,
            Ends::V4 { peer, .. } => Some((*peer).into()),
            Ends::V6 { peer, .. } => Some((*peer).into()),
            Ends::Other(ends) => ends.1,
        }
    }
}

/// A [`SocketInfo`] in 80 bytes instead of 160.
#[derive(Debug, Clone)]
pub(super) struct Packed(Row);

#[derive(Debug, Clone)]
enum Row {
    Inet(Inet),
    /// Unix sockets, and what no kernel tells of an internet socket.
    Other(Box<SocketInfo>),
}

#[derive(Debug, Clone)]
struct Inet {
    inode: Inode,
    cookie: u64,
    ends: PackedEnds,
    recv_q: u32,
    send_q: u32,
    uid: u32,
    idle_ms: u32,
    interface: u32,
    kind: Kind,
    state: Option<TcpState>,
    /// Which of those that may be absent are there.
    known: u8,
}

const UID: u8 = 1;
const IDLE: u8 = 2;
const COOKIE: u8 = 4;
const INTERFACE: u8 = 8;

impl Packed {
    pub(super) fn new(socket: SocketInfo) -> Self {
        Self(Inet::new(&socket).map_or_else(|| Row::Other(Box::new(socket)), Row::Inet))
    }

    pub(super) fn inode(&self) -> Inode {
        match &self.0 {
            Row::Inet(inet) => inet.inode,
            Row::Other(socket) => socket.inode,
        }
    }

    pub(super) fn idle_ms(&self) -> Option<u64> {
        match &self.0 {
            Row::Inet(inet) => (inet.known & IDLE != 0).then_some(inet.idle_ms.into()),
            Row::Other(socket) => socket.idle_ms,
        }
    }

    pub(super) fn unpack(&self) -> SocketInfo {
        match &self.0 {
            Row::Inet(inet) => inet.unpack(),
            Row::Other(socket) => SocketInfo::clone(socket),
        }
    }
}

impl Inet {
    fn new(socket: &SocketInfo) -> Option<Self> {
        let small = |number: u64| u32::try_from(number).ok();
        let Endpoint::Inet(local) = socket.local else { return None };
        let peer = match socket.peer {
            Some(Endpoint::Inet(peer)) => Some(peer),
            Some(Endpoint::Unix(_) | Endpoint::Other) => return None,
            None => None,
        };
        let flag = |is_known: bool, flag: u8| if is_known { flag } else { 0 };
        Some(Self {
            inode: socket.inode,
            cookie: socket.cookie.unwrap_or(0),
            ends: PackedEnds::new(Some(local), peer),
            recv_q: small(socket.recv_q)?,
            send_q: small(socket.send_q)?,
            uid: socket.uid.unwrap_or(0),
            idle_ms: small(socket.idle_ms.unwrap_or(0))?,
            interface: socket.interface.unwrap_or(0),
            kind: socket.kind,
            state: socket.state,
            known: flag(socket.uid.is_some(), UID)
                | flag(socket.idle_ms.is_some(), IDLE)
                | flag(socket.cookie.is_some(), COOKIE)
                | flag(socket.interface.is_some(), INTERFACE),
        })
    }

    fn unpack(&self) -> SocketInfo {
        let known = |flag: u8| self.known & flag != 0;
        // There always is one: see `new`.
        let local = self.ends.local().unwrap_or_else(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
        SocketInfo {
            inode: self.inode,
            kind: self.kind,
            state: self.state,
            local: Endpoint::Inet(local),
            peer: self.ends.peer().map(Endpoint::Inet),
            recv_q: self.recv_q.into(),
            send_q: self.send_q.into(),
            uid: known(UID).then_some(self.uid),
            idle_ms: known(IDLE).then_some(self.idle_ms.into()),
            cookie: known(COOKIE).then_some(self.cookie),
            interface: known(INTERFACE).then_some(self.interface),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::UnixName;

    fn endpoint() -> impl Strategy<Value = Endpoint> {
        let name = proptest::collection::vec(any::<u8>(), 0..20);
        prop_oneof![
            9 => any::<SocketAddr>().prop_map(Endpoint::Inet),
            1 => name.prop_map(|name| Endpoint::Unix(UnixName::Path(name))),
        ]
    }

    prop_compose! {
        fn socket()(
            numbers: (u64, u64, u64),
            kind in proptest::sample::select(vec![Kind::Tcp, Kind::Udp, Kind::Unix]),
            state in proptest::option::of(proptest::sample::select(TcpState::ALL)),
            local in endpoint(),
            peer in proptest::option::of(endpoint()),
            uid: Option<u32>,
            idle_ms in proptest::option::of(prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>()]),
            cookie: Option<u64>,
            interface: Option<u32>,
            small: bool,
        ) -> SocketInfo {
            let queue = |number: u64| if small { number >> 32 } else { number };
            let (inode, recv_q, send_q) = (Inode(numbers.0), queue(numbers.1), queue(numbers.2));
            SocketInfo { inode, kind, state, local, peer, recv_q, send_q, uid, idle_ms, cookie, interface }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(socket in socket()) {
            let packed = Packed::new(socket.clone());
            prop_assert_eq!(packed.inode(), socket.inode);
            prop_assert_eq!(packed.unpack(), socket);
        }

        #[test]
        fn ends_come_out_as_they_went_in(local: Option<SocketAddr>, peer: Option<SocketAddr>) {
            let packed = PackedEnds::new(local, peer);
            prop_assert_eq!((packed.local(), packed.peer()), (local, peer));
        }
    }

    #[test]
    fn is_small() {
        assert!(size_of::<PackedEnds>() <= 40 && size_of::<Packed>() <= 80, "{}", size_of::<Packed>());
    }
}
