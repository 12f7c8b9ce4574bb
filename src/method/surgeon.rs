//! Choosing the thread that makes the calls, and working through it.
//!
//! Any thread that shares the descriptor table would do. The best is one that waits in a system
//! call: its own call instruction is at hand, it can't be inside a restartable sequence (rseq(2) forbids calls
//! there), and it is disturbed least. What can be read before the stop is read before the stop.

use crate::arch::chain::EndSignal;
use crate::arch::{Abi, On, Registers, WaitingCall, native_abi};
use crate::error::{AttachError, TraceError};
use crate::host::{self, Fallback};
use crate::ids::{Fd, RemoteAddr, Tid};
use crate::inject::{ChainEnd, Dispatch, Landmarks, Remote, Site, end_signal, rseq};
use crate::proc::{FdDir, FdIdentity, InSyscall, ProcError, Process, Seccomp};
use crate::trace::{
    Confinement, Deadline, Seized, SeizedGroup, Stopped, StoppedGroup, epoll_watches, same_descriptor_table,
    same_file,
};

use super::waits::{Manner, Waiter};
use super::wake::SEE_TO_SIGNALS;
use super::{Conduct, Item, Job};
use nix::errno::Errno;
use std::iter;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// So many threads are asked before the stop whether they are at work or wait in a call, 4 us each; all of them, where one
/// may be an event loop that has to be told.
const ASKED: usize = 8;

/// As long may the event loops be looked for, and as long be asked: whether one watches a descriptor takes the kernel 1 us,
/// and 1 ms if it watches 10,000.
const LOOK_AT_EVENT_LOOPS: Duration = Duration::from_millis(20);

/// So many other threads of the same table are remembered during a batch, and looked for again when only so few are
/// left, among so many, 1 us each.
const MOST_KIN: usize = 16;
const ENOUGH_KIN: usize = 4;
const ASKED_FOR_KIN: usize = 64;

/// The instruction pointer of threads that never leave the kernel: workers of io_uring and vhost. They share the
/// descriptors, but can run no call (`copy_thread` gives them no user registers).
const KERNEL_WORKER: RemoteAddr = RemoteAddr(0);

/// A thread that looked fit before the stop, and what was read about it there.
#[derive(Debug)]
pub(super) struct Candidate {
    tid: Tid,
    /// The descriptors of the table that is operated on.
    fd_dir: FdDir,
    /// A thread that uses this table.
    table: Tid,
    /// Others that do, for when that one ends during a batch.
    kin: Vec<Tid>,
    /// Of this very process. To ask for it with each comparison would be half of the work of comparing.
    own_pid: u32,
    /// For chains of calls.
    end_signal: Option<EndSignal>,
    /// The mode of the thread right before the stop, if known.
    seccomp: Option<Seccomp>,
    landmarks: Landmarks,
    /// Threads that waited in epoll_wait(2), with the instance.
    event_loops: Vec<EventLoop>,
}

#[derive(Debug, Clone, Copy)]
struct EventLoop {
    tid: Tid,
    epoll: Fd,
    call: &'static WaitingCall,
}

impl Candidate {
    /// Chooses while the target still runs; `chains` if chains of calls are to be run.
    pub(super) fn choose(job: &Job<'_>, group: &mut SeizedGroup, chains: bool) -> Result<Self, AttachError> {
        let Job { process, table, watched, .. } = *job;
        let (mut waiting, mut busy, mut event_loops) = (None, Vec::new(), Vec::new());
        for tid in group.threads().iter().map(Seized::tid).take(ASKED) {
            match process.syscall(tid) {
                Ok(InSyscall::Call { number, args: [epoll, ..], pc, .. }) if pc != KERNEL_WORKER => {
                    waiting = waiting.or(Some(tid));
                    event_loops.extend(EventLoop::of(tid, number, epoll));
                }
                Ok(InSyscall::Running) => busy.push(tid),
                _ => {}
            }
        }
        if watched.iter().any(|instances| !instances.is_empty()) {
            let deadline = Deadline::after(LOOK_AT_EVENT_LOOPS);
            for tid in group.threads().iter().map(Seized::tid).skip(ASKED) {
                if let Ok(InSyscall::Call { number, args: [epoll, ..], .. }) = process.syscall(tid) {
                    event_loops.extend(EventLoop::of(tid, number, epoll));
                }
                if deadline.remaining().is_none() {
                    break;
                }
            }
        }
        group.spare(busy);
        let landmarks = Landmarks::read(process, table, chains);
        let tid = waiting.unwrap_or(table);
        let end_signal = if chains { end_signal_of(process, tid) } else { None };
        Ok(Self {
            tid,
            fd_dir: process.fd_dir(table)?,
            table,
            own_pid: std::process::id(),
            landmarks,
            end_signal,
            seccomp: None,
            event_loops,
            kin: Vec::new(),
        })
    }

    /// The event loops that wait on one of `items`: by the instances that are known to watch each (`watched`), and what
    /// else can be found in the time there is for it. `see_to_signals` is called now and then.
    pub(super) fn watchers(
        &self,
        items: &[Item],
        watched: &[&[Fd]],
        is_new: impl Fn(Fd) -> bool,
        see_to_signals: &mut dyn FnMut() -> Result<(), AttachError>,
    ) -> Result<Vec<Waiter>, AttachError> {
        let (mut found, deadline) = (Vec::new(), Deadline::after(LOOK_AT_EVENT_LOOPS));
        let waiter = |EventLoop { tid, call, .. }, fd| {
            let (number, manner) = (call.number, Manner::Epoll);
            Waiter { tid, fd, number, call: call.name, manner, for_input: true }
        };
        let watched = items.iter().zip(watched.iter().copied().chain(iter::repeat(&[][..])));
        let sockets: Vec<(Fd, &[Fd])> = watched
            .filter(|(item, _)| item.is_socket() && is_new(item.fd))
            .map(|(item, instances)| (item.fd, instances))
            .collect();
        // Asked about 20 others with 10,000 descriptors each first, no time would be left for the one that matters.
        for event_loop in self.event_loops.iter().copied() {
            let on = sockets.iter().filter(|(_, instances)| instances.contains(&event_loop.epoll));
            let mut on = on.map(|(fd, _)| waiter(event_loop, *fd)).peekable();
            if on.peek().is_some() && self.shares_table(event_loop.tid) {
                found.extend(on);
            }
        }
        let mut due = Deadline::after(SEE_TO_SIGNALS);
        for event_loop in self.event_loops.iter().copied() {
            let EventLoop { tid, epoll, .. } = event_loop;
            for (fd, _) in sockets.iter().filter(|(_, instances)| !instances.contains(&epoll)) {
                if epoll_watches(tid, epoll, *fd) == Ok(true) && self.shares_table(tid) {
                    found.push(waiter(event_loop, *fd));
                }
                if deadline.remaining().is_none() {
                    return Ok(found);
                }
                if due.remaining().is_none() {
                    see_to_signals()?;
                    due = Deadline::after(SEE_TO_SIGNALS);
                }
            }
        }
        Ok(found)
    }

    /// Looks, while the target still runs, at what may have changed since the last stop.
    pub(super) fn look_again(&mut self, process: &Process, group: &SeizedGroup, chains: bool) {
        self.seccomp = seccomp(process, self.tid);
        if chains {
            self.remember_kin(group);
        }
    }

    /// Remembers, while the target runs, which other threads use the table: once its own thread has ended, nobody can
    /// tell any more.
    fn remember_kin(&mut self, group: &SeizedGroup) {
        let threads = group.threads().iter().map(Seized::tid);
        self.kin.retain(|kin| threads.clone().any(|tid| tid == *kin));
        if self.kin.len() >= ENOUGH_KIN {
            return;
        }
        let is_new = |tid: &Tid| *tid != self.table && !self.kin.contains(tid);
        // None, if the table's own thread has ended by now.
        let more: Vec<Tid> = threads
            .filter(is_new)
            .take(ASKED_FOR_KIN)
            .filter(|tid| self.shares_table(*tid))
            .take(MOST_KIN)
            .collect();
        self.kin.extend(more);
    }

    /// If the thread whose table is meant has ended, goes on with another one that uses it.
    pub(super) fn move_to_living(&mut self, process: &Process, threads: &[Stopped]) -> Result<(), ProcError> {
        let lives = |tid: Tid| threads.iter().any(|thread| thread.tid() == tid);
        if lives(self.table) {
            return Ok(());
        }
        if let Some(heir) = self.kin.iter().copied().find(|kin| lives(*kin)) {
            (self.fd_dir, self.table) = (process.fd_dir(heir)?, heir);
        }
        Ok(())
    }

    /// Whether the item's descriptor still refers to what it did.
    pub(super) fn is_still(&self, item: &Item) -> bool {
        self.fd_dir.is(item.fd, &item.expected.target).unwrap_or(false)
    }

    /// Whether the table looked at is the one that a call of `tid` acts on.
    pub(super) fn shares_table(&self, tid: Tid) -> bool {
        // A kernel that can't compare can't be trusted with another thread than the one looked at.
        same_descriptor_table(self.table, tid)
            .inspect_err(|_| host::fall_back(Fallback::OwnThreadAlone))
            .unwrap_or(false)
    }
}

/// How a chain of calls in thread `tid` may end; `None` if it can't, or that can't be read.
fn end_signal_of(process: &Process, tid: Tid) -> Option<EndSignal> {
    end_signal(&process.status().ok()?, &process.status_of(tid).ok()?)
}

/// How thread `tid` is confined; `None` if that can't be read. The suspension of what is not there succeeds, and no ptrace
/// request tells of strict mode: so /proc is read, mostly before the stop.
fn seccomp(process: &Process, tid: Tid) -> Option<Seccomp> {
    process.status_of(tid).ok().map(|status| status.seccomp.unwrap_or(Seccomp::Disabled))
}

impl EventLoop {
    /// By what /proc says of a thread: the number of a call and its first argument.
    fn of(tid: Tid, number: u64, epoll: u64) -> Option<Self> {
        let call = native_abi().waiting_call(number).filter(|call| call.on == On::Epoll)?;
        Some(Self { tid, epoll: Fd::new(i32::try_from(epoll).ok()?)?, call })
    }
}

/// The thread that makes the calls, taken out of its stopped group.
#[derive(Debug)]
pub(super) struct Surgeon<'a> {
    remote: Option<Remote<'a>>,
    tid: Tid,
    end_signal: Option<EndSignal>,
    candidate: &'a Candidate,
}

impl<'a> Surgeon<'a> {
    /// Picks the thread, now that nothing moves.
    pub(super) fn pick(
        group: &mut StoppedGroup,
        process: &Process,
        candidate: &'a Candidate,
        conduct: Conduct,
    ) -> Result<Self, AttachError> {
        let pid = process.pid();
        let (index, site) = best(group.threads(), process, candidate)?;
        let thread = group.take(index);
        let tid = thread.tid();
        let is_known = tid == candidate.tid;
        let mode = if is_known { candidate.seccomp } else { seccomp(process, tid) };
        let limits = (conduct.max_pause, conduct.timeout);
        let mut remote = Remote::prepare(thread, pid, site, &candidate.landmarks, mode, limits)?;
        if let Err(error) = remote.suspend_seccomp() {
            // Read now, not before the stop: a thread can enter seccomp at any time.
            let mode = process.status_of(tid).map(|status| status.seccomp.unwrap_or(Seccomp::Disabled));
            if !matches!(mode, Ok(Seccomp::Disabled)) {
                host::fall_back(Fallback::SeccompRefused);
                group.put_back(remote.finish()?);
                let confinement = Confinement::look();
                return Err(AttachError::Seccomp { mode: mode?, error, confinement });
            }
        }
        let end_signal = candidate
            .end_signal
            .and_then(|end| if is_known { Some(end) } else { end_signal_of(process, tid) });
        Ok(Self { remote: Some(remote), tid, end_signal, candidate })
    }

    /// Closes what `next` asks for, in one go each time, where that can be done; see [`Remote::close_chains`].
    pub(super) fn close_chains(
        &mut self,
        next: &mut dyn FnMut() -> Option<Vec<Fd>>,
    ) -> Result<ChainEnd, TraceError> {
        match self.end_signal {
            Some(end) => self.remote()?.close_chains(end, next),
            None => Ok(ChainEnd::NotHere),
        }
    }

    /// The table that the calls act on.
    pub(super) fn table(&self) -> Table<'a> {
        Table(self.candidate)
    }

    /// To make calls through.
    pub(super) fn remote(&mut self) -> Result<&mut Remote<'a>, TraceError> {
        self.remote.as_mut().ok_or(TraceError::Gone(self.tid))
    }

    /// As [`Remote::is_insured`].
    pub(super) fn is_insured(&self) -> bool {
        self.remote.as_ref().is_none_or(Remote::is_insured)
    }

    /// Puts the thread back as it was, into its group.
    pub(super) fn finish(self, group: &mut StoppedGroup) -> Result<(), TraceError> {
        if let Some(remote) = self.remote {
            group.put_back(remote.finish()?);
        }
        Ok(())
    }
}

/// The table of descriptors that a [`Surgeon`]'s calls act on. Good for as long as everything is stopped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a>(&'a Candidate);

impl Table<'_> {
    /// Which file `fd` refers to right now, in the table that the calls will act on.
    pub(super) fn look(self, fd: Fd) -> Result<Option<FdIdentity>, ProcError> {
        self.0.fd_dir.identity(fd)
    }

    /// Whether `fd` is open.
    pub(super) fn is_open(self, fd: Fd) -> Result<bool, ProcError> {
        Ok(self.0.fd_dir.read(fd)?.is_some())
    }

    /// The flags of `fd` as open(2) has them, O_CLOEXEC among them; `None` if it is not open.
    pub(super) fn flags(self, fd: Fd) -> Result<Option<u32>, ProcError> {
        Ok(self.0.fd_dir.fdinfo(fd)?.map(|info| info.flags))
    }

    /// Whether `own`, a descriptor of fdclose, is the same open file as the target's `fd`.
    pub(super) fn same_file(self, own: BorrowedFd<'_>, fd: Fd) -> Result<bool, Errno> {
        same_file(self.0.own_pid, own, self.0.table, fd)
    }

    /// How many descriptors are open, where the kernel tells.
    pub(super) fn count(self) -> Option<usize> {
        self.0.fd_dir.count()
    }
}

/// The thread to use, by index, and the call instruction for it.
fn best(threads: &[Stopped], process: &Process, candidate: &Candidate) -> Result<(usize, Site), AttachError> {
    let first = threads.iter().position(|thread| thread.tid() == candidate.tid);
    let in_order = || first.into_iter().chain((0..threads.len()).filter(move |index| Some(*index) != first));
    let usable = |thread: &Stopped| candidate.shares_table(thread.tid());
    let waiting = in_order().find_map(|index| {
        let thread = threads.get(index)?;
        let (abi, registers) = thread.abi_and_registers().ok()?;
        registers.call_in_progress().filter(|_| registers.ip() != KERNEL_WORKER)?;
        let site = site_of_call(thread, abi, &registers, &candidate.landmarks)?;
        let lets_through = Dispatch::of(thread).allows(site.address, abi);
        (lets_through && usable(thread)).then_some((index, site))
    });
    if let Some(found) = waiting {
        return Ok(found);
    }
    // No thread waits in a call. One that is inside a restartable sequence is left alone if another is not, and so is
    // one whose calls would be dispatched back to it.
    let mut none = AttachError::OtherTable;
    for index in in_order() {
        let Some(thread) = threads.get(index) else { continue };
        if thread.registers().is_ok_and(|registers| registers.ip() == KERNEL_WORKER) || !usable(thread) {
            continue;
        }
        if rseq::is_inside(thread) {
            none = AttachError::AllInRseq;
            continue;
        }
        match site_for(thread, process, &candidate.landmarks) {
            Err(AttachError::Dispatched) => none = AttachError::Dispatched,
            found => return found.map(|site| (index, site)),
        }
    }
    Err(none)
}

/// A call instruction for a thread that waits in a call: its own, if it may be.
fn site_of_call(
    thread: &Stopped,
    abi: &'static Abi,
    registers: &Registers,
    landmarks: &Landmarks,
) -> Option<Site> {
    if !abi.rewinds {
        return Site::before(thread.tid(), registers.ip(), abi);
    }
    let is_usable =
        |site: &Site| registers.may_call_from(site.address, abi) && site.is_intact(thread.tid(), abi);
    landmarks.spare_site.filter(is_usable)
}

/// A call instruction for a thread that is at work.
fn site_for(thread: &Stopped, process: &Process, landmarks: &Landmarks) -> Result<Site, AttachError> {
    let (abi, _) = thread.abi_and_registers()?;
    let known = landmarks.spare_site.filter(|site| site.is_intact(thread.tid(), abi));
    let site = known
        .or_else(|| Site::find(process, thread.tid(), abi))
        .ok_or_else(|| TraceError::NoGadget("none in its vDSO nor in its executable mappings".into()))?;
    if Dispatch::of(thread).allows(site.address, abi) { Ok(site) } else { Err(AttachError::Dispatched) }
}
