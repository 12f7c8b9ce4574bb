//! `shutdown`: both directions of a socket are shut down, through a copy of its descriptor.
//!
//! The process is not stopped. A shutdown acts on the socket, so every holder sees it: reads give the end of file,
//! writes EPIPE, whoever waits in a call wakes up, and epoll tells of it; whoever still tracks the descriptor closes it
//! in its own time. The descriptor stays open until then.
//!
//! Before Linux 5.6 there are no copies. The process then makes the call itself, in a stop, as it would be made to close
//! the descriptor ([`super::close`]).

use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::sys::socket::Shutdown;

use super::batch::{Act, Comparison};
use super::surgeon::Surgeon;
use super::{Conduct, Item, ItemOutcome, Job, Operation, close};
use crate::error::TraceError;
use crate::host::{self, Fallback, Feature};
use crate::inject::fdops;
use crate::net::{Copies, shut_down};
use crate::proc::{FdTarget, Procfs};

/// Does `job`.
pub(super) fn shutdown(procfs: &Procfs, job: &Job<'_>, conduct: Conduct) -> Operation {
    let mut operation = Operation::new(job.items.len());
    let copies = Copies::of(job.process).filter(Copies::are_to_be_had);
    let Some(copies) = copies else {
        host::fall_back(Fallback::ShutdownInTarget);
        return close::perform(Act::Shutdown, procfs, job, conduct);
    };
    operation.outcomes = job.items.iter().map(|item| one(&copies, item)).collect();
    operation
}

/// In the target, in a stop.
pub(super) fn injected(surgeon: &mut Surgeon<'_>, item: &Item) -> Result<ItemOutcome, TraceError> {
    match surgeon.table().compare(item, None) {
        Ok(Comparison::Gone) => return Ok(ItemOutcome::Gone),
        Ok(Comparison::Changed) => return Ok(ItemOutcome::Changed),
        Err(error) => return Ok(ItemOutcome::Failed(error.to_string())),
        Ok(Comparison::Same) => {}
    }
    Ok(match fdops::shutdown(surgeon.remote()?, item.fd)? {
        Ok(()) | Err(Errno::ENOTCONN) => ItemOutcome::Done(None),
        Err(Errno::ENOSYS) => {
            host::fall_back(Fallback::Shutdown32Refused);
            let since = Feature::SocketCalls32.since();
            ItemOutcome::Refused {
                why: format!(
                    "this kernel has no shutdown(2) of its own for 32-bit processes (Linux {since})"
                ),
                hint: "use --method close".to_owned(),
            }
        }
        Err(errno) => ItemOutcome::Failed(format!("shutdown in the target: {}", errno.desc())),
    })
}

fn one(copies: &Copies, item: &Item) -> ItemOutcome {
    let FdTarget::Socket(inode) = item.expected.target else {
        return ItemOutcome::Failed("it is no socket".to_owned());
    };
    match copies.try_copy(item.fd, inode) {
        Ok(Some(copy)) => match shut_down(copy.as_fd(), Shutdown::Both) {
            // A socket that is not connected has nothing to shut down, but whoever waits on it is woken all the same.
            Ok(()) | Err(Errno::ENOTCONN) => ItemOutcome::Done(None),
            Err(errno) => ItemOutcome::Failed(format!("shutdown: {}", errno.desc())),
        },
        Ok(None) => ItemOutcome::Changed,
        Err(Errno::EBADF | Errno::ESRCH) => ItemOutcome::Gone,
        Err(Errno::EPERM) => ItemOutcome::Refused {
            why: "copying the descriptor (pidfd_getfd) takes the rights of ptrace(2)".to_owned(),
            hint: "run fdclose as root".to_owned(),
        },
        Err(errno) => ItemOutcome::Failed(format!("pidfd_getfd: {}", errno.desc())),
    }
}
