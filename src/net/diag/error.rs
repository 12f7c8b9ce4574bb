//! Why the kernel could not be asked about sockets.

use std::io;

use nix::errno::Errno;

/// Why the kernel could not be asked about sockets. Whoever gets one can read `/proc/PID/net` instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiagError {
    /// A system call, or the kernel in its answer, said no. EPROTONOSUPPORT: a kernel without sock_diag(7);
    /// EAFNOSUPPORT: without netlink; ENOENT: without its part for this protocol (a module not loaded and not
    /// loadable); EPERM, EACCES: a filter on system calls, or a security module, forbids it.
    #[error("sock_diag: {}", .0.desc())]
    Refused(Errno),
    /// No answer came. The kernel answers before `send` returns, so this is never expected.
    #[error("sock_diag: no answer")]
    NoAnswer,
    /// An answer that breaks the rules of netlink(7).
    #[error("sock_diag: unexpected answer: {0}")]
    Malformed(&'static str),
}

impl From<Errno> for DiagError {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl From<io::Error> for DiagError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}
