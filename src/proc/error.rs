//! Why something in `/proc` could not be read.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::ids::{Pid, Tid};

/// Why something in `/proc` could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcError {
    /// The process or thread is no more (ENOENT or ESRCH below `/proc/PID`).
    #[error("{}: no such process or thread", path.display())]
    Gone {
        /// What was read.
        path: PathBuf,
    },
    /// The kernel does not let this user see it (EACCES or EPERM).
    #[error("{}: permission denied", path.display())]
    Denied {
        /// What was read.
        path: PathBuf,
    },
    /// The process runs, but this mount of `/proc` does not show it to this user (`hidepid=`, proc(5)).
    #[error("{}: the process runs, but /proc hides it from this user (mount option hidepid)", path.display())]
    Hidden {
        /// What was read.
        path: PathBuf,
    },
    /// The process runs, but this kernel has no such file.
    #[error("{}: not offered by this kernel", path.display())]
    Missing {
        /// What was read.
        path: PathBuf,
    },
    /// This mount of `/proc` counts the processes of another pid namespace than ours.
    #[error(
        "{} does not lead to this process: /proc belongs to another pid namespace (mount one of this: mount -t proc \
         proc /proc)",
        path.display()
    )]
    OtherPidNamespace {
        /// What was read.
        path: PathBuf,
    },
    /// The number is that of a thread, not of a process.
    #[error("{tid} is a thread of process {process}, not a process")]
    NotAProcess {
        /// The number asked for.
        tid: Tid,
        /// The process it belongs to.
        process: Pid,
    },
    /// Any other failure of a system call.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The text is not what proc(5) promises.
    #[error("{}: unexpected contents: {what}", path.display())]
    Malformed {
        /// What was read.
        path: PathBuf,
        /// The part that was missing or wrong.
        what: &'static str,
    },
    /// Longer than anything sensible: reading stopped, nothing of it was used.
    #[error("{}: longer than {limit} bytes", path.display())]
    TooLarge {
        /// What was read.
        path: PathBuf,
        /// Where reading stopped, in bytes.
        limit: usize,
    },
}

impl ProcError {
    /// The error for a system call on `path`, which lies below `/proc/PID`.
    pub(crate) fn from_errno(errno: Errno, path: PathBuf) -> Self {
        match errno {
            Errno::ENOENT | Errno::ESRCH => Self::Gone { path },
            Errno::EACCES | Errno::EPERM => Self::Denied { path },
            other => Self::Io { path, source: other.into() },
        }
    }

    /// As [`ProcError::from_errno`], for an error that came through the standard library.
    pub(crate) fn from_io(source: io::Error, path: PathBuf) -> Self {
        match source.raw_os_error() {
            Some(raw) => Self::from_errno(Errno::from_raw(raw), path),
            None => Self::Io { path, source },
        }
    }

    /// Whether the process or thread is no more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// A text that is not what proc(5) promises: what was missing or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl Malformed {
    /// The error with the file it was found in.
    pub(crate) fn at(self, path: PathBuf) -> ProcError {
        ProcError::Malformed { path, what: self.0 }
    }
}
