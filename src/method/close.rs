//! `close`: the target closes the descriptor itself, without knowing.
//!
//! All threads stop, so nothing can change between the look and the act; each descriptor is looked at again, and
//! closed only if it still refers to what was selected. Between two slices of a long batch the target runs.
//!
//! `replace`, and `shutdown` where there are no copies of descriptors, go the same way, to other calls at its end; see
//! `replace.rs`.

use std::mem;
use std::ops::Range;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::batch::{Act, Batch, Limits, SHORTEST_CHAIN, copies_of};
use super::pace::Pace;
use super::release::{Release, Releasing};
use super::sharers::{Look, Sharers};
use super::surgeon::{Candidate, Surgeon};
use super::waits::{Manner, Waiter, Waits};
use super::wake::{AT_ONCE, Wake};
use super::{Conduct, Item, ItemOutcome, Job, Operation, WaitEnd, Waited, replace};
use crate::error::{AttachError, TraceError};
use crate::inject::deathpoint::{self, Place};
use crate::inject::restart;
use crate::net::Copies;
use crate::proc::{ProcError, Process, Procfs};
use crate::progress;
use crate::refusal::Refusal;
use crate::trace::{
    Deadline, Roll, SeizedGroup, Stopped, StoppedGroup, on_this_thread, on_tracer_thread, signals,
};
use crate::watchdog;
use crate::worker::{self, Lost};

/// A process that was killed takes no longer to end all its threads.
const LAST_BREATH: Duration = Duration::from_millis(100);

/// From so many descriptors on a worker is worth its price, 0.2 ms.
const FEWEST_FOR_WORKER: usize = 2;

/// What the target gets between two slices. Interrupted again at once, it would not run at all: slices of 500
/// closes then gave the same pause as one long stop.
const BREATHER: Duration = Duration::from_micros(200);

/// Does `job`. Never fails as a whole: what went wrong is in the [`Operation`].
///
/// More than one descriptor is closed by a process of its own, so that killing this one does not cut it off.
#[must_use]
pub fn close(procfs: &Procfs, job: &Job<'_>, conduct: Conduct) -> Operation {
    perform(Act::Close, procfs, job, conduct)
}

/// The same for another act.
pub(super) fn perform(act: Act, procfs: &Procfs, job: &Job<'_>, conduct: Conduct) -> Operation {
    // Where there is one thread only, as the room for them must be made there.
    let copies = || if makes_chains(act, job) { copies_of(job.process, job.items.len()) } else { None };
    let perform = |copies: Option<Copies>| perform_here(act, procfs, job, copies.as_ref(), conduct);
    // There, nobody watches over the first thread.
    let in_worker = Job { is_last: false, ..*job };
    let perform_there =
        |copies: Option<Copies>| perform_here(act, procfs, &in_worker, copies.as_ref(), conduct);
    if job.items.len() < FEWEST_FOR_WORKER || !worker::is_possible() {
        return perform(copies());
    }
    match worker::run(copies, perform_there) {
        Ok(Ok(operation)) => operation,
        Ok(Err(loss)) => look_at_what_is_left(act, job, &loss),
        // No process to be had: better done here than not at all.
        Err(_) => perform(copies()),
    }
}

/// Whether descriptors are closed by chains of calls, with copies of them.
fn makes_chains(act: Act, job: &Job<'_>) -> bool {
    act == Act::Close && job.items.len() >= SHORTEST_CHAIN
}

/// The worker was lost. It can't say what it did; the descriptors can.
fn look_at_what_is_left(act: Act, job: &Job<'_>, loss: &Lost) -> Operation {
    let _watched = watchdog::over(job.process.pid());
    let mut operation = Operation::new(job.items.len());
    let outcome = |item: &Item| match job.process.fd_dir(job.table).and_then(|dir| dir.identity(item.fd)) {
        Ok(Some(now)) if now == item.expected && act == Act::Shutdown => {
            ItemOutcome::Failed(format!("{loss}; whether it was shut down is not known"))
        }
        Ok(Some(now)) if now == item.expected => {
            ItemOutcome::Failed(format!("{loss}; it was left as it was"))
        }
        Ok(_) => ItemOutcome::Failed(format!("{loss}; it has been closed or replaced by now")),
        Err(error) if error.is_gone() => ItemOutcome::Gone,
        Err(error) => ItemOutcome::Failed(format!("{loss}; what became of it is not known: {error}")),
    };
    operation.outcomes = job.items.iter().map(outcome).collect();
    operation
}

fn perform_here(
    act: Act,
    procfs: &Procfs,
    job: &Job<'_>,
    copies: Option<&Copies>,
    conduct: Conduct,
) -> Operation {
    let items = job.items;
    let _watched = watchdog::over(job.process.pid());
    let (found, looked) = mpsc::channel();
    // Nobody waits for what is found when the surgery has come to an early end. The sender goes with the closure, so that
    // a panic in there is not waited for.
    let meanwhile = move || drop(found.send(Look::at_all(procfs, job.process.pid(), job.table)));
    let surgery = move |roll: &Roll| {
        let mut operation = Operation::new(items.len());
        if let Err(error) = operate(&mut operation, procfs, (act, job), copies, (roll, &looked), conduct) {
            operation.fail(error);
        }
        // What could not be put back because it has ended needs no putting back.
        if !operation.restored {
            let deadline = Deadline::after(LAST_BREATH);
            while !operation.restored && deadline.remaining().is_some() {
                operation.restored = job.process.living_thread().is_err_and(|error| error.is_gone());
                thread::yield_now();
            }
        }
        operation
    };
    let done =
        if job.is_last { on_this_thread(surgery, meanwhile) } else { on_tracer_thread(surgery, meanwhile) };
    match done {
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
    (act, job): (Act, &Job<'_>),
    copies: Option<&Copies>,
    (roll, looked): (&Roll, &mpsc::Receiver<Result<Look, ProcError>>),
    conduct: Conduct,
) -> Result<(), AttachError> {
    let Job { process, table, .. } = *job;
    let explain = |error| explain(error, procfs, process);
    let mut group = SeizedGroup::seize(process, roll, Deadline::after(conduct.timeout)).map_err(explain)?;
    // From here on the pid can't be reused: a traced process stays a zombie until its tracer has seen it end. If
    // the directory opened before still answers, the process attached to is the one that was selected.
    if !process.exists()? {
        return Err(AttachError::Gone);
    }
    let chains = makes_chains(act, job);
    let mut candidate = Candidate::choose(job, &mut group, chains)?;
    let look = Look::wait_for(looked, &mut group)?;
    let sharers = Sharers::seize(procfs, roll, conduct, (process.pid(), table), look)?;
    let Some(copies) = copies else {
        return act_on_all(operation, (group, sharers), &mut candidate, procfs, (act, job), conduct, None);
    };
    let release = Release::default();
    thread::scope(|scope| {
        let copying = (copies, release.start(scope));
        act_on_all(operation, (group, sharers), &mut candidate, procfs, (act, job), conduct, Some(copying))
    })
}

/// Slice by slice, the target running in between.
fn act_on_all(
    operation: &mut Operation,
    (mut group, mut sharers): (SeizedGroup, Sharers),
    candidate: &mut Candidate,
    procfs: &Procfs,
    (act, job): (Act, &Job<'_>),
    conduct: Conduct,
    copying: Option<(&Copies, Releasing<'_>)>,
) -> Result<(), AttachError> {
    let Job { process, items, .. } = *job;
    let explain = |error| explain(error, procfs, process);
    let (copies, releasing) = copying.unzip();
    let mut pace = Pace::new(conduct.max_pause);
    let (mut waits, mut wake) = (Waits::default(), Wake::new(procfs, *job, conduct.timeout));
    let mut next = 0;
    loop {
        if signals::end_is_wanted() {
            return Err(AttachError::Interrupted);
        }
        let range = following(items, next, &pace);
        // A process that shares the table is another holder, and its signals would wait meanwhile.
        if act != Act::Shutdown && sharers.is_empty() {
            let items = items.get(range.clone()).unwrap_or_default();
            let watched = job.watched.get(range.clone()).unwrap_or_default();
            let mut see_to_signals =
                || group.run_until(Deadline::after(AT_ONCE), &mut |thread| waits.see(thread));
            let is_new = |fd| wake.is_new(fd);
            let watchers = candidate.watchers(items, watched, is_new, &mut see_to_signals)?;
            wake.wake(&watchers, candidate, &mut group, operation, &mut |thread| waits.see(thread))?;
        }
        let mut batch = Batch::prepare(copies, job, range);
        candidate.look_again(process, &group, makes_chains(act, job));
        let deadline = Deadline::after(conduct.timeout);
        waits.begin();
        let rest = releasing.as_ref().map(Releasing::rest);
        let mut see = |thread: &mut Stopped| waits.see(thread);
        sharers.stop(deadline, &mut see)?;
        let mut stopped = group.stop(process, conduct.max_pause, deadline, &mut see).map_err(explain)?;
        sharers.stop_new(deadline, &mut see)?;
        operation.threads = operation.threads.max(stopped.threads().len());
        operation.stops += 1;
        deathpoint::reach(Place::Stopped);
        let since = sharers.since(&stopped);
        candidate.move_to_living(process, stopped.threads())?;
        batch.notice(&waits, candidate);
        if act != Act::Shutdown
            && wake.is_due(batch.waiters())
            && sharers.is_empty()
            && !stopped.is_group_stopped()
        {
            group = stopped.resume()?;
            operation.count_pause(since.elapsed());
            drop(rest);
            let waiters = batch.into_waiters();
            wake.wake(&waiters, candidate, &mut group, operation, &mut |thread| waits.see(thread))?;
            continue;
        }
        let (mut begun, mut from) = (Instant::now(), next);
        let mut all = (&mut stopped, &mut sharers);
        let mut result = slice(operation, &mut next, (act, &batch), &mut all, candidate, &wake, conduct);
        // A process that was stopped (SIGSTOP) meanwhile is not to be resumed between slices: it feels no pause. Sharers do.
        while result.is_ok()
            && next < items.len()
            && all.0.is_still_group_stopped()
            && all.1.is_empty()
            && !signals::end_is_wanted()
        {
            let done = mem::replace(&mut batch, Batch::prepare(copies, job, following(items, next, &pace)));
            give_back(done, releasing.as_ref());
            batch.notice(&waits, candidate);
            (begun, from) = (Instant::now(), next);
            result = slice(operation, &mut next, (act, &batch), &mut all, candidate, &wake, conduct);
        }
        let work = begun.elapsed();
        if result.is_err() || next == items.len() {
            let detached = stopped.detach().and(sharers.detach());
            operation.count_pause(since.elapsed());
            drop(rest);
            give_back(batch, releasing.as_ref());
            return result.and(detached.map_err(AttachError::from));
        }
        group = stopped.resume()?;
        sharers.resume()?;
        let pause = since.elapsed();
        operation.count_pause(pause);
        progress::reached(next);
        pace.took(next - from, pause, work);
        drop(rest);
        let breather = Instant::now() + BREATHER;
        give_back(batch, releasing.as_ref());
        thread::sleep(breather.saturating_duration_since(Instant::now()));
    }
}

/// The connections end here, while the target runs.
fn give_back(done: Batch<'_>, releasing: Option<&Releasing<'_>>) {
    match releasing {
        Some(releasing) => releasing.take(done.into_copies()),
        None => drop(done),
    }
}

/// The next slice.
fn following(items: &[Item], next: usize, pace: &Pace) -> Range<usize> {
    let rest = items.get(next..).unwrap_or_default();
    let rest = rest.get(..pace.size()).unwrap_or(rest);
    // Sockets and others are closed in different ways, and take different times.
    let alike = |item: &&Item| Some(item.is_socket()) == rest.first().map(Item::is_socket);
    next..next + rest.iter().take_while(alike).count()
}

/// One stop's worth of items: as many as fit into the longest pause allowed, at least one.
fn slice(
    operation: &mut Operation,
    next: &mut usize,
    (act, batch): (Act, &Batch<'_>),
    (stopped, sharers): &mut (&mut StoppedGroup, &mut Sharers<'_>),
    candidate: &Candidate,
    wake: &Wake<'_>,
    conduct: Conduct,
) -> Result<(), AttachError> {
    // A process that is stopped anyway feels no pause.
    let feels_none = stopped.is_group_stopped() && sharers.is_empty();
    let since = if feels_none { Instant::now() } else { sharers.since(stopped) };
    // Where stopping all threads has taken most of the time already, a pause for each descriptor would be worse.
    let (now, longest) = (Instant::now(), conduct.max_pause);
    let limits = Limits {
        looking: (since + longest / 2).max(now + longest / 8),
        closing: (since + longest).max(now + longest / 4),
    };
    let mut surgeon = Surgeon::pick(stopped, wake.process(), candidate, conduct)?;
    let outcomes = operation.outcomes.get_mut(*next..).unwrap_or_default();
    let result = batch.act(act, &mut surgeon, outcomes, limits);
    let turns = outcomes.iter().take_while(|outcome| **outcome != ItemOutcome::NotTried).count();
    for (item, outcome) in batch.items().iter().zip(outcomes.iter_mut()).take(turns) {
        // Whatever took the number since is none of ours.
        if matches!(outcome, ItemOutcome::Gone | ItemOutcome::Changed) && wake.has_woken(item.fd) {
            *outcome = ItemOutcome::ByProcess;
        }
    }
    let closed = |waiter: &&Waiter| {
        let index = batch.items().iter().position(|item| item.fd == waiter.fd);
        index.and_then(|index| outcomes.get(index)).is_some_and(|it| matches!(it, ItemOutcome::Done(_)))
    };
    let waiters: Vec<Waiter> = batch.waiters().iter().filter(closed).copied().collect();
    *next += turns;
    operation.insured &= surgeon.is_insured();
    // The thread goes back whatever happened. What went wrong first is what to tell.
    let restored = surgeon.finish(stopped);
    operation.restored &= matches!(restored, Ok(()) | Err(TraceError::Gone(_)));
    let ended = end_waits(act, operation, &waiters, stopped, sharers);
    result.and(restored).and(ended).map_err(AttachError::from)
}

/// Sees to the calls that were waiting on what is closed or replaced now.
fn end_waits(
    act: Act,
    operation: &mut Operation,
    waiters: &[Waiter],
    stopped: &mut StoppedGroup,
    sharers: &mut Sharers<'_>,
) -> Result<(), TraceError> {
    for waiter in waiters {
        let Waiter { tid, fd, call, .. } = *waiter;
        let Some(thread) = stopped.thread_mut(tid).or_else(|| sharers.thread_mut(tid)) else { continue };
        let end = match act {
            Act::Close => end_wait(thread, waiter),
            Act::Replace => replace::end_wait(thread, waiter),
            // It starts anew, and is told of the end.
            Act::Shutdown => continue,
        };
        let end = match end {
            Ok(Some(end)) => end,
            // A handler runs instead, or the call was on two descriptors.
            Ok(None) | Err(TraceError::Gone(_)) => continue,
            Err(error) => return Err(error),
        };
        // One that was woken and waits again is told of once.
        operation.waited.retain(|waited| (waited.fd, waited.tid) != (fd, tid));
        operation.waited.push(Waited { fd, tid, call: call.into(), end });
    }
    Ok(())
}

fn end_wait(thread: &mut Stopped, waiter: &Waiter) -> Result<Option<WaitEnd>, TraceError> {
    Ok(match waiter.manner {
        Manner::Call | Manner::Select => {
            restart::end_call(thread, Errno::EBADF)?.then_some(WaitEnd::BadDescriptor)
        }
        Manner::Poll => Some(WaitEnd::PolledInvalid),
        Manner::Epoll => None,
    })
}

/// Puts the reason to a bare EPERM.
pub(super) fn explain(error: AttachError, procfs: &Procfs, process: &Process) -> AttachError {
    match error {
        AttachError::Seize { tid, errno: Errno::EPERM } => {
            Refusal::diagnose(procfs, process, tid).map_or(AttachError::Gone, AttachError::Refused)
        }
        error => error,
    }
}
