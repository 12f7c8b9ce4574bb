//! A way out of system calls that hang.
//!
//! fdclose waits for nothing without a limit, but what it asks of the kernel may: to read memory that a hanging file
//! server or userfaultfd(2) has to supply, or `/proc/PID/maps` while a thread of that process hangs with the lock held.
//! SIGKILL ends such a sleep and nothing else does. So where there has been no sign of life for too long, the whole of
//! fdclose ends itself. It may die at any instant: that is what the lifelines are for, and the kernel lets go of all
//! that is traced.
//!
//! One sleep is left that not even this ends: for the lock of a socket, which a thread that hangs while it sends may
//! hold (`lock_sock`; checked on 6.18). Its end is the end of that hang; the reason has been told by then.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use crate::ids::Pid;

/// How many looks in a row must see no sign of life.
const LOOKS: u32 = 8;

/// The watching thread does little.
const STACK: usize = 64 * 1024;

/// So many processes are dealt with at a time at most; more would only go unnamed.
const MOST_SUBJECTS: usize = 8;

/// What is being done, and whether anything is.
#[derive(Debug)]
struct Work {
    /// The processes that are being dealt with.
    subjects: Mutex<[Option<Pid>; MOST_SUBJECTS]>,
    /// How many signs of life there were.
    beats: AtomicU64,
}

static WORK: Work = Work::none();

/// How much silence is too much, once that is watched for.
static LIMIT: OnceLock<Duration> = OnceLock::new();

/// The limit given to [`start`], if it was called.
#[must_use]
pub fn limit() -> Option<Duration> {
    LIMIT.get().copied()
}

/// Does something while the watching thread holds no lock, such as making a process that has no such thread. That one
/// may call [`start`] anew.
pub fn while_it_rests<T>(act: impl FnOnce() -> T) -> T {
    WORK.with_subjects(|_| act())
}

/// From now on, calls `on_hang` when for `limit` there was no sign of life while a process was [dealt with](over). To be
/// called once in a process, while there is one thread only. `on_hang` is meant to end fdclose.
///
/// # Errors
/// No thread can be started.
pub fn start(limit: Duration, on_hang: impl FnOnce(Pid) + Send + 'static) -> io::Result<()> {
    let watch = Watch::begin(limit);
    // Signals are for the other threads: one that is held back there must not find this one.
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    let watch = move || on_hang(watch.wait_for_hang());
    let started = thread::Builder::new().name("watch".into()).stack_size(STACK).spawn(watch);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started.map(drop)
}

/// While this lives, a process is being dealt with.
#[derive(Debug)]
pub struct Watched(Pid);

/// A process is being dealt with, by this thread alone. A thread that hangs shows when the others have nothing left to
/// do.
#[must_use]
pub fn over(pid: Pid) -> Watched {
    WORK.begin(pid);
    Watched(pid)
}

impl Drop for Watched {
    fn drop(&mut self) {
        WORK.end(self.0);
    }
}

/// A sign of life.
pub fn beat() {
    WORK.beat();
}

impl Work {
    const fn none() -> Self {
        Self { subjects: Mutex::new([None; MOST_SUBJECTS]), beats: AtomicU64::new(0) }
    }

    fn begin(&self, pid: Pid) {
        // Before the subject is seen, so that no silence before it counts.
        self.beat();
        self.with_subjects(|subjects| {
            if let Some(place) = subjects.iter_mut().find(|place| place.is_none()) {
                *place = Some(pid);
            }
        });
    }

    fn end(&self, pid: Pid) {
        self.with_subjects(|subjects| {
            if let Some(place) = subjects.iter_mut().find(|place| **place == Some(pid)) {
                *place = None;
            }
        });
    }

    fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn with_subjects<T>(&self, look: impl FnOnce(&mut [Option<Pid>]) -> T) -> T {
        look(&mut *self.subjects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks for signs of life, by whoever has the time.
#[derive(Debug)]
pub struct Watch {
    work: &'static Work,
    interval: Duration,
    /// When the last look was.
    looked: Instant,
    /// What was to be seen then.
    last: u64,
    /// How many looks in a row saw no sign of life.
    silent: u32,
}

impl Watch {
    /// From now on, so much silence is too much. The first limit in a process is the one that counts.
    #[must_use]
    pub fn begin(limit: Duration) -> Self {
        Self::on(&WORK, *LIMIT.get_or_init(|| limit))
    }

    fn on(work: &'static Work, limit: Duration) -> Self {
        Self { work, interval: limit / LOOKS, looked: Instant::now(), last: 0, silent: 0 }
    }

    /// One look; the process that is being dealt with, if nothing was heard for too long. Looks that come too soon are
    /// none.
    pub fn look(&mut self) -> Option<Pid> {
        let since = self.looked.elapsed();
        if since < self.interval {
            return None;
        }
        self.looked = Instant::now();
        // Somebody who was stopped, by Ctrl-Z or a debugger, has not been silent meanwhile.
        let was_stopped = since > self.interval * 2;
        let subject = self.work.with_subjects(|subjects| subjects.iter().find_map(|subject| *subject));
        let beats = self.work.beats.load(Ordering::Relaxed);
        match subject {
            Some(subject) if beats == self.last => {
                self.silent += u32::from(!was_stopped);
                if self.silent == LOOKS {
                    return Some(subject);
                }
            }
            _ => self.silent = 0,
        }
        self.last = beats;
        None
    }

    fn wait_for_hang(mut self) -> Pid {
        loop {
            thread::sleep(self.interval);
            if let Some(pid) = self.look() {
                return pid;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;

    #[test]
    fn only_silence_about_a_process_is_a_hang() {
        static WORK: Work = Work::none();
        const LIMIT: Duration = Duration::from_secs(1);
        let pid = Pid::new(77).unwrap();
        let (tell, hangs) = mpsc::channel();
        thread::spawn(move || tell.send(Watch::on(&WORK, LIMIT).wait_for_hang()));
        let none_for = |wait| assert_eq!(hangs.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
        none_for(LIMIT * 3 / 2);
        WORK.begin(pid);
        for _ in 0..30 {
            none_for(LIMIT / 20);
            WORK.beat();
        }
        WORK.end(pid);
        none_for(LIMIT * 3 / 2);
        WORK.begin(pid);
        assert_eq!(hangs.recv_timeout(Duration::from_secs(30)), Ok(pid));
    }
}
