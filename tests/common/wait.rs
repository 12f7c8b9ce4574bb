//! Waiting for a state of the world, never for a length of time.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is bound to happen; far longer than a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `reached` holds, giving the CPU away meanwhile. Panics, naming `what`, when it never does.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "never came: {what}");
        thread::yield_now();
    }
}
