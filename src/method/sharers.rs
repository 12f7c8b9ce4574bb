//! Other processes with the very same descriptor table (clone(2) with CLONE_FILES and without CLONE_THREAD).
//!
//! One of them could give a number to another file between the look at a descriptor and its close. So they are stopped,
//! too. Nothing but a comparison with each process there is (kcmp(2)) finds them all: neither the parent nor the
//! program has to be the same. That takes 1.4 us a process (Linux 6.18), and is done beside what else has to be done
//! before the stop, while the target runs.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use nix::errno::Errno;

use super::Conduct;
use super::close::explain;
use super::waits::Waits;
use super::wake::{AT_ONCE, SEE_TO_SIGNALS};
use crate::error::{AttachError, TraceError};
use crate::host::{self, Fallback};
use crate::ids::{Pid, Tid};
use crate::proc::{ProcError, Process, Procfs};
use crate::trace::{Deadline, OnStop, Roll, SeizedGroup, Stopped, StoppedGroup, same_descriptor_table};

/// Up to so many numbers that were given since the last look are asked about one by one; above, all processes are.
const MOST_NEW: i32 = 1024;

/// Which processes share a descriptor table, and when that was found out.
#[derive(Debug)]
pub(super) struct Look {
    found: Vec<Pid>,
    /// The number given last before.
    newest: Option<i32>,
}

impl Look {
    /// Asks about every process but `own`, whose table is `table`'s.
    pub(super) fn at_all(procfs: &Procfs, own: Pid, table: Tid) -> Result<Self, ProcError> {
        // Before the look: what is made meanwhile counts as new.
        let newest = procfs.newest_pid();
        let mut found = procfs.pids()?;
        found.retain(|pid| *pid != own && shares(procfs, *pid, table));
        Ok(Self { found, newest })
    }

    /// Waits for a look that another thread takes. Signals get through to the target meanwhile.
    pub(super) fn wait_for(
        looked: &Receiver<Result<Self, ProcError>>,
        group: &mut SeizedGroup,
    ) -> Result<Self, AttachError> {
        let mut waits = Waits::default();
        loop {
            match looked.recv_timeout(SEE_TO_SIGNALS) {
                Ok(look) => return Ok(look?),
                Err(RecvTimeoutError::Timeout) => {
                    group.run_until(Deadline::after(AT_ONCE), &mut |thread| waits.see(thread))?;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(AttachError::NobodyLooked),
            }
        }
    }

    /// The processes made since, and this new look.
    fn again(&self, procfs: &Procfs, own: Pid, table: Tid) -> Result<Self, ProcError> {
        match (self.newest, procfs.newest_pid()) {
            (Some(before), Some(now)) if (before..=before.saturating_add(MOST_NEW)).contains(&now) => {
                let new = (before + 1..=now)
                    .filter_map(Pid::new)
                    .filter(|pid| *pid != own && shares(procfs, *pid, table));
                // Threads are numbered with the processes; theirs is the table of their process.
                let found = new.filter(|pid| procfs.open(*pid).is_ok()).collect();
                Ok(Self { found, newest: Some(now) })
            }
            // They went round, were many, or are not told.
            _ => Self::at_all(procfs, own, table),
        }
    }
}

/// The processes that share the descriptor table of `table`, a thread of `own`, as far as they can be compared.
///
/// # Errors
/// /proc can't be listed.
pub fn sharers_of(procfs: &Procfs, own: Pid, table: Tid) -> Result<Vec<Pid>, ProcError> {
    Ok(Look::at_all(procfs, own, table)?.found)
}

/// What can't be compared, as it belongs to others or the kernel knows no kcmp, counts as a stranger.
///
/// Two that are ending have no table any more, which is the same for kcmp(2); nor have they descriptors then.
fn shares(procfs: &Procfs, pid: Pid, table: Tid) -> bool {
    let has_some = || {
        let process = procfs.open_listed(pid)?;
        process.fd_dir(pid.leader())?.list().map(|fds| !fds.is_empty())
    };
    let same = same_descriptor_table(table, pid.leader());
    if same == Err(Errno::ENOSYS) {
        host::fall_back(Fallback::SharersUnknown);
    }
    same.unwrap_or(false) && has_some().unwrap_or(false)
}

/// The sharers of a target's table, traced.
#[derive(Debug)]
pub(super) struct Sharers<'a> {
    procfs: &'a Procfs,
    roll: &'a Roll,
    conduct: Conduct,
    target: Pid,
    table: Tid,
    look: Look,
    running: Vec<(Process, SeizedGroup)>,
    stopped: Vec<(Process, StoppedGroup)>,
}

impl<'a> Sharers<'a> {
    /// Attaches to those that `look` has found; stops none.
    pub(super) fn seize(
        procfs: &'a Procfs,
        roll: &'a Roll,
        conduct: Conduct,
        (target, table): (Pid, Tid),
        look: Look,
    ) -> Result<Self, AttachError> {
        let look_found = look.found.clone();
        let (running, stopped) = (Vec::new(), Vec::new());
        let mut sharers = Self { procfs, roll, conduct, target, table, look, running, stopped };
        sharers.seize_all(&look_found)?;
        Ok(sharers)
    }

    fn seize_all(&mut self, pids: &[Pid]) -> Result<(), AttachError> {
        for pid in pids {
            let known = self.running.iter().map(|(process, _)| process);
            let known = known.chain(self.stopped.iter().map(|(process, _)| process));
            if known.into_iter().any(|process| process.pid() == *pid) {
                continue;
            }
            match self.seize_one(*pid) {
                Ok(found) => self.running.extend(found),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(AttachError::Sharer { pid: *pid, error: Box::new(error) }),
            }
        }
        Ok(())
    }

    fn seize_one(&self, pid: Pid) -> Result<Option<(Process, SeizedGroup)>, AttachError> {
        let process = self.procfs.open(pid)?;
        let group = SeizedGroup::seize(&process, self.roll, Deadline::after(self.conduct.timeout))
            .map_err(|error| explain(error, self.procfs, &process))?;
        // From here on the number is held. It may have come to mean another process before, which then stays traced; see
        // [`crate::trace::leaves_traced`].
        Ok(shares(self.procfs, pid, self.table).then_some((process, group)))
    }

    /// Whether nobody shares the table, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.stopped.is_empty()
    }

    /// A thread of theirs, stopped.
    pub(super) fn thread_mut(&mut self, tid: Tid) -> Option<&mut Stopped> {
        self.stopped.iter_mut().find_map(|(_, group)| group.thread_mut(tid))
    }

    /// Stops all of them. To be done before the target is stopped, and [`Self::stop_new`] after.
    pub(super) fn stop(&mut self, deadline: Deadline, on_stop: OnStop<'_>) -> Result<(), AttachError> {
        for (process, group) in std::mem::take(&mut self.running) {
            let stopped = group.stop(&process, self.conduct.max_pause, deadline, on_stop);
            match stopped {
                Ok(group) => self.stopped.push((process, group)),
                Err(error) if error.is_gone() => {}
                Err(error) => {
                    return Err(AttachError::Sharer { pid: process.pid(), error: Box::new(error) });
                }
            }
        }
        Ok(())
    }

    /// Finds and stops those made since the last look. As everybody else who could make one is stopped, there is an end.
    pub(super) fn stop_new(&mut self, deadline: Deadline, on_stop: OnStop<'_>) -> Result<(), AttachError> {
        loop {
            let look = self.look.again(self.procfs, self.target, self.table)?;
            let found = look.found.clone();
            self.look = look;
            self.seize_all(&found)?;
            if self.running.is_empty() {
                return Ok(());
            }
            self.stop(deadline, on_stop)?;
        }
    }

    /// Since when the first of them, or of the threads of their target, has been asked to stop.
    pub(super) fn since(&self, target: &StoppedGroup) -> Instant {
        self.stopped.iter().map(|(_, group)| group.since()).fold(target.since(), Instant::min)
    }

    /// Lets them run on, still traced.
    pub(super) fn resume(&mut self) -> Result<(), TraceError> {
        for (process, group) in std::mem::take(&mut self.stopped) {
            self.running.push((process, group.resume()?));
        }
        Ok(())
    }

    /// Ends the tracing of all of them; the first error, after all have been tried.
    pub(super) fn detach(self) -> Result<(), TraceError> {
        self.stopped.into_iter().map(|(_, group)| group.detach()).fold(Ok(()), Result::and)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::trace::leaves_traced;

    #[test]
    fn who_no_longer_shares_is_known_to_be_left_traced() {
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::new(sleeper.id().cast_signed()).unwrap();
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let second = Duration::from_secs(1);
        // A thread that has no children.
        let traced = thread::scope(|scope| {
            let tracer = scope.spawn(|| {
                let before = leaves_traced();
                let (procfs, roll) = (Procfs::host(), Roll::default());
                let conduct = Conduct { max_pause: second, timeout: 10 * second };
                let look = Look { found: vec![pid], newest: procfs.newest_pid() };
                let sharers = Sharers::seize(&procfs, &roll, conduct, (own, own.leader()), look);
                (before, sharers.is_ok_and(|sharers| sharers.is_empty()), leaves_traced())
            });
            tracer.join()
        });
        sleeper.kill().and_then(|()| sleeper.wait()).unwrap();
        assert_eq!(traced.unwrap(), (false, true, true));
    }
}
