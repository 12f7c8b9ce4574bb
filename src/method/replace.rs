//! `replace`: a socket that is shut down takes the place of the descriptor's file, so that its number stays taken.
//!
//! Whoever still uses the number gets what a peer that is gone would give: `recv` the end of the stream, `send` EPIPE,
//! poll(2) POLLHUP. It closes the descriptor in its own time, and no other file can be mistaken for the old one meanwhile.
//! The old connection ends as by close(2).
//!
//! In one stop, after the same look as before a close: socket(2), shutdown(2), dup3(2) over the descriptor, and close(2)
//! of the number that the socket was made at. A socket that never was connected answers shutdown(2) with ENOTCONN, and is
//! shut down all the same (`inet_shutdown`, net/ipv4/af_inet.c; recv, send, poll as above checked on 6.18). If fdclose is
//! killed in the middle, the target keeps an unconnected socket at one number more, at the worst.
//!
//! An epoll(7) instance watched the old file, not the number: it forgets it, and does not watch the new one. That is not
//! made up for: what the application has stored there for the event may be freed memory by now, if the descriptor leaked.
//! A loop that waits for the descriptor is told before, see [`super::wake`].

use nix::errno::Errno;

use super::batch::Comparison;
use super::surgeon::Surgeon;
use super::waits::{Manner, Waiter};
use super::{Item, ItemOutcome, WaitEnd};
use crate::error::TraceError;
use crate::host::{self, Fallback, Feature};
use crate::ids::{Fd, Inode};
use crate::inject::{fdops, restart};
use crate::net::{Endpoint, SocketInfo};
use crate::proc::{FdIdentity, FdTarget};
use crate::trace::{Stopped, most_descriptors};

/// What the new socket has of the old one.
#[derive(Debug, Clone, Copy)]
struct Likeness {
    /// AF_INET or AF_INET6.
    family: i32,
    cloexec: bool,
    nonblocking: bool,
}

impl Likeness {
    /// For socket(2).
    fn socket_flags(self) -> i32 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.cloexec, libc::SOCK_CLOEXEC) | flag(self.nonblocking, libc::SOCK_NONBLOCK)
    }
}

/// Replaces the file of one descriptor.
pub(super) fn one(
    surgeon: &mut Surgeon<'_>,
    item: &Item,
    socket: Option<&SocketInfo>,
) -> Result<ItemOutcome, TraceError> {
    let family = match socket.map(|socket| &socket.local) {
        Some(Endpoint::Inet(local)) if local.is_ipv4() => libc::AF_INET,
        Some(Endpoint::Inet(_)) => libc::AF_INET6,
        _ => return Ok(ItemOutcome::Failed("the kernel's socket tables do not have it".to_owned())),
    };
    match surgeon.table().compare(item, None) {
        Ok(Comparison::Gone) => return Ok(ItemOutcome::Gone),
        Ok(Comparison::Changed) => return Ok(ItemOutcome::Changed),
        Err(error) => return Ok(ItemOutcome::Failed(error.to_string())),
        Ok(Comparison::Same) => {}
    }
    let flags = match surgeon.table().flags(item.fd) {
        Ok(Some(flags)) => flags,
        Ok(None) => return Ok(ItemOutcome::Gone),
        Err(error) => return Ok(ItemOutcome::Failed(error.to_string())),
    };
    let has = |flag: i32| flags & flag.unsigned_abs() != 0;
    let like = Likeness { family, cloexec: has(libc::O_CLOEXEC), nonblocking: has(libc::O_NONBLOCK) };
    match fdops::stream_socket(surgeon.remote()?, family, libc::SOCK_CLOEXEC | like.socket_flags())? {
        Ok(spare) => replace_by(surgeon, item.fd, spare, like),
        Err(Errno::EMFILE) => replace_in_place(surgeon, item.fd, like),
        Err(errno) => Ok(not_made(errno)),
    }
}

/// With the socket at `spare`.
fn replace_by(
    surgeon: &mut Surgeon<'_>,
    fd: Fd,
    spare: Fd,
    like: Likeness,
) -> Result<ItemOutcome, TraceError> {
    // Before anything is done to it: no number is believed that is not a socket's.
    let made = match surgeon.table().look(spare) {
        Ok(made) => inode_of(made).filter(|_| spare != fd),
        Err(error) => {
            let why = format!("{error}; the process keeps a socket at fd {spare} that was to replace it");
            return Ok(ItemOutcome::Failed(why));
        }
    };
    let Some(made) = made else {
        return Ok(ItemOutcome::Failed("socket succeeded, but there is no new socket".to_owned()));
    };
    let placed = place(surgeon, fd, spare, like);
    // Also when that failed, unless the thread is gone: the number was free before.
    let closed = fdops::close(surgeon.remote()?, spare);
    let answer = placed?;
    let closed = closed?;
    Ok(match (answer, surgeon.table().look(fd), closed) {
        (_, Ok(now), Ok(())) if inode_of(now.clone()) == Some(made) => ItemOutcome::Done(None),
        (_, Ok(now), Err(errno)) if inode_of(now.clone()) == Some(made) => {
            ItemOutcome::Failed(format!("replaced, but fd {spare} stays open, too: {}", errno.desc()))
        }
        (Err((call, errno)), Ok(_), _) => {
            ItemOutcome::Failed(format!("{call} in the target: {}", errno.desc()))
        }
        (Ok(()), Ok(_), _) => {
            ItemOutcome::Failed("dup3 succeeded, but the descriptor is not replaced".to_owned())
        }
        (_, Err(error), _) => ItemOutcome::Failed(format!("replaced, but not seen: {error}")),
    })
}

/// What a call in the target answered, with its name if that was an error.
type Answer = Result<(), (&'static str, Errno)>;

fn place(surgeon: &mut Surgeon<'_>, fd: Fd, spare: Fd, like: Likeness) -> Result<Answer, TraceError> {
    if let Err(errno) = shut_down(surgeon, spare)? {
        return Ok(Err(("shutdown", errno)));
    }
    let flags = if like.cloexec { libc::O_CLOEXEC } else { 0 };
    Ok(fdops::dup3(surgeon.remote()?, spare, fd, flags)?.map_err(|errno| ("dup3", errno)))
}

fn shut_down(surgeon: &mut Surgeon<'_>, fd: Fd) -> Result<Result<(), Errno>, TraceError> {
    Ok(match fdops::shutdown(surgeon.remote()?, fd)? {
        Err(Errno::ENOTCONN) => Ok(()),
        answer => answer,
    })
}

/// In a process that has no number left: its own is given back first, and is then the only one below the limit that is
/// free. Nobody else can take it, as everybody who could is stopped.
fn replace_in_place(surgeon: &mut Surgeon<'_>, fd: Fd, like: Likeness) -> Result<ItemOutcome, TraceError> {
    let pid = surgeon.remote()?.pid();
    // One that was made before the limit was lowered would not be given again.
    let limit = most_descriptors(pid);
    if limit.is_none_or(|limit| u64::from(fd.as_raw().unsigned_abs()) >= limit) {
        return Ok(not_made(Errno::EMFILE));
    }
    let closed = fdops::close(surgeon.remote()?, fd)?;
    match surgeon.table().is_open(fd) {
        Ok(false) => {}
        Ok(true) => {
            let why = closed.err().map_or("is still open", Errno::desc);
            return Ok(ItemOutcome::Failed(format!("close in the target: {why}")));
        }
        Err(error) => return Ok(ItemOutcome::Failed(format!("closed, but not seen: {error}"))),
    }
    let lost = |why: &str| ItemOutcome::Failed(format!("closed, but its number could not be kept: {why}"));
    match fdops::stream_socket(surgeon.remote()?, like.family, like.socket_flags())? {
        Ok(made) if made == fd => {}
        Ok(made) => {
            let closed = fdops::close(surgeon.remote()?, made)?;
            let rest = closed.err().map_or("", |_| ", and stays open");
            return Ok(lost(&format!("the socket got number {made}{rest}")));
        }
        Err(errno) => return Ok(lost(errno.desc())),
    }
    Ok(match shut_down(surgeon, fd)? {
        Ok(()) => ItemOutcome::Done(None),
        Err(errno) => ItemOutcome::Failed(format!("replaced, but shutdown in the target: {}", errno.desc())),
    })
}

fn inode_of(identity: Option<FdIdentity>) -> Option<Inode> {
    match identity?.target {
        FdTarget::Socket(inode) => Some(inode),
        _ => None,
    }
}

/// Nothing has been touched.
fn not_made(errno: Errno) -> ItemOutcome {
    let hint = match errno {
        Errno::EMFILE => "raise its limit (prlimit --nofile), or use --method close",
        _ => "use --method close or --method shutdown",
    };
    let why = match errno {
        Errno::ENOSYS => {
            host::fall_back(Fallback::Replace32Refused);
            let since = Feature::SocketCalls32.since();
            format!("this kernel has no socket(2) of its own for 32-bit processes (Linux {since})")
        }
        errno => format!("the process can't make the socket to put there: {}", errno.desc()),
    };
    ItemOutcome::Refused { why, hint: hint.to_owned() }
}

/// What becomes of a call that was waiting on what is replaced now. It starts anew, and finds the new socket: the end
/// of the stream, at once. But send(2) would bring SIGPIPE with it, which a connection that is reset does not, and
/// connect(2) would begin a new connection: these two are told of a reset.
pub(super) fn end_wait(thread: &mut Stopped, waiter: &Waiter) -> Result<Option<WaitEnd>, TraceError> {
    Ok(match waiter.manner {
        Manner::Epoll => None,
        Manner::Call if !waiter.for_input || waiter.call == "connect" => {
            restart::end_call(thread, Errno::ECONNRESET)?.then_some(WaitEnd::Reset)
        }
        Manner::Call | Manner::Select | Manner::Poll => Some(WaitEnd::Replaced),
    })
}
