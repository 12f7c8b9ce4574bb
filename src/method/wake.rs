//! Threads that wait on the very descriptor that is to be closed.
//!
//! close(2) does not wake them; the file lives until their call returns. The stop makes them start the call over, and
//! then find the descriptor gone: EBADF, where a program expects the end of the file or an error of the connection.
//! So a socket is shut down first, through a copy of the descriptor, and they get what a peer that is gone would give
//! them.

use std::thread;
use std::time::Duration;

use super::Item;
use crate::ids::{Fd, Tid};
use crate::net::Copies;
use crate::proc::{FdTarget, InSyscall, Process};
use crate::trace::Deadline;

/// A woken thread has a place in the run queue; it needs no longer to leave its call.
const LIMIT: Duration = Duration::from_millis(100);

/// Threads in a call on a descriptor, as seen in one stop, and what has been done about it.
#[derive(Debug, Default)]
pub(super) struct Waits {
    now: Vec<(Tid, Fd)>,
    /// Descriptors that have had their turn, with the number of threads that were woken.
    woken: Vec<(Fd, usize)>,
}

impl Waits {
    /// Forgets what was seen in the last stop.
    pub(super) fn begin(&mut self) {
        self.now.clear();
    }

    /// A thread waits on `fd`.
    pub(super) fn note(&mut self, tid: Tid, fd: Fd) {
        self.now.push((tid, fd));
    }

    /// The sockets among `items` that are waited on and were not shut down yet.
    pub(super) fn to_wake<'a>(&self, items: &'a [Item]) -> Vec<&'a Item> {
        let waited_on = |item: &&Item| {
            matches!(item.expected.target, FdTarget::Socket(_))
                && self.now.iter().any(|(_, fd)| *fd == item.fd)
                && !self.woken.iter().any(|(fd, _)| *fd == item.fd)
        };
        // Most often nobody waits on anything that is to be closed.
        if self.now.is_empty() { Vec::new() } else { items.iter().filter(waited_on).collect() }
    }

    /// Shuts `items` down while the target runs, and waits for the threads to leave their calls. Below Linux 5.6, where
    /// there are no copies, nothing is done, and the threads get EBADF.
    pub(super) fn wake(&mut self, process: &Process, copies: Option<&Copies>, items: &[&Item]) {
        for item in items {
            let threads: Vec<Tid> =
                self.now.iter().filter(|(_, fd)| *fd == item.fd).map(|(tid, _)| *tid).collect();
            let FdTarget::Socket(inode) = item.expected.target else { continue };
            let done = copies.is_some_and(|copies| copies.shut_down(item.fd, inode));
            self.woken.push((item.fd, if done { threads.len() } else { 0 }));
            if !done {
                continue;
            }
            let deadline = Deadline::after(LIMIT);
            for tid in threads {
                while waits_on(process, tid, item.fd) && deadline.remaining().is_some() {
                    thread::yield_now();
                }
            }
        }
    }

    /// How many threads were woken, for each descriptor that was shut down.
    pub(super) fn woken(&self) -> &[(Fd, usize)] {
        &self.woken
    }
}

fn waits_on(process: &Process, tid: Tid, fd: Fd) -> bool {
    match process.syscall(tid) {
        Ok(InSyscall::Call { args: [first, ..], .. }) => i32::try_from(first) == Ok(fd.as_raw()),
        _ => false,
    }
}
