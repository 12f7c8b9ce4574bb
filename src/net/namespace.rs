//! Network namespaces (network_namespaces(7)), held open so that their number can't come to mean another.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::sys::statfs::{FsType, fstatfs};

use crate::host::{self, Fallback, Feature};
use crate::proc::{ProcError, Process, Procfs};

/// Where ip-netns(8) keeps those that have a name, and maybe no process.
const NAMED: &str = "/run/netns";
/// NSFS_MAGIC (linux/magic.h): the file system of namespaces, which has no other files.
const NSFS: FsType = FsType(0x6e73_6673);
const OWN: &str = "/proc/self/ns/net";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    number: u64,
    file: File,
}

impl Namespace {
    /// The one that a process is in: its first thread that lives.
    ///
    /// # Errors
    /// [`ProcError::Gone`], or [`ProcError::Denied`] unless it may be read as a tracer could.
    pub fn of_process(process: &Process) -> Result<Self, ProcError> {
        let file = process.open_netns(process.living_thread()?)?;
        let number =
            file.metadata().map_err(|error| ProcError::from_io(error, process.path(b"ns/net")))?.ino();
        Ok(Self { number, file })
    }

    /// The one at a path, such as `/run/netns/NAME`; `None` if that is no namespace. Whether it is one for networks
    /// shows when it is entered.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        // Neither to wait for the other end of a FIFO, nor to take a terminal for one's own.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let kind = fstatfs(&file)?.filesystem_type();
        if !(kind == NSFS && host::has(Feature::Nsfs)) {
            // Where there is no such file system, they are of procfs, as ours is, and so are other files.
            let own = fstatfs(&File::open(OWN)?)?.filesystem_type();
            if (own == NSFS && host::has(Feature::Nsfs)) || own != kind {
                return Ok(None);
            }
            host::fall_back(Fallback::NamespaceInProcfs);
        }
        let number = file.metadata()?.ino();
        Ok(Some(Self { number, file }))
    }

    /// Every one that a process is in, or that has a name, once. Not found are those that only a thread, a socket or a
    /// mount elsewhere keeps alive.
    ///
    /// # Errors
    /// Only if /proc itself can't be read.
    pub fn all(procfs: &Procfs) -> Result<Vec<Self>, ProcError> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for pid in procfs.pids()? {
            // Those that may not be looked into are told of when their descriptors are looked for.
            let Ok(process) = procfs.open_listed(pid) else { continue };
            if process.netns().is_ok_and(|number| !seen.contains(&number))
                && let Ok(namespace) = Self::of_process(&process)
                && seen.insert(namespace.number)
            {
                found.push(namespace);
            }
        }
        let named = fs::read_dir(NAMED).into_iter().flatten().flatten();
        // A name left over from a namespace that is no longer mounted there is an ordinary file.
        let named = named.filter_map(|entry| Self::at(&entry.path()).ok().flatten());
        found.extend(named.filter(|namespace| seen.insert(namespace.number)));
        Ok(found)
    }

    /// Its number, as in `net:[4026531840]`.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_is_found_once_and_nothing_else_is_one() {
        let own = Procfs::host().own_netns().unwrap();
        let all = Namespace::all(&Procfs::host()).unwrap();
        let numbers: Vec<u64> = all.iter().map(Namespace::number).collect();
        assert_eq!(numbers.iter().filter(|number| **number == own).count(), 1, "{numbers:?}");
        assert_eq!(
            Namespace::at(Path::new("/proc/self/ns/net")).unwrap().map(|found| found.number),
            Some(own)
        );
        assert!(Namespace::at(Path::new("/proc/self/stat")).unwrap().is_none());
        assert!(Namespace::at(Path::new("/no/such/file")).is_err());
    }
}
