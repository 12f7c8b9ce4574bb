//! Looking into one process: which of its descriptors are selected, as far as they themselves tell.

use std::sync::{Mutex, PoisonError};

use super::watched::{Instances, Others};
use super::{ASK_ONE_BY_ONE, Detail, Subject, bulk, socket_inode};
use crate::ids::Fd;
use crate::proc::{FdDir, FdIdentity, ProcError, Process};
use crate::select::{self, Verdict};
use crate::selectors::Selectors;
use crate::watchdog;

const CLOSE_ON_EXEC: u32 = libc::O_CLOEXEC.cast_unsigned();

/// The matches of one process, before the socket tables are asked.
pub(super) struct Found {
    pub(super) subject: Subject,
    pub(super) matches: Vec<(Fd, FdIdentity, Verdict)>,
    pub(super) instances: Instances,
    /// What was found in the tables that threads of it have for themselves.
    pub(super) private: Vec<Found>,
}

impl Found {
    /// Whether its sockets will be looked for in the table of all of them.
    pub(super) fn needs_table(&self, detail: Detail) -> bool {
        let sockets = self.matches.iter().filter(|(_, identity, _)| socket_inode(identity).is_some());
        sockets.count() > if detail == Detail::All { 0 } else { ASK_ONE_BY_ONE }
    }
}

/// What `process` has that is selected, or may be. `on_many` is called if it has many descriptors.
pub(super) fn look_into(
    process: Process,
    selectors: &Selectors,
    detail: Detail,
    on_many: &mut dyn FnMut(),
) -> Result<Option<Found>, ProcError> {
    // A kernel thread or a zombie has a name but no descriptors; a name may be asked for.
    let comm = if selectors.comms.is_empty() { None } else { Some(process.comm()?) };
    if !select::by_process(selectors, process.pid(), comm.as_deref().unwrap_or_default()) {
        return Ok(None);
    }
    let dir = process.fd_dir_of_process()?;
    // A listing has the tables that threads have for themselves, too.
    let tids = if detail == Detail::All { process.private_tables(dir.tid())? } else { Vec::new() };
    let mut private = Vec::new();
    for tid in tids {
        let of_thread = process.try_clone().and_then(|process| {
            let dir = process.fd_dir(tid)?;
            look_into_table(process, &dir, comm.clone(), selectors, detail, on_many)
        });
        match of_thread {
            Ok(found) => private.extend(found),
            // The thread has ended meanwhile.
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    for found in &mut private {
        found.subject.is_private = true;
    }
    let Some(found) = look_into_table(process, &dir, comm, selectors, detail, on_many)? else {
        let mut private = private.into_iter();
        let first = private.next();
        return Ok(first.map(|first| Found { private: private.collect(), ..first }));
    };
    Ok(Some(Found { private, ..found }))
}

/// As [`look_into`], one descriptor table of a process.
fn look_into_table(
    process: Process,
    dir: &FdDir,
    comm: Option<Vec<u8>>,
    selectors: &Selectors,
    detail: Detail,
    on_many: &mut dyn FnMut(),
) -> Result<Option<Found>, ProcError> {
    let (instances, others) = (Mutex::new(Instances::default()), Others::default());
    let wanted = |fd| others.leave_out_unless(select::by_number(selectors, fd), fd);
    let mut matches =
        bulk::look(dir, wanted, |fd| identify(dir, selectors, detail, fd, &instances), on_many)?;
    if selectors.pids.is_empty() && process.pid().as_raw().cast_unsigned() == std::process::id() {
        matches.retain(|(fd, ..)| is_inherited(dir, *fd));
    }
    if matches.is_empty() {
        return Ok(None);
    }
    matches.sort_unstable_by_key(|(fd, ..)| *fd);
    let comm = match comm {
        Some(comm) => comm,
        None => process.comm()?,
    };
    // Only a listing shows it.
    let uid = if detail == Detail::All { process.uid().ok() } else { None };
    let netns = process.namespace_of(dir.tid(), "net").ok();
    let mut instances = instances.into_inner().unwrap_or_else(PoisonError::into_inner);
    instances.look_among(&others, dir);
    instances.sort();
    let subject = Subject { process, comm, uid, netns, table: dir.tid(), is_private: false };
    Ok(Some(Found { subject, matches, instances, private: Vec::new() }))
}

/// Whether fdclose was started with this descriptor. What it has made itself is closed by execve(2): copies of sockets among
/// them, by which those that have been found are asked while other processes are still being looked into.
fn is_inherited(dir: &FdDir, fd: Fd) -> bool {
    dir.fdinfo(fd).is_ok_and(|info| info.is_some_and(|info| info.flags & CLOSE_ON_EXEC == 0))
}

/// What one descriptor is, if it is selected or may be.
fn identify(
    dir: &FdDir,
    selectors: &Selectors,
    detail: Detail,
    fd: Fd,
    instances: &Mutex<Instances>,
) -> Result<Option<(Fd, FdIdentity, Verdict)>, ProcError> {
    watchdog::beat();
    // The descriptor may be closed since it was listed.
    let Some(target) = dir.read(fd)? else { return Ok(None) };
    let kind = target.kind();
    if Instances::are(kind) {
        instances.lock().unwrap_or_else(PoisonError::into_inner).note(fd, kind);
    }
    let verdict = select::by_descriptor(selectors, fd, &target);
    if verdict == Verdict::No {
        return Ok(None);
    }
    let identity = match detail {
        Detail::Ends | Detail::Idle => dir.identity_of(fd, target)?,
        Detail::All => Some(FdIdentity::by_name(target)),
    };
    Ok(identity.map(|identity| (fd, identity, verdict)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Pid;
    use crate::proc::Procfs;
    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn what_is_closed_by_execve_was_not_inherited() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let dir = Procfs::host().open(own).unwrap().fd_dir_of_process().unwrap();
        let made = File::open("/dev/null").unwrap();
        let kept = nix::unistd::dup(&made).unwrap();
        let number = |raw| Fd::new(raw).unwrap();
        assert!(!is_inherited(&dir, number(made.as_raw_fd())));
        assert!(is_inherited(&dir, number(kept.as_raw_fd())));
    }
}
