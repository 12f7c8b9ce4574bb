//! All threads of a process, stopped together and let go together.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::gettid;

use super::deadline::Deadline;
use super::round_up::RoundUp;
use super::seen::{Roll, Seen};
use super::stop::Stop;
use super::sys;
use super::tracee::taken_back::see_into_calls;
use super::tracee::{Seized, Stopped};
use crate::error::{AttachError, TraceError};
use crate::ids::Tid;
use crate::proc::Process;

/// What the target gets between two tries to stop it; twice as much each time.
const FIRST_BREATHER: Duration = Duration::from_millis(1);
const LONGEST_BREATHER: Duration = Duration::from_millis(100);

/// A thread at work on a busy machine may have to wait for a processor before it can stop: the first try lasts at least
/// so long, and later ones longer, up to this unless more was asked for.
const LEAST_PATIENCE: Duration = Duration::from_millis(1);
const MOST_PATIENCE: Duration = Duration::from_millis(50);

/// What one thread may take to stop, on top of the patience for all: it takes 5 to 10 us. Twice as much at each of
/// the first tries, for machines that have no CPU to spare.
const FOR_EACH_THREAD: Duration = Duration::from_micros(20);
const DOUBLINGS: u32 = 3;

/// So often a refusal to attach is not believed, at 10 us each, before it is told.
const MOST_DOUBTS: u32 = 20;

/// What is done to each thread as soon as it is stopped, before anything can let it go again.
pub type OnStop<'a> = &'a mut dyn FnMut(&mut Stopped) -> Result<(), TraceError>;

/// All threads of a process, traced and running.
#[derive(Debug)]
pub struct SeizedGroup {
    threads: Vec<Seized>,
    seen: Seen,
    /// Threads to be stopped last.
    busy: Vec<Tid>,
    /// How often a refusal was not believed.
    doubts: u32,
}

/// All threads of a process, each in a ptrace-stop: nothing of the process changes but from outside.
#[derive(Debug)]
pub struct StoppedGroup {
    /// The idle ones first.
    threads: Vec<Stopped>,
    seen: Seen,
    busy: Vec<Tid>,
    since: Instant,
}

impl SeizedGroup {
    /// Attaches to every thread of `process`, listing them again until no new one appears. Stops none.
    ///
    /// # Errors
    /// [`AttachError`] when a living thread can't be attached to. Threads attached by then stay so until the
    /// tracer's thread ends, running undisturbed.
    pub fn seize(process: &Process, roll: &Roll, deadline: Deadline) -> Result<Self, AttachError> {
        let mut group =
            Self { threads: Vec::new(), seen: Seen::new(roll.clone()), busy: Vec::new(), doubts: 0 };
        while !process.has_threads(group.threads.len())? && group.seize_new(process)? {
            if deadline.remaining().is_none() {
                return Err(AttachError::TooManyNewThreads);
            }
        }
        if group.threads.is_empty() {
            return Err(AttachError::Gone);
        }
        Ok(group)
    }

    /// The threads.
    #[must_use]
    pub fn threads(&self) -> &[Seized] {
        &self.threads
    }

    /// Names threads that are at work. They are stopped last and let go first: a thread that waits in a call does not
    /// mind being stopped, and each takes about 10 us.
    pub fn spare(&mut self, busy: Vec<Tid>) {
        self.busy = busy;
    }

    /// Sees to the threads until `until`: signals get through to them, and stops of the process begin and end. A thread that
    /// is traced and left alone waits with its first signal.
    ///
    /// # Errors
    /// [`AttachError`]; the threads then run undisturbed until the tracer's thread ends.
    pub fn run_until(&mut self, until: Deadline, on_stop: OnStop<'_>) -> Result<(), AttachError> {
        let mut round_up = RoundUp::new(std::mem::take(&mut self.threads));
        let seen_to = round_up.breathe(&mut self.seen, until, on_stop);
        self.threads = round_up.running;
        seen_to
    }

    /// Attaches to threads not seen before; whether the list of threads changed, so that it has to be read again.
    fn seize_new(&mut self, process: &Process) -> Result<bool, AttachError> {
        let now = process.threads()?;
        if now == self.seen.listed {
            return Ok(false);
        }
        for &tid in &now {
            if self.seen.contains(tid) {
                continue;
            }
            // On the roll first: a thread that ends while the kernel lets us wait in here has to be reaped by another.
            self.seen.insert(tid);
            let answer = Seized::seize(tid);
            if answer.is_err() {
                self.seen.remove(tid);
            }
            match answer {
                Ok(thread) => self.threads.push(thread),
                Err(Errno::ESRCH) => {}
                // A zombie leader stays listed while other threads live; a dying thread answers EPERM, too.
                Err(Errno::EPERM) if has_ended(process, tid) => {}
                // Traced already, by another number: it took over that of its leader, which had ended, in an execve.
                Err(Errno::EPERM) if tracer(process, tid) == own_tid() => {
                    self.seen.insert(tid);
                    self.threads.push(Seized::adopt(tid));
                }
                // A thread that ends in an execve, or changes its number there, answers EPERM, too. It is clear again
                // soon; a refusal that is meant lasts.
                Err(Errno::EPERM) if self.doubts < MOST_DOUBTS && tracer(process, tid).is_none() => {
                    self.doubts += 1;
                    self.seen.listed.clear();
                    thread::yield_now();
                    return Ok(true);
                }
                Err(errno) => return Err(AttachError::Seize { tid, errno }),
            }
        }
        self.seen.listed = now;
        Ok(true)
    }

    /// Stops every thread, those that are born meanwhile too. `on_stop` sees each one as soon as it is stopped.
    ///
    /// If one does not stop within `patience`, the others run on for a while before the next try: a thread that can't
    /// be stopped must not hold up the rest of its process.
    ///
    /// # Errors
    /// [`AttachError::CannotStop`] names a thread that did not stop before the deadline. Whatever the error, the other
    /// threads are let go; that one stays traced, running undisturbed, until the tracer's thread ends.
    pub fn stop(
        mut self,
        process: &Process,
        patience: Duration,
        deadline: Deadline,
        on_stop: OnStop<'_>,
    ) -> Result<StoppedGroup, AttachError> {
        let mut breather = FIRST_BREATHER;
        let mut patience = patience.max(LEAST_PATIENCE);
        let mut round_up = RoundUp::new(std::mem::take(&mut self.threads));
        for tries in 0.. {
            let since = Instant::now();
            let for_each = FOR_EACH_THREAD * (1 << tries.min(DOUBLINGS));
            let for_all = for_each * u32::try_from(round_up.len()).unwrap_or(u32::MAX);
            let attempt = deadline.earlier(Deadline::after(patience + for_all));
            let complete = self.attempt(&mut round_up, process, attempt, on_stop);
            match complete {
                Ok(true) if round_up.stopped.is_empty() => {
                    self.expect_life(process)?;
                    if deadline.remaining().is_none() {
                        return Err(AttachError::TooManyNewThreads);
                    }
                    thread::sleep(breather);
                    breather = (breather * 2).min(LONGEST_BREATHER);
                }
                Ok(true) => {
                    let threads = round_up.stopped;
                    return Ok(StoppedGroup { threads, seen: self.seen, busy: self.busy, since });
                }
                Ok(false) if deadline.remaining().is_some() => {
                    // On a busy machine a thread also waits for a processor before it runs on.
                    let until = Deadline::after(breather.max(since.elapsed()));
                    if let Err(error) = round_up.breathe(&mut self.seen, until, on_stop) {
                        round_up.sweep(process, &mut self.seen, on_stop);
                        return Err(error);
                    }
                    breather = (breather * 2).min(LONGEST_BREATHER);
                    patience = (patience * 2).min(patience.max(MOST_PATIENCE));
                }
                failed => {
                    let late = round_up.first_late();
                    round_up.sweep(process, &mut self.seen, on_stop);
                    failed?;
                    return Err(match late {
                        Some(tid) => AttachError::CannotStop { tid, state: state(process, tid) },
                        None => AttachError::TooManyNewThreads,
                    });
                }
            }
        }
        Err(AttachError::TooManyNewThreads)
    }

    /// With no thread left that is known: [`AttachError::Gone`], unless one lives. It has a number then that was seen with
    /// another, which an execve(2) ended, and those that are listed are to be attached to as if never seen.
    fn expect_life(&mut self, process: &Process) -> Result<(), AttachError> {
        process.living_thread()?;
        for tid in process.threads()? {
            sys::reap(tid);
            self.seen.remove(tid);
        }
        self.seen.listed.clear();
        Ok(())
    }

    /// One try to stop them all; whether all are stopped.
    fn attempt(
        &mut self,
        round_up: &mut RoundUp,
        process: &Process,
        attempt: Deadline,
        on_stop: OnStop<'_>,
    ) -> Result<bool, AttachError> {
        loop {
            for busy in [false, true] {
                round_up.interrupt(|tid| self.busy.contains(&tid) == busy)?;
                if !round_up.collect(process, &mut self.seen, attempt, on_stop)? {
                    return Ok(false);
                }
            }
            // A thread that was not stopped yet may have made another one; once all are, none can.
            if process.has_threads(round_up.stopped.len())? || !self.seize_new(process)? {
                return Ok(true);
            }
            round_up.running.append(&mut self.threads);
            if attempt.remaining().is_none() {
                return Ok(false);
            }
        }
    }
}

/// The thread's state letter (proc_pid_status(5)), if it still has one.
fn state(process: &Process, tid: Tid) -> Option<char> {
    process.status_of(tid).ok().map(|status| status.state)
}

fn tracer(process: &Process, tid: Tid) -> Option<Tid> {
    process.status_of(tid).ok().and_then(|status| status.tracer_pid)
}

/// The calling thread, as tracees' /proc/PID/status names it.
fn own_tid() -> Option<Tid> {
    Tid::new(gettid().as_raw())
}

/// Whether a thread is no more, or a zombie. Where /proc can't be read it is taken to live.
pub(super) fn has_ended(process: &Process, tid: Tid) -> bool {
    match process.status_of(tid) {
        Ok(status) => status.is_dead(),
        Err(error) => error.is_gone(),
    }
}

impl StoppedGroup {
    /// The threads.
    #[must_use]
    pub fn threads(&self) -> &[Stopped] {
        &self.threads
    }

    /// When the first thread was asked to stop.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether the process is stopped by a signal, for its parent too.
    #[must_use]
    pub fn is_group_stopped(&self) -> bool {
        self.threads.iter().any(|thread| matches!(thread.stop(), Stop::Group(_)))
    }

    /// The same by what the thread that was last [put back](Self::put_back) has seen: a SIGCONT may have come since the
    /// others stopped.
    #[must_use]
    pub fn is_still_group_stopped(&self) -> bool {
        self.threads.first().is_some_and(|thread| matches!(thread.stop(), Stop::Group(_)))
    }

    /// One of the threads, to change it where it stands; `None` if it is not among them (any more).
    pub fn thread_mut(&mut self, tid: Tid) -> Option<&mut Stopped> {
        self.threads.iter_mut().find(|thread| thread.tid() == tid)
    }

    /// Takes one thread out, to work with it.
    #[must_use]
    pub fn take(&mut self, index: usize) -> Stopped {
        self.threads.remove(index)
    }

    /// Puts a thread back that [`Self::take`] gave out.
    pub fn put_back(&mut self, thread: Stopped) {
        self.threads.insert(0, thread);
    }

    /// Lets every thread run on, still traced.
    ///
    /// # Errors
    /// [`TraceError`]; threads that are gone are left out.
    pub fn resume(self) -> Result<SeizedGroup, TraceError> {
        let mut threads = Vec::with_capacity(self.threads.len());
        for thread in self.threads.into_iter().rev() {
            match thread.run() {
                Ok(running) => threads.push(running),
                Err(TraceError::Gone(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(SeizedGroup { threads, seen: self.seen, busy: self.busy, doubts: 0 })
    }

    /// Ends the tracing of every thread.
    ///
    /// # Errors
    /// The first [`TraceError`], after all have been tried.
    pub fn detach(self) -> Result<(), TraceError> {
        let (mut first, mut on_their_way) = (Ok(()), Vec::new());
        for thread in self.threads.into_iter().rev() {
            if thread.is_taken_back() {
                on_their_way.push(thread);
            } else {
                first = first.and(thread.detach());
            }
        }
        if !on_their_way.is_empty() {
            first = first.and(see_into_calls(on_their_way));
        }
        first
    }
}
