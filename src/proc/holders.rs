//! Who on this host has a descriptor to a socket.

use std::collections::BTreeSet;

use super::error::ProcError;
use super::fd_dir::FdDir;
use super::fd_target::FdTarget;
use super::process::Process;
use super::procfs::Procfs;
use crate::ids::{Fd, Inode, Pid, Tid};
use crate::watchdog;

/// So often the processes are listed again for those made meanwhile.
const MOST_LISTINGS: usize = 10;

/// A descriptor that refers to one of the sockets asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The socket.
    pub inode: Inode,
    /// The process.
    pub pid: Pid,
    /// The thread, if it has a descriptor table of its own and is not the main thread.
    pub tid: Option<Tid>,
    /// Its name, unsanitised; empty if it could not be read.
    pub comm: Vec<u8>,
    /// Its descriptor.
    pub fd: Fd,
}

/// Everyone found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// In the order of their pids.
    pub found: Vec<Holder>,
    /// Whether every process could be looked into. Those of other pid namespaces are not seen at all, nor are descriptors
    /// on their way over a Unix socket or registered with an io_uring.
    pub complete: bool,
}

impl Procfs {
    /// Looks into every process, those made meanwhile too, for descriptors to `sockets`, as long as `go_on` says so.
    #[must_use]
    pub fn holders(&self, sockets: &BTreeSet<Inode>, go_on: impl Fn() -> bool) -> Holders {
        let mut holders = Holders { found: Vec::new(), complete: false };
        let (mut seen, mut readable) = (BTreeSet::new(), true);
        for _ in 0..MOST_LISTINGS {
            let Ok(listed) = self.pids() else { break };
            let new: Vec<Pid> = listed.into_iter().filter(|pid| seen.insert(*pid)).collect();
            if new.is_empty() {
                // Where /proc hides the processes of other users (hidepid), the first of all is missing.
                holders.complete = readable && seen.first().is_some_and(|pid| pid.as_raw() == 1);
                break;
            }
            for pid in new {
                if !go_on() {
                    return holders;
                }
                let looked = self.open_listed(pid).and_then(|process| holders.look_into(&process, sockets));
                readable &= looked.is_ok() || !self.is_there(pid);
            }
        }
        holders
    }

    fn is_there(&self, pid: Pid) -> bool {
        let living = |process: Process| process.living_thread();
        !self.open_listed(pid).and_then(living).is_err_and(|error| error.is_gone())
    }
}

impl Holders {
    fn look_into(&mut self, process: &Process, sockets: &BTreeSet<Inode>) -> Result<(), ProcError> {
        let dir = process.fd_dir_of_process()?;
        self.look_at(process, &dir, sockets)?;
        for tid in process.private_tables(dir.tid())? {
            let before = self.found.len();
            match process.fd_dir(tid).and_then(|dir| self.look_at(process, &dir, sockets)) {
                Ok(()) => self.found[before..].iter_mut().for_each(|holder| holder.tid = Some(tid)),
                // The thread has ended meanwhile; the process has not.
                Err(error) if error.is_gone() => self.found.truncate(before),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Adds what is found in one descriptor table of a process.
    ///
    /// # Errors
    /// As [`FdDir::list`] and [`FdDir::read`].
    pub fn look_at(
        &mut self,
        process: &Process,
        dir: &FdDir,
        sockets: &BTreeSet<Inode>,
    ) -> Result<(), ProcError> {
        for fd in dir.list()? {
            watchdog::beat();
            if let Some(FdTarget::Socket(inode)) = dir.read(fd)?
                && sockets.contains(&inode)
            {
                let comm = process.comm().unwrap_or_default();
                self.found.push(Holder { inode, pid: process.pid(), tid: None, comm, fd });
            }
        }
        Ok(())
    }
}
