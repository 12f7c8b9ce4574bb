//! Choosing the thread that makes the calls, and working through it.
//!
//! Any thread of the process would do, as they share one descriptor table. The best is one that waits in a system
//! call: its own call instruction is at hand, it can't be inside a restartable sequence (rseq(2) forbids calls
//! there), and it is disturbed least. What can be read before the stop is read before the stop.

use std::time::Duration;

use crate::arch;
use crate::error::{AttachError, TraceError};
use crate::ids::{Fd, Tid};
use crate::inject::{Remote, Site, rseq};
use crate::proc::{FdDir, FdTarget, InSyscall, ProcError, Process, Seccomp};
use crate::trace::{Seized, SeizedGroup, Stopped, StoppedGroup};

/// So many threads are asked before the stop whether they are at work or wait in a call, 4 us each.
const ASKED: usize = 8;

/// A thread that looked fit before the stop, and what was read about it there.
#[derive(Debug)]
pub(super) struct Candidate {
    tid: Tid,
    facts: ThreadFacts,
    /// A call instruction, for the case that no thread turns out to wait in a call.
    spare_site: Option<Site>,
}

/// What must be known of a thread before it can make calls.
#[derive(Debug)]
struct ThreadFacts {
    fd_dir: FdDir,
    seccomp: Seccomp,
}

impl ThreadFacts {
    fn read(process: &Process, tid: Tid) -> Result<Self, ProcError> {
        let seccomp = process.status_of(tid)?.seccomp.unwrap_or(Seccomp::Disabled);
        Ok(Self { fd_dir: process.fd_dir(tid)?, seccomp })
    }
}

impl Candidate {
    /// Chooses while the target still runs.
    pub(super) fn choose(process: &Process, group: &mut SeizedGroup) -> Result<Self, AttachError> {
        let all: Vec<Tid> = group.threads().iter().map(Seized::tid).collect();
        let (mut waiting, mut busy) = (None, Vec::new());
        for tid in all.iter().copied().take(ASKED) {
            match process.syscall(tid) {
                Ok(InSyscall::Call { .. }) => waiting = waiting.or(Some(tid)),
                Ok(InSyscall::Running) => busy.push(tid),
                _ => {}
            }
        }
        group.spare(busy);
        // Threads may end at any time: the first one that can still be read will do.
        let mut last = AttachError::Gone;
        for tid in waiting.into_iter().chain(all) {
            match ThreadFacts::read(process, tid) {
                Ok(facts) => {
                    let spare_site =
                        if waiting.is_none() { Site::find(process, arch::native_abi()) } else { None };
                    return Ok(Self { tid, facts, spare_site });
                }
                Err(error) if error.is_gone() => {}
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// The thread that makes the calls, taken out of its stopped group.
#[derive(Debug)]
pub(super) struct Surgeon<'a> {
    remote: Option<Remote>,
    tid: Tid,
    candidate: &'a Candidate,
    /// The facts, if it is not the candidate.
    own_facts: Option<ThreadFacts>,
}

impl<'a> Surgeon<'a> {
    /// Picks the thread, now that nothing moves.
    pub(super) fn pick(
        group: &mut StoppedGroup,
        process: &Process,
        candidate: &'a Candidate,
        patience: Duration,
    ) -> Result<Self, AttachError> {
        let pid = process.pid();
        let (index, site) = best(group.threads(), process, candidate)?;
        let thread = group.take(index);
        let tid = thread.tid();
        let own_facts = if tid == candidate.tid { None } else { Some(ThreadFacts::read(process, tid)?) };
        let mut remote = Remote::prepare(thread, pid, site, patience)?;
        let facts = own_facts.as_ref().unwrap_or(&candidate.facts);
        if facts.seccomp != Seccomp::Disabled
            && let Err(error) = remote.suspend_seccomp()
        {
            group.put_back(remote.finish()?);
            return Err(AttachError::Seccomp { mode: facts.seccomp, error });
        }
        Ok(Self { remote: Some(remote), tid, candidate, own_facts })
    }

    /// What `fd` refers to right now, in the table that the calls will act on.
    pub(super) fn look(&self, fd: Fd) -> Result<Option<FdTarget>, ProcError> {
        self.own_facts.as_ref().unwrap_or(&self.candidate.facts).fd_dir.read(fd)
    }

    /// To make calls through.
    pub(super) fn remote(&mut self) -> Result<&mut Remote, TraceError> {
        self.remote.as_mut().ok_or(TraceError::Gone(self.tid))
    }

    /// Puts the thread back as it was, into its group.
    pub(super) fn finish(self, group: &mut StoppedGroup) -> Result<(), TraceError> {
        if let Some(remote) = self.remote {
            group.put_back(remote.finish()?);
        }
        Ok(())
    }
}

/// The thread to use, by index, and the call instruction for it.
fn best(threads: &[Stopped], process: &Process, candidate: &Candidate) -> Result<(usize, Site), AttachError> {
    let waits = |thread: &Stopped| {
        let (abi, registers) = thread.abi_and_registers().ok()?;
        registers.call_in_progress()?;
        Site::before(process.pid(), registers.ip(), abi)
    };
    let first = threads.iter().position(|thread| thread.tid() == candidate.tid);
    let in_order = || first.into_iter().chain((0..threads.len()).filter(move |index| Some(*index) != first));
    if let Some(found) = in_order().find_map(|index| Some((index, waits(threads.get(index)?)?))) {
        return Ok(found);
    }
    // No thread waits in a call. One that is inside a restartable sequence is left alone if another is not.
    let outside =
        |index: &usize| threads.get(*index).is_some_and(|thread| !rseq::is_inside(process.pid(), thread));
    let index = in_order().find(outside).ok_or(AttachError::AllInRseq)?;
    let thread = threads.get(index).ok_or(AttachError::Gone)?;
    let (abi, _) = thread.abi_and_registers()?;
    let site = candidate
        .spare_site
        .filter(|site| site.is_intact(process.pid(), abi))
        .or_else(|| Site::find(process, abi))
        .ok_or_else(|| TraceError::NoGadget("none in its vDSO nor in its executable mappings".into()))?;
    Ok((index, site))
}
