//! Making an interrupted call whole again.

use crate::error::TraceError;
use crate::trace::Stopped;

/// Makes the stop of `thread`, which must be in a PTRACE_EVENT_STOP, invisible to the call it interrupted; see
/// [`crate::arch::Registers::hide_interruption`]. To be done to every thread that was stopped, not only to the one
/// that runs the injected call.
///
/// # Errors
/// [`TraceError`], `Gone` included.
pub fn hide_interruption(thread: &mut Stopped) -> Result<(), TraceError> {
    let (abi, mut registers) = thread.abi_and_registers()?;
    if registers.hide_interruption(abi) {
        thread.set_registers(&registers)?;
    }
    Ok(())
}
