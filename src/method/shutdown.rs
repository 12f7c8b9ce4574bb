//! `shutdown`: both directions of a socket are shut down, through a copy of its descriptor.
//!
//! The process is not stopped. A shutdown acts on the socket, so every holder sees it: reads give the end of file,
//! writes EPIPE, whoever waits in a call wakes up, and epoll tells of it; whoever still tracks the descriptor closes it
//! in its own time. The descriptor stays open until then.
//!
//! Before Linux 5.6 there are no copies, nor before 6.9 where the main thread has ended. The process then makes the call
//! itself, in a stop, as it would be made to close the descriptor ([`super::close`]).

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
    for (index, item) in job.items.iter().enumerate() {
        let Some(outcome) = one(&copies, job, item) else {
            return in_target_from(index, operation, procfs, job, conduct);
        };
        if let Some(place) = operation.outcomes.get_mut(index) {
            *place = outcome;
        }
    }
    operation
}

/// The items of `job` from `first` on in the target, and those before as in `operation`.
fn in_target_from(
    first: usize,
    operation: Operation,
    procfs: &Procfs,
    job: &Job<'_>,
    conduct: Conduct,
) -> Operation {
    let rest = Job {
        items: job.items.get(first..).unwrap_or_default(),
        sockets: job.sockets.get(first..).unwrap_or_default(),
        watched: job.watched.get(first..).unwrap_or_default(),
        ..*job
    };
    let mut rest = close::perform(Act::Shutdown, procfs, &rest, conduct);
    let mut outcomes = operation.outcomes;
    outcomes.truncate(first);
    outcomes.append(&mut rest.outcomes);
    Operation { outcomes, ..rest }
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

/// `None` if the descriptor is what it was, but no copy of it could be made.
fn one(copies: &Copies, job: &Job<'_>, item: &Item) -> Option<ItemOutcome> {
    let FdTarget::Socket(inode) = item.expected.target else {
        return Some(ItemOutcome::Failed("it is no socket".to_owned()));
    };
    Some(match copies.try_copy(item.fd, inode) {
        Ok(Some(copy)) => match shut_down(copy.as_fd(), Shutdown::Both) {
            // A socket that is not connected has nothing to shut down, but whoever waits on it is woken all the same.
            Ok(()) | Err(Errno::ENOTCONN) => ItemOutcome::Done(None),
            Err(errno) => ItemOutcome::Failed(format!("shutdown: {}", errno.desc())),
        },
        Ok(None) | Err(Errno::EBADF | Errno::ESRCH) => return job.without_copy(item),
        Err(Errno::EPERM) => ItemOutcome::Refused {
            why: "copying the descriptor (pidfd_getfd) takes the rights of ptrace(2)".to_owned(),
            hint: "run fdclose as root".to_owned(),
        },
        Err(errno) => ItemOutcome::Failed(format!("pidfd_getfd: {}", errno.desc())),
    })
}
