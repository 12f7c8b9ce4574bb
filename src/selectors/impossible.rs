//! Selectors of which one leaves nothing for the other: a slip of the hand, which would look like "nothing is there".

use super::{KindChoice, Selectors};
use crate::kind::Kind;
use crate::net::TcpState;

/// Nothing can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// A selector of TCP sockets, and kinds without them.
    #[error("{0} selects TCP sockets, and --kind leaves none of them: leave out one of the two")]
    NoTcp(&'static str),
    /// A selector of internet sockets, and kinds without them.
    #[error("{0} selects TCP and UDP sockets, and --kind leaves none of them: leave out one of the two")]
    NoInternet(&'static str),
    /// `--deleted` and a selector of sockets.
    #[error("--deleted selects files, and {0} selects sockets: leave out one of the two")]
    DeletedSocket(&'static str),
    /// `--idle-for` and no state with a peer.
    #[error("--idle-for selects connections, and what --state leaves has no peer: leave out one of the two")]
    IdleWithoutPeer,
}

impl Selectors {
    /// Why nothing can match, whatever is there.
    ///
    /// # Errors
    /// [`Impossible`], the first that is found.
    pub fn check_possible(&self) -> Result<(), Impossible> {
        let leaves = |kinds: &[Kind]| {
            let any = |choice: &KindChoice| {
                matches!(choice, KindChoice::Any | KindChoice::Only(Kind::Socket))
                    || kinds.iter().any(|kind| choice.matches(*kind))
            };
            self.kinds.is_empty() || self.kinds.iter().any(any)
        };
        let of_tcp = [(!self.states.is_empty(), "--state"), (self.idle_for.is_some(), "--idle-for")];
        let of_internet = [(!self.local.is_empty(), "--local"), (!self.peer.is_empty(), "--peer")];
        let first = |given: &[(bool, &'static str)]| {
            given.iter().find(|(given, _)| *given).map(|(_, option)| *option)
        };
        let (tcp, internet) = (first(&of_tcp), first(&of_internet));
        if let Some(option) = tcp.or(internet).filter(|_| self.deleted) {
            return Err(Impossible::DeletedSocket(option));
        }
        if let Some(option) = tcp.filter(|_| !leaves(&[Kind::Tcp])) {
            return Err(Impossible::NoTcp(option));
        }
        if let Some(option) = internet.filter(|_| !leaves(&[Kind::Tcp, Kind::Udp])) {
            return Err(Impossible::NoInternet(option));
        }
        let without_peer = |state: &TcpState| matches!(state, TcpState::Listen | TcpState::Close);
        if self.idle_for.is_some() && !self.states.is_empty() && self.states.iter().all(without_peer) {
            return Err(Impossible::IdleWithoutPeer);
        }
        Ok(())
    }

    /// Whether this means every idle connection that is there: of each process, and of whatever sort.
    #[must_use]
    pub fn is_only_idle(&self) -> bool {
        let narrower = Self { idle_for: None, kinds: Vec::new(), netns: Vec::new(), ..self.clone() };
        narrower.is_empty()
    }
}
