//! TCP's states, under the names `ss` gives them.

use std::fmt;
use std::str::FromStr;

/// The state of a TCP socket. The numbers are the kernel's (`include/net/tcp_states.h`), as `/proc/net/tcp`
/// and `sock_diag` give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TcpState {
    /// Connected; both ends may send.
    Established = 1,
    /// `connect` was called, no answer yet.
    SynSent = 2,
    /// A SYN came and was answered.
    SynRecv = 3,
    /// This end closed first; its FIN is not acknowledged yet.
    FinWait1 = 4,
    /// This end closed first; the other end has not closed yet.
    FinWait2 = 5,
    /// Both ends closed; stray segments are waited out. Has no descriptor.
    TimeWait = 6,
    /// Not connected.
    Close = 7,
    /// The other end closed; this one has not, and nothing but its process can. The usual leak.
    CloseWait = 8,
    /// Closed after the other end; the last FIN is not acknowledged yet. Rarely has a descriptor.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Both ends closed at the same time.
    Closing = 11,
    /// A connection request that is no full socket yet. Has no descriptor.
    NewSynRecv = 12,
}

impl TcpState {
    /// Whether both ends know each other's numbers (RFC 9293, 3.3.2), and it has not ended.
    #[must_use]
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::SynSent | Self::SynRecv | Self::NewSynRecv | Self::Close | Self::Listen)
    }

    /// Every state, in the kernel's order.
    pub const ALL: &'static [Self] = &[
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
    ];

    /// The state with the kernel's number `raw`; `None` for a number no kernel uses so far.
    #[must_use]
    pub fn from_kernel(raw: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| *state as u8 == raw)
    }

    /// Whether there is a peer that has answered, so that how long it has been silent means something.
    #[must_use]
    pub const fn is_connection(self) -> bool {
        match self {
            Self::Established | Self::FinWait1 | Self::FinWait2 | Self::CloseWait => true,
            Self::LastAck | Self::Closing => true,
            Self::SynSent | Self::SynRecv | Self::NewSynRecv => false,
            Self::TimeWait | Self::Close | Self::Listen => false,
        }
    }

    /// Whether a socket may be in it that no process holds any more, and that ends by itself.
    #[must_use]
    pub const fn outlives_its_descriptor(self) -> bool {
        matches!(self, Self::FinWait1 | Self::FinWait2 | Self::LastAck | Self::Closing | Self::TimeWait)
    }

    /// The name as `ss` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTAB",
            Self::SynSent => "SYN-SENT",
            Self::SynRecv => "SYN-RECV",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::TimeWait => "TIME-WAIT",
            Self::Close => "UNCONN",
            Self::CloseWait => "CLOSE-WAIT",
            Self::LastAck => "LAST-ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynRecv => "NEW-SYN-RECV",
        }
    }

    /// Other names people type: `ss` filters, netstat, the RFC.
    const ALIASES: &'static [(&'static str, Self)] = &[
        ("ESTABLISHED", Self::Established),
        ("LISTENING", Self::Listen),
        ("CLOSED", Self::Close),
        ("UNCONNECTED", Self::Close),
        ("FIN-WAIT1", Self::FinWait1),
        ("FIN-WAIT2", Self::FinWait2),
        ("SYN-RECEIVED", Self::SynRecv),
    ];
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl serde::Serialize for TcpState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A text that names no [`TcpState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such TCP state")]
pub struct ParseStateError;

impl FromStr for TcpState {
    type Err = ParseStateError;

    /// Any case, `-` or `_`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.to_ascii_uppercase().replace('_', "-");
        Self::ALL
            .iter()
            .map(|state| (state.name(), *state))
            .chain(Self::ALIASES.iter().copied())
            .find(|(name, _)| *name == wanted)
            .map(|(_, state)| state)
            .ok_or(ParseStateError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_in_any_spelling() {
        for state in TcpState::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
            assert_eq!(state.name().to_lowercase().replace('-', "_").parse(), Ok(*state));
            assert_eq!(TcpState::from_kernel(*state as u8), Some(*state));
        }
        assert_eq!("established".parse(), Ok(TcpState::Established));
        assert_eq!("close_wait".parse(), Ok(TcpState::CloseWait));
        assert_eq!("CLOSEWAIT".parse::<TcpState>(), Err(ParseStateError));
        assert_eq!(TcpState::from_kernel(0), None);
        assert_eq!(TcpState::from_kernel(13), None);
    }
}
