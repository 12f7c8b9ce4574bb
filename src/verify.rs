//! Looking again after acting: which connections are still there, and who holds them.

use std::collections::{BTreeSet, HashMap};

use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::{Protocols, SocketTable};
use crate::proc::{FdTarget, ProcError, Process, Procfs};
use crate::report::{ConnectionFate, HolderReport, TargetReport, Text};

/// Finds out for each of `targets`, TCP sockets of `process` whose descriptor was freed, whether the connection
/// ended, and if not, who on this host still has a descriptor to it.
pub fn connections<'a>(
    procfs: &Procfs,
    process: &Process,
    targets: impl Iterator<Item = &'a mut TargetReport>,
) {
    let mut tcp: Vec<&mut TargetReport> = targets.filter(|target| target.kind == Kind::Tcp).collect();
    if tcp.is_empty() {
        return;
    }
    // A table that can't be read any more is that of a process that ended, with its connections.
    let table = SocketTable::read(process, Protocols::TCP).ok();
    let remains = |inode: Inode| table.as_ref().is_some_and(|table| table.get(inode).is_some());
    let remaining: BTreeSet<Inode> =
        tcp.iter().filter_map(|target| target.inode).filter(|inode| remains(*inode)).collect();
    let mut holders = if remaining.is_empty() { HashMap::new() } else { holders_of(procfs, &remaining) };
    for target in &mut tcp {
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
