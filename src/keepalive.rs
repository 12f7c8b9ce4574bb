//! Keepalive switched on in somebody else's socket: the cure for connections whose peer has vanished without a word.
//!
//! It is set through a copy of the descriptor (pidfd_getfd(2), Linux 5.6). The process is not stopped and closes
//! nothing: the kernel asks the peer, and ends the connection if no answer comes, as if the application had asked for
//! that from the start. The application then gets ETIMEDOUT, and closes by itself.

use std::os::fd::AsFd as _;

use nix::errno::Errno;

use crate::host::{self, Fallback};
use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::{Copies, Keepalive, KeepaliveWish, NoCopies, TcpState};
use crate::proc::FdTarget;
use crate::report::{KeepaliveReport, KeepaliveTarget, Outcome, Text};
use crate::survey::{Match, Subject, Survey};

/// What became of one socket: the outcome, before and after, why not, and the way out.
struct Done {
    outcome: Outcome,
    before: Option<Keepalive>,
    after: Option<Keepalive>,
    error: Option<String>,
    hint: Option<&'static str>,
}

impl Done {
    fn not(outcome: Outcome, why: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { outcome, before: None, after: None, error: Some(why.into()), hint }
    }
}

/// Carries out `wish` on everything in `survey` that is a TCP connection; in a dry run only reads.
#[must_use]
pub fn apply(survey: &Survey, wish: KeepaliveWish, dry_run: bool) -> KeepaliveReport {
    let mut copies: Option<(usize, Result<Copies, NoCopies>)> = None;
    let mut targets = Vec::with_capacity(survey.matches.len());
    for found in &survey.matches {
        if copies.as_ref().is_none_or(|(subject, _)| *subject != found.subject) {
            copies = Some((found.subject, Copies::open(&survey.subject_of(found).process)));
        }
        let Some((_, copies)) = copies.as_ref() else { continue };
        let done = one(copies.as_ref(), survey.subject_of(found), found, wish, dry_run);
        targets.push(report(survey, found, done));
    }
    KeepaliveReport::new(dry_run, targets)
}

fn one(
    copies: Result<&Copies, &NoCopies>,
    subject: &Subject,
    found: &Match,
    wish: KeepaliveWish,
    dry_run: bool,
) -> Done {
    let FdTarget::Socket(inode) = found.identity.target else {
        return Done::not(
            Outcome::Refused,
            "keepalive is for TCP connections",
            Some("select with --kind tcp"),
        );
    };
    if found.kind() != Kind::Tcp {
        return Done::not(
            Outcome::Refused,
            "keepalive is for TCP connections",
            Some("select with --kind tcp"),
        );
    }
    if found.tcp_state() == Some(TcpState::Listen) {
        let why = "it is a listening socket: connections that it accepts later would inherit the setting";
        return Done::not(Outcome::Refused, why, Some("select with --state established"));
    }
    let copies = match copies {
        Ok(copies) => copies,
        Err(why) => return no_copies(why),
    };
    set(copies, subject, found, inode, wish, dry_run).unwrap_or_else(|(call, errno)| match errno {
        Errno::ENOSYS if call == "pidfd_getfd" => no_copies(&NoCopies::Kernel),
        Errno::EPERM => {
            let why = "copying the descriptor (pidfd_getfd) takes the rights of ptrace(2)";
            Done::not(Outcome::Refused, why, Some("run fdclose as root"))
        }
        errno => Done::not(Outcome::Failed, format!("{call}: {}", errno.desc()), None),
    })
}

fn no_copies(why: &NoCopies) -> Done {
    host::fall_back(Fallback::KeepaliveRefused);
    match why {
        NoCopies::Proc(error) if error.is_gone() => gone(),
        NoCopies::Proc(error) => Done::not(Outcome::Failed, error.to_string(), None),
        why @ NoCopies::OtherClass => {
            let hint = "start fdclose in the same net_cls and net_prio control groups as the process, or where what they say can be read";
            Done::not(Outcome::Refused, why.to_string(), Some(hint))
        }
        why => Done::not(Outcome::Refused, why.to_string(), None),
    }
}

fn gone() -> Done {
    Done::not(Outcome::Gone, "it is not open any more", None)
}

/// Of whose descriptor no copy, or one of something else, could be made.
fn without_copy(subject: &Subject, found: &Match, inode: Inode) -> Done {
    match subject.process.look(subject.table, found.fd) {
        Ok(Some(FdTarget::Socket(now))) if now == inode => {
            let why = "the thread of the process has ended whose descriptors were to be copied";
            Done::not(Outcome::Failed, why, Some("try again"))
        }
        Ok(Some(_)) => {
            let why = "the descriptor referred to something else by then, and was left alone";
            Done::not(Outcome::Changed, why, Some("select again"))
        }
        Err(error) if !error.is_gone() => Done::not(Outcome::Failed, error.to_string(), None),
        Ok(None) | Err(_) => gone(),
    }
}

fn set(
    copies: &Copies,
    subject: &Subject,
    found: &Match,
    inode: Inode,
    wish: KeepaliveWish,
    dry_run: bool,
) -> Result<Done, (&'static str, Errno)> {
    let copy = match copies.try_copy(found.fd, inode) {
        Ok(Some(copy)) => copy,
        Ok(None) | Err(Errno::EBADF | Errno::ESRCH) => return Ok(without_copy(subject, found, inode)),
        Err(errno) => return Err(("pidfd_getfd", errno)),
    };
    let read = || Keepalive::read(copy.as_fd()).map_err(|errno| ("getsockopt", errno));
    let before = read()?;
    let wanted = wish.of(before);
    let done =
        |outcome, after| Done { outcome, before: Some(before), after: Some(after), error: None, hint: None };
    if dry_run {
        return Ok(done(Outcome::WouldDo, wanted));
    }
    wanted.write(copy.as_fd()).map_err(|errno| ("setsockopt", errno))?;
    let after = read()?;
    if after == wanted {
        return Ok(done(Outcome::Done, after));
    }
    let error = Some("the kernel took the settings, but has others in force".to_owned());
    Ok(Done { error, ..done(Outcome::Failed, after) })
}

fn report(survey: &Survey, found: &Match, done: Done) -> KeepaliveTarget {
    let subject = survey.subject_of(found);
    KeepaliveTarget {
        pid: subject.process.pid(),
        comm: Text::from(subject.comm.clone()),
        fd: found.fd,
        inode: found.identity.target.inode(),
        kind: found.kind(),
        state: found.tcp_state(),
        local: found.local(),
        peer: found.peer(),
        outcome: done.outcome,
        before: done.before,
        after: done.after,
        error: done.error,
        hint: done.hint.map(str::to_owned),
    }
}
