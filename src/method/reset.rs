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
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::choice::ResetWish;
use super::{Conduct, Found, Item, ItemOutcome, Job, Operation, Way};
use crate::error::AttachError;
use crate::ids::Inode;
use crate::inject::deathpoint::{self, Place};
use crate::net::{
    Challenge, Copies, Diag, DiagError, Endpoint, Ends, Mender, NetError, Numbers, Repair, SocketInfo, Stack,
    TcpState, Wire, tcp_state,
};
use crate::proc::FdTarget;
use crate::progress;
use crate::trace::signals;
use crate::watchdog;
use crate::worker;

/// So many at a time are copied, and done by one worker.
const MOST_AT_ONCE: usize = 256;

/// If data comes in between, the number is not right any more, and has to be found anew. Of a connection that receives
/// 2 GB/s, one in three is right.
const TRYING: Duration = Duration::from_secs(2);

/// Questions about one connection before it is given up.
const MOST_QUESTIONS: u32 = 4;

/// A segment over lo has arrived when its send returns, unless the machine is overloaded: the first is waited for so long,
/// and each time twice as long, at the most so long.
const FIRST_WAIT: Duration = Duration::from_millis(2);
const ARRIVAL: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_micros(500);

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
            items.iter().map(|item| copy(copies.as_ref(), item, wish)).collect();
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
fn copy(copies: Option<&Copies>, item: &Item, wish: ResetWish) -> Result<Option<Ours>, ItemOutcome> {
    let FdTarget::Socket(inode) = item.expected.target else {
        return Err(ItemOutcome::Failed("it is no socket".to_owned()));
    };
    let Some(copies) = copies else { return Ok(None) };
    match copies.try_copy(item.fd, inode) {
        Ok(Some(copy)) => {
            let mender = match Mender::of(copy.as_fd()) {
                // By somebody who saves the process, or brings it back: it is not to be looked at meanwhile.
                Err(Errno::EBUSY) => return Err(in_repair()),
                mender => mender.ok().filter(|_| wish.number.is_none()),
            };
            Ok(Some(Ours { copy, mender }))
        }
        Ok(None) => Err(ItemOutcome::Changed),
        Err(Errno::EBADF | Errno::ESRCH) => Err(ItemOutcome::Gone),
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
    diag: Result<Diag, NetError>,
    wire: Wire,
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
        let opened = Stack::of_process(job.process, job.netns)
            .and_then(|namespace| Wire::open(namespace).map_err(|errno| DiagError::from(errno).into()));
        let wire = match opened {
            Ok(wire) => wire,
            Err(error) => {
                operation.outcomes.fill(super::destroy::failed(&error));
                return operation;
            }
        };
        let diag = Diag::of_process(job.process, job.netns);
        let mut resetter = Self { diag, wire, wish, conduct, may_repair, ended: Vec::new(), job };
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
        match self.end(ends, socket, ours) {
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

    /// Ends one connection, and the peer's end if that is wished.
    fn end(&mut self, ends: Ends, socket: &SocketInfo, ours: Option<&Ours>) -> Result<Way, Obstacle> {
        if self.has_ended(socket, ours)? {
            return Err(Obstacle::Ended);
        }
        let give_up = Instant::now() + TRYING.min(self.conduct.timeout);
        let (mut tries, mut wait) = (0, if self.wish.number.is_some() { ARRIVAL } else { FIRST_WAIT });
        while tries == 0 || Instant::now() < give_up {
            tries += 1;
            let (numbers, way) = self.numbers(ends, ours)?;
            let sent = self.wire.reset(ends, numbers.next_in);
            sent.map_err(|errno| Obstacle::of(errno, "sending a RST"))?;
            let until = Instant::now() + wait.min(self.conduct.timeout);
            wait = ARRIVAL.min(wait * 2);
            loop {
                if self.has_ended(socket, ours)? {
                    if self.wish.both_ends {
                        self.end_peers(ends, numbers)?;
                    }
                    return Ok(way);
                }
                if Instant::now() >= until {
                    break;
                }
                thread::sleep(LOOK_AGAIN);
            }
            if way == Way::Given {
                let why = "the connection did not take the RST: the number is not the one it expects next";
                return Err(Obstacle::Failed(why.to_owned()));
            }
            watchdog::beat();
        }
        Err(Obstacle::Failed(format!(
            "the connection did not take any of {tries} RST segments: a firewall drops them, they have to be \
             signed (TCP_MD5SIG), or data comes in too fast"
        )))
    }

    /// Ends the peer's end. Where that is on another machine, nobody can see whether it did.
    fn end_peers(&mut self, ends: Ends, numbers: Numbers) -> Result<(), Obstacle> {
        let mut tried = vec![numbers.next_out];
        // What was sent and not acknowledged may have got lost.
        tried.extend((numbers.unacknowledged != numbers.next_out).then_some(numbers.unacknowledged));
        for number in tried {
            let sent = self.wire.reset(ends.turned(), number);
            sent.map_err(|errno| Obstacle::of(errno, "this end has ended; sending a RST to the other"))?;
        }
        let until = Instant::now() + ARRIVAL.min(self.conduct.timeout);
        // What can't be seen from here is on another machine, or was hidden from us.
        while let Ok(diag) = &mut self.diag
            && let Ok(Some(there)) = diag.tcp(ends.peer, ends.local)
            && there.state != Some(TcpState::TimeWait)
        {
            if Instant::now() >= until {
                let why = "this end has ended; the other, on this machine, did not take the RST";
                return Err(Obstacle::Failed(why.to_owned()));
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn has_ended(&mut self, socket: &SocketInfo, ours: Option<&Ours>) -> Result<bool, Obstacle> {
        if let Some(ours) = ours {
            let state = tcp_state(ours.copy.as_fd());
            return state
                .map(|state| state == Some(TcpState::Close))
                .map_err(|errno| Obstacle::Failed(format!("TCP_INFO: {}", errno.desc())));
        }
        match &mut self.diag {
            Ok(diag) => diag
                .again(socket)
                .map(|found| found.is_none())
                .map_err(|error| Obstacle::Failed(error.to_string())),
            Err(error) => Err(Obstacle::Failed(error.to_string())),
        }
    }

    fn numbers(&self, ends: Ends, ours: Option<&Ours>) -> Result<(Numbers, Way), Obstacle> {
        if let Some(next_in) = self.wish.number {
            return Ok((Numbers { next_in, next_out: 0, unacknowledged: 0 }, Way::Given));
        }
        if let Some(Ours { copy, mender: Some(mender) }) = ours
            && self.may_repair
        {
            match by_repair(copy, *mender) {
                Ok(numbers) => return Ok((numbers, Way::Repair)),
                Err(RepairError::NotMended(errno)) => {
                    let why = format!("its repair (TCP_REPAIR) could not be ended: {}", errno.desc());
                    return Err(Obstacle::Failed(why));
                }
                // Without CAP_NET_ADMIN, or on a kernel that does not allow it: the other way, then.
                Err(RepairError::NotAllowed) => {}
            }
        }
        Ok((self.by_challenge(ends)?, Way::Challenge))
    }

    fn by_challenge(&self, ends: Ends) -> Result<Numbers, Obstacle> {
        for question in 0..MOST_QUESTIONS {
            if question > 0 {
                // It has answered somebody just before, and does so only so often.
                thread::sleep(self.wire.silence() + LOOK_AGAIN);
                watchdog::beat();
            }
            match self.wire.challenge(ends, question) {
                Ok(Challenge::Heard(numbers)) => return Ok(numbers),
                Ok(Challenge::Silence) => {}
                Err(errno) => return Err(Obstacle::of(errno, "asking the connection for its number")),
            }
            if signals::end_is_wanted() {
                return Err(Obstacle::Failed(AttachError::Interrupted.to_string()));
            }
        }
        Err(Obstacle::Failed(format!(
            "its sequence number could not be found: TCP_REPAIR is not to be had (CAP_NET_ADMIN), and {MOST_QUESTIONS} \
             questions were not answered; a firewall drops them, or the limits of challenge ACKs (sysctl \
             net.ipv4.tcp_challenge_ack_limit) are used up"
        )))
    }
}

enum RepairError {
    NotAllowed,
    NotMended(Errno),
}

/// A few microseconds of repair.
fn by_repair(copy: &OwnedFd, mender: Mender) -> Result<Numbers, RepairError> {
    let repair = Repair::begin(copy.as_fd(), mender).map_err(|_| RepairError::NotAllowed)?;
    deathpoint::reach(Place::Repairing);
    let numbers = repair.numbers();
    deathpoint::reach(Place::Numbered);
    repair.end().map_err(RepairError::NotMended)?;
    deathpoint::reach(Place::Mended);
    numbers.map_err(|_| RepairError::NotAllowed)
}
