//! What only arm64 makes necessary: the call that a thread is in is not in its registers.

use super::{Stopped, answer, machine};
use crate::arch::Registers;
use crate::error::TraceError;

impl Stopped {
    /// In a syscall-entry-stop: has the kernel make this call instead of the one asked for. In any other stop, `None` makes
    /// it forget that the thread was in one.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn set_call(&mut self, number: Option<u64>) -> Result<(), TraceError> {
        answer("PTRACE_SETREGSET", self.tid, machine::set_call(self.tid, number))
    }

    /// In the syscall-exit-stop of an injected call: replaces its general registers, and has the kernel take their x0 for the
    /// first argument of the call.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn set_first_argument(&mut self, registers: &Registers) -> Result<(), TraceError> {
        answer("PTRACE_SETSIGINFO", self.tid, machine::set_first_argument(self.tid, registers))
    }

    /// Whether it came to this stop out of a call, and not from code of its own; `None` if that can't be told.
    #[must_use]
    pub fn came_from_call(&self) -> Option<bool> {
        machine::came_from_call(self.tid)
    }
}
