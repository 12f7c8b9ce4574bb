//! Which of the matches an epoll(7) instance of their own process still watches: the application has not lost track of
//! those, and would take a new file that gets the number for the old one.

use std::collections::HashMap;
use std::time::Duration;

use nix::errno::Errno;

use super::{Match, Subject, socket_inode};
use crate::ids::{Fd, Inode};
use crate::proc::Watched;
use crate::trace::{Deadline, epoll_watches};

/// Up to so many pairs of an instance and a descriptor the kernel is asked about one by one, at 1 to 60 us each; above,
/// what each instance watches is read, at 2.5 us for each file it watches.
const ASK_ONE_BY_ONE: usize = 64;
/// What has not been found out by then stays unknown: a process may have instances without number.
const LIMIT: Duration = Duration::from_millis(500);

/// Notes it for `matches`, all of `subject`, whose epoll instances are `epolls`.
pub(super) fn mark(subject: &Subject, epolls: &[Fd], matches: &mut [Match]) {
    let deadline = Deadline::after(LIMIT);
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
