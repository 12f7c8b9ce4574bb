//! Places in a surgery where a test can have fdclose die, exactly there.
//!
//! Only in debug builds: `FDCLOSE_TEST_DIE_AT` names the place, and SIGKILL comes from fdclose itself.

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
}

/// Dies here, if a test wants it.
#[cfg(debug_assertions)]
pub fn reach(place: Place) {
    let wanted = std::env::var("FDCLOSE_TEST_DIE_AT").unwrap_or_default();
    if wanted.eq_ignore_ascii_case(&format!("{place:?}")) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub fn reach(_place: Place) {}
