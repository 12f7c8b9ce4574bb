//! TCP segments as they are on the wire, for a connection that is somebody else's. Pure.

use std::net::{IpAddr, SocketAddr};

use etherparse::{PacketBuilder, PacketBuilderStep, SlicedPacket, TcpHeader, TransportSlice};

/// Hops that a segment may take: what Linux gives its own.
const HOPS: u8 = 64;

/// The two ends of a connection, of one family. A v4-mapped address is the v4 address that is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// This one.
    pub local: SocketAddr,
    /// The other.
    pub peer: SocketAddr,
}

impl Ends {
    /// `None` if they are of two families, or one of them is not an address of a connection.
    #[must_use]
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Option<Self> {
        let [local, peer] = [local, peer].map(on_the_wire);
        let is_end = |end: SocketAddr| end.port() != 0 && !end.ip().is_unspecified();
        let fit = local.is_ipv4() == peer.is_ipv4() && is_end(local) && is_end(peer);
        fit.then_some(Self { local, peer })
    }

    /// The same connection as the other end sees it.
    #[must_use]
    pub fn turned(self) -> Self {
        Self { local: self.peer, peer: self.local }
    }
}

fn on_the_wire(end: SocketAddr) -> SocketAddr {
    match end.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, end.port())),
        // With its scope.
        IpAddr::V6(_) => end,
    }
}

/// Where a connection stands, in the numbers of RFC 9293, 3.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// RCV.NXT: what the socket expects from its peer next. The number of a RST that it takes (RFC 5961, 3.2).
    pub next_in: u32,
    /// SND.NXT: what it sends next. The number of a RST that its peer takes, if that has got everything.
    pub next_out: u32,
    /// SND.UNA: the first that the peer has not acknowledged.
    pub unacknowledged: u32,
}

/// A RST from `ends.peer` to `ends.local`, as a whole IP packet.
#[must_use]
pub(super) fn reset(ends: Ends, number: u32) -> Option<Vec<u8>> {
    finished(from_peer(ends, number)?.rst())
}

/// A SYN from `ends.peer` to `ends.local`, as a whole IP packet. For a connection that there is, it draws an ACK with
/// the numbers (RFC 5961, 4.2).
#[must_use]
pub(super) fn syn(ends: Ends, number: u32) -> Option<Vec<u8>> {
    finished(from_peer(ends, number)?.syn())
}

fn from_peer(Ends { local, peer }: Ends, number: u32) -> Option<PacketBuilderStep<TcpHeader>> {
    let ip = match (peer.ip(), local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOPS),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), HOPS),
        _ => return None,
    };
    Some(ip.tcp(peer.port(), local.port(), number, 0))
}

fn finished(segment: PacketBuilderStep<TcpHeader>) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(segment.size(0));
    segment.write(&mut packet, &[]).ok()?;
    Some(packet)
}

/// What an IP packet from `ends.local` to `ends.peer` tells; `None` if it is anything else, or tells nothing.
#[must_use]
pub(super) fn numbers_in(packet: &[u8], ends: Ends) -> Option<Numbers> {
    let sliced = SlicedPacket::from_ip(packet).ok()?;
    let net = sliced.net?;
    let (from, to): (IpAddr, IpAddr) = match (net.ipv4_ref(), net.ipv6_ref()) {
        (Some(v4), _) => (v4.header().source_addr().into(), v4.header().destination_addr().into()),
        (_, Some(v6)) => (v6.header().source_addr().into(), v6.header().destination_addr().into()),
        _ => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    let is_from = |ip: IpAddr, port: u16, end: SocketAddr| ip == end.ip() && port == end.port();
    let is_ours =
        is_from(from, tcp.source_port(), ends.local) && is_from(to, tcp.destination_port(), ends.peer);
    if !is_ours || !tcp.ack() || tcp.syn() || tcp.rst() {
        return None;
    }
    // A segment with data was sent before whatever comes next.
    let len = u32::try_from(tcp.payload().len()).ok()?.wrapping_add(tcp.fin().into());
    let first = tcp.sequence_number();
    Some(Numbers {
        next_in: tcp.acknowledgment_number(),
        next_out: first.wrapping_add(len),
        unacknowledged: first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(local: &str, peer: &str) -> Option<Ends> {
        Ends::new(local.parse().unwrap(), peer.parse().unwrap())
    }

    fn both() -> [Ends; 2] {
        [
            ends("10.0.0.1:80", "10.0.0.2:4711").unwrap(),
            ends("[2001:db8::1]:80", "[2001:db8::2]:4711").unwrap(),
        ]
    }

    #[test]
    fn ends_are_those_on_the_wire() {
        let mapped = ends("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:4711");
        assert_eq!(mapped, ends("10.0.0.1:80", "10.0.0.2:4711"));
        assert_eq!(ends("10.0.0.1:80", "[2001:db8::2]:4711"), None);
        assert_eq!(ends("0.0.0.0:80", "10.0.0.2:4711"), None);
        assert_eq!(ends("10.0.0.1:80", "10.0.0.2:0"), None);
        let turned = mapped.unwrap().turned();
        assert_eq!((turned.local.port(), turned.peer.port()), (4711, 80));
    }

    #[test]
    fn a_reset_is_a_whole_and_sound_packet() {
        for ends in both() {
            let packet = reset(ends, 0xfedc_ba98).unwrap();
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{packet:?}") };
            assert_eq!((tcp.source_port(), tcp.destination_port()), (4711, 80));
            assert_eq!(
                (tcp.sequence_number(), tcp.rst(), tcp.ack(), tcp.syn()),
                (0xfedc_ba98, true, false, false)
            );
            let (sum, header) = match (ends.peer.ip(), ends.local.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    assert_eq!(sliced.net.as_ref().unwrap().ipv4_ref().unwrap().header().source_addr(), from);
                    (tcp.calc_checksum_ipv4(from.octets(), to.octets()), 20)
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    (tcp.calc_checksum_ipv6(from.octets(), to.octets()), 40)
                }
                _ => unreachable!(),
            };
            assert_eq!((Ok(tcp.checksum()), packet.len()), (sum, header + 20));
        }
    }

    #[test]
    fn an_answer_tells_the_numbers() {
        for ends in both() {
            let answer = |flags: fn(PacketBuilderStep<TcpHeader>) -> PacketBuilderStep<TcpHeader>,
                          payload: &[u8]| {
                let mut packet = Vec::new();
                let segment = flags(from_peer(ends.turned(), 1000).unwrap());
                segment.write(&mut packet, payload).unwrap();
                numbers_in(&packet, ends)
            };
            let numbers = |next_out| Some(Numbers { next_in: 77, next_out, unacknowledged: 1000 });
            assert_eq!(answer(|segment| segment.ack(77), b""), numbers(1000));
            assert_eq!(answer(|segment| segment.ack(77), b"data"), numbers(1004));
            assert_eq!(answer(|segment| segment.ack(77).fin(), b""), numbers(1001));
            for tells_nothing in [
                answer(|segment| segment.syn().ack(77), b""),
                answer(|segment| segment.ack(77).rst(), b""),
                answer(|segment| segment, b""),
            ] {
                assert_eq!(tells_nothing, None);
            }
            assert_eq!(numbers_in(&syn(ends, 5).unwrap(), ends), None, "our own");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..120), first in 0_u8..2) {
            let bytes = [&[[0x45, 0x60][usize::from(first)]][..], &bytes].concat();
            for ends in both() {
                let _told_or_not = numbers_in(&bytes, ends);
            }
        }
    }
}
