//! One connection: its number is found, and the RST sent until it is taken.

use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::line::Line;
use super::{Obstacle, Ours};
use crate::error::AttachError;
use crate::inject::deathpoint::{self, Place};
use crate::method::choice::ResetWish;
use crate::method::{Conduct, Way};
use crate::net::{Challenge, Ends, Mender, Numbers, Repair, SocketInfo, TcpState, tcp_state};
use crate::trace::signals;
use crate::watchdog;

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

/// One connection that is reset.
pub(super) struct Reset<'a> {
    pub(super) line: &'a mut Line,
    pub(super) socket: &'a SocketInfo,
    pub(super) ours: Option<&'a Ours>,
    pub(super) wish: ResetWish,
    pub(super) conduct: Conduct,
    pub(super) may_repair: bool,
}

impl Reset<'_> {
    /// Ends one connection, and the peer's end if that is wished.
    pub(super) fn end(&mut self, ends: Ends) -> Result<Way, Obstacle> {
        if self.has_ended()? {
            return Err(Obstacle::Ended);
        }
        let give_up = Instant::now() + TRYING.min(self.conduct.timeout);
        let (mut tries, mut wait) = (0, if self.wish.number.is_some() { ARRIVAL } else { FIRST_WAIT });
        while tries == 0 || Instant::now() < give_up {
            tries += 1;
            let (numbers, way) = self.numbers(ends)?;
            let sent = self.line.wire.reset(ends, numbers.next_in);
            sent.map_err(|errno| Obstacle::of(errno, "sending a RST"))?;
            let until = Instant::now() + wait.min(self.conduct.timeout);
            wait = ARRIVAL.min(wait * 2);
            loop {
                if self.has_ended()? {
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
            let sent = self.line.wire.reset(ends.turned(), number);
            sent.map_err(|errno| Obstacle::of(errno, "this end has ended; sending a RST to the other"))?;
        }
        let until = Instant::now() + ARRIVAL.min(self.conduct.timeout);
        // What can't be seen from here is on another machine, or was hidden from us.
        while let Ok(diag) = &mut self.line.diag
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

    fn has_ended(&mut self) -> Result<bool, Obstacle> {
        if let Some(ours) = self.ours {
            let state = tcp_state(ours.copy.as_fd());
            return state
                .map(|state| state == Some(TcpState::Close))
                .map_err(|errno| Obstacle::Failed(format!("TCP_INFO: {}", errno.desc())));
        }
        match &mut self.line.diag {
            Ok(diag) => diag
                .again(self.socket)
                .map(|found| found.is_none())
                .map_err(|error| Obstacle::Failed(error.to_string())),
            Err(error) => Err(Obstacle::Failed(error.to_string())),
        }
    }

    fn numbers(&self, ends: Ends) -> Result<(Numbers, Way), Obstacle> {
        if let Some(next_in) = self.wish.number {
            return Ok((Numbers { next_in, next_out: 0, unacknowledged: 0 }, Way::Given));
        }
        if let Some(Ours { copy, mender: Some(mender) }) = self.ours
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
                thread::sleep(self.line.wire.silence() + LOOK_AGAIN);
                watchdog::beat();
            }
            match self.line.wire.challenge(ends, question) {
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
