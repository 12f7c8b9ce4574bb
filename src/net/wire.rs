//! Segments put on the wire, and heard there: raw(7) and packet(7) sockets, which take CAP_NET_RAW.
//!
//! A segment for an address of this machine goes over lo, whatever address it comes from: the kernel takes the route from
//! its sending for the receiving side, too, so neither rp_filter nor the rules about martians are asked. Checked on 6.18 for
//! v4 and v6, peers on this machine and behind a veth pair, rp_filter 0, 1 and 2, sockets with SO_BINDTODEVICE and
//! without. A firewall sees it, and may drop it.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto, socket,
};

use super::segment::{self, Ends, Numbers};
use super::stack::Stack;
use super::sys;

/// More of a packet is not looked at: both headers with all options.
const PACKET: usize = 256;

/// How long an answer of this machine's own kernel may take. It is there when the question's send returns, unless the
/// machine is overloaded.
const ANSWER: Duration = Duration::from_millis(50);

/// `tcp_invalid_ratelimit` (Linux 4.0), where it can't be read.
const PER_SOCKET: Duration = Duration::from_millis(500);

/// A way to put segments on the wire of a network namespace.
#[derive(Debug)]
pub struct Wire {
    namespace: Stack,
    v4: Result<OwnedFd, Errno>,
    v6: Result<OwnedFd, Errno>,
    /// As long as a socket may be silent after an answer.
    silence: Duration,
    /// From one question to the next.
    between: Duration,
}

/// What came of asking by a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// The answer.
    Heard(Numbers),
    /// None came.
    Silence,
}

impl Wire {
    /// Opens one.
    ///
    /// # Errors
    /// EPERM if the namespace may not be entered. What a family lacks is told when it is used.
    pub fn open(namespace: Stack) -> Result<Self, Errno> {
        let (v4, v6, silence, most) = namespace.enter(|| {
            let raw = |family| {
                // IPPROTO_RAW: whole packets, header included (raw(7)).
                socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
            };
            (
                raw(AddressFamily::Inet),
                raw(AddressFamily::Inet6),
                setting("tcp_invalid_ratelimit"),
                setting("tcp_challenge_ack_limit"),
            )
        })?;
        // At most half of what the kernel gives in a second, for all connections, is used up (no limit from Linux 6.1 on).
        let between = match most {
            Some(0) | None => Duration::ZERO,
            Some(most) => Duration::from_secs(2) / u32::try_from(most).unwrap_or(u32::MAX),
        };
        let silence = silence.map_or(PER_SOCKET, Duration::from_millis);
        Ok(Self { namespace, v4, v6, silence, between })
    }

    /// Sends a RST from `ends.peer` to `ends.local`.
    ///
    /// # Errors
    /// EPERM, EACCES without CAP_NET_RAW; what sendto(2) answers.
    pub fn reset(&self, ends: Ends, number: u32) -> Result<(), Errno> {
        self.send(&segment::reset(ends, number).ok_or(Errno::EAFNOSUPPORT)?, ends.local)
    }

    fn send(&self, packet: &[u8], to: SocketAddr) -> Result<(), Errno> {
        let raw = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let raw = raw.as_ref().map_err(|errno| *errno)?.as_raw_fd();
        // No port: of a raw socket of IPv6 that is a protocol.
        let sent = match to {
            SocketAddr::V4(to) => {
                sendto(raw, packet, &SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0)), MsgFlags::empty())
            }
            SocketAddr::V6(to) => {
                let to = SocketAddrV6::new(*to.ip(), 0, 0, to.scope_id());
                sendto(raw, packet, &SockaddrIn6::from(to), MsgFlags::empty())
            }
        };
        sent.map(drop)
    }

    /// Asks a connection where it stands, by a SYN from its peer, and listens for the ACK that the kernel sends the peer
    /// for it (RFC 5961, 4.2; Linux 3.6). A peer that is there ignores it; one that knows of no such connection answers
    /// with a RST of its own.
    ///
    /// # Errors
    /// As [`Wire::reset`].
    pub fn challenge(&self, ends: Ends, number: u32) -> Result<Challenge, Errno> {
        let tap = self.namespace.enter(|| listen(ends))??;
        std::thread::sleep(self.between);
        self.send(&segment::syn(ends, number).ok_or(Errno::EAFNOSUPPORT)?, ends.local)?;
        let until = Instant::now() + ANSWER;
        let mut packet = [0; PACKET];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut ready = [PollFd::new(tap.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, timeout) {
                Ok(0) => return Ok(Challenge::Silence),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            }
            let len = match recv(tap.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                Ok(len) => len,
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => continue,
                Err(errno) => return Err(errno),
            };
            if let Some(numbers) = packet.get(..len).and_then(|packet| segment::numbers_in(packet, ends)) {
                return Ok(Challenge::Heard(numbers));
            }
        }
    }

    /// For how long the kernel leaves such a question unanswered after it has answered one about the same connection
    /// (`net.ipv4.tcp_invalid_ratelimit`).
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.silence
    }
}

/// A number under `net.ipv4`, of the network namespace that the calling thread is in.
fn setting(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?.trim().parse().ok()
}

/// A socket that hears what `ends.local` sends to `ends.peer`, on whatever interface.
fn listen(ends: Ends) -> Result<OwnedFd, Errno> {
    let tap = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::EthAll,
    )?;
    sys::attach_filter(tap.as_fd(), &filter(ends))?;
    Ok(tap)
}

/// A program for SO_ATTACH_FILTER that lets through TCP from `ends.local` to `ends.peer`. Addresses begin at the IP header.
fn filter(ends: Ends) -> Vec<libc::sock_filter> {
    let word = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let half = libc::BPF_LD | libc::BPF_H;
    let byte = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let statement = |code: u32, k: u32| (code, k, false);
    let must_be = |k: u32| (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, true);
    let version = |version: u32| {
        [
            statement(byte, 0),
            statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0xf0),
            must_be(version << 4),
        ]
    };
    let tcp = libc::IPPROTO_TCP.unsigned_abs();
    let ports = [(0, ends.local.port()), (2, ends.peer.port())];
    let mut program = Vec::new();
    match (ends.local.ip(), ends.peer.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            program.extend(version(4));
            program.extend([statement(byte, 9), must_be(tcp)]);
            program.extend([
                statement(word, 12),
                must_be(from.into()),
                statement(word, 16),
                must_be(to.into()),
            ]);
            // The length of the header, with its options.
            program.push(statement(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0));
            for (at, port) in ports {
                program.extend([statement(half | libc::BPF_IND, at), must_be(port.into())]);
            }
        }
        (from, to) => {
            program.extend(version(6));
            program.extend([statement(byte, 6), must_be(tcp)]);
            for (at, address) in [(8, from), (24, to)] {
                let IpAddr::V6(address) = address else { continue };
                for (number, part) in (0_u32..).zip(address.octets().as_chunks::<4>().0) {
                    program.extend([statement(word, at + 4 * number), must_be(u32::from_be_bytes(*part))]);
                }
            }
            for (at, port) in ports {
                program.extend([statement(half | libc::BPF_ABS, 40 + at), must_be(port.into())]);
            }
        }
    }
    let all = statement(libc::BPF_RET | libc::BPF_K, u32::MAX);
    let nothing = statement(libc::BPF_RET | libc::BPF_K, 0);
    program.extend([all, nothing]);
    let last = program.len() - 1;
    let instruction = |(at, (code, k, is_test)): (usize, (u32, u32, bool))| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        // To the end.
        jf: if is_test { u8::try_from(last - at - 1).unwrap_or(u8::MAX) } else { 0 },
        k,
    };
    program.into_iter().enumerate().map(instruction).collect()
}
