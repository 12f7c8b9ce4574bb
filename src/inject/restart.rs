//! Making an interrupted call whole again.

use nix::errno::Errno;

#[cfg(target_arch = "x86_64")]
use super::gadget::Site;
use crate::arch::{Abi, Registers};
#[cfg(target_arch = "x86_64")]
use crate::arch::{compat_abi, native_abi};
use crate::error::TraceError;
use crate::ids::Tid;
use crate::trace::Stopped;

/// Makes the stop of `thread`, which must be in a PTRACE_EVENT_STOP, invisible to the call it interrupted; see
/// [`crate::arch::Registers::hide_interruption`]. To be done to every thread that was stopped, not only to the one
/// that runs the injected call. Returns how its code calls the kernel, and its registers as they are then.
///
/// # Errors
/// [`TraceError`], `Gone` included.
pub fn hide_interruption(thread: &mut Stopped) -> Result<(&'static Abi, Registers), TraceError> {
    let (abi, mut registers) = thread.abi_and_registers()?;
    if registers.shows_eintr(abi) && registers.hide_interruption(abi_of_call(thread.tid(), abi, &registers)) {
        thread.set_registers(&registers)?;
    }
    Ok((abi, registers))
}

/// Gives the call that the stop of `thread` interrupted the result `errno`, instead of letting it start anew; whether
/// there was one. To be done in the stop in which its descriptor was closed, with EBADF: the call would look the number up
/// again, and the file that another thread has got under it by then would be read from, or written to.
///
/// # Errors
/// [`TraceError`], `Gone` included.
pub fn end_call(thread: &mut Stopped, errno: Errno) -> Result<bool, TraceError> {
    let (abi, mut registers) = thread.abi_and_registers()?;
    let ended = registers.end_call(abi, errno as i32);
    if ended {
        thread.set_registers(&registers)?;
    }
    Ok(ended)
}

/// How the call of thread `tid` was made. 64-bit code may use `int $0x80`, too, and then the numbers are those of 32-bit
/// calls: the instruction tells.
#[must_use]
#[cfg(target_arch = "x86_64")]
pub fn abi_of_call(tid: Tid, abi: &'static Abi, registers: &Registers) -> &'static Abi {
    let compat = Site::before(tid, registers.ip(), compat_abi());
    if abi == native_abi() && compat.is_some() { compat_abi() } else { abi }
}

/// How the call of thread `tid` was made: as its code always calls.
#[must_use]
#[cfg(not(target_arch = "x86_64"))]
pub fn abi_of_call(_tid: Tid, abi: &'static Abi, _registers: &Registers) -> &'static Abi {
    abi
}
