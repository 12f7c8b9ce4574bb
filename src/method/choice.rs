//! Which ways there are, and what each is good for.

use crate::kind::Kind;
use crate::net::TcpState;
use crate::trace::Signal;

/// The values of `--method`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// The target closes the descriptor itself, by an injected close(2).
    #[default]
    Close,
    /// A socket that is shut down is put over the descriptor, by an injected dup3(2).
    Replace,
    /// shutdown(2) of both directions, through a copy of the descriptor.
    Shutdown,
    /// The kernel ends the connection on request (SOCK_DESTROY), as `ss --kill` does.
    Destroy,
    /// The connection gets a RST in the name of its peer.
    Reset(ResetWish),
    /// The process is sent a signal.
    Kill(Signal),
}

/// How a connection is to be reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResetWish {
    /// The number it expects next, if that is known: it is looked for otherwise.
    pub number: Option<u32>,
    /// The peer is to get a RST, too.
    pub both_ends: bool,
}

/// Why a method is not for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is for sockets.
    NotASocket,
    /// It is for TCP and UDP.
    NotInternet,
    /// It is for TCP.
    NotTcp,
    /// It is for connections of its own network stack.
    NotAConnection,
    /// The connection is being made: a call that makes it would start anew.
    Connecting,
}

impl Method {
    /// The word in `--method` and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Replace => "replace",
            Self::Shutdown => "shutdown",
            Self::Destroy => "destroy",
            Self::Reset(_) => "reset",
            Self::Kill(_) => "kill",
        }
    }

    /// What was done, as in "closed 3 of 4".
    #[must_use]
    pub const fn past(self) -> &'static str {
        match self {
            Self::Close => "closed",
            Self::Replace => "replaced",
            Self::Shutdown => "shut down",
            Self::Destroy => "destroyed",
            Self::Reset(_) => "reset",
            Self::Kill(_) => "killed the holders of",
        }
    }

    /// What would be done, as in "would close 4 descriptors".
    #[must_use]
    pub const fn conditional(self) -> &'static str {
        match self {
            Self::Close => "would close",
            Self::Replace => "would replace",
            Self::Shutdown => "would shut down",
            Self::Destroy => "would destroy",
            Self::Reset(_) => "would reset",
            Self::Kill(_) => "would kill the holders of",
        }
    }

    /// What is to be done, as in "Close 4 descriptors?".
    #[must_use]
    pub const fn imperative(self) -> &'static str {
        match self {
            Self::Close => "Close",
            Self::Replace => "Replace",
            Self::Shutdown => "Shut down",
            Self::Destroy => "Destroy the connections of",
            Self::Reset(_) => "Reset the connections of",
            Self::Kill(_) => "Kill the holders of",
        }
    }

    /// Whether the descriptor is free when it has worked.
    #[must_use]
    pub const fn frees_descriptor(self) -> bool {
        matches!(self, Self::Close | Self::Kill(_))
    }

    /// Whether the connection then ends with its last holder.
    #[must_use]
    pub const fn lets_go(self) -> bool {
        matches!(self, Self::Close | Self::Replace | Self::Kill(_))
    }

    /// Whether it is asked about although exactly one thing was named.
    #[must_use]
    pub const fn always_asks(self) -> bool {
        matches!(self, Self::Kill(_))
    }

    /// Whether it can be used on something of this sort. Of a socket in no table the kind is [`Kind::Socket`].
    ///
    /// # Errors
    /// [`Unfit`] says why not.
    pub fn check(self, kind: Kind, state: Option<TcpState>) -> Result<(), Unfit> {
        let is_socket = matches!(kind, Kind::Tcp | Kind::Udp | Kind::Unix | Kind::Socket);
        match self {
            Self::Close | Self::Kill(_) => Ok(()),
            Self::Replace | Self::Shutdown | Self::Destroy | Self::Reset(_) if !is_socket => {
                Err(Unfit::NotASocket)
            }
            Self::Replace | Self::Reset(_) if kind != Kind::Tcp => Err(Unfit::NotTcp),
            Self::Replace if state == Some(TcpState::SynSent) => Err(Unfit::Connecting),
            Self::Replace | Self::Shutdown => Ok(()),
            Self::Destroy if !matches!(kind, Kind::Tcp | Kind::Udp) => Err(Unfit::NotInternet),
            Self::Destroy if kind == Kind::Tcp && state == Some(TcpState::Close) => {
                Err(Unfit::NotAConnection)
            }
            Self::Destroy => Ok(()),
            // A state that is not known is not one of these.
            Self::Reset(_) if state.is_some_and(|state| !state.is_synchronized()) => {
                Err(Unfit::NotAConnection)
            }
            Self::Reset(_) => Ok(()),
        }
    }
}

impl serde::Serialize for Method {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
