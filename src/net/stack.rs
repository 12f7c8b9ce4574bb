//! Another network namespace (network_namespaces(7)), to make sockets in.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;

use super::diag::DiagError;
use super::error::NetError;
use super::namespace::Namespace;
use super::sys;
use crate::ids::Tid;
use crate::proc::Process;

/// A network stack: that of this process, or one that is entered.
#[derive(Debug)]
pub struct Stack(Option<File>);

impl Stack {
    /// That of a thread.
    ///
    /// # Errors
    /// [`NetError::Proc`] if the thread is gone or may not be looked into.
    pub fn of_thread(process: &Process, tid: Tid) -> Result<Self, NetError> {
        let theirs = process.open_netns(tid)?;
        let number = fstat(&theirs).map_err(DiagError::from)?.st_ino;
        Ok(Self((process.procfs().own_netns()? != number).then_some(theirs)))
    }

    /// That of [`Process::living_thread`], whose number is `netns` as far as is known. If it is fdclose's own, it is
    /// found also when the process has ended.
    ///
    /// # Errors
    /// As [`Stack::of_thread`].
    pub fn of_process(process: &Process, netns: Option<u64>) -> Result<Self, NetError> {
        if netns.is_some() && netns == process.procfs().own_netns().ok() {
            return Ok(Self(None));
        }
        Self::of_thread(process, process.living_thread()?)
    }

    /// That of a socket, and its number; `own` is the number of fdclose's own, as far as is known.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN there; ENOTTY before Linux 4.10.
    pub fn of_socket(socket: BorrowedFd<'_>, own: Option<u64>) -> Result<(u64, Self), Errno> {
        let theirs = File::from(sys::netns_of(socket)?);
        let number = fstat(&theirs)?.st_ino;
        Ok((number, Self((own != Some(number)).then_some(theirs))))
    }

    /// That of `namespace`; `own` is the number of fdclose's own, as far as is known.
    ///
    /// # Errors
    /// EMFILE or ENFILE.
    pub fn of_namespace(namespace: &Namespace, own: Option<u64>) -> io::Result<Self> {
        let is_own = own == Some(namespace.number());
        let file = if is_own { None } else { Some(namespace.as_fd().try_clone_to_owned()?.into()) };
        Ok(Self(file))
    }

    /// Does `work` there. A socket stays in the namespace it was made in, so a thread that goes there, makes one and ends
    /// is all it takes; this thread goes nowhere.
    ///
    /// # Errors
    /// What setns(2) answers: EPERM without CAP_SYS_ADMIN there and here. EAGAIN if no thread can be had.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Errno> {
        let Some(namespace) = &self.0 else { return Ok(work()) };
        thread::scope(|scope| {
            let there = move || {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            };
            let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, there);
            // A panic there is a bug.
            thread.map_err(|_| Errno::EAGAIN)?.join().unwrap_or(Err(Errno::EIO))
        })
    }
}
