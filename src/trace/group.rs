//! All threads of a process, stopped together and let go together.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::deadline::Deadline;
use super::stop::Stop;
use super::tracee::{Seized, Stopped, Waited};
use crate::error::{AttachError, TraceError};
use crate::ids::Tid;
use crate::proc::Process;

/// After this long without a stop, a look at /proc tells whether there is still something to wait for.
const PATIENCE: Duration = Duration::from_millis(10);

/// What is done to each thread as soon as it is stopped, before anything can let it go again.
pub type OnStop<'a> = &'a mut dyn FnMut(&mut Stopped) -> Result<(), TraceError>;

/// All threads of a process, traced and running.
#[derive(Debug)]
pub struct SeizedGroup {
    threads: Vec<Seized>,
    /// The last listing of the process's threads: when a new one is equal, no thread came or went.
    listed: Vec<Tid>,
    /// Threads to be stopped last.
    busy: Vec<Tid>,
}

/// All threads of a process, each in a ptrace-stop: nothing of the process changes but from outside.
#[derive(Debug)]
pub struct StoppedGroup {
    /// The idle ones first.
    threads: Vec<Stopped>,
    listed: Vec<Tid>,
    busy: Vec<Tid>,
    since: Instant,
}

impl SeizedGroup {
    /// Attaches to every thread of `process`, listing them again until no new one appears. Stops none.
    ///
    /// # Errors
    /// [`AttachError`] when a living thread can't be attached to. Threads attached by then stay so until the
    /// tracer's thread ends, running undisturbed.
    pub fn seize(process: &Process, deadline: Deadline) -> Result<Self, AttachError> {
        let mut group = Self { threads: Vec::new(), listed: Vec::new(), busy: Vec::new() };
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

    /// Attaches to threads not seen before; whether there were any.
    fn seize_new(&mut self, process: &Process) -> Result<bool, AttachError> {
        let now = process.threads()?;
        if now == self.listed {
            return Ok(false);
        }
        let seized_before = self.threads.len();
        for &tid in now.iter().filter(|tid| !self.listed.contains(tid)) {
            match Seized::seize(tid) {
                Ok(thread) => self.threads.push(thread),
                Err(Errno::ESRCH) => {}
                // A zombie leader stays listed while other threads live; a dying thread answers EPERM, too.
                Err(Errno::EPERM) if has_ended(process, tid) => {}
                Err(errno) => return Err(AttachError::Seize { tid, errno }),
            }
        }
        self.listed = now;
        Ok(self.threads.len() > seized_before)
    }

    /// Stops every thread, those that are born meanwhile too. `on_stop` sees each one as soon as it is stopped.
    ///
    /// # Errors
    /// [`AttachError::CannotStop`] names a thread that did not stop before the deadline. The others are let go;
    /// that one stays traced, running undisturbed, until the tracer's thread ends.
    pub fn stop(
        mut self,
        process: &Process,
        deadline: Deadline,
        on_stop: OnStop<'_>,
    ) -> Result<StoppedGroup, AttachError> {
        let since = Instant::now();
        let mut stopped = Vec::with_capacity(self.threads.len());
        loop {
            let (busy, idle): (Vec<_>, Vec<_>) = std::mem::take(&mut self.threads)
                .into_iter()
                .partition(|thread| self.busy.contains(&thread.tid()));
            for threads in [idle, busy] {
                stop_all(threads, process, deadline, on_stop, &mut stopped)?;
            }
            // A thread that was not stopped yet may have made another one; once all are, none can.
            if process.has_threads(stopped.len())? || !self.seize_new(process)? {
                break;
            }
            if deadline.remaining().is_none() {
                return Err(AttachError::TooManyNewThreads);
            }
        }
        if stopped.is_empty() {
            return Err(AttachError::Gone);
        }
        Ok(StoppedGroup { threads: stopped, listed: self.listed, busy: self.busy, since })
    }
}

/// Stops `threads`, and adds them to `stopped`.
fn stop_all(
    threads: Vec<Seized>,
    process: &Process,
    deadline: Deadline,
    on_stop: OnStop<'_>,
    stopped: &mut Vec<Stopped>,
) -> Result<(), AttachError> {
    for thread in &threads {
        thread.interrupt()?;
    }
    for thread in threads {
        if let Some(mut thread) = stop_one(thread, process, deadline)? {
            on_stop(&mut thread)?;
            stopped.push(thread);
        }
    }
    Ok(())
}

/// Waits for the PTRACE_EVENT_STOP of an interrupted thread; `None` if it is gone.
fn stop_one(
    mut thread: Seized,
    process: &Process,
    deadline: Deadline,
) -> Result<Option<Stopped>, AttachError> {
    loop {
        let patience = deadline.earlier(Deadline::after(PATIENCE));
        match thread.wait(patience)? {
            Waited::Gone => return Ok(None),
            Waited::Late(late) => {
                // A leader that called pthread_exit reports nothing until the last thread has ended.
                if has_ended(process, late.tid()) {
                    return Ok(None);
                }
                if deadline.remaining().is_none() {
                    return Err(AttachError::CannotStop {
                        tid: late.tid(),
                        state: state(process, late.tid()),
                    });
                }
                thread = late;
            }
            Waited::Stopped(now) => match now.stop() {
                Stop::Interrupt | Stop::Group(_) => return Ok(Some(now)),
                // A signal was on its way: it is handed on, and the stop asked for comes right after it.
                Stop::SignalDelivery(_) | Stop::Syscall | Stop::OtherEvent(_) => match now.run() {
                    Ok(running) => thread = running,
                    Err(TraceError::Gone(_)) => return Ok(None),
                    Err(error) => return Err(error.into()),
                },
            },
        }
    }
}

/// The thread's state letter (proc_pid_status(5)), if it still has one.
fn state(process: &Process, tid: Tid) -> Option<char> {
    process.status_of(tid).ok().map(|status| status.state)
}

fn has_ended(process: &Process, tid: Tid) -> bool {
    matches!(state(process, tid), None | Some('Z' | 'X'))
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
        Ok(SeizedGroup { threads, listed: self.listed, busy: self.busy })
    }

    /// Ends the tracing of every thread.
    ///
    /// # Errors
    /// The first [`TraceError`], after all have been tried.
    pub fn detach(self) -> Result<(), TraceError> {
        let mut first = Ok(());
        for thread in self.threads.into_iter().rev() {
            first = first.and(thread.detach());
        }
        first
    }
}
