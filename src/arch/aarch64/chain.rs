//! Many closes in one go: not here. No code that can be relied on loads both x0 and x8 from the stack and returns through
//! it, so there are no chains, and each descriptor is a call of its own ([`Chain::image`] has nothing to give).

use super::Registers;
use super::frame::{self, Gadgets, Restored};
use crate::ids::{Fd, RemoteAddr};

/// The length of a step in bytes.
pub const STEP: u64 = 8;

/// The signal at the end, and the thread it goes to, by the numbers of the target's own pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndSignal {
    /// Its process.
    pub tgid: i32,
    /// The thread.
    pub tid: i32,
    /// The signal.
    pub signal: i32,
}

/// Signals whose default is to be ignored, the least used first. SIGCONT is none: it takes pending stops away.
pub const QUIET_SIGNALS: [i32; 3] = [libc::SIGWINCH, libc::SIGURG, libc::SIGCHLD];

/// A chain of closes.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// What to close, at least one.
    pub fds: &'a [Fd],
    /// How it ends.
    pub end: EndSignal,
}

/// An upper bound for the length in bytes of the lifeline behind a chain.
#[must_use]
pub const fn chain_len(_fds: usize, xstate: usize) -> usize {
    frame::lifeline_len(xstate)
}

impl Chain<'_> {
    /// There is none.
    #[must_use]
    pub fn image(&self, _gadgets: Gadgets, _restored: Restored<'_>, _at: RemoteAddr) -> Option<Vec<u8>> {
        None
    }

    /// There are none.
    #[must_use]
    pub fn steps(&self, _gadgets: Gadgets) -> Option<Vec<u8>> {
        None
    }

    /// Never asked for, as there is no chain to run.
    pub fn load(&self, registers: &mut Registers, gadgets: Gadgets, at: RemoteAddr) {
        frame::hang_on(registers, gadgets, at);
    }

    /// Nowhere.
    #[must_use]
    pub fn end_sp(&self, _at: RemoteAddr) -> Option<RemoteAddr> {
        None
    }

    /// Nowhere.
    #[must_use]
    pub fn start_before(&self, _lifeline: RemoteAddr) -> Option<RemoteAddr> {
        None
    }
}
