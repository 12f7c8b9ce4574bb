//! `reset`: the connection gets a RST in the name of its peer, as if that had sent one.
//!
//! The kernel takes one only with exactly the number that it expects next (RFC 5961, 3.2). That is found by TCP_REPAIR
//! through a copy of the descriptor ([`crate::net::Repair`]), else by a question that draws an answer from the kernel
//! ([`crate::net::Wire::challenge`]), else given by the user.
//!
//! A socket must not be left in repair. So that is done by a worker, which goes on if the command is killed; and if the
//! worker is killed, the command, which has copies of the same descriptors, mends what it left. Both would have to be
//! killed, in the same few microseconds, for the socket to stay so.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;

use super::choice::ResetWish;
use super::{Conduct, Found, Item, ItemOutcome, Job, Operation, Way};
use crate::error::AttachError;
use crate::host::{self, Fallback};
use crate::ids::Inode;
use crate::net::{Copies, Endpoint, Ends, Mender, TcpState, tcp_state};
use crate::proc::FdTarget;
use crate::progress;
use crate::trace::signals;
use crate::watchdog;
use crate::worker;

mod connection;
mod line;

use connection::Reset;
use line::Lines;

/// So many at a time are copied, and done by one worker.
const MOST_AT_ONCE: usize = 256;

/// A copy of a socket, to look at it through.
struct Ours {
    copy: OwnedFd,
    /// `None` where it must not be repaired.
    mender: Option<Mender>,
}

/// Does `job`.
pub(super) fn reset(job: &Job<'_>, wish: ResetWish, conduct: Conduct) -> Operation {
    let mut operation = Operation::new(job.items.len());
    let copies = Copies::of(job.process);
    for from in (0..job.items.len()).step_by(MOST_AT_ONCE) {
        let range = from..job.items.len().min(from + MOST_AT_ONCE);
        let (Some(items), Some(sockets)) = (job.items.get(range.clone()), job.sockets.get(range.clone()))
        else {
            break;
        };
        let part = Job { items, sockets, ..*job };
        let copies: Vec<Result<Option<Ours>, ItemOutcome>> =
            items.iter().map(|item| copy(copies.as_ref(), job, item, wish)).collect();
        let done = in_worker(&part, &copies, wish, conduct);
        progress::reached(range.end);
        if let Some(outcomes) = operation.outcomes.get_mut(range) {
            outcomes.clone_from_slice(&done.outcomes);
        }
        operation.found.extend(done.found);
        if done.error.is_some() {
            operation.error = done.error;
            break;
        }
    }
    operation
}

/// A copy of an item's socket; `None` where there can be none, and it is done without.
fn copy(
    copies: Option<&Copies>,
    job: &Job<'_>,
    item: &Item,
    wish: ResetWish,
) -> Result<Option<Ours>, ItemOutcome> {
    let FdTarget::Socket(inode) = item.expected.target else {
        return Err(ItemOutcome::Failed("it is no socket".to_owned()));
    };
    let Some(copies) = copies else {
        host::fall_back(Fallback::NumberByChallenge);
        return Ok(None);
    };
    match copies.try_copy(item.fd, inode) {
        Ok(Some(copy)) => {
            let mender = match Mender::of(copy.as_fd()) {
                // By somebody who saves the process, or brings it back: it is not to be looked at meanwhile.
                Err(Errno::EBUSY) => return Err(in_repair()),
                mender => mender.ok().filter(|_| wish.number.is_none()),
            };
            Ok(Some(Ours { copy, mender }))
        }
        // It may still be there: the thread that was asked has ended.
        Ok(None) | Err(Errno::EBADF | Errno::ESRCH) => job.without_copy(item).map_or(Ok(None), Err),
        Err(_) => Ok(None),
    }
}

fn in_repair() -> ItemOutcome {
    ItemOutcome::Refused {
        why: "the connection is being saved or restored (TCP_REPAIR), as CRIU does".to_owned(),
        hint: "wait until that is over".to_owned(),
    }
}

fn in_worker(
    job: &Job<'_>,
    copies: &[Result<Option<Ours>, ItemOutcome>],
    wish: ResetWish,
    conduct: Conduct,
) -> Operation {
    // Where nobody could mend a socket, none is repaired.
    let here = || Resetter::run(job, copies, wish, conduct, false);
    if !worker::is_possible() {
        return here();
    }
    match worker::run(|| (), |()| Resetter::run(job, copies, wish, conduct, true)) {
        Ok(Ok(operation)) => operation,
        Ok(Err(loss)) => {
            let mut operation = Operation::new(job.items.len());
            operation.outcomes = copies.iter().map(|ours| after_loss(ours, &loss.to_string())).collect();
            operation
        }
        Err(_) => here(),
    }
}

/// The worker was lost. What it left is mended; what it did, the socket tells.
fn after_loss(ours: &Result<Option<Ours>, ItemOutcome>, loss: &str) -> ItemOutcome {
    let Ours { copy, mender } = match ours {
        Ok(Some(ours)) => ours,
        Ok(None) => return ItemOutcome::Failed(format!("{loss}; what became of it is not known")),
        Err(outcome) => return outcome.clone(),
    };
    let mended = mender.map_or(Ok(false), |mender| mender.mend(copy.as_fd()));
    match (mended, tcp_state(copy.as_fd())) {
        (Err(errno), _) => ItemOutcome::Failed(format!(
            "{loss}; its repair (TCP_REPAIR) could not be ended: {}",
            errno.desc()
        )),
        (Ok(_), Ok(Some(TcpState::Close))) => ItemOutcome::Done(None),
        (Ok(_), _) => ItemOutcome::Failed(format!("{loss}; the connection was left as it was")),
    }
}

/// What is needed for one connection after the other.
struct Resetter<'a> {
    lines: Lines<'a>,
    wish: ResetWish,
    conduct: Conduct,
    may_repair: bool,
    /// Connections that were ended, of which there may be another descriptor.
    ended: Vec<(Inode, Way)>,
    job: &'a Job<'a>,
}

/// Why the number was not found, or a segment not sent.
enum Obstacle {
    Refused {
        why: &'static str,
        hint: &'static str,
    },
    Failed(String),
    /// There is no such connection any more.
    Ended,
}

impl Obstacle {
    fn of(errno: Errno, what: &str) -> Self {
        match errno {
            Errno::EPERM | Errno::EACCES => Self::Refused {
                why: "to send segments takes CAP_NET_RAW in the network namespace of the connection",
                hint: "run fdclose as root",
            },
            errno => Self::Failed(format!("{what}: {}", errno.desc())),
        }
    }
}

impl<'a> Resetter<'a> {
    fn run(
        job: &'a Job<'a>,
        copies: &[Result<Option<Ours>, ItemOutcome>],
        wish: ResetWish,
        conduct: Conduct,
        may_repair: bool,
    ) -> Operation {
        let _watched = watchdog::over(job.process.pid());
        let mut operation = Operation::new(job.items.len());
        let lines = match Lines::open(job) {
            Ok(lines) => lines,
            Err(error) => {
                operation.outcomes.fill(super::destroy::failed(&error));
                return operation;
            }
        };
        let mut resetter = Self { lines, wish, conduct, may_repair, ended: Vec::new(), job };
        for (index, ours) in copies.iter().enumerate() {
            if signals::end_is_wanted() {
                operation.fail(AttachError::Interrupted);
                break;
            }
            watchdog::beat();
            let outcome = match ours {
                Ok(ours) => resetter.one(index, ours.as_ref(), &mut operation.found),
                Err(outcome) => outcome.clone(),
            };
            if let Some(place) = operation.outcomes.get_mut(index) {
                *place = outcome;
            }
        }
        operation
    }

    fn one(&mut self, index: usize, ours: Option<&Ours>, found: &mut Vec<Found>) -> ItemOutcome {
        let (Some(item), Some(Some(socket))) = (self.job.items.get(index), self.job.sockets.get(index))
        else {
            return ItemOutcome::Failed("the kernel's socket tables do not have it".to_owned());
        };
        let (Endpoint::Inet(local), Some(Endpoint::Inet(peer))) = (&socket.local, &socket.peer) else {
            return ItemOutcome::Failed("the ends of the connection are not known".to_owned());
        };
        let Some(ends) = Ends::new(*local, *peer) else {
            return ItemOutcome::Failed("its two ends are of different families".to_owned());
        };
        if let Some((_, way)) = self.ended.iter().find(|(inode, _)| *inode == socket.inode) {
            found.push(Found { fd: item.fd, way: *way });
            return ItemOutcome::Done(None);
        }
        let ended = match self.lines.to(socket, ours) {
            Ok(line) => Reset {
                line,
                socket,
                ours,
                wish: self.wish,
                conduct: self.conduct,
                may_repair: self.may_repair,
            }
            .end(ends),
            Err(obstacle) => Err(obstacle),
        };
        match ended {
            Ok(way) => {
                self.ended.push((socket.inode, way));
                found.push(Found { fd: item.fd, way });
                ItemOutcome::Done(None)
            }
            Err(Obstacle::Ended) => ItemOutcome::Gone,
            Err(Obstacle::Refused { why, hint }) => {
                ItemOutcome::Refused { why: why.to_owned(), hint: hint.to_owned() }
            }
            Err(Obstacle::Failed(why)) => ItemOutcome::Failed(why),
        }
    }
}
