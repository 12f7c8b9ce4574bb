//! Looking again after acting: which connections are still there, and who holds them.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::{Diag, DiagError, Endpoint, Protocols, SocketInfo, SocketTable};
use crate::proc::{FdTarget, ProcError, Process, Procfs};
use crate::report::{ConnectionFate, HolderReport, TargetReport, Text};
use crate::survey::Subject;

/// Up to how many connections are asked for one by one, at some 3 us each. Reading the whole table costs 10 ms
/// and more, most of it for the size of the kernel's hash table and not for what is in it.
const MOST_ASKED: usize = 200;

/// A TCP socket whose descriptor was freed, as it was found before, and the report on it.
type Freed<'a> = (Option<&'a SocketInfo>, &'a mut TargetReport);

/// Finds out for each of `targets`, sockets of `subject` whose descriptor was freed, whether the connection
/// ended if it is TCP, and if not, who on this host still has a descriptor to it.
pub fn connections<'a>(procfs: &Procfs, subject: &Subject, targets: impl Iterator<Item = Freed<'a>>) {
    let mut tcp: Vec<Freed<'_>> = targets.filter(|(_, target)| target.kind == Kind::Tcp).collect();
    if tcp.is_empty() {
        return;
    }
    let remaining = ask(procfs, subject, &tcp).unwrap_or_else(|| look_up(subject, &tcp));
    let mut holders = if remaining.is_empty() { HashMap::new() } else { holders_of(procfs, &remaining) };
    for (_, target) in &mut tcp {
        let Some(inode) = target.inode else { continue };
        if !remaining.contains(&inode) {
            target.connection = ConnectionFate::Ended;
            continue;
        }
        target.connection = ConnectionFate::Remains;
        target.holders = holders.remove(&inode).unwrap_or_default();
        target.hint = Some(if target.holders.is_empty() {
            "no process visible from here holds it: a thread may be blocked in a call on it (it ends when that call \
             returns), it may be on its way over a Unix socket (SCM_RIGHTS), or registered with an io_uring"
                .to_owned()
        } else {
            format!("other descriptors refer to it: leave out --pid to take them all (--inode {inode})")
        });
    }
}

/// Which of the sockets there still are, by asking the kernel for each connection; `None` where that can't be
/// done: another network namespace than fdclose's own, a kernel that can't be asked, a socket that is no
/// connection.
fn ask(procfs: &Procfs, subject: &Subject, tcp: &[Freed<'_>]) -> Option<BTreeSet<Inode>> {
    let same_netns = subject.netns.is_some() && subject.netns == procfs.own_netns().ok();
    if !same_netns || tcp.len() > MOST_ASKED {
        return None;
    }
    let connections: Vec<_> = tcp.iter().map(|freed| connection(freed)).collect::<Option<_>>()?;
    // Whatever the reason, the tables tell, too.
    remaining_of(&connections).ok()
}

/// An inode and the ends of its connection.
struct Connection {
    inode: Inode,
    local: SocketAddr,
    peer: SocketAddr,
    interface: Option<u32>,
}

fn connection((socket, target): &Freed<'_>) -> Option<Connection> {
    let socket = (*socket)?;
    let (Endpoint::Inet(local), Some(Endpoint::Inet(peer))) = (&socket.local, &socket.peer) else {
        return None;
    };
    Some(Connection { inode: target.inode?, local: *local, peer: *peer, interface: socket.interface })
}

/// A connection with the same ends and another inode, or none, is a new one, or an orphan that the kernel
/// still winds up.
fn remaining_of(connections: &[Connection]) -> Result<BTreeSet<Inode>, DiagError> {
    let mut diag = Diag::open()?;
    let mut remaining = BTreeSet::new();
    for connection in connections {
        let (local, peer) = (connection.local, connection.peer);
        let found = match connection.interface {
            Some(interface) => diag.tcp_bound(local, peer, interface)?,
            None => diag.tcp_anywhere(local, peer)?,
        };
        if found.is_some_and(|found| found.inode == connection.inode) {
            remaining.insert(connection.inode);
        }
    }
    Ok(remaining)
}

/// Which of the sockets there still are, by reading the whole table.
fn look_up(subject: &Subject, tcp: &[Freed<'_>]) -> BTreeSet<Inode> {
    // A table that can't be read any more is that of a process that ended, with its connections.
    let Ok(table) = SocketTable::read(&subject.process, Protocols::TCP) else { return BTreeSet::new() };
    tcp.iter().filter_map(|(_, target)| target.inode).filter(|inode| table.get(*inode).is_some()).collect()
}

/// Every descriptor on this host that refers to one of `inodes`. Processes that can't be read are left out: they
/// belong to others, or have just ended.
fn holders_of(procfs: &Procfs, inodes: &BTreeSet<Inode>) -> HashMap<Inode, Vec<HolderReport>> {
    let mut holders: HashMap<Inode, Vec<HolderReport>> = HashMap::new();
    for pid in procfs.pids().unwrap_or_default() {
        let Ok(process) = procfs.open_listed(pid) else { continue };
        // Unreadable processes are left out, as said above.
        let _ = add_holders(&process, inodes, &mut holders);
    }
    holders
}

fn add_holders(
    process: &Process,
    inodes: &BTreeSet<Inode>,
    holders: &mut HashMap<Inode, Vec<HolderReport>>,
) -> Result<(), ProcError> {
    let dir = process.fd_dir_of_process()?;
    for fd in dir.list()? {
        if let Some(FdTarget::Socket(inode)) = dir.read(fd)?
            && inodes.contains(&inode)
        {
            let comm = Text::from(process.comm()?);
            holders.entry(inode).or_default().push(HolderReport { pid: process.pid(), comm, fd });
        }
    }
    Ok(())
}
