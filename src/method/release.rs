//! Giving copies of descriptors back while other work goes on.
//!
//! The last close of a connection costs the kernel about 10 us, four times as much as all the rest that is done about
//! a descriptor. With the copies given back on threads of their own, that goes on while the next slice is prepared.
//!
//! While the target is stopped, they rest. Where there are no more processors than such threads, whatever has to
//! run in a stop would wait for a time slice of theirs: stops took three times as long on two processors.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use crate::watchdog;

/// So many copies are given back at a time: 0.2 ms of work.
const PORTION: usize = 16;

/// With more copies waiting than this, whoever brings more gives some back first: so there are never more than these and
/// those of two slices, however long the batch.
pub(super) const MOST_HELD: usize = 2048;

/// No more threads than this: beyond, they wait for the same locks in the kernel.
const MOST_THREADS: usize = 4;

/// Copies to be given back, and whether more will come.
#[derive(Debug, Default)]
struct Waiting {
    copies: VecDeque<OwnedFd>,
    is_over: bool,
}

/// Takes copies of descriptors, and gives them back on other threads, or where those lag, on its caller's.
#[derive(Debug, Default)]
pub(super) struct Release {
    waiting: Mutex<Waiting>,
    more: Condvar,
    /// The target is stopped. Read without the lock, between two copies.
    rests: AtomicBool,
}

/// A [`Release`] at work. When it is dropped, all has been given back.
#[derive(Debug)]
pub(super) struct Releasing<'a> {
    release: &'a Release,
    has_helper: bool,
}

/// While it lives, nothing is given back.
#[derive(Debug)]
pub(super) struct Rest<'a>(&'a Release);

impl Release {
    /// Starts the other threads in `scope`. Where none can be had, all is done on the caller's.
    pub(super) fn start<'scope, 'env>(&'env self, scope: &'scope Scope<'scope, 'env>) -> Releasing<'env> {
        let threads =
            thread::available_parallelism().map_or(1, |processors| processors.get().min(MOST_THREADS));
        let start =
            || thread::Builder::new().name("release".into()).spawn_scoped(scope, || self.work_until_over());
        let started = (0..threads).take_while(|_| start().is_ok()).count();
        Releasing { release: self, has_helper: started > 0 }
    }

    fn work_until_over(&self) {
        let mut waiting = self.lock();
        loop {
            if !waiting.copies.is_empty() && !self.rests() {
                let portion = next(&mut waiting);
                drop(waiting);
                let left = self.give_back(portion);
                waiting = self.lock();
                waiting.copies.extend(left);
            } else if waiting.copies.is_empty() && waiting.is_over {
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
            for copy in portion {
                give_back(copy);
            }
        }
    }

    /// Gives `portion` back, until it is time to rest; what is left.
    fn give_back(&self, portion: Vec<OwnedFd>) -> impl Iterator<Item = OwnedFd> {
        let mut portion = portion.into_iter();
        while !self.rests()
            && let Some(copy) = portion.next()
        {
            give_back(copy);
        }
        portion
    }

    fn rests(&self) -> bool {
        // Nothing is passed on by it: a copy more or less does no harm.
        self.rests.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(waiting: &mut Waiting) -> Vec<OwnedFd> {
    let portion = waiting.copies.len().min(PORTION);
    waiting.copies.drain(..portion).collect()
}

fn give_back(copy: OwnedFd) {
    // May take its time: the socket's owner may want it to linger (SO_LINGER, socket(7)).
    drop(copy);
    watchdog::beat();
}

impl<'a> Releasing<'a> {
    /// The other threads rest from now on, until what is returned is dropped.
    pub(super) fn rest(&self) -> Rest<'a> {
        self.release.rests.store(true, Ordering::Relaxed);
        Rest(self.release)
    }

    /// Takes `copies`, to be given back soon.
    pub(super) fn take(&self, copies: impl Iterator<Item = OwnedFd>) {
        self.release.lock().copies.extend(copies);
        self.release.more.notify_all();
        self.release.work_down_to(if self.has_helper { MOST_HELD } else { 0 });
    }
}

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        self.release.rests.store(false, Ordering::Relaxed);
        self.release.lock().is_over = true;
        self.release.more.notify_all();
        self.release.work_down_to(0);
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        // Under the lock: a thread that has just seen it must be waiting by the time it is called.
        let waiting = self.0.lock();
        self.0.rests.store(false, Ordering::Relaxed);
        drop(waiting);
        self.0.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

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

    #[test]
    fn nothing_is_given_back_in_a_rest() {
        let (_reader, writer) = pipe().unwrap();
        let release = Release::default();
        thread::scope(|scope| {
            let releasing = release.start(scope);
            let rest = releasing.rest();
            releasing.take((0..100).map(|_| writer.try_clone().unwrap()));
            for _ in 0..10_000 {
                assert_eq!(release.lock().copies.len(), 100);
                thread::yield_now();
            }
            drop(rest);
            let deadline = Instant::now() + Duration::from_secs(10);
            while !release.lock().copies.is_empty() {
                assert!(Instant::now() < deadline);
                thread::yield_now();
            }
        });
    }
}
