//! `close`: the target closes the descriptor itself, without knowing.
//!
//! All threads stop, so nothing can change between the look and the act; each descriptor is looked at again, and
//! closed only if it still refers to what was selected. Between two slices of a long batch the target runs.

use std::thread;
use std::time::{Duration, Instant};

use super::surgeon::{Candidate, Surgeon};
use super::{Conduct, Item, ItemOutcome, Job, Operation};
use crate::error::{AttachError, TraceError};
use crate::inject::deathpoint::{self, Place};
use crate::inject::{fdops, restart};
use crate::proc::{Process, Procfs};
use crate::trace::refusal::Refusal;
use crate::trace::{Deadline, Roll, SeizedGroup, StoppedGroup, on_tracer_thread, signals};

/// What the target gets between two slices. Interrupted again at once, it would not run at all: slices of 500
/// closes then gave the same pause as one long stop.
const BREATHER: Duration = Duration::from_micros(200);

/// Does `job`. Never fails as a whole: what went wrong is in the [`Operation`].
#[must_use]
pub fn close(procfs: &Procfs, job: &Job<'_>, conduct: Conduct) -> Operation {
    let items = job.items;
    let surgery = |roll: &Roll| {
        let mut operation = Operation::new(items.len());
        if let Err(error) = operate(&mut operation, procfs, job, roll, conduct) {
            operation.fail(error);
        }
        operation
    };
    match on_tracer_thread(surgery) {
        Ok(Ok(operation)) => operation,
        // A panic: the guards have put the target back on the way out as well as they could.
        Ok(Err(_)) => lost(items, "fdclose failed internally: this is a bug in fdclose"),
        Err(error) => lost(items, &format!("can't start a thread: {error}")),
    }
}

fn lost(items: &[Item], why: &str) -> Operation {
    let mut operation = Operation::new(items.len());
    operation.outcomes.fill(ItemOutcome::Failed(why.to_owned()));
    operation.restored = false;
    operation
}

fn operate(
    operation: &mut Operation,
    procfs: &Procfs,
    job: &Job<'_>,
    roll: &Roll,
    conduct: Conduct,
) -> Result<(), AttachError> {
    let Job { process, table, items } = *job;
    let explain = |error| explain(error, procfs, process);
    let mut group = SeizedGroup::seize(process, roll, Deadline::after(conduct.timeout)).map_err(explain)?;
    // From here on the pid can't be reused: a traced process stays a zombie until its tracer has seen it end. If
    // the directory opened before still answers, the process attached to is the one that was selected.
    if !process.exists()? {
        return Err(AttachError::Gone);
    }
    let candidate = Candidate::choose(process, table, &mut group)?;
    let mut next = 0;
    loop {
        if signals::end_is_wanted() {
            return Err(AttachError::Interrupted);
        }
        let deadline = Deadline::after(conduct.timeout);
        let mut stopped = group
            .stop(process, conduct.max_pause, deadline, &mut restart::hide_interruption)
            .map_err(explain)?;
        operation.threads = operation.threads.max(stopped.threads().len());
        operation.stops += 1;
        deathpoint::reach(Place::Stopped);
        let since = stopped.since();
        let mut result = slice(operation, &mut next, &mut stopped, process, &candidate, items, conduct);
        // A process that was stopped (SIGSTOP) meanwhile is not to be resumed between slices: it feels no pause.
        while result.is_ok() && next < items.len() && stopped.is_group_stopped() {
            result = slice(operation, &mut next, &mut stopped, process, &candidate, items, conduct);
        }
        if result.is_err() || next == items.len() {
            let detached = stopped.detach();
            operation.count_pause(since.elapsed());
            return result.and(detached.map_err(AttachError::from));
        }
        group = stopped.resume()?;
        operation.count_pause(since.elapsed());
        thread::sleep(BREATHER);
    }
}

/// One stop's worth of items: as many as fit into the longest pause allowed, at least one.
fn slice(
    operation: &mut Operation,
    next: &mut usize,
    stopped: &mut StoppedGroup,
    process: &Process,
    candidate: &Candidate,
    items: &[Item],
    conduct: Conduct,
) -> Result<(), AttachError> {
    let end_at: Instant = stopped.since() + conduct.max_pause;
    let mut surgeon = Surgeon::pick(stopped, process, candidate, conduct)?;
    let result = loop {
        let (Some(item), Some(outcome)) = (items.get(*next), operation.outcomes.get_mut(*next)) else {
            break Ok(());
        };
        match close_one(&mut surgeon, item) {
            Ok(what) => *outcome = what,
            Err(error) => break Err(error),
        }
        *next += 1;
        if Instant::now() >= end_at {
            break Ok(());
        }
    };
    // The thread goes back whatever happened. What went wrong first is what to tell.
    let restored = surgeon.finish(stopped);
    operation.restored &= matches!(restored, Ok(()) | Err(TraceError::Gone(_)));
    result.and(restored).map_err(AttachError::from)
}

fn close_one(surgeon: &mut Surgeon, item: &Item) -> Result<ItemOutcome, TraceError> {
    // The promise of the right descriptor or none: same stop, same table as the close right below.
    let now = match surgeon.look(item.fd) {
        Ok(now) => now,
        Err(error) => return Ok(ItemOutcome::Failed(error.to_string())),
    };
    match now {
        None => Ok(ItemOutcome::Gone),
        Some(now) if now != item.expected => Ok(ItemOutcome::Changed),
        Some(_) => {
            let answer = fdops::close(surgeon.remote()?, item.fd)?;
            // The kernel frees the number before it answers, and answers an error if flushing failed. Whether it
            // did is seen, not believed: a seccomp filter can answer in its place.
            Ok(match (surgeon.is_open(item.fd), answer) {
                (Ok(false), answer) => ItemOutcome::Done(answer.err()),
                (Ok(true), Ok(())) => {
                    ItemOutcome::Failed("close succeeded, but the descriptor is still open".into())
                }
                (Ok(true), Err(errno)) => {
                    ItemOutcome::Failed(format!("close in the target: {}", errno.desc()))
                }
                (Err(error), _) => ItemOutcome::Failed(format!("closed, but not seen: {error}")),
            })
        }
    }
}

/// Puts the reason to a bare EPERM.
fn explain(error: AttachError, procfs: &Procfs, process: &Process) -> AttachError {
    match error {
        AttachError::Seize { tid, errno: nix::errno::Errno::EPERM } => {
            Refusal::diagnose(procfs, process, tid).map_or(AttachError::Gone, AttachError::Refused)
        }
        error => error,
    }
}
