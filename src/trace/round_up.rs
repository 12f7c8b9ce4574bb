//! Waiting for many threads at once.

use std::time::Duration;

use super::deadline::Deadline;
use super::group::{OnStop, has_ended};
use super::seen::Seen;
use super::stop::Stop;
use super::sys;
use super::tracee::{Seized, Stopped, Waited};
use crate::error::{AttachError, TraceError};
use crate::ids::Tid;
use crate::proc::Process;

/// So many looks at all of them before sleeping: a stop takes about 10 us, less than going to sleep and being woken.
const LOOKS_BEFORE_SLEEP: u32 = 40;

/// After this long without a stop, a look at /proc tells whether there is still something to wait for. Also the
/// longest sleep, so that a lost SIGCHLD only costs time.
const PATIENCE: Duration = Duration::from_millis(5);

/// After an error, this much time is given to threads that were asked to stop, so that their stop can be made unseen.
const SWEEP: Duration = Duration::from_millis(50);

/// As long as one of them is only waiting for a processor, it is this much: without us, it would show an EINTR then.
const LONGEST_SWEEP: Duration = Duration::from_secs(2);

/// Threads on their way from running to stopped.
#[derive(Debug)]
pub(super) struct RoundUp {
    /// Not asked yet.
    pub(super) running: Vec<Seized>,
    /// Asked, not there yet.
    asked: Vec<Seized>,
    /// There, and seen by `on_stop`.
    pub(super) stopped: Vec<Stopped>,
}

impl RoundUp {
    pub(super) fn new(running: Vec<Seized>) -> Self {
        let stopped = Vec::with_capacity(running.len());
        Self { running, asked: Vec::new(), stopped }
    }

    /// Asks those that `which` names to stop.
    pub(super) fn interrupt(&mut self, which: impl Fn(Tid) -> bool) -> Result<(), TraceError> {
        for mut thread in self.running.extract_if(.., |thread| which(thread.tid())) {
            thread.look_before();
            let answer = thread.interrupt();
            self.asked.push(thread);
            answer?;
        }
        Ok(())
    }

    /// Waits for all that were asked; whether all came before `deadline`.
    pub(super) fn collect(
        &mut self,
        process: &Process,
        seen: &mut Seen,
        deadline: Deadline,
        on_stop: OnStop<'_>,
    ) -> Result<bool, AttachError> {
        let mut looks = 0;
        while !self.asked.is_empty() {
            let before = self.asked.len();
            self.look(seen, on_stop)?;
            if self.asked.len() < before {
                looks = 0;
                continue;
            }
            let Some(left) = deadline.remaining() else { return Ok(false) };
            looks += 1;
            if looks > LOOKS_BEFORE_SLEEP {
                sys::wait_sigchld(left.min(PATIENCE));
                // A leader that called pthread_exit reports nothing until the last thread has ended.
                self.asked.retain(|thread| {
                    let ended = has_ended(process, thread.tid());
                    // A leader can't be reaped, nor does an execve wait for that; it gives its number to another thread.
                    let is_leader = thread.tid() == process.pid().leader();
                    if ended && (sys::reap(thread.tid()) || is_leader) {
                        seen.remove(thread.tid());
                    }
                    !ended
                });
            }
        }
        Ok(true)
    }

    /// One look at each that was asked.
    fn look(&mut self, seen: &mut Seen, on_stop: OnStop<'_>) -> Result<(), AttachError> {
        let mut index = 0;
        while index < self.asked.len() {
            let thread = self.asked.swap_remove(index);
            let tid = thread.tid();
            match thread.look()? {
                Waited::Late(late) => {
                    self.asked.push(late);
                    let last = self.asked.len() - 1;
                    self.asked.swap(index, last);
                    index += 1;
                }
                Waited::Gone => seen.remove(tid),
                Waited::Stopped(mut now) => match now.stop() {
                    Stop::Interrupt | Stop::Group(_) => match on_stop(&mut now) {
                        Ok(()) => self.stopped.push(now),
                        // Killed, and not reaped yet: that is left to whoever watches the roll.
                        Err(TraceError::Gone(_)) => {}
                        Err(error) => return Err(error.into()),
                    },
                    // A signal was on its way: it is handed on. It may have wiped out the stop that was asked for: the
                    // kernel lets go of its lock to rearm the timer that the signal is of (`dequeue_signal`,
                    // kernel/signal.c), and a request that comes in just then is forgotten in the stop for the signal
                    // (`ptrace_stop`; seen on 6.18, once in 100 stops of a process with timer_create(2)).
                    Stop::SignalDelivery(_) | Stop::Syscall | Stop::OtherEvent(_) => {
                        match now.interrupt_next().and_then(|()| now.run()) {
                            Ok(running) => self.asked.push(running),
                            Err(TraceError::Gone(_)) => {}
                            Err(error) => return Err(error.into()),
                        }
                    }
                },
            }
        }
        Ok(())
    }

    /// One that was asked and did not come.
    pub(super) fn first_late(&self) -> Option<Tid> {
        self.asked.first().map(Seized::tid)
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.asked.len() + self.stopped.len()
    }

    /// Lets all run on that are stopped, until `until`, or until those that were late have come. Signals get through
    /// to their threads meanwhile.
    pub(super) fn breathe(
        &mut self,
        seen: &mut Seen,
        until: Deadline,
        on_stop: OnStop<'_>,
    ) -> Result<(), AttachError> {
        for thread in self.stopped.drain(..).rev() {
            match thread.run() {
                Ok(running) => self.running.push(running),
                Err(TraceError::Gone(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let anyone_late = !self.asked.is_empty();
        while let Some(left) = until.remaining() {
            sys::wait_sigchld(left);
            self.look(seen, on_stop)?;
            if anyone_late && self.asked.is_empty() {
                break;
            }
            self.keep_running(seen, on_stop)?;
        }
        Ok(())
    }

    /// Whoever of the running has stopped, for a signal or because a stop of the whole process began or ended, goes on.
    fn keep_running(&mut self, seen: &mut Seen, on_stop: OnStop<'_>) -> Result<(), AttachError> {
        let mut index = 0;
        while index < self.running.len() {
            let thread = self.running.swap_remove(index);
            let tid = thread.tid();
            let going_on = match thread.look()? {
                Waited::Late(running) => Ok(running),
                Waited::Gone => {
                    seen.remove(tid);
                    continue;
                }
                Waited::Stopped(mut now) => match now.stop() {
                    Stop::Interrupt | Stop::Group(_) => on_stop(&mut now).and_then(|()| now.run()),
                    Stop::SignalDelivery(_) | Stop::Syscall | Stop::OtherEvent(_) => now.run(),
                },
            };
            match going_on {
                Ok(running) => {
                    self.running.push(running);
                    let last = self.running.len() - 1;
                    self.running.swap(index, last);
                    index += 1;
                }
                Err(TraceError::Gone(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Cleans up after an error: whoever was asked to stop is waited for once more, so that `on_stop` sees it; all that
    /// are stopped are detached. Errors on the way add nothing to the one that led here.
    pub(super) fn sweep(mut self, process: &Process, seen: &mut Seen, on_stop: OnStop<'_>) {
        let longest = Deadline::after(LONGEST_SWEEP);
        loop {
            // Not to stand still while others are waited for.
            self.stopped.clear();
            // With each error there is one thread less to wait for.
            let complete = self.collect(process, seen, longest.earlier(Deadline::after(SWEEP)), on_stop);
            if matches!(complete, Ok(true)) || longest.remaining().is_none() || !self.is_any_coming(process) {
                break;
            }
        }
    }

    /// Whether one that was asked can still be expected: an interrupt wakes every sleeper but those in state D.
    fn is_any_coming(&self, process: &Process) -> bool {
        let comes = |tid| process.status_of(tid).is_ok_and(|status| status.state != 'D' && !status.is_dead());
        self.asked.iter().any(|thread| comes(thread.tid()))
    }
}
