//! Putting a thread back whose interrupted call the kernel has taken back already, as arm64 does it (see
//! [`crate::arch`]): what it was going to do about a signal, EINTR or a restart, and whether by restart_syscall(2), is
//! known to no register.
//!
//! So it is made to find that out once more. It looks when a thread comes out of a call with a restart code for a result,
//! and takes the first argument from where it kept that of the call (`orig_x0`): so after the last injected call the thread
//! makes one with its own x0, a getpid(2). In the syscall-exit-stop it gets its registers with the restart code, and on its
//! way to the PTRACE_EVENT_STOP the kernel does to them what it did at first. A tracer that dies after that has nothing to
//! leave undone.
//!
//! An injected call can't be that one by exchanging its arguments in its syscall-entry-stop: kernels of 2026 (Debian's
//! 6.1.0-56) take x0 for that of the call whenever a tracer sets registers, but in a syscall-exit-stop.

use super::{Remote, Slept};
use crate::arch::Registers;
use crate::error::TraceError;
use crate::trace::{Stop, Stopped};

/// After a call that was made before, the kernel would take x0 for its result.
pub(super) fn forget_call(thread: &mut Stopped) -> Result<(), TraceError> {
    if thread.stop() == Stop::Syscall { thread.set_call(None) } else { Ok(()) }
}

impl Remote<'_> {
    /// Readies the thread, in the syscall-exit-stop of an injected call, for the kernel to look at its own call.
    pub(super) fn show_again(&mut self, mut thread: Stopped) -> Result<Stopped, TraceError> {
        let Some(before) = self.saved.as_interrupted(self.slept.0) else { return Ok(thread) };
        if thread.stop() != Stop::Syscall {
            return Ok(thread);
        }
        forget_call(&mut thread)?;
        let mut call = self.saved;
        call.approach(self.site());
        if let Some(lifeline) = &self.lifeline {
            lifeline.hold(&mut call);
        }
        thread.set_registers(&call)?;
        let deadline = self.entry_deadline();
        loop {
            thread = self.run_to_entry(thread, deadline)?;
            match thread.stop() {
                Stop::Syscall => break,
                Stop::SignalDelivery(_) => return self.deliver(thread),
                Stop::Interrupt | Stop::Group(_) | Stop::OtherEvent(_) if deadline.remaining().is_some() => {}
                // It gets its registers as they are here.
                Stop::Interrupt | Stop::Group(_) | Stop::OtherEvent(_) => return Ok(thread),
            }
        }
        thread = self.leave(thread)?;
        thread.set_registers(&before)?;
        Ok(thread)
    }
}

/// Whether the thread, in its first stop, surely sleeps in the call that its registers show.
pub(super) fn slept(thread: &Stopped, saved: &Registers) -> Slept {
    Slept(saved.may_have_deadline() && thread.came_from_call() == Some(true))
}
