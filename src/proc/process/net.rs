//! Its network namespace.

use std::fs::File;
use std::os::fd::AsFd;

use super::Process;
use crate::ids::Tid;
use crate::proc::error::ProcError;
use crate::proc::file;
use crate::proc::name::Name;
use crate::proc::procfs::Procfs;

impl Process {
    /// Opens the network namespace of one thread, for setns(2).
    pub(crate) fn open_netns(&self, tid: Tid) -> Result<File, ProcError> {
        let name = Name::of_task(tid, b"ns/net");
        file::open(self.dir.as_fd(), name.as_bytes()).map_err(|errno| self.absent(errno, name.as_bytes()))
    }

    /// The mount it was found in.
    pub(crate) fn procfs(&self) -> Procfs {
        Procfs::at(&*self.root)
    }

    /// Opens a table of the network namespace of one thread: `b"tcp"`, `b"unix"`, ... `None` if there is none,
    /// as `tcp6` with IPv6 off.
    pub(crate) fn open_net(&self, tid: Tid, table: &[u8]) -> Result<Option<File>, ProcError> {
        let name = [Name::of_task(tid, b"net/").as_bytes(), table].concat();
        match file::open(self.dir.as_fd(), &name) {
            Ok(file) => Ok(Some(file)),
            Err(errno) => match self.absent(errno, &name) {
                ProcError::Missing { .. } => Ok(None),
                error => Err(error),
            },
        }
    }
}
