//! Looking again after acting: which connections are still there, and who holds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::ids::Inode;
use crate::kind::Kind;
use crate::method::Method;
use crate::net::{Copies, Diag, DiagError, Protocols, SocketInfo, SocketTable, TcpState, tcp_state};
use crate::proc::{Holder, Procfs};
use crate::report::{ConnectionFate, HolderReport, TargetReport, Text};
use crate::survey::{Diags, Subject};
use crate::watchdog;

mod keepers;

use keepers::Keepers;

/// Up to how many connections are asked for one by one, at 3 us each. To ask for all takes 0.2 to 0.7 ms even if
/// there are hardly any (a walk through the kernel's hash table, here one of 262,144 chains), and 1 us for each.
const MOST_ASKED: usize = 200;

/// How long the last acknowledgement of a connection that was shut down is waited for, and how often is looked.
const WINDING_UP: Duration = Duration::from_millis(300);
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// A TCP socket whose descriptor was freed, as it was found before, and the report on it.
type Freed<'a> = (Option<&'a SocketInfo>, &'a mut TargetReport);

/// Finds out for each of `targets`, sockets of `subject` whose descriptor was freed, whether the connection
/// ended if it is TCP, and if not, who on this host still has a descriptor to it.
pub fn connections<'a>(
    procfs: &Procfs,
    diags: &mut Diags,
    subject: &Subject,
    method: Method,
    targets: impl Iterator<Item = Freed<'a>>,
) {
    let mut tcp: Vec<Freed<'_>> = targets.filter(|(_, target)| target.kind == Kind::Tcp).collect();
    if tcp.is_empty() {
        return;
    }
    let _watched = watchdog::over(subject.process.pid());
    // Whatever the reason why the kernel can't be asked, its tables in /proc tell.
    let answer = settled(diags.of(subject), method, &tcp).or_else(|| look_up(subject, &tcp));
    // Of a socket that nobody has seen in this network namespace, not to be there says nothing; and nothing is known
    // of a namespace whose only process we knew has ended.
    let in_the_dark = answer.is_none();
    let unseen: BTreeSet<Inode> =
        tcp.iter().filter(|freed| in_the_dark || !is_seen(freed)).filter_map(inode).collect();
    let mut remaining = answer.unwrap_or_default();
    remaining.extend(unseen.iter().map(|inode| (*inode, None)));
    let mut holders = if remaining.is_empty() {
        HashMap::new()
    } else {
        holders_of(procfs, &remaining.keys().copied().collect())
    };
    // Of what no descriptor refers to any more, something else is the reason.
    let unheld: BTreeSet<Inode> =
        remaining.keys().filter(|inode| !holders.contains_key(inode)).copied().collect();
    let keepers = if method.lets_go() && !unheld.is_empty() {
        keepers::look(procfs, &unheld, subject.process.pid())
    } else {
        Keepers::default()
    };
    let is_kept = |inode: &Inode| holders.contains_key(inode) || keepers.surely_keep(*inode);
    remaining.retain(|inode, _| !unseen.contains(inode) || is_kept(inode));
    if !method.lets_go() && !unseen.is_empty() {
        ask_through_copies(subject, &tcp, &unseen, &mut remaining);
    }
    for (_, target) in &mut tcp {
        let Some(inode) = target.inode else { continue };
        let Some(state) = remaining.get(&inode) else {
            target.connection = ConnectionFate::Ended;
            continue;
        };
        target.state_after = *state;
        target.connection = ConnectionFate::Remains;
        target.holders = holders.remove(&inode).unwrap_or_default();
        if method.lets_go() && target.holders.is_empty() {
            target.kept_by = keepers.of(inode);
            target.all_seen = Some(keepers.complete);
        }
        target.hint = hint(method, target);
    }
}

/// Asks those of `unseen` that still have their descriptor themselves: one that has ended stays in no table, but keeps it.
fn ask_through_copies(
    subject: &Subject,
    tcp: &[Freed<'_>],
    unseen: &BTreeSet<Inode>,
    remaining: &mut Remaining,
) {
    let Some(copies) = Copies::of(&subject.process) else { return };
    for (_, target) in tcp {
        let Some(inode) = target.inode.filter(|inode| unseen.contains(inode)) else { continue };
        let Some(copy) = copies.copy(target.fd, inode) else { continue };
        match tcp_state(copy.as_fd()) {
            Ok(Some(TcpState::Close)) => drop(remaining.remove(&inode)),
            Ok(state) => drop(remaining.insert(inode, state)),
            // Nothing more is known than before.
            Err(_) => {}
        }
    }
}

fn inode((_, target): &Freed<'_>) -> Option<Inode> {
    target.inode
}

/// Whether the kernel knew it in the network namespace of its process: it alone tells cookies.
fn is_seen((socket, _): &Freed<'_>) -> bool {
    socket.is_some_and(|socket| socket.cookie.is_some())
}

/// Why a connection remains, and what to do about it.
fn hint(method: Method, target: &TargetReport) -> Option<String> {
    if !method.lets_go() {
        return match target.state_after {
            Some(TcpState::FinWait1 | TcpState::LastAck | TcpState::Closing) => Some(
                "the peer has not acknowledged the end yet; the kernel gives up on it after some minutes"
                    .to_owned(),
            ),
            Some(TcpState::FinWait2) => Some("it ends when the peer closes, too".to_owned()),
            _ => None,
        };
    }
    if !target.holders.is_empty() {
        let inode = target.inode.unwrap_or(Inode(0));
        return Some(format!(
            "other descriptors refer to it: leave out --pid to take them all (--inode {inode})"
        ));
    }
    let unseen = match target.all_seen {
        Some(false) => "; not every process could be looked into, and one of them may hold it",
        _ => "",
    };
    let what = if target.kept_by.iter().any(|keeper| keeper.certain) {
        "it is registered with an io_uring, and ends when it is taken out there or 'ss --kill' ends it"
    } else if target.kept_by.is_empty() {
        "no process visible from here holds it: a thread may be blocked in a call on it (it ends when that call \
         returns), it may be on its way over a Unix socket (SCM_RIGHTS), or registered with an io_uring"
    } else {
        "no process visible from here holds it: what kept_by names may keep it, and it ends with that or when \
         'ss --kill' ends it"
    };
    Some(format!("{what}{unseen}"))
}

/// The sockets that there still are, and the state of each where it is known.
type Remaining = BTreeMap<Inode, Option<TcpState>>;

/// As [`ask`]. After a shutdown the last segments are on their way: the peer's answer is waited for, for a moment.
fn settled(mut diag: Option<&mut Diag>, method: Method, tcp: &[Freed<'_>]) -> Option<Remaining> {
    let until = Instant::now() + WINDING_UP;
    loop {
        let remaining = ask(diag.as_deref_mut(), tcp).ok().flatten()?;
        let winds_up = |state: &Option<TcpState>| {
            matches!(state, Some(TcpState::FinWait1 | TcpState::LastAck | TcpState::Closing))
        };
        let wait = method == Method::Shutdown && remaining.values().any(winds_up);
        if !wait || Instant::now() >= until {
            return Some(remaining);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Which of the sockets there still are, by asking the kernel: for each if all are connections and not too many,
/// else for all there are.
///
/// A connection with the same ends and another inode is a new one; one without is an orphan that the kernel still
/// winds up.
fn ask(diag: Option<&mut Diag>, tcp: &[Freed<'_>]) -> Result<Option<Remaining>, DiagError> {
    let Some(diag) = diag else { return Ok(None) };
    let mut remaining = Remaining::new();
    let connections: Vec<&SocketInfo> =
        tcp.iter().filter(|freed| is_seen(freed)).filter_map(|(socket, _)| *socket).collect();
    let each = connections.len() == tcp.len() && connections.iter().all(|socket| socket.peer.is_some());
    if each && connections.len() <= MOST_ASKED {
        for socket in connections {
            remaining.extend(diag.again(socket)?.map(|found| (found.inode, found.state)));
        }
    } else {
        let wanted: BTreeSet<Inode> = tcp.iter().filter_map(inode).collect();
        let states = possible_states(tcp.iter().map(|(socket, _)| socket.and_then(|socket| socket.state)));
        diag.dump_tcp(&states, false, |socket| {
            remaining.extend(wanted.get(&socket.inode).map(|inode| (*inode, socket.state)));
        })?;
    }
    Ok(Some(remaining))
}

/// In which states sockets can be that still have a descriptor, from the states they were in. With thousands closed
/// just now, the table is full of others: what the peers on this host wait in.
fn possible_states(before: impl Iterator<Item = Option<TcpState>>) -> Vec<TcpState> {
    let only_waits = |state| matches!(state, Some(TcpState::CloseWait | TcpState::LastAck));
    if before.into_iter().all(only_waits) {
        // After the peer's end there is nothing but one's own (RFC 9293, 3.3.2).
        return vec![TcpState::CloseWait, TcpState::LastAck];
    }
    let has_descriptor = |state: &TcpState| !matches!(state, TcpState::TimeWait | TcpState::NewSynRecv);
    TcpState::ALL.iter().copied().filter(has_descriptor).collect()
}

/// Which of the sockets there still are, by reading the whole table; `None` if it can't be read.
fn look_up(subject: &Subject, tcp: &[Freed<'_>]) -> Option<Remaining> {
    let table = SocketTable::read(&subject.process, Protocols::TCP).ok()?;
    Some(tcp.iter().filter_map(inode).filter_map(|inode| Some((inode, table.get(inode)?.state))).collect())
}

/// Every descriptor on this host that refers to one of `inodes`. Processes that can't be read are left out: they
/// belong to others, or have just ended.
fn holders_of(procfs: &Procfs, inodes: &BTreeSet<Inode>) -> HashMap<Inode, Vec<HolderReport>> {
    let mut holders: HashMap<Inode, Vec<HolderReport>> = HashMap::new();
    for Holder { inode, pid, tid, comm, fd } in procfs.holders(inodes, || true).found {
        holders.entry(inode).or_default().push(HolderReport { pid, tid, comm: Text::from(comm), fd });
    }
    holders
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
