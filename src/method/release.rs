//! Giving copies of descriptors back while other work goes on.
//!
//! The last close of a connection costs the kernel about 10 us, four times as much as all the rest that is done about
//! a descriptor. With the copies given back on a thread of their own, that goes on while the next slice is closed.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use crate::watchdog;

/// So many copies are given back at a time: 0.2 ms of work.
const PORTION: usize = 16;

/// With more copies waiting than this, whoever brings more gives some back first: so there are never more than these and
/// those of two slices, however long the batch.
pub(super) const MOST_HELD: usize = 2048;

/// Copies to be given back, and whether more will come.
#[derive(Debug, Default)]
struct Waiting {
    copies: VecDeque<OwnedFd>,
    is_over: bool,
}

/// Takes copies of descriptors, and gives them back on another thread, or where that lags, on its caller's.
#[derive(Debug, Default)]
pub(super) struct Release {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

/// A [`Release`] at work. When it is dropped, all has been given back.
#[derive(Debug)]
pub(super) struct Releasing<'a> {
    release: &'a Release,
    has_helper: bool,
}

impl Release {
    /// Starts the other thread in `scope`. Where none can be had, all is done on the caller's.
    pub(super) fn start<'scope, 'env>(&'env self, scope: &'scope Scope<'scope, 'env>) -> Releasing<'env> {
        let helper =
            thread::Builder::new().name("release".into()).spawn_scoped(scope, || self.work_until_over());
        Releasing { release: self, has_helper: helper.is_ok() }
    }

    fn work_until_over(&self) {
        let mut waiting = self.lock();
        loop {
            if !waiting.copies.is_empty() {
                let portion = next(&mut waiting);
                drop(waiting);
                give_back(portion);
                waiting = self.lock();
            } else if waiting.is_over {
                return;
            } else {
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Gives back until no more than `left` wait.
    fn work_down_to(&self, left: usize) {
        loop {
            let mut waiting = self.lock();
            if waiting.copies.len() <= left {
                return;
            }
            let portion = next(&mut waiting);
            drop(waiting);
            give_back(portion);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(waiting: &mut Waiting) -> Vec<OwnedFd> {
    let portion = waiting.copies.len().min(PORTION);
    waiting.copies.drain(..portion).collect()
}

fn give_back(portion: Vec<OwnedFd>) {
    for copy in portion {
        // May take its time: the socket's owner may want it to linger (SO_LINGER, socket(7)).
        drop(copy);
        watchdog::beat();
    }
}

impl Releasing<'_> {
    /// Takes `copies`, to be given back soon.
    pub(super) fn take(&self, copies: impl Iterator<Item = OwnedFd>) {
        self.release.lock().copies.extend(copies);
        self.release.more.notify_one();
        self.release.work_down_to(if self.has_helper { MOST_HELD } else { 0 });
    }
}

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        self.release.lock().is_over = true;
        self.release.more.notify_one();
        self.release.work_down_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::unistd::{pipe, read};

    #[test]
    fn everything_is_given_back_by_the_end() {
        let (reader, writer) = pipe().unwrap();
        let release = Release::default();
        thread::scope(|scope| {
            let releasing = release.start(scope);
            for _ in 0..20 {
                releasing.take((0..50).map(|_| writer.try_clone().unwrap()));
            }
        });
        drop(writer);
        assert_eq!(read(&reader, &mut [0]), Ok::<_, Errno>(0), "nobody has the other end any more");
    }
}
