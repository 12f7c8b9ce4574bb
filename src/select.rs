//! Selectors to matches. Pure: what is looked at is handed in, and nothing is read here.
//!
//! It goes in two steps, as a socket's inode is known from its descriptor but its addresses only from a table
//! that can be large: [`by_descriptor`] first, and [`by_socket`] for what the first could not decide.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::{Fd, Pid};
use crate::kind::Kind;
use crate::net::TcpState;
use crate::proc::FdTarget;
use crate::selectors::{KindChoice, Selectors};

/// What the descriptor alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not selected.
    No,
    /// Selected.
    Yes,
    /// A socket: selected if [`by_socket`] says so, and if it is in a chosen network namespace where some are.
    AskSocket,
}

/// What the socket tables tell of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketFacts {
    /// TCP, UDP, Unix, or any other.
    pub kind: Kind,
    /// State, if it is TCP.
    pub state: Option<TcpState>,
    /// This end, if it is an internet socket.
    pub local: Option<SocketAddr>,
    /// The other end, if connected.
    pub peer: Option<SocketAddr>,
    /// For how many milliseconds its peer has not been heard of, if that is known.
    pub idle_ms: Option<u64>,
}

/// Whether a socket is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Not selected.
    No,
    /// Selected.
    Yes,
    /// A connection that would be selected if its idle time were long enough, but nobody knows that.
    IdleUnknown,
}

/// Whether a process is one of those selected.
#[must_use]
pub fn by_process(selectors: &Selectors, pid: Pid, comm: &[u8]) -> bool {
    (selectors.pids.is_empty() || selectors.pids.contains(&pid))
        && (selectors.comms.is_empty() || selectors.comms.iter().any(|wanted| wanted.matches(comm)))
}

/// Whether a descriptor's number is one of those selected. Nothing else of it need be read if it is not.
#[must_use]
pub fn by_number(selectors: &Selectors, fd: Fd) -> bool {
    selectors.fds.is_empty() || selectors.fds.iter().any(|range| range.contains(fd))
}

/// What a descriptor, and what it refers to, tell.
#[must_use]
pub fn by_descriptor(selectors: &Selectors, fd: Fd, target: &FdTarget) -> Verdict {
    let inode =
        selectors.inodes.is_empty() || target.inode().is_some_and(|inode| selectors.inodes.contains(&inode));
    if !by_number(selectors, fd) || !inode || (selectors.deleted && !target.is_deleted()) {
        return Verdict::No;
    }
    let kind = target.kind();
    let asks_socket = !(selectors.states.is_empty()
        && selectors.local.is_empty()
        && selectors.peer.is_empty()
        && selectors.idle_for.is_none()
        && selectors.netns.is_empty());
    if kind == Kind::Socket {
        let any_kind = selectors.kinds.is_empty() || selectors.kinds.contains(&KindChoice::Any);
        return if any_kind && !asks_socket { Verdict::Yes } else { Verdict::AskSocket };
    }
    if asks_socket || !has_kind(selectors, kind) { Verdict::No } else { Verdict::Yes }
}

/// What the socket tables tell. For sockets that [`by_descriptor`] did not rule out.
#[must_use]
pub fn by_socket(selectors: &Selectors, socket: &SocketFacts) -> Choice {
    let state =
        selectors.states.is_empty() || socket.state.is_some_and(|state| selectors.states.contains(&state));
    let end = |filters: &[crate::net::AddrFilter], end: Option<SocketAddr>| {
        filters.is_empty() || end.is_some_and(|end| filters.iter().any(|filter| filter.matches(&end)))
    };
    let selected = has_kind(selectors, socket.kind)
        && state
        && end(&selectors.local, socket.local)
        && end(&selectors.peer, socket.peer);
    match selectors.idle_for {
        _ if !selected => Choice::No,
        None => Choice::Yes,
        Some(least) => by_idle_time(least, socket),
    }
}

/// Only a connection has a peer that could be silent.
fn by_idle_time(least: Duration, socket: &SocketFacts) -> Choice {
    let is_connection = socket.state.is_some_and(TcpState::is_connection);
    match socket.idle_ms {
        _ if socket.kind != Kind::Tcp || !is_connection => Choice::No,
        Some(idle) if u128::from(idle) >= least.as_millis() => Choice::Yes,
        Some(_) => Choice::No,
        None => Choice::IdleUnknown,
    }
}

fn has_kind(selectors: &Selectors, kind: Kind) -> bool {
    // `socket` means every socket, whatever the tables say of it.
    let is_socket = matches!(kind, Kind::Tcp | Kind::Udp | Kind::Unix);
    selectors.kinds.is_empty()
        || selectors.kinds.iter().any(|choice| match choice {
            KindChoice::Any => true,
            KindChoice::Only(Kind::Socket) => is_socket || kind == Kind::Socket,
            KindChoice::Only(wanted) => *wanted == kind,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Inode;
    use crate::selectors::FdRange;

    fn fd(n: i32) -> Fd {
        Fd::new(n).unwrap()
    }

    fn leaked() -> SocketFacts {
        SocketFacts {
            kind: Kind::Tcp,
            state: Some(TcpState::CloseWait),
            local: Some("127.0.0.1:8888".parse().unwrap()),
            peer: Some("10.1.2.3:49416".parse().unwrap()),
            idle_ms: Some(60_000),
        }
    }

    fn socket() -> FdTarget {
        FdTarget::Socket(Inode(43000))
    }

    #[test]
    fn nothing_selected_means_everything() {
        let all = Selectors::default();
        assert_eq!(by_descriptor(&all, fd(3), &socket()), Verdict::Yes);
        assert_eq!(by_descriptor(&all, fd(3), &FdTarget::Pipe(Inode(1))), Verdict::Yes);
        assert_eq!(by_socket(&all, &leaked()), Choice::Yes);
    }

    #[test]
    fn the_same_selector_twice_is_or_and_different_ones_are_and() {
        let by_fd = Selectors {
            fds: vec![FdRange::new(fd(3), fd(3)).unwrap(), FdRange::new(fd(7), fd(9)).unwrap()],
            ..Selectors::default()
        };
        assert_eq!(by_descriptor(&by_fd, fd(3), &socket()), Verdict::Yes);
        assert_eq!(by_descriptor(&by_fd, fd(9), &socket()), Verdict::Yes);
        assert_eq!(by_descriptor(&by_fd, fd(4), &socket()), Verdict::No);
        let and_inode = Selectors { inodes: [Inode(1), Inode(43000)].into(), ..by_fd };
        assert_eq!(by_descriptor(&and_inode, fd(3), &socket()), Verdict::Yes);
        assert_eq!(by_descriptor(&and_inode, fd(3), &FdTarget::Socket(Inode(2))), Verdict::No);
        assert_eq!(by_descriptor(&and_inode, fd(4), &socket()), Verdict::No);
    }

    #[test]
    fn states_and_addresses_ask_the_tables_and_rule_out_all_but_sockets() {
        let waiting = Selectors { states: vec![TcpState::CloseWait], ..Selectors::default() };
        assert_eq!(by_descriptor(&waiting, fd(3), &socket()), Verdict::AskSocket);
        assert_eq!(by_descriptor(&waiting, fd(3), &FdTarget::Pipe(Inode(43000))), Verdict::No);
        assert_eq!(by_socket(&waiting, &leaked()), Choice::Yes);
        assert_eq!(
            by_socket(&waiting, &SocketFacts { state: Some(TcpState::Established), ..leaked() }),
            Choice::No
        );
        assert_eq!(
            by_socket(&waiting, &SocketFacts { state: None, kind: Kind::Udp, ..leaked() }),
            Choice::No
        );
        let from_peer = Selectors { peer: vec!["10.0.0.0/8".parse().unwrap()], ..waiting };
        assert_eq!(by_socket(&from_peer, &leaked()), Choice::Yes);
        assert_eq!(by_socket(&from_peer, &SocketFacts { peer: None, ..leaked() }), Choice::No);
        let other_peer = Selectors { peer: vec![":80".parse().unwrap()], ..from_peer };
        assert_eq!(by_socket(&other_peer, &leaked()), Choice::No);
    }

    #[test]
    fn kinds_split_sockets_by_the_tables() {
        let tcp = Selectors { kinds: vec![KindChoice::Only(Kind::Tcp)], ..Selectors::default() };
        assert_eq!(by_descriptor(&tcp, fd(3), &socket()), Verdict::AskSocket);
        assert_eq!(by_socket(&tcp, &leaked()), Choice::Yes);
        assert_eq!(by_socket(&tcp, &SocketFacts { kind: Kind::Unix, ..leaked() }), Choice::No);
        let any_socket = Selectors { kinds: vec![KindChoice::Only(Kind::Socket)], ..Selectors::default() };
        assert_eq!(by_socket(&any_socket, &leaked()), Choice::Yes);
        let pipes = Selectors { kinds: vec![KindChoice::Only(Kind::Pipe)], ..Selectors::default() };
        assert_eq!(by_descriptor(&pipes, fd(3), &FdTarget::Pipe(Inode(1))), Verdict::Yes);
        assert_eq!(by_socket(&pipes, &leaked()), Choice::No);
    }

    #[test]
    fn deleted_files_alone() {
        let deleted = Selectors { deleted: true, ..Selectors::default() };
        let file = |deleted| FdTarget::Path { path: b"/tmp/x".to_vec(), deleted };
        assert_eq!(by_descriptor(&deleted, fd(3), &file(true)), Verdict::Yes);
        assert_eq!(by_descriptor(&deleted, fd(3), &file(false)), Verdict::No);
        assert_eq!(by_descriptor(&deleted, fd(3), &socket()), Verdict::No);
    }

    #[test]
    fn only_connections_known_to_be_silent_for_long_enough_are_idle() {
        let idle_for =
            |millis| Selectors { idle_for: Some(Duration::from_millis(millis)), ..Selectors::default() };
        let minute = idle_for(60_000);
        assert_eq!(by_descriptor(&minute, fd(3), &socket()), Verdict::AskSocket);
        assert_eq!(by_descriptor(&minute, fd(3), &FdTarget::Pipe(Inode(1))), Verdict::No);
        assert_eq!(by_socket(&minute, &leaked()), Choice::Yes);
        assert_eq!(by_socket(&idle_for(60_001), &leaked()), Choice::No);
        let unknown = SocketFacts { idle_ms: None, ..leaked() };
        assert_eq!(by_socket(&minute, &unknown), Choice::IdleUnknown);
        let elsewhere = Selectors { states: vec![TcpState::Established], ..minute.clone() };
        assert_eq!(
            by_socket(&elsewhere, &unknown),
            Choice::No,
            "what is not selected anyway is not left out"
        );
        for other in [
            SocketFacts { state: Some(TcpState::Listen), ..unknown },
            SocketFacts { state: None, kind: Kind::Udp, ..unknown },
            SocketFacts { state: Some(TcpState::Listen), ..leaked() },
        ] {
            assert_eq!(by_socket(&minute, &other), Choice::No);
        }
    }
}
