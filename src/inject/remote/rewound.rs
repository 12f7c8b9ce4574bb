//! Putting a thread back whose interrupted call the kernel has taken back already, as arm64 does it (see
//! [`crate::arch`]): what it was going to do about a signal, EINTR or a restart, and whether by restart_syscall(2), is
//! known to no register.
//!
//! So it is made to find that out once more. It looks when a thread comes out of a call with a restart code for a result,
//! and takes the first argument from where it kept that of the call (`orig_x0`): so the injected call is begun with the
//! thread's own x0, as a getpid(2), and becomes what it is to be in the syscall-entry-stop. In the syscall-exit-stop the
//! thread gets its registers with the restart code, and on its way to the PTRACE_EVENT_STOP the kernel does to them what it
//! did at first. A tracer that dies after that has nothing to leave undone.

use super::{Remote, Slept};
use crate::arch::{Abi, Registers};
use crate::error::TraceError;
use crate::ids::RemoteAddr;
use crate::trace::{Stop, Stopped};

/// The call itself, in its syscall-entry-stop.
pub(super) fn begin(
    thread: &mut Stopped,
    abi: &Abi,
    site: RemoteAddr,
    nr: u64,
    args: [u64; 6],
) -> Result<(), TraceError> {
    let mut registers = thread.registers()?;
    let behind = registers.ip();
    registers.load_call(abi, site, nr, args);
    registers.set_ip(behind);
    thread.set_registers(&registers)?;
    thread.set_call(Some(nr))
}

impl Remote<'_> {
    /// The registers of a call, on its way to the syscall-entry-stop.
    pub(super) fn load(&self, _nr: u64, _args: [u64; 6]) -> Registers {
        let mut registers = self.saved;
        registers.approach(self.site());
        registers
    }

    /// Readies the thread for the next call. In the syscall-exit-stop of the last one the kernel knows nothing any more of the
    /// thread's own call, and a signal that comes now would let it start anew where it should return EINTR.
    pub(super) fn leave_last_call(&mut self, mut thread: Stopped) -> Result<Stopped, TraceError> {
        if thread.stop() != Stop::Syscall {
            return Ok(thread);
        }
        if self.saved.as_interrupted(self.slept.0).is_some() {
            return self.settle(thread);
        }
        // It would take x0 for the call's result.
        thread.set_call(None)?;
        Ok(thread)
    }

    /// In a signal-delivery-stop, with the thread's own registers. The kernel itself gives the call its EINTR if it has seen
    /// it in this stop. It has not when the signal came within the microsecond on the way to an injected call, and what is
    /// known without it is known here: a call that never starts anew once a handler has run. One that does with SA_RESTART
    /// alone does so then.
    pub(super) fn end_if_handled(&self, thread: &mut Stopped) -> Result<(), TraceError> {
        if self.saved.ends_by_handler(self.slept.0) { thread.end_if_handled().map(drop) } else { Ok(()) }
    }

    /// Readies the thread, in the syscall-exit-stop of an injected call, for the kernel to look at its own call.
    pub(super) fn show_again(&self, thread: &mut Stopped) -> Result<(), TraceError> {
        let Some(before) = self.saved.as_interrupted(self.slept.0) else { return Ok(()) };
        if thread.stop() != Stop::Syscall {
            return Ok(());
        }
        thread.set_first_argument(&self.saved)?;
        thread.set_registers(&before)
    }
}

/// Whether the thread, in its first stop, surely sleeps in the call that its registers show.
pub(super) fn slept(thread: &Stopped, saved: &Registers) -> Slept {
    Slept(saved.may_have_deadline() && thread.came_from_call() == Some(true))
}
