//! A thread whose call fdclose took back, where the kernel does not do that itself on the way out of a stop.
//!
//! On x86 a restart code in the registers has the kernel decide: the call starts anew, or returns EINTR if a handler runs.
//! On arm64 it has decided before a tracer sees anything, and a call that showed EINTR is only taken back by hand
//! ([`crate::arch::Registers::hide_interruption`]). A handler that ran before the thread is in its call again would find it
//! about to start anew, which it never does once a handler has run (signal(7)). So the tracer stays until the thread is
//! there: it lets it run to the syscall-entry-stop of its own call, and sees each signal that comes first. One that is
//! handled gets the call its EINTR. From the entry on, whatever comes is the call's own business. A tracer that dies on the
//! way leaves a thread that makes its call.
//!
//! In the syscall-entry-stop it can't be detached: PTRACE_DETACH wakes it as a signal would (`ptrace_signal_wake_up` sets
//! TIF_SIGPENDING, which no look at signals clears before the call is made), and the call returns EINTR at once; seen on
//! 6.1. PTRACE_CONT does not, nor does the end of the tracer's thread to one that runs: that is what lets these threads go.

use std::fs;
use std::time::Duration;

use super::{Before, Deadline, Seized, Stop, Stopped, Waited};
use crate::error::TraceError;
use crate::ids::Tid;
use crate::proc::Status;

/// How long the way may take. Only scheduling stands in it.
const LIMIT: Duration = Duration::from_millis(250);

impl Seized {
    /// Looks what it is about, for what a stop hides of that; to be done right before [`Self::interrupt`], unless it runs an
    /// injected call.
    pub fn look_before(&mut self) {
        self.before = Before::look(self.tid);
    }

    pub(super) fn stopped(self, stop: Stop) -> Stopped {
        // In a syscall-stop it is in the call again, or in one of ours.
        let taken_back = self.taken_back && stop != Stop::Syscall;
        Stopped { tid: self.tid, stop, before: self.before, taken_back, pinned: self.pinned }
    }
}

impl Stopped {
    /// Whether it has to get into its call again before it may be left to itself.
    pub(in crate::trace) fn is_taken_back(&self) -> bool {
        self.taken_back && !matches!(self.stop, Stop::Group(_))
    }

    /// Lets it run to the entry of the call, unless a handler runs first.
    pub(super) fn run_to_own_call(mut self) -> Result<Seized, TraceError> {
        if self.end_if_handled()? { self.run() } else { self.run_to_syscall() }
    }

    /// In a signal-delivery-stop, with a call that is to start anew: gives it EINTR if a handler runs now; whether one does.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn end_if_handled(&mut self) -> Result<bool, TraceError> {
        let Some(signal) = self.signal() else { return Ok(false) };
        if !handles(self.tid, signal.as_raw()) {
            return Ok(false);
        }
        let (abi, mut registers) = self.abi_and_registers()?;
        if registers.end_call(abi, libc::EINTR) {
            self.set_registers(&registers)?;
        }
        self.taken_back = false;
        Ok(true)
    }
}

/// Whether the thread's process has a handler for the signal.
fn handles(tid: Tid, signal: i32) -> bool {
    let status = fs::read(format!("/proc/{tid}/status")).ok().and_then(|text| Status::parse(&text).ok());
    status.is_some_and(|status| status.signals.caught & 1 << (signal - 1) != 0)
}

/// Sees these into their calls, and leaves them to the end of the tracer's thread, which has to come now. One that does not
/// get there in time, as in a frozen cgroup, is left, too.
///
/// # Errors
/// The first [`TraceError`], after all have been tried.
pub(in crate::trace) fn see_into_calls(threads: Vec<Stopped>) -> Result<(), TraceError> {
    let deadline = Deadline::after(LIMIT);
    let running: Vec<_> = threads.into_iter().map(Stopped::run).collect();
    let mut first = Ok(());
    for thread in running {
        first = first.and(thread.and_then(|thread| see_into_call(thread, deadline)).or_else(unless_gone));
    }
    first
}

fn see_into_call(mut thread: Seized, deadline: Deadline) -> Result<(), TraceError> {
    loop {
        thread = match thread.wait(deadline)? {
            Waited::Stopped(now) if now.stop() == Stop::Syscall => return now.run().map(drop),
            Waited::Stopped(mut now) if now.is_taken_back() => {
                if now.end_if_handled()? {
                    return now.detach();
                }
                now.run_to_syscall()?
            }
            Waited::Stopped(now) => return now.detach(),
            Waited::Gone | Waited::Late(_) => return Ok(()),
        }
    }
}

fn unless_gone(error: TraceError) -> Result<(), TraceError> {
    if matches!(error, TraceError::Gone(_)) { Ok(()) } else { Err(error) }
}
