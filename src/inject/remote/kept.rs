//! Putting a thread back whose registers say all there is about its interrupted call, as on x86: nothing more is needed
//! than those.

use super::{Remote, Slept};
use crate::arch::{Abi, Registers};
use crate::error::TraceError;
use crate::ids::RemoteAddr;
use crate::trace::Stopped;

/// The call itself is under way in its syscall-entry-stop.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(super) fn begin(
    _thread: &mut Stopped,
    _abi: &Abi,
    _site: RemoteAddr,
    _nr: u64,
    _args: [u64; 6],
) -> Result<(), TraceError> {
    Ok(())
}

#[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "elsewhere there is something to do")]
impl Remote<'_> {
    /// The registers of a call, on its way to the syscall-entry-stop.
    pub(super) fn load(&self, nr: u64, args: [u64; 6]) -> Registers {
        let mut registers = self.saved;
        registers.load_call(self.abi, self.site(), nr, args);
        registers
    }

    /// The next call may be made from where the last one ended.
    pub(super) fn leave_last_call(&mut self, thread: Stopped) -> Result<Stopped, TraceError> {
        Ok(thread)
    }

    /// The kernel will look at the registers that are put back.
    pub(super) fn show_again(&self, _thread: &mut Stopped) -> Result<(), TraceError> {
        Ok(())
    }

    /// So it does when it delivers a signal.
    pub(super) fn end_if_handled(&self, _thread: &mut Stopped) -> Result<(), TraceError> {
        Ok(())
    }
}

/// That is in the registers.
pub(super) fn slept(_thread: &Stopped, _saved: &Registers) -> Slept {
    Slept(true)
}
