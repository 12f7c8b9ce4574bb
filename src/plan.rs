//! Matches to a plan. Pure: `--dry-run` shows what this gives, and nothing more is decided afterwards.

use std::fmt;

use crate::ids::{Fd, Pid};
use crate::method::{Method, ResetWish, Unfit};
use crate::net::TcpState;
use crate::survey::{Match, Survey, Untold};

/// Why a descriptor is not touched without `--force`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It is fdclose's own. Not even `--force` helps.
    Myself,
    /// Standard input, output or error.
    StandardStream,
    /// It accepts connections: closing it ends the service.
    Listening,
    /// It is registered with this io_uring(7) instance of its process, where it lives on.
    Registered(Fd),
    /// Whether it is could not be told.
    PerhapsRegistered(Fd, Untold),
    /// The process is pid 1.
    Init,
    /// The process started fdclose, or started what started it.
    Ancestor,
    /// `--seq` is the number of one connection, and more are meant. Not even `--force` helps.
    OneNumber,
    /// The method can do nothing for it. Not even `--force` helps.
    Unfit(Method, Unfit),
}

impl Protection {
    /// Whether `--force` overrides it.
    #[must_use]
    pub const fn can_be_forced(self) -> bool {
        !matches!(self, Self::Myself | Self::OneNumber | Self::Unfit(..))
    }

    /// What the user can do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Myself => "name another process",
            Self::OneNumber => "name one by its --inode, or leave out --seq",
            // To close what listens would end the service.
            Self::Unfit(_, Unfit::NotAConnection | Unfit::Connecting) => {
                "'fdclose list' shows the connections, with their states"
            }
            Self::Unfit(..) => "use --method close",
            Self::Registered(_) => {
                "--method shutdown ends it there, too; give --force if you mean the descriptor alone"
            }
            Self::PerhapsRegistered(_, untold) if !untold.may_pass() => {
                "--method shutdown ends it in any case; give --force if you mean the descriptor alone"
            }
            Self::PerhapsRegistered(_, untold) if untold.may_last() => {
                "try again in case it was in use; --method shutdown ends it in any case; give --force if you mean the \
                 descriptor alone"
            }
            Self::PerhapsRegistered(..) => {
                "try again; --method shutdown ends it in any case; give --force if you mean the descriptor alone"
            }
            _ => "give --force if you mean it",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneNumber => f.write_str("--seq is the number of one connection, and more are selected"),
            Self::Myself => f.write_str("that is fdclose itself"),
            Self::Unfit(method, Unfit::NotASocket) => write!(f, "{} works on sockets only", method.name()),
            Self::Unfit(method, Unfit::NotInternet) => write!(f, "{} works on TCP and UDP only", method.name()),
            Self::Unfit(method, Unfit::NotTcp) => write!(f, "{} works on TCP only", method.name()),
            Self::Unfit(method, Unfit::Connecting) => {
                write!(f, "it is just being connected, and {} is for what is connected", method.name())
            }
            Self::Unfit(method, Unfit::NotAConnection) => {
                write!(f, "it is not connected: there is nothing that {} could end", method.name())
            }
            Self::StandardStream => f.write_str(
                "descriptors 0 to 2 are standard input, output and error: programs take these numbers for granted",
            ),
            Self::Listening => {
                f.write_str("it is a listening socket: closing it ends the service, not a connection")
            }
            Self::Registered(ring) => write!(
                f,
                "it is registered with the io_uring at fd {ring} of its process: the connection lives on there, and may be \
                 in use, when the descriptor is gone"
            ),
            Self::PerhapsRegistered(ring, untold) => write!(
                f,
                "whether it is registered with the io_uring at fd {ring} of its process can't be told: {untold}"
            ),
            Self::Init => {
                f.write_str("pid 1 is the system's init: if it fails, the machine or container goes down")
            }
            Self::Ancestor => {
                f.write_str("this process is an ancestor of fdclose: the shell or session you work in")
            }
        }
    }
}

/// What the plan must know of fdclose itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnFacts {
    /// Its process.
    pub pid: Option<Pid>,
    /// Its parent, that one's parent, and so on.
    pub ancestors: Vec<Pid>,
}

/// One process's share of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// The process, as an index into [`Survey::subjects`].
    pub subject: usize,
    /// The matches to act on, as indices into [`Survey::matches`].
    pub act_on: Vec<usize>,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Process by process.
    pub processes: Vec<ProcessPlan>,
    /// Matches that are not to be touched, as indices into [`Survey::matches`].
    pub refused: Vec<(usize, Protection)>,
}

impl Plan {
    /// How many descriptors are to be acted on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.processes.iter().map(|process| process.act_on.len()).sum()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }
}

/// Plans to act on everything in `survey`, except for what is protected.
#[must_use]
pub fn plan(survey: &Survey, method: Method, own: &OwnFacts, force: bool) -> Plan {
    let mut plan = Plan::default();
    let one_number = matches!(method, Method::Reset(ResetWish { number: Some(_), .. })) && !is_one(survey);
    for (index, found) in survey.matches.iter().enumerate() {
        let pid = survey.subject_of(found).process.pid();
        let reason =
            if one_number { Some(Protection::OneNumber) } else { protection(found, pid, method, own) };
        match reason {
            Some(reason) if !force || !reason.can_be_forced() => plan.refused.push((index, reason)),
            _ => match plan.processes.last_mut() {
                Some(process) if process.subject == found.subject => process.act_on.push(index),
                _ => plan.processes.push(ProcessPlan { subject: found.subject, act_on: vec![index] }),
            },
        }
    }
    plan
}

/// Whether all matches are descriptors of one socket.
fn is_one(survey: &Survey) -> bool {
    let mut inodes = survey.matches.iter().map(|found| found.identity.target.inode());
    let first = inodes.next();
    inodes.all(|inode| Some(inode) == first)
}

fn protection(found: &Match, pid: Pid, method: Method, own: &OwnFacts) -> Option<Protection> {
    let listens = found.socket.as_ref().is_some_and(|socket| socket.state == Some(TcpState::Listen));
    if Some(pid) == own.pid {
        Some(Protection::Myself)
    } else if let Err(unfit) =
        method.check(found.kind(), found.socket.as_ref().and_then(|socket| socket.state))
    {
        Some(Protection::Unfit(method, unfit))
    } else if pid.as_raw() == 1 {
        Some(Protection::Init)
    } else if own.ancestors.contains(&pid) {
        Some(Protection::Ancestor)
    } else if found.fd.as_raw() <= 2 {
        Some(Protection::StandardStream)
    } else if listens {
        Some(Protection::Listening)
    } else if let (Method::Close | Method::Replace, Some(ring)) = (method, found.registered_with.first()) {
        Some(Protection::Registered(*ring))
    } else if let (Method::Close | Method::Replace, Some((ring, untold))) =
        (method, found.perhaps_registered_with)
    {
        Some(Protection::PerhapsRegistered(ring, untold))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_try_is_promised_to_help_only_where_it_will() {
        for (untold, begin) in [
            (Untold::InUse, "try again;"),
            (Untold::EmptyOrInUse, "try again in case"),
            (Untold::Nothing, "try again in case"),
            (Untold::Kernel, "--method shutdown"),
            (Untold::NotAsked, "--method shutdown"),
        ] {
            let hint = Protection::PerhapsRegistered(Fd::new(7).unwrap(), untold).hint();
            assert!(hint.starts_with(begin), "{untold:?}: {hint}");
        }
    }
}
