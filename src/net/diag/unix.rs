//! Unix-domain sockets: what is asked of unix_diag, and the rows it answers with (sock_diag(7)). Pure.

use netlink_packet_core::{NlasIterator, Parseable};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_UNIX, UNIX_DIAG_NAME, UNIX_DIAG_RQLEN};
use netlink_packet_sock_diag::unix::{ShowFlags, StateFlags, UnixRequest, UnixResponseHeader};

use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::endpoint::{Endpoint, UnixName};
use crate::net::row::SocketInfo;
use crate::net::state::TcpState;

/// A row without its attributes: `struct unix_diag_msg` (linux/unix_diag.h).
const HEAD: usize = 16;
/// UDIAG_SHOW_UID and UNIX_DIAG_UID (5.3), which the crate does not know.
const SHOW_UID: u32 = 1 << 6;
const UID: u16 = 7;

/// Asks for every socket.
pub(super) fn dump() -> SockDiagMessage {
    let show = ShowFlags::NAME | ShowFlags::RQLEN | ShowFlags::from_bits_retain(SHOW_UID);
    SockDiagMessage::UnixRequest(UnixRequest {
        state_flags: StateFlags::from_bits_retain(u32::MAX),
        inode: 0,
        show_flags: show,
        cookie: [0; 8],
    })
}

/// A row; `None` if it is none.
pub(super) fn parse(row: &[u8]) -> Option<SocketInfo> {
    let head = UnixResponseHeader::parse(row).ok()?;
    if row.first() != Some(&AF_UNIX) {
        return None;
    }
    let mut socket = SocketInfo {
        inode: Inode(head.inode.into()),
        kind: Kind::Unix,
        state: TcpState::from_kernel(head.state),
        local: Endpoint::Unix(UnixName::Unnamed),
        peer: None,
        recv_q: 0,
        send_q: 0,
        uid: None,
        idle_ms: None,
        cookie: Some(u64::from_ne_bytes(head.cookie)),
        interface: None,
    };
    // What follows a broken attribute is not one.
    for attribute in NlasIterator::new(row.get(HEAD..)?).map_while(Result::ok) {
        let value = attribute.value();
        match attribute.kind() {
            UNIX_DIAG_NAME => socket.local = Endpoint::Unix(name(value)),
            UNIX_DIAG_RQLEN => {
                socket.recv_q = word(value, 0).unwrap_or_default().into();
                socket.send_q = word(value, 4).unwrap_or_default().into();
            }
            UID => socket.uid = word(value, 0),
            _ => {}
        }
    }
    Some(socket)
}

/// What follows the family in its address: a path up to its NUL, or NUL and an abstract name.
fn name(text: &[u8]) -> UnixName {
    match text {
        [] => UnixName::Unnamed,
        [0, name @ ..] => UnixName::Abstract(name.to_vec()),
        path => UnixName::Path(path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()),
    }
}

fn word(value: &[u8], at: usize) -> Option<u32> {
    let bytes = value.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
#[path = "unix_tests.rs"]
mod tests;
