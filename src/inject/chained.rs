//! Running a whole chain of closes in one go; see [`crate::arch::chain`].

use std::ops::ControlFlow;

use super::deathpoint::{self, Place};
use super::lifeline::Lifeline;
use super::remote::Remote;
use crate::arch::chain::{Chain, EndSignal, QUIET_SIGNALS};
use crate::arch::native_abi;
use crate::error::TraceError;
use crate::ids::Fd;
use crate::proc::Status;
use crate::trace::{Deadline, Stop, Stopped, Waited};

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

impl Remote<'_> {
    /// Closes `fds` in one go. What became of each is to be looked at afterwards, in the same stop.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub fn close_chain(&mut self, fds: &[Fd], end: EndSignal) -> Result<ChainEnd, TraceError> {
        let chain = Chain { fds, end };
        if fds.is_empty() || self.abi() != native_abi() {
            return Ok(ChainEnd::NotHere);
        }
        let thread = self.settle()?;
        let blocked = thread.blocked_signals()? & 1 << (end.signal - 1) != 0;
        let (saved, landmarks) = self.ground();
        let line =
            (!blocked).then(|| Lifeline::lay_behind(&thread, &saved, landmarks, Some(&chain))).flatten();
        let (Some(line), Some(gadgets)) = (line, landmarks.gadgets) else {
            self.resettle(thread);
            return Ok(ChainEnd::NotHere);
        };
        let at = line.sp();
        let mut registers = saved;
        chain.load(&mut registers, gadgets, at);
        let mut thread = self.displace(thread, line, &registers)?;
        deathpoint::reach(Place::Chained);
        let (mut progress, mut limit) = (at, self.entry_deadline());
        loop {
            thread = match self.run_chain(thread) {
                Ok(thread) => thread,
                Err(error) => {
                    // Nobody looks again before what is left of it: nothing may be left.
                    self.cut_chain(fds.len());
                    return Err(error);
                }
            };
            thread = match self.judge(thread, &chain, at)? {
                ControlFlow::Break(end) => return Ok(end),
                ControlFlow::Continue(on) => on,
            };
            let sp = thread.registers()?.sp();
            if sp != progress {
                (progress, limit) = (sp, self.entry_deadline());
            } else if limit.remaining().is_none() {
                // It does not run: its cgroup was frozen. What it has closed by now is seen later.
                self.keep(thread);
                let thread = self.settle()?;
                self.resettle(thread);
                return Err(TraceError::NotEntered(self.tid()));
            }
        }
    }

    /// To the next stop. A close that lingers is interrupted, as in [`Remote::call`].
    fn run_chain(&mut self, thread: Stopped) -> Result<Stopped, TraceError> {
        match thread.run()?.wait(Deadline::after(self.patience()))? {
            Waited::Stopped(thread) => Ok(thread),
            Waited::Gone => Err(TraceError::Gone(self.tid())),
            Waited::Late(late) => {
                late.interrupt()?;
                self.next_stop(late)
            }
        }
    }

    fn judge(
        &mut self,
        thread: Stopped,
        chain: &Chain<'_>,
        at: crate::ids::RemoteAddr,
    ) -> Result<ControlFlow<ChainEnd, Stopped>, TraceError> {
        let Stop::SignalDelivery(signal) = thread.stop() else {
            // An interrupt of ours, a stop of the whole process, a SIGCONT: on with it.
            return Ok(ControlFlow::Continue(thread));
        };
        let sp = thread.registers()?.sp();
        if signal.as_raw() == chain.end.signal && Some(sp) == chain.end_sp(at) {
            deathpoint::reach(Place::Through);
            // The signal has done its work; it is not handed on.
            thread.interrupt_next()?;
            let thread = self.next_stop(thread.run_without_signal()?)?;
            self.keep(thread);
            // The next call must not find the chain in its lifeline.
            let thread = self.settle()?;
            self.resettle(thread);
            return Ok(ControlFlow::Break(ChainEnd::Through));
        }
        if thread.is_fault_of_chain(at)? {
            self.keep(thread);
            let thread = self.settle()?;
            thread.interrupt_next()?;
            let thread = self.next_stop(thread.run_without_signal()?)?;
            self.resettle(thread);
            return Ok(ControlFlow::Break(ChainEnd::NotHere));
        }
        let thread = self.deliver(thread)?;
        self.keep(thread);
        Ok(ControlFlow::Break(ChainEnd::Interrupted))
    }
}
