//! Waking threads that wait on a socket before it is closed.
//!
//! A shutdown(2) through a copy of the descriptor, while the target runs, gives them what a peer that is gone would: the
//! end of the stream. They leave their call, and mostly close the descriptor themselves, as they would then; so the
//! application forgets the connection, too. What it has not closed after a while is closed in the stop.
//!
//! In the same stop a shutdown would be of no use: the call starts anew after the close, and finds nothing (checked on
//! 6.18). And it hits every holder of the socket, so it is done only if there is no other.
//!
//! It is SHUT_RD for whoever waits for input: SHUT_WR would let SIGPIPE kill a process that writes meanwhile. Checked on
//! 6.18: SHUT_RD ends recv, read, accept (EINVAL), a TCP connect (ECONNRESET), poll, select and epoll_wait for input; with
//! SHUT_WR also send (EPIPE), and poll and select for output. Nothing ends the connect of a Unix socket.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::Shutdown;

use super::surgeon::Candidate;
use super::waits::{Manner, Waiter};
use super::{Item, Job, Operation, WaitEnd, Waited};
use crate::error::AttachError;
use crate::host::{self, Fallback};
use crate::ids::{Fd, Inode};
use crate::net::{self, Copies};
use crate::proc::{FdTarget, Holders, InSyscall, Process, Procfs};
use crate::trace::{Deadline, OnStop, SeizedGroup, signals};

/// A woken thread has a place in the run queue; on a machine that is overloaded, it takes its time.
const LEAVE: Duration = Duration::from_secs(1);

/// What a thread gets to be back in the call that the stop interrupted.
const BACK: Duration = Duration::from_millis(100);

/// What the application gets to close the descriptor itself, once no thread waits on it any more.
const GRACE: Duration = Duration::from_millis(100);

/// From look to look: as long at first as a thread takes to wake and close, and twice as long each time.
const FIRST_LOOK: Duration = Duration::from_micros(100);
const RAREST_LOOK: Duration = Duration::from_millis(4);

/// Looking through a host's processes takes milliseconds, as does asking epoll instances what they watch. This often the
/// target's signals are seen to meanwhile: a traced thread stands still from its first signal on.
pub(super) const SEE_TO_SIGNALS: Duration = Duration::from_millis(1);

/// As long that takes at the least.
pub(super) const AT_ONCE: Duration = Duration::from_micros(50);

const SIGPIPE: u64 = 1 << (libc::SIGPIPE - 1);

/// What has been done so far about threads that wait on sockets.
#[derive(Debug)]
pub(super) struct Wake<'a> {
    procfs: &'a Procfs,
    job: Job<'a>,
    timeout: Duration,
    /// Descriptors that have had their turn.
    tried: BTreeSet<Fd>,
    woken: BTreeSet<Fd>,
}

/// A socket that is waited on.
struct Socket<'a> {
    item: &'a Item,
    inode: Inode,
    copy: OwnedFd,
    waiters: Vec<Waiter>,
}

impl<'a> Wake<'a> {
    pub(super) fn new(procfs: &'a Procfs, job: Job<'a>, timeout: Duration) -> Self {
        Self { procfs, job, timeout, tried: BTreeSet::new(), woken: BTreeSet::new() }
    }

    /// The process.
    pub(super) fn process(&self) -> &'a Process {
        self.job.process
    }

    /// Whether somebody waits on a socket that has not had its turn.
    pub(super) fn is_due(&self, waiters: &[Waiter]) -> bool {
        waiters.iter().any(|waiter| self.is_new(waiter.fd) && self.socket(waiter.fd).is_some())
    }

    /// Whether `fd` has not had its turn.
    pub(super) fn is_new(&self, fd: Fd) -> bool {
        !self.tried.contains(&fd)
    }

    /// Whether somebody who waited on `fd` was woken.
    pub(super) fn has_woken(&self, fd: Fd) -> bool {
        self.woken.contains(&fd)
    }

    fn socket(&self, fd: Fd) -> Option<(&'a Item, Inode)> {
        let index = self.job.items.binary_search_by_key(&fd, |item| item.fd).ok()?;
        let item = self.job.items.get(index)?;
        match item.expected.target {
            FdTarget::Socket(inode) => Some((item, inode)),
            _ => None,
        }
    }

    /// Shuts down what `waiters` wait on, where nobody else holds it, and waits for them to leave their calls. Where
    /// there are no copies (Linux 5.6), or who holds the socket can't be known, nothing is done.
    ///
    /// # Errors
    /// [`AttachError`] from keeping the target's threads going.
    pub(super) fn wake(
        &mut self,
        waiters: &[Waiter],
        candidate: &Candidate,
        group: &mut SeizedGroup,
        operation: &mut Operation,
        on_stop: OnStop<'_>,
    ) -> Result<(), AttachError> {
        let mut sockets = self.sockets(waiters);
        self.tried.extend(waiters.iter().map(|waiter| waiter.fd));
        if sockets.is_empty() {
            return Ok(());
        }
        let inodes: BTreeSet<Inode> = sockets.iter().map(|socket| socket.inode).collect();
        let holders = self.holders(&inodes, candidate, group, on_stop)?;
        let is_others = |inode: Inode| {
            holders.found.iter().any(|holder| {
                let is_meant = holder.tid.is_none()
                    && holder.pid == self.job.process.pid()
                    && self.socket(holder.fd).is_some_and(|(_, of)| of == inode);
                holder.inode == inode && !is_meant && holder.pid.as_raw().unsigned_abs() != process::id()
            })
        };
        sockets.retain(|socket| holders.complete && !is_others(socket.inode));
        self.wait_until_back(&sockets, group, on_stop)?;
        let may_write = self.survives_sigpipe();
        let mut woken = Vec::new();
        for Socket { item, copy, waiters, .. } in sockets {
            let output = waiters.iter().any(|waiter| !waiter.for_input) && may_write;
            let heard: Vec<Waiter> =
                waiters.into_iter().filter(|waiter| waiter.for_input || output).collect();
            let how = if output { Shutdown::Both } else { Shutdown::Read };
            let is_shut_down = || matches!(net::shut_down(copy.as_fd(), how), Ok(()) | Err(Errno::ENOTCONN));
            if !heard.is_empty() && is_shut_down() {
                self.woken.insert(item.fd);
                operation.waited.extend(heard.iter().map(|waiter| Waited {
                    fd: item.fd,
                    tid: waiter.tid,
                    call: waiter.call.into(),
                    end: WaitEnd::Woken,
                }));
                woken.push((item, heard));
            }
            // The copy goes: if the application closes its descriptor, the connection has to end.
        }
        self.wait(woken, candidate, group, on_stop)
    }

    /// Copies of the sockets waited on that have not had their turn.
    fn sockets(&self, waiters: &[Waiter]) -> Vec<Socket<'a>> {
        let mut sockets: Vec<Socket<'a>> = Vec::new();
        let new: Vec<&Waiter> = waiters.iter().filter(|waiter| self.is_new(waiter.fd)).collect();
        let copies = if new.is_empty() { None } else { Copies::of(self.job.process) };
        let Some(copies) = copies else {
            if !new.is_empty() {
                host::fall_back(Fallback::WaitersNotWoken);
            }
            return sockets;
        };
        for waiter in new {
            if let Some(socket) = sockets.iter_mut().find(|socket| socket.item.fd == waiter.fd) {
                socket.waiters.push(*waiter);
                continue;
            }
            let Some((item, inode)) = self.socket(waiter.fd) else { continue };
            let Some(copy) = copies.copy(item.fd, inode) else { continue };
            sockets.push(Socket { item, inode, copy, waiters: vec![*waiter] });
        }
        // An event loop has been told that the peer is gone. If it did nothing about it, it may have forgotten the
        // connection, and what belongs to it: a second event could be its undoing. epoll(7) forgets in silence.
        let knows = |socket: &Socket<'_>| {
            socket.waiters.iter().all(|waiter| waiter.manner == Manner::Epoll)
                && net::peer_is_gone(socket.copy.as_fd())
        };
        sockets.retain(|socket| !knows(socket));
        sockets
    }

    /// Everyone who holds one of `inodes`. If a thread of the target does in a table of its own, that counts as unknown.
    fn holders(
        &self,
        inodes: &BTreeSet<Inode>,
        candidate: &Candidate,
        group: &mut SeizedGroup,
        on_stop: OnStop<'_>,
    ) -> Result<Holders, AttachError> {
        let (process, procfs) = (self.job.process, self.procfs);
        let deadline = Deadline::after(self.timeout);
        let look = || {
            let mut holders = procfs.holders(inodes, || deadline.remaining().is_some());
            for tid in process.threads().unwrap_or_default() {
                if !candidate.shares_table(tid) {
                    let mut own = Holders::default();
                    let looked = process.fd_dir(tid).and_then(|dir| own.look_at(process, &dir, inodes));
                    let is_known = looked.is_ok() || !process.lives(tid).unwrap_or(true);
                    holders.complete &= is_known && own.found.is_empty();
                }
            }
            holders
        };
        thread::scope(|scope| {
            let looking = scope.spawn(look);
            // If a look hangs, the watchdog has to hear of nothing else.
            while !looking.is_finished() && deadline.remaining().is_some() {
                group.run_until(Deadline::after(SEE_TO_SIGNALS), on_stop)?;
            }
            // A panic there is a bug, and leaves nothing known.
            Ok(looking.join().unwrap_or_default())
        })
    }

    /// Whether a write to what is shut down does not kill the process.
    fn survives_sigpipe(&self) -> bool {
        let status = self.job.process.status();
        status.is_ok_and(|status| (status.signals.ignored | status.signals.caught) & SIGPIPE != 0)
    }

    /// Waits until nobody is on the way back into the call that the stop interrupted: a connect(2) that starts anew after
    /// the shutdown begins from the start.
    fn wait_until_back(
        &self,
        sockets: &[Socket<'_>],
        group: &mut SeizedGroup,
        on_stop: OnStop<'_>,
    ) -> Result<(), AttachError> {
        let back = Deadline::after(BACK.min(self.timeout));
        let is_on_its_way = |waiter: &Waiter| {
            waiter.manner == Manner::Call
                && matches!(self.job.process.syscall(waiter.tid), Ok(InSyscall::Running))
        };
        while back.remaining().is_some()
            && sockets.iter().any(|socket| socket.waiters.iter().any(is_on_its_way))
        {
            group.run_until(Deadline::after(FIRST_LOOK), on_stop)?;
        }
        Ok(())
    }

    /// Waits until the woken have left their calls, and gives the application time to close the descriptors itself.
    fn wait(
        &self,
        mut woken: Vec<(&'a Item, Vec<Waiter>)>,
        candidate: &Candidate,
        group: &mut SeizedGroup,
        on_stop: OnStop<'_>,
    ) -> Result<(), AttachError> {
        let process = self.job.process;
        let leave = Deadline::after(LEAVE.min(self.timeout));
        let (mut grace, mut pause) = (None, FIRST_LOOK);
        loop {
            woken.retain(|(item, _)| candidate.is_still(item));
            let still = |waiter: &Waiter| {
                waiter.manner == Manner::Call
                    && matches!(process.syscall(waiter.tid), Ok(InSyscall::Call { number, args, .. })
                        if number == waiter.number && args.iter().any(|arg| waiter.is_named_by(*arg)))
            };
            let is_over = if woken.iter().any(|(_, waiters)| waiters.iter().any(still)) {
                grace = None;
                false
            } else {
                grace.get_or_insert_with(|| Deadline::after(GRACE)).remaining().is_none()
            };
            if woken.is_empty() || is_over || leave.remaining().is_none() || signals::end_is_wanted() {
                return Ok(());
            }
            group.run_until(Deadline::after(pause), on_stop)?;
            pause = (pause * 2).min(RAREST_LOOK);
        }
    }
}
