//! How far a long action has got, for whoever waits for it.
//!
//! There is one action at a time in a process, so there is one count. A worker process ([`crate::worker`]) tells the
//! one that made it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is to be done, what was done before the present part of it, and what is done.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static BEFORE: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);

/// Who is told, in a worker.
static LISTENER: OnceLock<File> = OnceLock::new();

const MESSAGE: usize = size_of::<u64>();

/// How far it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// So many have had their turn.
    pub done: usize,
    /// So many are to have it.
    pub total: usize,
}

/// An action begins, on `total` descriptors.
pub fn begin(total: usize) {
    BEFORE.store(0, Ordering::Relaxed);
    DONE.store(0, Ordering::Relaxed);
    TOTAL.store(total, Ordering::Relaxed);
}

/// Its next part begins: [`reached`] counts from here.
pub fn begin_part() {
    BEFORE.store(DONE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// So many descriptors of the present part have had their turn.
pub fn reached(of_part: usize) {
    set(BEFORE.load(Ordering::Relaxed) + of_part);
}

/// How far the present action has got; `None` before the first one.
#[must_use]
pub fn now() -> Option<Progress> {
    let (done, total) = (DONE.load(Ordering::Relaxed), TOTAL.load(Ordering::Relaxed));
    (total > 0).then_some(Progress { done: done.min(total), total })
}

/// From now on, `listener` is told, the writing end of a pipe that does not block. To be called once in a process.
pub(crate) fn tell(listener: OwnedFd) {
    // A second one would be ignored.
    let _ = LISTENER.set(File::from(listener));
}

/// Takes what a worker has told through `pipe`, which does not block.
pub(crate) fn hear(mut pipe: &File) {
    let mut told = [0; 64 * MESSAGE];
    // What can't be read now will be later, and is not needed.
    while let Ok(len @ 1..) = pipe.read(&mut told) {
        // Whole messages: so short a one goes into a pipe whole or not at all (pipe(7)).
        let last = told.get(..len).and_then(|told| told.last_chunk::<MESSAGE>());
        if let Some(done) = last.and_then(|last| usize::try_from(u64::from_ne_bytes(*last)).ok()) {
            set(done);
        }
    }
}

fn set(done: usize) {
    DONE.store(done, Ordering::Relaxed);
    if let Some(mut listener) = LISTENER.get() {
        // One that does not listen misses something that is soon told anew.
        let _ = listener.write(&(done as u64).to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    /// One test, as there is one count in a process.
    #[test]
    fn parts_add_up_and_messages_are_heard() {
        assert_eq!(now(), None);
        begin(10);
        begin_part();
        reached(3);
        begin_part();
        reached(4);
        assert_eq!(now(), Some(Progress { done: 7, total: 10 }));

        let (reader, writer) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
        let (reader, mut writer) = (File::from(reader), File::from(writer));
        hear(&reader);
        for done in 0..200_u64 {
            writer.write_all(&done.to_ne_bytes()).unwrap();
        }
        hear(&reader);
        assert_eq!(now(), Some(Progress { done: 10, total: 10 }), "never more than there is");
        drop(writer);
        hear(&reader);

        begin(5);
        assert_eq!(now(), Some(Progress { done: 0, total: 5 }));
    }
}
