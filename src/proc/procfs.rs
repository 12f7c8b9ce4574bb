//! The root of `/proc`: which processes there are.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek};

use super::dirents::each_number;
use super::error::{Malformed, ProcError};
use super::fd_target::FdTarget;
use super::process::Process;
use super::sys::{pidfd_open, pidfd_parent};
use crate::host::{self, Fallback};
use crate::ids::{Pid, Tid};

/// Where the host's is mounted.
const HOST: &str = "/proc";

/// The offset in its list from where on there are processes, and nothing else (`FIRST_PROCESS_ENTRY`, fs/proc/internal.h,
/// since Linux 2.4). What stands before takes up to three times as long to list as 60 processes.
const FIRST_PROCESS: i64 = 256;

/// A mount of procfs, or in tests a directory that looks like one.
#[derive(Debug, Clone)]
pub struct Procfs {
    root: Arc<Path>,
}

impl Procfs {
    /// The one of this host, or container.
    #[must_use]
    pub fn host() -> Self {
        Self::at(Path::new(HOST))
    }

    /// Another one.
    #[must_use]
    pub fn at(root: impl AsRef<Path>) -> Self {
        Self { root: Arc::from(root.as_ref()) }
    }

    /// Every process this user may see, ascending.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn pids(&self) -> Result<Vec<Pid>, ProcError> {
        let mut pids = Vec::new();
        let offset = if self.is_host() { FIRST_PROCESS } else { 0 };
        open_dir(&self.root)
            .and_then(|dir| lseek(&dir, offset, Whence::SeekSet).map(|_| dir))
            .and_then(|dir| each_number(dir.as_fd(), |pid| pids.extend(Pid::new(pid))))
            .map_err(|errno| ProcError::Io { path: self.root.to_path_buf(), source: errno.into() })?;
        Ok(pids)
    }

    /// The process `pid`, as a user names it.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if there is none, [`ProcError::NotAProcess`] if it is another process's thread,
    /// [`ProcError::Hidden`] if this user may not see it.
    pub fn open(&self, pid: Pid) -> Result<Process, ProcError> {
        let process = self.open_listed(pid)?;
        // A thread's number has a directory too, though none that is listed; but a pidfd is only made of a process. If
        // the number has come to mean another since, the directory is that of nobody, and says so.
        if self.is_host() {
            if pidfd_open(pid).is_ok() {
                return Ok(process);
            }
            host::fall_back(Fallback::ProcessByStatus);
        }
        let leader = process.status()?.tgid;
        if leader == pid {
            return Ok(process);
        }
        Err(match Tid::new(pid.as_raw()) {
            Some(tid) => ProcError::NotAProcess { tid, process: leader },
            None => ProcError::Gone { path: self.path(pid) },
        })
    }

    /// The process `pid`, which [`Procfs::pids`] has just listed: not checked to be a process.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if it is no more.
    pub fn open_listed(&self, pid: Pid) -> Result<Process, ProcError> {
        match open_dir(&self.path(pid)) {
            Ok(dir) => Ok(Process::new(dir, Arc::clone(&self.root), pid)),
            Err(Errno::ENOENT) if self.is_hidden(pid) => Err(ProcError::Hidden { path: self.path(pid) }),
            Err(errno) => Err(ProcError::from_errno(errno, self.path(pid))),
        }
    }

    /// With the mount option hidepid=2 other users' processes look as if there were none. kill(2) tells the
    /// truth about the host's own numbers.
    fn is_hidden(&self, pid: Pid) -> bool {
        self.is_host()
            && matches!(kill(nix::unistd::Pid::from_raw(pid.as_raw()), None), Ok(()) | Err(Errno::EPERM))
    }

    /// Checks that this /proc is of the pid namespace we live in: otherwise its numbers name other processes than the
    /// same numbers do to ptrace(2). It is not after `unshare --pid` or `nsenter --pid` without a new mount.
    ///
    /// # Errors
    /// [`ProcError::OtherPidNamespace`], or if the link can't be read.
    pub fn check_pid_namespace(&self) -> Result<(), ProcError> {
        let path = self.root.join("self");
        let own = std::fs::read_link(&path).map_err(|source| ProcError::Io { path: path.clone(), source })?;
        if own.as_os_str() == std::process::id().to_string().as_str() {
            Ok(())
        } else {
            Err(ProcError::OtherPidNamespace { path })
        }
    }

    /// The parent of a process; `None` if it has none here, or can't be read. As cheap as can be: the chain of our own
    /// ancestors is walked at each run.
    #[must_use]
    pub fn parent_of(&self, pid: Pid) -> Option<Pid> {
        // A fifth of the time that reading a file takes, where the kernel can be asked.
        if self.is_host()
            && let Ok(parent) = pidfd_open(pid).and_then(|pidfd| pidfd_parent(pidfd.as_fd()))
        {
            return Pid::new(parent.cast_signed());
        }
        host::fall_back(Fallback::ParentFromStat);
        let mut file = std::fs::File::open(self.path(pid).join("stat")).ok()?;
        let mut text = [0; 2048];
        let len = std::io::Read::read(&mut file, &mut text).ok()?;
        super::Stat::parse(text.get(..len)?).ok()?.ppid
    }

    /// `sys/kernel/yama/ptrace_scope` (ptrace(2)); `None` where the kernel has no Yama.
    #[must_use]
    pub fn yama_scope(&self) -> Option<u8> {
        let text = std::fs::read(self.root.join("sys/kernel/yama/ptrace_scope")).ok()?;
        super::text::decimal(text.trim_ascii())
    }

    /// The number of the network namespace fdclose itself is in.
    ///
    /// # Errors
    /// What readlink(2) says; [`ProcError::Gone`] where the mount is that of another pid namespace, or the kernel
    /// has no network namespaces.
    pub fn own_netns(&self) -> Result<u64, ProcError> {
        let path = self.root.join("self/ns/net");
        match std::fs::read_link(&path) {
            Ok(link) => match FdTarget::parse(link.as_os_str().as_bytes()) {
                FdTarget::Namespace { inode, .. } => Ok(inode.0),
                _ => Err(Malformed("not a namespace").at(path)),
            },
            Err(error) => Err(ProcError::from_io(error, path)),
        }
    }

    /// The number given last to a process or thread of this pid namespace: they are given in ascending order, and start
    /// anew at some maximum. (clone3(2) with `set_tid`, for who may restore checkpoints, does not count.) From `loadavg`
    /// (proc_loadavg(5)); `None` if it does not tell.
    #[must_use]
    pub fn newest_pid(&self) -> Option<i32> {
        let text = std::fs::read(self.root.join("loadavg")).ok()?;
        let last = text.trim_ascii_end().rsplit(|byte| *byte == b' ').next()?;
        str::from_utf8(last).ok()?.parse().ok()
    }

    /// A small file below it, such as `sys/net/ipv4/tcp_mem`; `None` if it can't be read.
    pub(crate) fn text(&self, name: &str) -> Option<Vec<u8>> {
        const LIMIT: usize = 1 << 20;
        super::file::read_whole(std::fs::File::open(self.root.join(name)).ok()?, LIMIT).ok()
    }

    fn is_host(&self) -> bool {
        &*self.root == Path::new(HOST)
    }

    fn path(&self, pid: Pid) -> PathBuf {
        self.root.join(pid.to_string())
    }
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
