//! Which threads have been attached to.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::sys;
use crate::ids::Tid;

/// The threads one surgery is attached to, for another thread of fdclose to read.
///
/// An `execve` in the target waits, with a lock held that PTRACE_SEIZE also wants, until its other threads are gone;
/// and a traced thread is gone only when its tracer has reaped it. A tracer that waits for that lock can't. Another
/// thread of the tracer's process can.
#[derive(Debug, Clone, Default)]
pub struct Roll(Arc<Mutex<HashSet<Tid>>>);

impl Roll {
    /// Reaps those that have ended, and strikes them off. Their tracer then finds them gone.
    pub fn reap(&self) {
        let tids: Vec<Tid> = self.with(|tids| tids.iter().copied().collect());
        for tid in tids.into_iter().filter(|tid| sys::reap(*tid)) {
            self.with(|tids| tids.remove(&tid));
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashSet<Tid>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a group remembers of the threads it has seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// The last listing: when a new one is equal, no thread came or went.
    pub(super) listed: Vec<Tid>,
    roll: Roll,
}

impl Seen {
    pub(super) fn new(roll: Roll) -> Self {
        Self { listed: Vec::new(), roll }
    }

    pub(super) fn contains(&self, tid: Tid) -> bool {
        self.roll.with(|tids| tids.contains(&tid))
    }

    pub(super) fn insert(&mut self, tid: Tid) {
        self.roll.with(|tids| tids.insert(tid));
    }

    /// The thread is gone and reaped, or a leader that has ended; its number may come again for another one. Another that
    /// is dying stays on the roll: if nobody reaped it, an `execve` of its process would wait for ever, and we for that.
    pub(super) fn remove(&mut self, tid: Tid) {
        self.roll.with(|tids| tids.remove(&tid));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Child, Command};
    use std::time::Duration;

    use super::*;
    use crate::trace::{Deadline, Seized, Waited};

    /// Ends with the test, however that ends.
    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_report_of_a_stop_is_left_to_the_tracer() {
        let sleeper = Sleeper(Command::new("sleep").arg("600").spawn().unwrap());
        let tid = Tid::new(sleeper.0.id().cast_signed()).unwrap();
        let thread = Seized::seize(tid).unwrap();
        thread.interrupt().unwrap();
        let deadline = Deadline::after(Duration::from_secs(10));
        let is_stopped = || fs::read_to_string(format!("/proc/{tid}/stat")).unwrap().contains(") t ");
        while !is_stopped() {
            assert!(deadline.remaining().is_some(), "it does not stop");
        }
        let roll = Roll::default();
        roll.with(|tids| tids.insert(tid));
        roll.reap();
        let waited = thread.wait(deadline).unwrap();
        assert!(matches!(waited, Waited::Stopped(_)), "{waited:?}");
    }
}
