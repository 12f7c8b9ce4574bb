//! A process or a thread of it held by a pidfd, for copies of its descriptors, and what these are where a copy can't be had.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::Process;
use crate::ids::{Fd, Tid};
use crate::proc::error::ProcError;
use crate::proc::fd_target::FdTarget;
use crate::proc::sys::{pidfd_open, pidfd_open_thread};

impl Process {
    /// A pidfd of it (5.3), for signals and `poll`; `None` where the kernel, or a container's filter on system calls,
    /// offers none.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if it is no more.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>, ProcError> {
        let pidfd = match pidfd_open(self.pid) {
            Ok(pidfd) => pidfd,
            Err(Errno::ENOSYS | Errno::EPERM) => return Ok(None),
            Err(errno) => return Err(self.error(errno, b"")),
        };
        // The call takes a number. If the process still exists now, it had the number all along.
        if self.exists()? { Ok(Some(pidfd)) } else { Err(ProcError::Gone { path: self.path(b"") }) }
    }

    /// A pidfd of a thread that lives, for pidfd_getfd(2), which gives copies of the descriptors of that thread; `None`
    /// where the kernel offers none, as before Linux 6.9 of any thread but the leader.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if the thread has ended, whether its process has or not.
    pub fn pidfd_of(&self, tid: Tid) -> Result<Option<OwnedFd>, ProcError> {
        let pidfd = if tid == self.pid.leader() {
            pidfd_open(self.pid)
        } else {
            pidfd_open_thread(tid).or_else(unknown)
        };
        let pidfd = match pidfd {
            Ok(pidfd) => pidfd,
            Err(Errno::ENOSYS | Errno::EPERM) => return Ok(None),
            Err(errno) => return Err(self.error(errno, b"task")),
        };
        // As above.
        if self.has_table(tid)? { Ok(Some(pidfd)) } else { Err(ProcError::Gone { path: self.path(b"task") }) }
    }

    /// What `fd` refers to in the table of the thread `table`, or, where that has ended, of [`Process::living_thread`];
    /// `None` only if it is not open there.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if no thread is left; as [`Process::fd_dir`].
    pub fn look(&self, table: Tid, fd: Fd) -> Result<Option<FdTarget>, ProcError> {
        let mut tid = table;
        loop {
            let seen = self.fd_dir(tid).and_then(|dir| dir.read(fd));
            if matches!(seen, Ok(Some(_))) || self.has_table(tid)? {
                return seen;
            }
            tid = self.thread_with_table()?;
        }
    }

    /// As [`Process::living_thread`], without those that are about to end.
    fn thread_with_table(&self) -> Result<Tid, ProcError> {
        for tid in self.threads()? {
            if self.has_table(tid)? {
                return Ok(tid);
            }
        }
        Err(ProcError::Gone { path: self.path(b"task") })
    }

    /// Whether a thread has descriptors: one that ends lets go of them before it shows as a zombie.
    fn has_table(&self, tid: Tid) -> Result<bool, ProcError> {
        match self.stat_of(tid) {
            Ok(stat) => Ok(!stat.is_ending()),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The answer to a flag that the kernel does not know.
fn unknown<T>(errno: Errno) -> Result<T, Errno> {
    Err(if errno == Errno::EINVAL { Errno::ENOSYS } else { errno })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::ids::Pid;
    use crate::net::Copies;
    use crate::proc::Procfs;

    fn own() -> Process {
        Procfs::host().open(Pid::new(std::process::id().cast_signed()).unwrap()).unwrap()
    }

    /// A thread of this process that has ended.
    fn ended(process: &Process) -> Tid {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(nix::unistd::gettid()).unwrap()).join().unwrap();
        let tid = Tid::new(told.recv().unwrap().as_raw()).unwrap();
        // It is joined a moment before the kernel is done with it.
        while process.lives(tid).unwrap() {
            thread::yield_now();
        }
        tid
    }

    #[test]
    fn a_thread_that_has_ended_is_no_reason_to_believe_a_descriptor_closed() {
        let (process, listener) = (own(), TcpListener::bind("127.0.0.1:0").unwrap());
        let fd = Fd::new(listener.as_raw_fd()).unwrap();
        let tid = ended(&process);
        assert!(matches!(process.look(tid, fd), Ok(Some(FdTarget::Socket(_)))));
        assert!(matches!(process.look(process.pid().leader(), fd), Ok(Some(FdTarget::Socket(_)))));
        assert!(matches!(process.look(tid, Fd::new(i32::MAX).unwrap()), Ok(None)));
        assert!(!matches!(process.pidfd_of(tid), Ok(Some(_))));
    }

    #[test]
    fn no_copy_comes_through_a_thread_that_has_ended_since() {
        let (process, listener) = (own(), TcpListener::bind("127.0.0.1:0").unwrap());
        let fd = Fd::new(listener.as_raw_fd()).unwrap();
        let Some(FdTarget::Socket(inode)) = process.look(process.pid().leader(), fd).unwrap() else {
            panic!("it is a socket");
        };
        let (tell, told) = mpsc::channel();
        let (end, is_to_end) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            let _ = is_to_end.recv();
        });
        let tid = Tid::new(told.recv().unwrap().as_raw()).unwrap();
        let Some(pidfd) = process.pidfd_of(tid).unwrap() else {
            return println!("not checked: no PIDFD_THREAD here");
        };
        let copies = Copies::through(pidfd);
        assert!(matches!(copies.try_copy(fd, inode), Ok(Some(_))));
        drop(end);
        other.join().unwrap();
        while process.lives(tid).unwrap() {
            thread::yield_now();
        }
        assert!(matches!(copies.try_copy(fd, inode), Err(Errno::ESRCH | Errno::EBADF)));
    }
}
