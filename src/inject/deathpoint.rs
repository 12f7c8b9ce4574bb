//! Places in a surgery where a test can have fdclose die, exactly there.
//!
//! Only in debug builds. A variable names the place: at `FDCLOSE_TEST_DIE_AT` the process that operates sends itself
//! SIGKILL, at `FDCLOSE_TEST_PANIC_AT` it panics, and at `FDCLOSE_TEST_STOP_AT` it stops itself (SIGSTOP) the first time, which the
//! test can wait for, to continue it and kill it so much later.

/// A place in a surgery, in the order they are come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All threads are stopped, nothing is done yet.
    Stopped,
    /// The registers of the injected call are in place.
    Loaded,
    /// A chain of calls is in place, the thread about to run it.
    Chained,
    /// A chain of calls is through, the thread not yet put back.
    Through,
    /// The thread is in the injected call.
    Entered,
    /// The thread has come out of it, its registers are still ours.
    Left,
    /// The thread has its own registers back; it is not detached yet.
    Restored,
    /// A socket's repair is on ([`crate::net::Repair`]).
    Repairing,
    /// Its numbers have been read.
    Numbered,
    /// Its repair is over.
    Mended,
}

/// Dies here, or stops, if a test wants it.
///
/// # Panics
/// If a test wants it.
#[cfg(debug_assertions)]
pub fn reach(place: Place) {
    use nix::sys::signal::{Signal, raise};
    use std::sync::atomic::{AtomicBool, Ordering};
    // Once: a batch comes by again with each slice.
    static STOPPED: AtomicBool = AtomicBool::new(false);
    let name = format!("{place:?}");
    let wanted = |variable| std::env::var(variable).is_ok_and(|wanted| wanted.eq_ignore_ascii_case(&name));
    if wanted("FDCLOSE_TEST_DIE_AT") {
        let _ = raise(Signal::SIGKILL);
    }
    if wanted("FDCLOSE_TEST_STOP_AT") && !STOPPED.swap(true, Ordering::Relaxed) {
        let _ = raise(Signal::SIGSTOP);
    }
    assert!(!wanted("FDCLOSE_TEST_PANIC_AT"), "a test wants this panic");
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub fn reach(_place: Place) {}
