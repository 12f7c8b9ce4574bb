//! Signals to fdclose itself, held back while a target is under the knife.
//!
//! Ctrl-C must not end it in the middle of a slice, and Ctrl-Z must not stop it there, with the target stopped, too.
//! What was held back is delivered when the guard is dropped: the process then ends, or stops, by the signal itself.

use std::mem;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a user, a terminal or a service manager sends.
const HELD: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Those that mean: no further.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// While this lives, the signals are held back in the thread that made it and in those started from it.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
}

impl Held {
    /// Holds them back from now on. To be called while no other thread takes them.
    ///
    /// # Errors
    /// What pthread_sigmask(3) says.
    pub fn hold() -> nix::Result<Self> {
        Self::hold_these(&HELD.into_iter().collect())
    }

    /// Holds back every signal there is from this thread, for others to take.
    ///
    /// # Errors
    /// What pthread_sigmask(3) says.
    pub fn hold_all() -> nix::Result<Self> {
        Self::hold_these(&SigSet::all())
    }

    fn hold_these(signals: &SigSet) -> nix::Result<Self> {
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(signals), Some(&mut before))?;
        Ok(Self { before })
    }

    /// What was held back before.
    #[must_use]
    pub fn before(&self) -> Mask {
        Mask(self.before)
    }

    /// Holds them back until the thread ends.
    pub fn to_the_end(self) {
        mem::forget(self);
    }
}

/// Which signals a thread holds back.
#[derive(Debug, Clone, Copy)]
pub struct Mask(SigSet);

impl Mask {
    /// Has this thread hold these back, and no others.
    pub fn apply(self) {
        // SIG_SETMASK with a mask the kernel gave can't fail.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.before().apply();
    }
}

/// What this process, a worker, is tied to its parent with.
static LEASH: OnceLock<OwnedFd> = OnceLock::new();

/// From now on the end of the pipe `leash` wants this process to end, too.
pub fn end_with(leash: OwnedFd) {
    // A second one would be a bug without consequences: the first tells what there is to tell.
    let _ = LEASH.set(leash);
}

/// Whether this process is to end: a signal that means to end it is being held back, or nobody holds its leash.
#[must_use]
pub fn end_is_wanted() -> bool {
    super::sys::pending_signals()
        .is_ok_and(|pending| ENDING.into_iter().any(|signal| pending & bit(signal) != 0))
        || LEASH.get().is_some_and(|leash| {
            // Nothing is ever written to it: what can be read is its end.
            let mut ready = [PollFd::new(leash.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0)
        })
}

/// Something to poll(2) for the signals that want this process to end. As long as nobody reads it, they stay pending.
///
/// # Errors
/// What signalfd(2) says.
pub fn ending_signals() -> nix::Result<SignalFd> {
    SignalFd::with_flags(&ENDING.into_iter().collect(), SfdFlags::SFD_CLOEXEC)
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as u64 - 1)
}
