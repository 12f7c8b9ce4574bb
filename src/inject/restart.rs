//! Making an interrupted call whole again.

use super::gadget::Site;
use crate::arch::{Abi, Registers, compat_abi, native_abi};
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
    if registers.shows_eintr(abi) && registers.hide_interruption(abi_of_call(thread, abi, &registers)) {
        thread.set_registers(&registers)?;
    }
    Ok(())
}

/// 64-bit code may use `int $0x80`, too, and then the numbers are those of 32-bit calls: the instruction tells.
fn abi_of_call(thread: &Stopped, abi: &'static Abi, registers: &Registers) -> &'static Abi {
    let compat = Site::before(thread.tid(), registers.ip(), compat_abi());
    if abi == native_abi() && compat.is_some() { compat_abi() } else { abi }
}
