//! Looking again after acting: which connections are still there, and who holds them.

use std::collections::{BTreeSet, HashMap};

use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::{Diag, DiagError, Protocols, SocketInfo, SocketTable, TcpState};
use crate::proc::{FdTarget, ProcError, Process, Procfs};
use crate::report::{ConnectionFate, HolderReport, TargetReport, Text};
use crate::survey::{Diags, Subject};

/// Up to how many connections are asked for one by one, at 3 us each. To ask for all takes 0.2 to 0.7 ms even if
/// there are hardly any (a walk through the kernel's hash table, here one of 262,144 chains), and 1 us for each.
const MOST_ASKED: usize = 200;

/// A TCP socket whose descriptor was freed, as it was found before, and the report on it.
type Freed<'a> = (Option<&'a SocketInfo>, &'a mut TargetReport);

/// Finds out for each of `targets`, sockets of `subject` whose descriptor was freed, whether the connection
/// ended if it is TCP, and if not, who on this host still has a descriptor to it.
pub fn connections<'a>(
    procfs: &Procfs,
    diags: &mut Diags,
    subject: &Subject,
    targets: impl Iterator<Item = Freed<'a>>,
) {
    let mut tcp: Vec<Freed<'_>> = targets.filter(|(_, target)| target.kind == Kind::Tcp).collect();
    if tcp.is_empty() {
        return;
    }
    // Whatever the reason why the kernel can't be asked, its tables in /proc tell.
    let answer = ask(diags.of(subject), &tcp).ok().flatten().or_else(|| look_up(subject, &tcp));
    // Of a socket that nobody has seen in this network namespace, not to be there says nothing; and nothing is known
    // of a namespace whose only process we knew has ended.
    let in_the_dark = answer.is_none();
    let unseen: BTreeSet<Inode> =
        tcp.iter().filter(|freed| in_the_dark || !is_seen(freed)).filter_map(inode).collect();
    let mut remaining = answer.unwrap_or_default();
    remaining.extend(&unseen);
    let mut holders = if remaining.is_empty() { HashMap::new() } else { holders_of(procfs, &remaining) };
    remaining.retain(|inode| !unseen.contains(inode) || holders.contains_key(inode));
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

fn inode((_, target): &Freed<'_>) -> Option<Inode> {
    target.inode
}

/// Whether the kernel knew it in the network namespace of its process: it alone tells cookies.
fn is_seen((socket, _): &Freed<'_>) -> bool {
    socket.is_some_and(|socket| socket.cookie.is_some())
}

/// Which of the sockets there still are, by asking the kernel: for each if all are connections and not too many,
/// else for all there are.
///
/// A connection with the same ends and another inode is a new one; one without is an orphan that the kernel still
/// winds up.
fn ask(diag: Option<&mut Diag>, tcp: &[Freed<'_>]) -> Result<Option<BTreeSet<Inode>>, DiagError> {
    let Some(diag) = diag else { return Ok(None) };
    let mut remaining = BTreeSet::new();
    let connections: Vec<&SocketInfo> =
        tcp.iter().filter(|freed| is_seen(freed)).filter_map(|(socket, _)| *socket).collect();
    let each = connections.len() == tcp.len() && connections.iter().all(|socket| socket.peer.is_some());
    if each && connections.len() <= MOST_ASKED {
        for socket in connections {
            remaining.extend(diag.again(socket)?.map(|found| found.inode));
        }
    } else {
        let wanted: BTreeSet<Inode> = tcp.iter().filter_map(inode).collect();
        diag.dump_tcp(TcpState::ALL, false, |socket| remaining.extend(wanted.get(&socket.inode)))?;
    }
    Ok(Some(remaining))
}

/// Which of the sockets there still are, by reading the whole table; `None` if it can't be read.
fn look_up(subject: &Subject, tcp: &[Freed<'_>]) -> Option<BTreeSet<Inode>> {
    let table = SocketTable::read(&subject.process, Protocols::TCP).ok()?;
    Some(tcp.iter().filter_map(inode).filter(|inode| table.get(*inode).is_some()).collect())
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
            let comm = Text::from(process.comm().unwrap_or_default());
            holders.entry(inode).or_default().push(HolderReport { pid: process.pid(), comm, fd });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
