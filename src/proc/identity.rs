//! Which file a descriptor refers to, as closely as can be told without touching the file.

use super::error::ProcError;
use super::fd_dir::FdDir;
use super::fd_target::FdTarget;
use crate::host::{self, Fallback};
use crate::ids::{Fd, Inode};

/// What a descriptor refers to, and what tells two files of one name apart: a log that was rotated, another eventfd.
///
/// Of a socket or pipe the name alone is unique. Of epoll instances, timers and other files without a path of their
/// own nothing further is known: one that took another's number can't be told from it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdIdentity {
    /// What its link says.
    pub target: FdTarget,
    /// Not of sockets and pipes, of which there may be hundreds of thousands: they need no room for it.
    file: Option<Box<FileId>>,
}

/// From `fdinfo`: mount (3.15), inode number in its file system (5.14), number of an eventfd (5.2).
type FileId = (Option<u64>, Option<Inode>, Option<u64>);

impl FdIdentity {
    /// Of a socket or pipe, which has a name of its own; of other files, what older kernels tell.
    #[must_use]
    pub fn by_name(target: FdTarget) -> Self {
        Self { target, file: None }
    }
}

impl FdDir {
    /// Which file `fd` refers to; `None` if it is not open, or the thread is no more.
    ///
    /// # Errors
    /// As [`FdDir::read`] and [`FdDir::fdinfo`].
    pub fn identity(&self, fd: Fd) -> Result<Option<FdIdentity>, ProcError> {
        let Some(target) = self.read(fd)? else { return Ok(None) };
        self.identity_of(fd, target)
    }

    /// As [`FdDir::identity`], with the link read already.
    ///
    /// # Errors
    /// As [`FdDir::fdinfo`].
    pub fn identity_of(&self, fd: Fd, target: FdTarget) -> Result<Option<FdIdentity>, ProcError> {
        if matches!(target, FdTarget::Socket(_) | FdTarget::Pipe(_)) {
            return Ok(Some(FdIdentity::by_name(target)));
        }
        let info = self.fdinfo(fd)?;
        if info.as_ref().is_some_and(|info| info.ino.is_none()) {
            host::fall_back(Fallback::FileByName);
        }
        Ok(info.map(|info| FdIdentity {
            target,
            file: Some(Box::new((info.mnt_id, info.ino, info.eventfd_id))),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Pid;
    use crate::proc::Procfs;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_rotated_file_is_another_file() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let dir = Procfs::host().open(own).unwrap().fd_dir_of_process().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let identity =
            |file: &File| dir.identity(Fd::new(file.as_raw_fd()).unwrap()).unwrap().expect("it is open");
        let first = File::create(&log).unwrap();
        let before = identity(&first);
        assert_eq!(identity(&first), before);
        fs::rename(&log, folder.path().join("log.1")).unwrap();
        let second = File::create(&log).unwrap();
        let after = identity(&second);
        assert_eq!(after.target, before.target);
        if dir.fdinfo(Fd::new(second.as_raw_fd()).unwrap()).unwrap().unwrap().ino.is_some() {
            assert_ne!(after, before);
        } else {
            println!("not checked: this kernel does not tell inode numbers in fdinfo");
        }
    }
}
