//! The descriptors of a thread: `/proc/PID/task/TID/fd`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{Whence, lseek};

use super::dirents::each_number;
use super::error::ProcError;
use super::fd_target::FdTarget;
use super::fdinfo::FdInfo;
use super::file::{self, ReadError};
use super::name::Name;
use super::sys::{LinkBuf, readlinkat};
use crate::host::{self, Feature};
use crate::ids::{Fd, Pid, Tid};

/// Longest `fdinfo` accepted: an epoll instance writes some 80 bytes for each descriptor it watches.
const FDINFO_LIMIT: usize = 64 << 20;

/// Of fewer descriptors a list costs nothing that matters.
const LIST_FEWER: usize = 256;

/// An open `/proc/PID/task/TID/fd`.
///
/// Everything is read through the links themselves and `fdinfo`. The files behind are never opened or
/// stat(2)ed: on a dead NFS or FUSE server that would hang, and opening a device or FIFO has effects.
#[derive(Debug)]
pub struct FdDir {
    dir: OwnedFd,
    root: Arc<Path>,
    pid: Pid,
    tid: Tid,
}

impl FdDir {
    pub(super) fn new(dir: OwnedFd, root: Arc<Path>, pid: Pid, tid: Tid) -> Self {
        Self { dir, root, pid, tid }
    }

    /// The thread whose descriptors these are.
    #[must_use]
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// Every open descriptor, ascending. Not a snapshot while the target runs: each was open when the kernel
    /// came by it.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if the thread is no more.
    pub fn list(&self) -> Result<Vec<Fd>, ProcError> {
        let mut fds = Vec::new();
        self.list_into(&mut fds)?;
        Ok(fds)
    }

    /// As [`FdDir::list`], into a vector that keeps its room; what was in it goes.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if the thread is no more.
    pub fn list_into(&self, fds: &mut Vec<Fd>) -> Result<(), ProcError> {
        fds.clear();
        self.each(|fd| fds.push(fd))
    }

    /// Calls `each` with every open descriptor, while the list is still being read.
    ///
    /// # Errors
    /// As [`FdDir::list`].
    pub fn each(&self, each: impl FnMut(Fd)) -> Result<(), ProcError> {
        self.each_from(0, each)
    }

    /// As [`FdDir::each`], but of many open descriptors without asking which: with as many numbers from 0 on as are open, which
    /// in most tables are just these, and only then with those that the kernel lists beyond. A list costs it more for each
    /// descriptor than to find nothing under a number, and can't be made by several threads.
    ///
    /// # Errors
    /// As [`FdDir::list`].
    pub fn each_candidate(&self, mut each: impl FnMut(Fd)) -> Result<(), ProcError> {
        let count =
            self.count().filter(|count| *count >= LIST_FEWER).and_then(|count| i32::try_from(count).ok());
        let unasked = count.unwrap_or(0);
        (0..unasked).filter_map(Fd::new).for_each(&mut each);
        self.each_from(unasked, each)
    }

    /// The open descriptors from this number on.
    fn each_from(&self, first: i32, mut each: impl FnMut(Fd)) -> Result<(), ProcError> {
        // The offset stands at the end after an earlier listing. It is the number of the descriptor and 2, for `.` and `..`
        // (`proc_readfd_common`, fs/proc/fd.c); another file system's would be something else, and its numbers are looked at.
        let offset = if first == 0 { 0 } else { i64::from(first) + 2 };
        lseek(&self.dir, offset, Whence::SeekSet)
            .and_then(|_| {
                each_number(self.dir.as_fd(), |fd| {
                    Fd::new(fd).filter(|_| fd >= first).into_iter().for_each(&mut each);
                })
            })
            .map_err(|errno| ProcError::from_errno(errno, self.path("fd")))
    }

    /// How many descriptors are open; `None` where the kernel does not tell ([`Feature::DescriptorCount`],
    /// `proc_fd_getattr`, fs/proc/fd.c).
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        if !host::has(Feature::DescriptorCount) {
            return None;
        }
        // 0 is also what older kernels say.
        fstat(&self.dir).ok().and_then(|stat| usize::try_from(stat.st_size).ok()).filter(|count| *count > 0)
    }

    /// What `fd` refers to; `None` if it is not open, or the thread is no more.
    ///
    /// # Errors
    /// [`ProcError::Denied`] if the target changed its identity since the directory was opened.
    pub fn read(&self, fd: Fd) -> Result<Option<FdTarget>, ProcError> {
        self.with_link(fd, |link| link.map_or(FdTarget::TooLong, FdTarget::parse))
    }

    /// Whether `fd` is open and refers to `target`, as [`FdTarget`] compares. Never true of
    /// [`FdTarget::TooLong`], of which nothing is known.
    ///
    /// # Errors
    /// As [`FdDir::read`].
    pub fn is(&self, fd: Fd, target: &FdTarget) -> Result<bool, ProcError> {
        let same = self.with_link(fd, |link| link.is_some_and(|link| target.matches(link)))?;
        Ok(same == Some(true))
    }

    /// Offset, flags and more of `fd`; `None` if it is not open, or the thread is no more.
    ///
    /// # Errors
    /// [`ProcError::Denied`], [`ProcError::Malformed`], or [`ProcError::TooLarge`] beyond 64 MiB.
    pub fn fdinfo(&self, fd: Fd) -> Result<Option<FdInfo>, ProcError> {
        let path = || self.path(&format!("fdinfo/{fd}"));
        let read = file::open(self.dir.as_fd(), Name::of_fdinfo(fd).as_bytes())
            .map_err(|errno| ReadError::Io(errno.into()))
            .and_then(|file| file::read_whole(file, FDINFO_LIMIT));
        match read.map_err(|error| error.at(path(), FDINFO_LIMIT)) {
            Ok(text) => FdInfo::parse(&text).map(|info| Some(info.told())).map_err(|error| error.at(path())),
            Err(ProcError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Calls `use_it` with the text of the link, or with `None` if it is too long for the kernel to tell.
    fn with_link<T>(&self, fd: Fd, use_it: impl FnOnce(Option<&[u8]>) -> T) -> Result<Option<T>, ProcError> {
        let mut buf = LinkBuf::new();
        match readlinkat(self.dir.as_fd(), Name::of_fd(fd).as_bytes(), &mut buf) {
            Ok(link) => Ok(Some(use_it(Some(link)))),
            Err(Errno::ENAMETOOLONG) => Ok(Some(use_it(None))),
            Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
            Err(errno) => Err(ProcError::from_errno(errno, self.path(&format!("fd/{fd}")))),
        }
    }

    /// For error messages.
    fn path(&self, below: &str) -> PathBuf {
        self.root.join(format!("{}/task/{}/{below}", self.pid, self.tid))
    }
}
