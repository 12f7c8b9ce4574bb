//! Putting a thread back whose registers say all there is about its interrupted call, as on x86: nothing more is needed
//! than those.

use super::{Remote, Slept};
use crate::arch::Registers;
use crate::error::TraceError;
use crate::trace::Stopped;

/// A call that was made before is over.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(super) fn forget_call(_thread: &mut Stopped) -> Result<(), TraceError> {
    Ok(())
}

impl Remote<'_> {
    /// The kernel will look at the registers that are put back.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "elsewhere it may fail")]
    pub(super) fn show_again(&mut self, thread: Stopped) -> Result<Stopped, TraceError> {
        Ok(thread)
    }
}

/// That is in the registers.
pub(super) fn slept(_thread: &Stopped, _saved: &Registers) -> Slept {
    Slept(true)
}
