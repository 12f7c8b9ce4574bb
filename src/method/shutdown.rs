//! `shutdown`: both directions of a socket are shut down, through a copy of its descriptor.
//!
//! The process is never stopped. A shutdown acts on the socket, so every holder sees it: reads give the end of file,
//! writes EPIPE, whoever waits in a call wakes up, and epoll tells of it; whoever still tracks the descriptor closes it
//! in its own time. The descriptor stays open until then.

use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::sys::socket::Shutdown;

use super::{Item, ItemOutcome, Job, Operation};
use crate::net::{Copies, shut_down};
use crate::proc::FdTarget;

/// Does `job`.
pub(super) fn shutdown(job: &Job<'_>) -> Operation {
    let mut operation = Operation::new(job.items.len());
    let copies = Copies::of(job.process);
    operation.outcomes = job.items.iter().map(|item| one(copies.as_ref(), item)).collect();
    operation
}

fn one(copies: Option<&Copies>, item: &Item) -> ItemOutcome {
    let FdTarget::Socket(inode) = item.expected.target else {
        return ItemOutcome::Failed("it is no socket".to_owned());
    };
    let answer = copies.map_or(Err(Errno::ENOSYS), |copies| copies.try_copy(item.fd, inode));
    match answer {
        Ok(Some(copy)) => match shut_down(copy.as_fd(), Shutdown::Both) {
            // A socket that is not connected has nothing to shut down, but whoever waits on it is woken all the same.
            Ok(()) | Err(Errno::ENOTCONN) => ItemOutcome::Done(None),
            Err(errno) => ItemOutcome::Failed(format!("shutdown: {}", errno.desc())),
        },
        Ok(None) => ItemOutcome::Changed,
        Err(Errno::EBADF | Errno::ESRCH) => ItemOutcome::Gone,
        Err(Errno::ENOSYS) => ItemOutcome::Refused {
            why: "this kernel makes no copies of descriptors (pidfd_getfd, Linux 5.6)".to_owned(),
            hint: "use --method close".to_owned(),
        },
        Err(Errno::EPERM) => ItemOutcome::Refused {
            why: "copying the descriptor (pidfd_getfd) takes the rights of ptrace(2)".to_owned(),
            hint: "run fdclose as root".to_owned(),
        },
        Err(errno) => ItemOutcome::Failed(format!("pidfd_getfd: {}", errno.desc())),
    }
}
