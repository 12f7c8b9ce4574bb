//! One process, held so that its number can't come to mean another.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};

use super::dirents::each_number;
use super::error::{Malformed, ProcError};
use super::fd_dir::FdDir;
use super::fd_target::FdTarget;
use super::fdinfo::Watched;
use super::file;
use super::name::Name;
use super::stat::Stat;
use super::status::Status;
use super::sys::{LinkBuf, readlinkat};
use super::syscall::InSyscall;
use crate::ids::{Fd, Pid, Tid};

mod end;
mod limits;
mod memory;
mod net;
mod pidfd;

/// Longest text accepted of the small files.
const SMALL_LIMIT: usize = 1 << 20;

/// A process, held by an open `/proc/PID`.
///
/// That directory belongs to the process it was opened for, not to the number: once the process has been
/// reaped, everything below fails with ESRCH or ENOENT ([`ProcError::Gone`]) for ever, also when another
/// process gets the number. So holding it open is holding the identity, on every kernel and for any user; a
/// pidfd or the start time is not needed for reading.
#[derive(Debug)]
pub struct Process {
    dir: OwnedFd,
    root: Arc<Path>,
    pid: Pid,
}

impl Process {
    pub(super) fn new(dir: OwnedFd, root: Arc<Path>, pid: Pid) -> Self {
        Self { dir, root, pid }
    }

    /// The same process once more.
    ///
    /// # Errors
    /// EMFILE or ENFILE.
    pub fn try_clone(&self) -> Result<Self, ProcError> {
        let dir = self.dir.try_clone().map_err(|error| ProcError::from_io(error, self.path(b"")))?;
        Ok(Self { dir, root: Arc::clone(&self.root), pid: self.pid })
    }

    /// The number. Only good for naming it, and for calls checked afterwards with [`Process::exists`].
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The attributes of one of its files in /proc.
    pub(super) fn attributes(&self, name: &str) -> Result<FileStat, ProcError> {
        fstatat(&self.dir, name, AtFlags::empty())
            .map_err(|errno| ProcError::from_errno(errno, self.path(name.as_bytes())))
    }

    /// Whether it has not been reaped yet; a zombie exists.
    ///
    /// # Errors
    /// Only if the kernel would not say.
    pub fn exists(&self) -> Result<bool, ProcError> {
        // The shortest file there is: `stat` adds up the times of all threads.
        match self.read(b"comm", SMALL_LIMIT) {
            Ok(_) => Ok(true),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `/proc/PID/stat`; its state is the leader's.
    ///
    /// # Errors
    /// [`ProcError::Gone`] and the others as named.
    pub fn stat(&self) -> Result<Stat, ProcError> {
        self.parse(b"stat", Stat::parse)
    }

    /// `/proc/PID/task/TID/stat`.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if that thread is no more.
    pub fn stat_of(&self, tid: Tid) -> Result<Stat, ProcError> {
        self.parse(Name::of_task(tid, b"stat").as_bytes(), Stat::parse)
    }

    /// When it was started, in clock ticks after boot.
    ///
    /// # Errors
    /// As [`Process::stat`].
    pub fn start_time(&self) -> Result<u64, ProcError> {
        Ok(self.stat()?.start_time)
    }

    /// The command name, any bytes but NUL, without the newline the kernel adds.
    ///
    /// # Errors
    /// [`ProcError::Gone`] and the others as named.
    pub fn comm(&self) -> Result<Vec<u8>, ProcError> {
        let mut comm = self.read(b"comm", SMALL_LIMIT)?;
        if comm.last() == Some(&b'\n') {
            comm.pop();
        }
        Ok(comm)
    }

    /// The effective user id: the one `ps` shows.
    ///
    /// # Errors
    /// As [`Process::status`].
    pub fn uid(&self) -> Result<u32, ProcError> {
        Ok(self.status()?.uid.effective)
    }

    /// `/proc/PID/status`; state and masks are the leader's.
    ///
    /// # Errors
    /// [`ProcError::Gone`] and the others as named.
    pub fn status(&self) -> Result<Status, ProcError> {
        self.parse(b"status", |text| Status::parse(text).map(Status::told))
    }

    /// `/proc/PID/task/TID/status`.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if that thread is no more.
    pub fn status_of(&self, tid: Tid) -> Result<Status, ProcError> {
        self.parse(Name::of_task(tid, b"status").as_bytes(), |text| Status::parse(text).map(Status::told))
    }

    /// Its threads, in the order they were made. While they run, one made or ended meanwhile may be missing
    /// or too many; and the kernel may skip others when one ends (`first_tid`, fs/proc/base.c).
    ///
    /// # Errors
    /// [`ProcError::Gone`] if the process is no more.
    pub fn threads(&self) -> Result<Vec<Tid>, ProcError> {
        let mut tids = Vec::new();
        self.threads_into(&mut tids)?;
        Ok(tids)
    }

    /// As [`Process::threads`], into a vector that keeps its room; what was in it goes.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if the process is no more.
    pub fn threads_into(&self, tids: &mut Vec<Tid>) -> Result<(), ProcError> {
        tids.clear();
        self.open_dir(b"task")
            .and_then(|dir| each_number(dir.as_fd(), |tid| tids.extend(Tid::new(tid))))
            .map_err(|errno| self.error(errno, b"task"))?;
        if tids.is_empty() { Err(ProcError::Gone { path: self.path(b"task") }) } else { Ok(()) }
    }

    /// A thread that has not ended: the leader, or if it has (`pthread_exit` in `main` leaves it a zombie
    /// while the others run on), the first that lives. A dead thread's descriptors and namespaces can't be
    /// read any more.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if none is left, a zombie process included.
    pub fn living_thread(&self) -> Result<Tid, ProcError> {
        let leader = self.pid.leader();
        if self.lives(leader)? {
            return Ok(leader);
        }
        for tid in self.threads()? {
            if self.lives(tid)? {
                return Ok(tid);
            }
        }
        Err(ProcError::Gone { path: self.path(b"task") })
    }

    /// Whether a thread is there and has not ended.
    pub(crate) fn lives(&self, tid: Tid) -> Result<bool, ProcError> {
        match self.stat_of(tid) {
            Ok(stat) => Ok(!stat.is_dead()),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The number of a namespace of it: `"net"`, `"user"`, `"mnt"`, `"pid"`, ... (namespaces(7)).
    ///
    /// # Errors
    /// [`ProcError::Missing`] if this kernel has no such namespace; [`ProcError::Denied`] unless it may be
    /// read as a tracer could.
    pub fn namespace(&self, kind: &str) -> Result<u64, ProcError> {
        // A leader that has ended has no namespaces any more.
        self.namespace_of(self.living_thread()?, kind)
    }

    /// As [`Process::namespace`], of one thread that lives.
    ///
    /// # Errors
    /// As [`Process::namespace`].
    pub fn namespace_of(&self, tid: Tid, kind: &str) -> Result<u64, ProcError> {
        let name = [Name::of_task(tid, b"ns/").as_bytes(), kind.as_bytes()].concat();
        let mut buf = LinkBuf::new();
        let link =
            readlinkat(self.dir.as_fd(), &name[..], &mut buf).map_err(|errno| self.absent(errno, &name))?;
        match FdTarget::parse(link) {
            FdTarget::Namespace { inode, .. } => Ok(inode.0),
            _ => Err(Malformed("not a namespace").at(self.path(&name))),
        }
    }

    /// The number of its network namespace.
    ///
    /// # Errors
    /// As [`Process::namespace`].
    pub fn netns(&self) -> Result<u64, ProcError> {
        self.namespace("net")
    }

    /// The descriptors of one thread; threads may have their own (`CLONE_FILES`, unshare(2)).
    ///
    /// # Errors
    /// [`ProcError::Gone`], or [`ProcError::Denied`] unless it may be read as a tracer could.
    pub fn fd_dir(&self, tid: Tid) -> Result<FdDir, ProcError> {
        let name = Name::of_task(tid, b"fd");
        let dir = self.open_dir(name.as_bytes()).map_err(|errno| self.error(errno, name.as_bytes()))?;
        Ok(FdDir::new(dir, Arc::clone(&self.root), self.pid, tid))
    }

    /// The descriptors of [`Process::living_thread`].
    ///
    /// # Errors
    /// As [`Process::living_thread`] and [`Process::fd_dir`].
    pub fn fd_dir_of_process(&self) -> Result<FdDir, ProcError> {
        self.fd_dir(self.living_thread()?)
    }

    /// What the epoll instance `fd` of a thread watches; empty if `fd` is none, or is not open.
    ///
    /// # Errors
    /// As [`FdDir::fdinfo`].
    pub fn epoll_watched(&self, table: Tid, fd: Fd) -> Result<Vec<Watched>, ProcError> {
        let info = self.fd_dir(table)?.fdinfo(fd)?;
        Ok(info.map(|info| info.watched).unwrap_or_default())
    }

    /// The text of the `exe` link, ` (deleted)` included; `None` for a zombie or kernel thread.
    ///
    /// # Errors
    /// [`ProcError::Denied`] unless it may be read as a tracer could.
    pub fn exe(&self) -> Result<Option<Vec<u8>>, ProcError> {
        match self.read_exe(b"exe") {
            Ok(None) => {}
            Err(ProcError::Denied { .. }) if !self.lives(self.pid.leader())? => {}
            read => return read,
        }
        match self.other_thread()? {
            Some(tid) => self.read_exe(Name::of_task(tid, b"exe").as_bytes()),
            None => Ok(None),
        }
    }

    fn read_exe(&self, name: &[u8]) -> Result<Option<Vec<u8>>, ProcError> {
        let mut buf = LinkBuf::new();
        match readlinkat(self.dir.as_fd(), name, &mut buf) {
            Ok(link) => Ok(Some(link.to_vec())),
            Err(errno) => match self.absent(errno, name) {
                ProcError::Missing { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The system call a thread is in.
    ///
    /// # Errors
    /// [`ProcError::Missing`] if the kernel was built without it; [`ProcError::Denied`] unless it may be
    /// traced.
    pub fn syscall(&self, tid: Tid) -> Result<InSyscall, ProcError> {
        let name = Name::of_task(tid, b"syscall");
        let name = name.as_bytes();
        let text = match file::open(self.dir.as_fd(), name) {
            Ok(file) => {
                file::read_whole(file, SMALL_LIMIT).map_err(|error| error.at(self.path(name), SMALL_LIMIT))?
            }
            Err(errno) if self.lives(tid)? => return Err(self.absent(errno, name)),
            Err(errno) => return Err(self.error(errno, name)),
        };
        InSyscall::parse(&text).map_err(|error| error.at(self.path(name)))
    }

    /// The path of a file of this process, for errors.
    pub(crate) fn path(&self, name: &[u8]) -> PathBuf {
        let mut path = self.root.join(self.pid.to_string());
        if !name.is_empty() {
            path.push(OsStr::from_bytes(name));
        }
        path
    }

    fn error(&self, errno: Errno, name: &[u8]) -> ProcError {
        ProcError::from_errno(errno, self.path(name))
    }

    /// The error for a file not every kernel or process has: no such file is [`ProcError::Gone`] only if the
    /// process is.
    fn absent(&self, errno: Errno, name: &[u8]) -> ProcError {
        match self.error(errno, name) {
            ProcError::Gone { path } if errno == Errno::ENOENT => match self.exists() {
                Ok(true) => ProcError::Missing { path },
                Ok(false) => ProcError::Gone { path },
                Err(error) => error,
            },
            error => error,
        }
    }

    fn open_dir(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.dir, name, flags, Mode::empty())
    }

    fn read(&self, name: &[u8], limit: usize) -> Result<Vec<u8>, ProcError> {
        let file = file::open(self.dir.as_fd(), name).map_err(|errno| self.error(errno, name))?;
        file::read_whole(file, limit).map_err(|error| error.at(self.path(name), limit))
    }

    /// A living thread if the leader has ended; `None` if there is none, or no need for one.
    fn other_thread(&self) -> Result<Option<Tid>, ProcError> {
        match self.living_thread() {
            Ok(tid) => Ok((tid != self.pid.leader()).then_some(tid)),
            Err(error) if error.is_gone() && self.exists()? => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse<T>(
        &self,
        name: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, ProcError> {
        parse(&self.read(name, SMALL_LIMIT)?).map_err(|error| error.at(self.path(name)))
    }
}
