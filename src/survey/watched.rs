//! Which of the matches an epoll(7) instance of their own process still watches: the application has not lost track of
//! those, and would take a new file that gets the number for the old one.

use std::cell::RefCell;
use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::rings::Rings;
use super::{Match, Subject, socket_inode};
use crate::host::{self, Fallback};
use crate::ids::{Fd, Inode};
use crate::kind::Kind;
use crate::proc::{FdDir, FdIdentity, Watched};
use crate::trace::{Deadline, epoll_watches};

/// Up to so many pairs of an instance and a descriptor the kernel is asked about one by one, for so long at the most, at 1
/// to 60 us each, and 1 ms in an instance that watches 10,000; after that, what each instance watches is read, at 2.5 us
/// for each file it watches.
const ASK_ONE_BY_ONE: usize = 64;
const ASK_LIMIT: Duration = Duration::from_millis(20);
/// What has not begun to be read by then stays unknown: a process may have instances without number.
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

    /// These for now, and none for later; or, if that `can_wait`, the other way round.
    pub(super) fn split(self, can_wait: bool) -> (Self, Option<Self>) {
        if can_wait { (Self::default(), Some(self)) } else { (self, None) }
    }

    /// The io_uring instances.
    pub(super) fn take_rings(&mut self) -> Vec<Fd> {
        mem::take(&mut self.rings)
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

/// What the instances of a process have, read when it is asked for.
pub(super) struct Watches<'a> {
    subject: &'a Subject,
    epolls: Vec<Epoll>,
    rings: Rings<'a>,
    /// Until when they are read, and until when asked one by one, from the first question on.
    deadlines: Option<(Deadline, Deadline)>,
    asked: usize,
    /// Not every kernel can be asked ([`Feature::EpollCompare`](crate::host::Feature)).
    can_ask: bool,
}

struct Epoll {
    fd: Fd,
    /// What it watches, by number, once that has been read.
    watched: Option<Vec<(Fd, Option<Inode>)>>,
}

impl<'a> Watches<'a> {
    pub(super) fn new(subject: &'a Subject, mut instances: Instances) -> Self {
        let rings = Rings::new(subject, instances.take_rings());
        let epolls = instances.epolls.into_iter().map(|fd| Epoll { fd, watched: None }).collect();
        Self { subject, epolls, rings, deadlines: None, asked: 0, can_ask: true }
    }

    /// Notes it for a match of this process.
    pub(super) fn mark(&mut self, found: &mut Match) {
        self.rings.mark(found);
        found.watched_by = self.watching(found.fd, &found.identity);
    }

    /// The epoll instances that watch what the descriptor refers to.
    fn watching(&mut self, fd: Fd, identity: &FdIdentity) -> Vec<Fd> {
        let mut watching = Vec::new();
        let begin = || (Deadline::after(LIMIT), Deadline::after(ASK_LIMIT));
        let (reading, asking) = *self.deadlines.get_or_insert_with(begin);
        for instance in &mut self.epolls {
            if instance.watched.is_none() && reading.remaining().is_none() {
                continue;
            }
            self.can_ask &= self.asked < ASK_ONE_BY_ONE && asking.remaining().is_some();
            let asked = if self.can_ask { ask(self.subject, instance.fd, fd) } else { None };
            self.asked += 1;
            self.can_ask = asked.is_some();
            let is_watched = asked.unwrap_or_else(|| {
                host::fall_back(Fallback::WatchedOnRecord);
                instance.has_on_record(self.subject, fd, identity)
            });
            watching.extend(is_watched.then_some(instance.fd));
        }
        watching
    }
}

/// Whether the instance watches the file at `fd`; `None` if the kernel can't be asked.
fn ask(subject: &Subject, epoll: Fd, fd: Fd) -> Option<bool> {
    match epoll_watches(subject.table, epoll, fd) {
        Ok(is_watched) => Some(is_watched),
        // The instance watches no such number; or one of the two is not open any more.
        Err(Errno::ENOENT | Errno::EBADF) => Some(false),
        Err(_) => None,
    }
}

impl Epoll {
    /// Whether it watches `fd` by what is read of it, once. A number alone may be that of a file that has been closed
    /// there, and lives on elsewhere; from Linux 4.13 on the inode is told as well.
    fn has_on_record(&mut self, subject: &Subject, fd: Fd, identity: &FdIdentity) -> bool {
        let watched = self.watched.get_or_insert_with(|| read(subject, self.fd));
        let from = watched.partition_point(|(other, _)| *other < fd);
        if watched.is_empty() {
            host::fall_back(Fallback::WatchedUnknown);
        }
        let same = |ino: Option<Inode>| {
            if ino.is_none() {
                host::fall_back(Fallback::WatchedByNumber);
            }
            ino.is_none_or(|ino| socket_inode(identity).is_none_or(|socket| socket == ino))
        };
        watched[from..].iter().take_while(|(other, _)| *other == fd).any(|(_, ino)| same(*ino))
    }
}

fn read(subject: &Subject, epoll: Fd) -> Vec<(Fd, Option<Inode>)> {
    // What can't be read is not known to be watched: the process may have closed it, or ended.
    let watched = subject.process.epoll_watched(subject.table, epoll).unwrap_or_default();
    let mut watched: Vec<_> = watched.into_iter().map(|Watched { fd, ino }| (fd, ino)).collect();
    watched.sort_unstable();
    watched
}
