//! Running a whole chain of closes in one go; see [`crate::arch::chain`].
//!
//! Also in a thread under seccomp(2), whose filters are in force again if fdclose dies meanwhile. Most let the calls of a
//! chain through. Those that kill for a close, and strict mode, do so for a single one, too, and one at a time takes
//! longer: fdclose would be at it for more of the time in which it may die.

use std::ops::ControlFlow;

use super::super::deathpoint::{self, Place};
use super::super::lifeline::Lifeline;
use super::super::mask;
use super::{Laying, Remote};
use crate::arch::chain::{Chain, EndSignal, QUIET_SIGNALS};
use crate::arch::{Registers, native_abi};
use crate::error::TraceError;
use crate::ids::{Fd, RemoteAddr};
use crate::proc::{Seccomp, Status};
use crate::trace::{Stop, Stopped, Waited};

/// How a chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEnd {
    /// All its calls were made.
    Through,
    /// A signal came in between and has been delivered. Some calls may have been made: the descriptors tell.
    Interrupted,
    /// It can't be run in this thread: one call at a time, then.
    NotHere,
}

/// A signal that `status`, the thread's own, says is neither handled nor blocked, and the thread's numbers in its pid
/// namespace. `None` if there is no such signal, or the kernel does not tell the numbers (NSpid, Linux 4.1).
#[must_use]
pub fn end_signal(process: &Status, thread: &Status) -> Option<EndSignal> {
    let noticed = thread.signals.caught | thread.signals.blocked;
    let quiet = |signal: &i32| noticed & 1 << (signal - 1) == 0;
    Some(EndSignal {
        tgid: process.ns_pid.as_ref()?.last()?.as_raw(),
        tid: thread.ns_pid.as_ref()?.last()?.as_raw(),
        signal: QUIET_SIGNALS.into_iter().find(quiet)?,
    })
}

/// A chain that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    /// Where it starts.
    at: RemoteAddr,
    /// Where it ends: at the lifeline.
    lifeline: RemoteAddr,
    end: EndSignal,
}

/// Where a stop on its way leaves a chain.
enum Judged {
    /// It goes on.
    Unfinished(Stopped),
    /// All its calls were made; the thread stops for the signal at its end.
    Through(Stopped),
    Ended(ChainEnd),
}

impl Remote<'_> {
    /// Closes what `next` asks for, in one go each time, until it asks for nothing more; it is called while everything is
    /// stopped. What became of each is to be looked at then, or afterwards in the same stop. No portion may be empty, nor
    /// larger than the first one.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub fn close_chains(
        &mut self,
        end: EndSignal,
        next: &mut dyn FnMut() -> Option<Vec<Fd>>,
    ) -> Result<ChainEnd, TraceError> {
        if self.abi != native_abi() {
            return Ok(ChainEnd::NotHere);
        }
        let Some(fds) = next() else { return Ok(ChainEnd::Through) };
        let room = fds.len();
        let chain = Chain { fds: &fds, end };
        let Some((mut thread, mut running)) = self.start_chain(&chain)? else { return Ok(ChainEnd::NotHere) };
        loop {
            deathpoint::reach(Place::Chained);
            thread = match self.run_through(thread, running, room)? {
                ControlFlow::Continue(thread) => thread,
                ControlFlow::Break(end) => return Ok(end),
            };
            deathpoint::reach(Place::Through);
            let Some(fds) = next() else {
                self.end_chain(thread)?;
                return Ok(ChainEnd::Through);
            };
            // Right behind the end of the last one: that saves the thread three stops.
            (thread, running.at) =
                match self.continue_chain(thread, &Chain { fds: &fds, end }, running.lifeline)? {
                    Ok(started) => started,
                    Err(thread) => {
                        self.end_chain(thread)?;
                        return Ok(ChainEnd::NotHere);
                    }
                };
        }
    }

    /// Lays `chain` and sets the thread up to run it; `None` where that can't be done.
    fn start_chain(&mut self, chain: &Chain<'_>) -> Result<Option<(Stopped, Running)>, TraceError> {
        let end = chain.end;
        let thread = self.restore_registers()?;
        let (saved, landmarks) = (self.saved, self.landmarks);
        let passes = mask::blocked(&thread, &saved).is_some_and(|mask| mask & 1 << (end.signal - 1) == 0);
        let line = passes.then(|| Lifeline::lay_behind(&thread, &saved, landmarks, Some(chain))).flatten();
        let found = line.and_then(|line| {
            let (gadgets, at) = (landmarks.gadgets?, line.sp());
            let lifeline = chain.end_sp(at)?;
            Some((line, gadgets, Running { at, lifeline, end }))
        });
        let Some((line, gadgets, running)) = found else {
            self.resettle(thread);
            return Ok(None);
        };
        let mut registers = saved;
        chain.load(&mut registers, gadgets, running.at);
        let thread = self.displace(thread, line, &registers)?;
        Ok(Some((thread, running)))
    }

    /// Lays `chain` where the last one was and sets the thread up to run it, which is at the lifeline behind; where
    /// it starts, or the thread as it was.
    fn continue_chain(
        &mut self,
        mut thread: Stopped,
        chain: &Chain<'_>,
        lifeline: RemoteAddr,
    ) -> Result<Result<(Stopped, RemoteAddr), Stopped>, TraceError> {
        let (saved, landmarks) = (self.saved, self.landmarks);
        let laid = self.lifeline.as_ref().and_then(|line| line.put_in_front(chain, landmarks, lifeline));
        let (Some(at), Some(gadgets)) = (laid, landmarks.gadgets) else { return Ok(Err(thread)) };
        let mut registers = saved;
        chain.load(&mut registers, gadgets, at);
        if let Err(error) = thread.set_registers(&registers) {
            self.thread = Some(thread);
            return Err(error);
        }
        Ok(Ok((thread, at)))
    }

    /// To the end of the chain, where the thread stops for the signal there, unless something else ends it first.
    fn run_through(
        &mut self,
        mut thread: Stopped,
        running: Running,
        room: usize,
    ) -> Result<ControlFlow<ChainEnd, Stopped>, TraceError> {
        let (mut progress, mut limit) = (running.at, self.entry_deadline());
        loop {
            thread = match self.run_chain(thread, running.end) {
                Ok(thread) => thread,
                Err(error) => {
                    // Nobody looks again before what is left of it: nothing may be left.
                    if let Some(line) = &self.lifeline {
                        line.cut(room);
                    }
                    return Err(error);
                }
            };
            thread = match self.judge(thread, running)? {
                Judged::Unfinished(thread) => thread,
                Judged::Through(thread) => return Ok(ControlFlow::Continue(thread)),
                Judged::Ended(end) => return Ok(ControlFlow::Break(end)),
            };
            let sp = thread.registers()?.sp();
            if sp != progress {
                (progress, limit) = (sp, self.entry_deadline());
            } else if limit.remaining().is_none() {
                // It does not run: its cgroup was frozen. What it has closed by now is seen later.
                self.thread = Some(thread);
                let thread = self.restore_registers()?;
                self.resettle(thread);
                return Err(TraceError::NotEntered(self.tid));
            }
        }
    }

    /// To the next stop.
    fn run_chain(&mut self, thread: Stopped, end: EndSignal) -> Result<Stopped, TraceError> {
        let running = match thread.stop() {
            // The signal at the end of the chain before has done its work; it is not handed on.
            Stop::SignalDelivery(signal) if signal.as_raw() == end.signal => thread.run_without_signal()?,
            // Only this thread of a process that was stopped (SIGSTOP) is to run, and only the chain.
            Stop::Group(_) => thread.run_without_signal()?,
            _ => thread.run()?,
        };
        // Nothing in a chain can block. A thread that waits for a CPU is not interrupted before it has had one.
        match running.wait(self.entry_deadline())? {
            Waited::Stopped(thread) => Ok(thread),
            Waited::Gone => Err(TraceError::Gone(self.tid)),
            Waited::Late(late) => {
                late.interrupt()?;
                self.next_stop(late)
            }
        }
    }

    fn judge(&mut self, thread: Stopped, running: Running) -> Result<Judged, TraceError> {
        let Stop::SignalDelivery(signal) = thread.stop() else {
            // An interrupt of ours, a stop of the whole process, a SIGCONT: on with it.
            return Ok(Judged::Unfinished(thread));
        };
        if signal.as_raw() == running.end.signal && thread.registers()?.sp() == running.lifeline {
            return Ok(Judged::Through(thread));
        }
        if thread.is_fault_of_chain(running.at)? {
            self.thread = Some(thread);
            let thread = self.restore_registers()?;
            thread.interrupt_next()?;
            let thread = self.next_stop(thread.run_without_signal()?)?;
            self.resettle(thread);
            return Ok(Judged::Ended(ChainEnd::NotHere));
        }
        let thread = self.deliver(thread)?;
        self.thread = Some(thread);
        Ok(Judged::Ended(ChainEnd::Interrupted))
    }

    /// The thread, stopped for the signal at the end of a chain, put back.
    fn end_chain(&mut self, thread: Stopped) -> Result<(), TraceError> {
        // The signal has done its work; it is not handed on.
        thread.interrupt_next()?;
        let thread = self.next_stop(thread.run_without_signal()?)?;
        self.thread = Some(thread);
        // The next call must not find the chain in its lifeline.
        let thread = self.restore_registers()?;
        self.resettle(thread);
        Ok(())
    }

    /// The thread back after its registers were restored. Its lifeline is laid with the next call: after a chain mostly
    /// comes another one, which brings its own.
    fn resettle(&mut self, thread: Stopped) {
        self.laying = Laying::BeforeNextCall;
        self.thread = Some(thread);
    }

    /// Gives the thread other registers, with `line` for its lifeline.
    fn displace(
        &mut self,
        mut thread: Stopped,
        line: Lifeline,
        registers: &Registers,
    ) -> Result<Stopped, TraceError> {
        self.lifeline = Some(line);
        self.laying = Laying::Done;
        self.insured &= self.seccomp == Some(Seccomp::Disabled);
        self.displaced = true;
        match thread.set_registers(registers) {
            Ok(()) => Ok(thread),
            Err(error) => {
                self.thread = Some(thread);
                Err(error)
            }
        }
    }
}
