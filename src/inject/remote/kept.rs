//! Putting a thread back whose registers say all there is about its interrupted call, as on x86: nothing more is needed
//! than those.

use super::{Remote, Slept};
use crate::arch::{Abi, Registers};
use crate::error::TraceError;
use crate::ids::RemoteAddr;
use crate::trace::Stopped;

/// The registers of a call, on its way to the syscall-entry-stop.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(super) fn load(
    _thread: &mut Stopped,
    registers: &mut Registers,
    abi: &Abi,
    site: RemoteAddr,
    nr: u64,
    args: [u64; 6],
) -> Result<(), TraceError> {
    registers.load_call(abi, site, nr, args);
    Ok(())
}

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

impl Remote<'_> {
    /// The kernel will look at the registers that are put back.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "elsewhere it may fail")]
    pub(super) fn show_again(&self, _thread: &mut Stopped) -> Result<(), TraceError> {
        Ok(())
    }
}

/// That is in the registers.
pub(super) fn slept(_thread: &Stopped, _saved: &Registers) -> Slept {
    Slept(true)
}
