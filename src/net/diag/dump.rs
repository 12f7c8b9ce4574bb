//! Asking for all sockets of a protocol.

use netlink_packet_core::NetlinkSerializable;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_UDP};

use super::channel::Ask;
use super::inet::AllTcp;
use super::{Diag, DiagError, inet, unix};
use crate::kind::Kind;
use crate::net::row::SocketInfo;
use crate::net::state::TcpState;

/// How a dump went. It is never a snapshot: the kernel fills one buffer at a time, and a socket that changes its
/// state meanwhile may be in it twice or not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dumped {
    /// The kernel noticed that something changed meanwhile, and that something may be missing (NLM_F_DUMP_INTR).
    pub interrupted: bool,
    /// Rows that could not be understood.
    pub skipped: usize,
}

impl Dumped {
    fn and(self, other: Self) -> Self {
        Self { interrupted: self.interrupted || other.interrupted, skipped: self.skipped + other.skipped }
    }
}

impl Diag {
    /// Hands every TCP socket in one of `states` to `each`, v4 and v6; those of the kernel's own (inode 0)
    /// included. With `want_info` also how long it has been idle, at a third more of the time.
    ///
    /// # Errors
    /// [`DiagError::Refused`] with ENOENT if the kernel has no `tcp_diag`; the others as named. Some rows may
    /// have been handed out by then.
    pub fn dump_tcp(
        &mut self,
        states: &[TcpState],
        want_info: bool,
        each: impl FnMut(SocketInfo),
    ) -> Result<Dumped, DiagError> {
        let states = states.iter().fold(0, |mask, state| mask | 1 << *state as u8);
        let dumped = self.dump(AllTcp { states, want_info }, |row| inet::parse(row, Kind::Tcp), each)?;
        self.knows_tcp = true;
        Ok(dumped)
    }

    /// Hands every UDP socket to `each`, v4 and v6.
    ///
    /// # Errors
    /// As [`Diag::dump_tcp`], of `udp_diag`.
    pub fn dump_udp(&mut self, mut each: impl FnMut(SocketInfo)) -> Result<Dumped, DiagError> {
        let mut dump = |family| {
            let request = inet::dump(family, IPPROTO_UDP, u32::MAX);
            self.dump(request, |row| inet::parse(row, Kind::Udp), &mut each)
        };
        Ok(dump(AF_INET)?.and(dump(AF_INET6)?))
    }

    /// Hands every Unix socket to `each`. Unlike in `/proc/net/unix`, nobody's choice of a name makes another
    /// row.
    ///
    /// # Errors
    /// As [`Diag::dump_tcp`], of `unix_diag`.
    pub fn dump_unix(&mut self, each: impl FnMut(SocketInfo)) -> Result<Dumped, DiagError> {
        self.dump(unix::dump(), unix::parse, each)
    }

    fn dump(
        &mut self,
        request: impl NetlinkSerializable,
        parse: impl Fn(&[u8]) -> Option<SocketInfo>,
        mut each: impl FnMut(SocketInfo),
    ) -> Result<Dumped, DiagError> {
        let mut skipped = 0;
        let interrupted = self.channel.request(request, Ask::All, |row| match parse(row) {
            Some(socket) => each(socket),
            None => skipped += 1,
        })?;
        Ok(Dumped { interrupted, skipped })
    }
}
