//! Which of the matches something of their own process still uses by another way than their number: an epoll(7) instance
//! that watches them (the application has not lost track of those, and would take a new file that gets the number for
//! the old one), or an io_uring(7) instance that has them registered (they live on there).

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use nix::errno::Errno;

use super::{Match, Subject, socket_inode};
use crate::ids::{Fd, Inode};
use crate::kind::Kind;
use crate::proc::{FdDir, Watched};
use crate::trace::{Deadline, epoll_watches};

/// Up to so many pairs of an instance and a descriptor the kernel is asked about one by one, at 1 to 60 us each; above,
/// what each instance watches is read, at 2.5 us for each file it watches.
const ASK_ONE_BY_ONE: usize = 64;
/// What has not been found out by then stays unknown: a process may have instances without number.
const LIMIT: Duration = Duration::from_millis(500);

/// Where descriptors are selected by number, so many of the others are looked at, at 1 to 3 us each. Event loops are made
/// early, and have low numbers.
const MOST_OTHERS: usize = 512;

/// The instances of a process that were come by.
#[derive(Debug, Default)]
pub(super) struct Instances {
    epolls: Vec<Fd>,
    rings: Vec<Fd>,
}

impl Instances {
    /// Whether something of this sort is one.
    pub(super) fn are(kind: Kind) -> bool {
        matches!(kind, Kind::Epoll | Kind::IoUring)
    }

    pub(super) fn note(&mut self, fd: Fd, kind: Kind) {
        match kind {
            Kind::Epoll => self.epolls.push(fd),
            Kind::IoUring => self.rings.push(fd),
            _ => {}
        }
    }

    /// Looks for more among `others`. What can't be read is left out: the warnings are of use, and no condition.
    pub(super) fn look_among(&mut self, others: &Others, dir: &FdDir) {
        for fd in others.0.borrow().iter() {
            if let Ok(Some(target)) = dir.read(*fd) {
                self.note(*fd, target.kind());
            }
        }
    }

    pub(super) fn sort(&mut self) {
        self.epolls.sort_unstable();
        self.rings.sort_unstable();
    }
}

/// Descriptors that are not selected by number, the first of them.
#[derive(Debug, Default)]
pub(super) struct Others(RefCell<Vec<Fd>>);

impl Others {
    /// Adds `fd` unless it is `wanted`, and says whether it is.
    pub(super) fn leave_out_unless(&self, wanted: bool, fd: Fd) -> bool {
        if !wanted {
            let mut fds = self.0.borrow_mut();
            if fds.len() < MOST_OTHERS {
                fds.push(fd);
            }
        }
        wanted
    }
}

/// Notes it for `matches`, all of `subject`, which has these instances.
pub(super) fn mark(subject: &Subject, instances: &Instances, matches: &mut [Match]) {
    let (Instances { epolls, rings }, deadline) = (instances, Deadline::after(LIMIT));
    for ring in rings {
        if deadline.remaining().is_none() {
            return;
        }
        mark_registered(subject, *ring, matches);
    }
    for epoll in epolls {
        if deadline.remaining().is_none() {
            return;
        }
        let few = matches.len().saturating_mul(epolls.len()) <= ASK_ONE_BY_ONE;
        // Not every kernel can be asked (kcmp(2), Linux 4.13).
        if !(few && ask(subject, *epoll, matches)) {
            read(subject, *epoll, matches);
        }
    }
}

/// Reads what is registered with the instance. What can't be read is not known to be.
fn mark_registered(subject: &Subject, ring: Fd, matches: &mut [Match]) {
    let info = subject.process.fd_dir(subject.table).and_then(|dir| dir.fdinfo(ring));
    let Ok(Some(mut info)) = info else { return };
    info.registered.sort_unstable();
    for found in matches {
        let is_registered = |inode: Inode| info.registered.binary_search(&inode).is_ok();
        if socket_inode(&found.identity).is_some_and(is_registered) {
            found.registered_with.push(ring);
        }
    }
}

/// Whether the kernel could be asked about each.
fn ask(subject: &Subject, epoll: Fd, matches: &mut [Match]) -> bool {
    for found in matches {
        match epoll_watches(subject.table, epoll, found.fd) {
            Ok(true) => found.watched_by.push(epoll),
            // The instance watches no such number; or one of the two is not open any more.
            Ok(false) | Err(Errno::ENOENT | Errno::EBADF) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Reads what the instance watches. A number alone may be that of a file that has been closed there, and lives on
/// elsewhere; from Linux 4.13 on the inode is told as well.
fn read(subject: &Subject, epoll: Fd, matches: &mut [Match]) {
    // What can't be read is not known to be watched: the process may have closed it, or ended.
    let Ok(watched) = subject.process.epoll_watched(epoll) else { return };
    let watched: HashMap<Fd, Option<Inode>> =
        watched.into_iter().map(|Watched { fd, ino }| (fd, ino)).collect();
    for found in matches {
        let Some(ino) = watched.get(&found.fd) else { continue };
        let same = ino.is_none_or(|ino| socket_inode(&found.identity).is_none_or(|socket| socket == ino));
        if same && !found.watched_by.contains(&epoll) {
            found.watched_by.push(epoll);
        }
    }
}
