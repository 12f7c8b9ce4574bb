//! Asking about another network namespace (network_namespaces(7)).

use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;

use super::{Diag, DiagError};
use crate::ids::Tid;
use crate::net::error::NetError;
use crate::proc::Process;

impl Diag {
    /// Opens one on the network namespace of a thread. One that is not fdclose's own must be entered for it,
    /// which needs CAP_SYS_ADMIN there and here (setns(2)).
    ///
    /// # Errors
    /// [`NetError::Proc`] if the thread is gone or may not be looked into; [`NetError::Diag`] with EPERM if its
    /// namespace may not be entered, otherwise as [`Diag::open`].
    pub fn of_thread(process: &Process, tid: Tid) -> Result<Self, NetError> {
        let theirs = process.open_netns(tid)?;
        let number = fstat(&theirs).map_err(DiagError::from)?.st_ino;
        if process.procfs().own_netns()? == number {
            return Ok(Self::open()?);
        }
        Ok(Self::open_in(theirs.as_fd())?)
    }

    /// As [`Diag::of_thread`], of [`Process::living_thread`], whose network namespace has the number `netns` as far
    /// as is known. If that is fdclose's own, it works also when the process has ended.
    ///
    /// # Errors
    /// As [`Diag::of_thread`].
    pub fn of_process(process: &Process, netns: Option<u64>) -> Result<Self, NetError> {
        if netns.is_some() && netns == process.procfs().own_netns().ok() {
            return Ok(Self::open()?);
        }
        Self::of_thread(process, process.living_thread()?)
    }

    /// A netlink socket stays in the namespace it was made in, so a thread that goes there, makes one and ends is
    /// all it takes; this thread goes nowhere.
    fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, DiagError> {
        thread::scope(|scope| {
            let enter = move || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                Self::open()
            };
            let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, enter)?;
            thread.join().unwrap_or(Err(DiagError::NoAnswer))
        })
    }
}
