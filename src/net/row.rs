//! One row of a socket table in `/proc/PID/net` (proc_pid_net(5)).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::endpoint::{Endpoint, UnixName};
use super::state::TcpState;
use crate::ids::Inode;
use crate::kind::Kind;
use crate::proc::text::{decimal, number, split_once, words};

/// What the kernel says about a socket, by sock_diag(7) or a table in `/proc/PID/net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketInfo {
    /// Its inode number; 0 for one without a descriptor: TIME-WAIT, orphaned, or not yet accepted.
    pub inode: Inode,
    /// [`Kind::Tcp`], [`Kind::Udp`] or [`Kind::Unix`]; [`Kind::Socket`] for any other that listens.
    pub kind: Kind,
    /// Its state, for UDP and Unix sockets the one `ss` shows; `None` if unknown.
    pub state: Option<TcpState>,
    /// This end.
    pub local: Endpoint,
    /// The other end, if there is one and the table tells; it never does for a Unix socket.
    pub peer: Option<Endpoint>,
    /// Bytes received and not read; of a listening socket, connections not accepted. `/proc` does not tell of a
    /// Unix socket: 0.
    pub recv_q: u64,
    /// Bytes sent and not acknowledged, or of a Unix socket not read; of a listening socket, how many connections
    /// may wait. `/proc` does not tell of a Unix socket, nor of any that listens: 0.
    pub send_q: u64,
    /// Who made it; `None` where the table does not tell.
    pub uid: Option<u32>,
    /// For how long nothing has come from the peer of a TCP connection, data or acknowledgement, in
    /// milliseconds; beyond 49 days it starts again from 0. Only sock_diag(7) tells.
    pub idle_ms: Option<u64>,
    /// The kernel's name for the socket, never used again for another (on Linux 3.10: its address). Only
    /// sock_diag(7) tells.
    pub cookie: Option<u64>,
    /// The interface it is bound to (SO_BINDTODEVICE in socket(7), or a link-local address), by number; 0 if
    /// it is bound to none. `/proc` does not tell.
    pub interface: Option<u32>,
}

/// A row of `tcp`, `tcp6`, `udp` or `udp6`; `None` if it is not one.
pub(super) fn parse_inet(line: &[u8], kind: Kind) -> Option<SocketInfo> {
    let mut words = words(line);
    words.next()?.strip_suffix(b":")?;
    let local = address(words.next()?)?;
    let peer = address(words.next()?)?;
    let state = u8::try_from(number(words.next()?, 16)?).ok()?;
    let (send_q, recv_q) = split_once(words.next()?, b':')?;
    // The timer and how often was retransmitted lie between.
    let uid = decimal(words.nth(2)?)?;
    let inode = Inode(decimal(words.nth(1)?)?);
    let state = TcpState::from_kernel(state);
    let connected = peer.port() != 0 || !peer.ip().is_unspecified();
    Some(SocketInfo {
        inode,
        kind,
        state,
        local: Endpoint::Inet(local),
        peer: connected.then_some(Endpoint::Inet(peer)),
        recv_q: number(recv_q, 16)?,
        send_q: number(send_q, 16)?,
        // A socket in TIME-WAIT has no owner any more and is always shown with 0.
        uid: (state != Some(TcpState::TimeWait)).then_some(uid),
        idle_ms: None,
        cookie: None,
        interface: None,
    })
}

/// `0100007F:1F90`: the address as 32-bit words in network order, each written as if it were a number of this
/// machine; the port as a number.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let (address, port) = split_once(text, b':')?;
    let port = number(port, 16)?.try_into().ok()?;
    let word = |at: usize| {
        let word = u32::try_from(number(address.get(at..at + 8)?, 16)?).ok()?;
        Some(word.to_ne_bytes())
    };
    match address.len() {
        8 => Some(SocketAddrV4::new(Ipv4Addr::from(word(0)?), port).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at * 8)?);
            }
            Some(SocketAddrV6::new(Ipv6Addr::from(bytes), port, 0, 0).into())
        }
        _ => None,
    }
}

/// __SO_ACCEPTCON of include/linux/net.h: listening.
const ACCEPTCON: u64 = 1 << 16;
/// SS_CONNECTING, SS_CONNECTED of include/uapi/linux/net.h.
const CONNECTING: u64 = 2;
const CONNECTED: u64 = 3;

/// A row of `unix`; `None` if it is not one, as the rest of a row whose path holds a newline.
pub(super) fn parse_unix(line: &[u8]) -> Option<SocketInfo> {
    let (slot, rest) = split_once(line, b' ')?;
    slot.strip_suffix(b":")?;
    let (references, rest) = split_once(rest, b' ')?;
    let (protocol, rest) = split_once(rest, b' ')?;
    let (flags, rest) = split_once(rest, b' ')?;
    let (socket_type, rest) = split_once(rest, b' ')?;
    let (state, rest) = split_once(rest, b' ')?;
    for unused in [references, protocol, socket_type] {
        number(unused, 16)?;
    }
    // The number is padded on the left; after it comes one blank, and then the path to the end of the line,
    // blanks at its ends included.
    let rest = rest.trim_ascii_start();
    let (inode, name) = match split_once(rest, b' ') {
        Some((inode, name)) => (inode, Some(name)),
        None => (rest, None),
    };
    let state = match (number(flags, 16)? & ACCEPTCON, number(state, 16)?) {
        (ACCEPTCON, _) => TcpState::Listen,
        (_, CONNECTED) => TcpState::Established,
        (_, CONNECTING) => TcpState::SynSent,
        _ => TcpState::Close,
    };
    Some(SocketInfo {
        inode: Inode(decimal(inode)?),
        kind: Kind::Unix,
        state: Some(state),
        local: Endpoint::Unix(unix_name(name)),
        peer: None,
        recv_q: 0,
        send_q: 0,
        uid: None,
        idle_ms: None,
        cookie: None,
        interface: None,
    })
}

/// A relative path that starts with `@` can't be told from an abstract name: the kernel writes the same.
fn unix_name(name: Option<&[u8]>) -> UnixName {
    match name {
        None => UnixName::Unnamed,
        Some([b'@', name @ ..]) => UnixName::Abstract(name.to_vec()),
        Some(path) => UnixName::Path(path.to_vec()),
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
