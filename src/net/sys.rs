//! Every unsafe call on sockets: thin, one system call each.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::ids::Fd;

/// A copy of a descriptor of another process (pidfd_getfd(2), Linux 5.6), close-on-exec. The process does not
/// notice. It needs the same rights as ptrace(2)'s attach.
pub(super) fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: Fd) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers in, a new descriptor out.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd.as_raw(), 0) };
    let raw = Errno::result(answer)?;
    let raw = i32::try_from(raw).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Another descriptor for the same file, with the lowest free number that is not below `lowest` (F_DUPFD_CLOEXEC in
/// fcntl(2)).
pub(super) fn duplicate_from(fd: BorrowedFd<'_>, lowest: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers in, a new descriptor out.
    let raw = Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// An option whose value is an int, such as SO_DOMAIN.
pub(super) fn int_option(socket: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut len: libc::socklen_t = 4;
    debug_assert_eq!(size_of::<libc::c_int>(), 4);
    // SAFETY: `value` and `len` are alive for the call, and `len` is the size of `value`.
    let answer =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut len) };
    if answer == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// The first byte of TCP_INFO: `tcpi_state` (tcp(7)).
pub(super) fn tcp_state(socket: BorrowedFd<'_>) -> io::Result<u8> {
    let mut state = 0_u8;
    let mut len: libc::socklen_t = 1;
    // SAFETY: `state` is the one byte that `len` says; the kernel cuts what it has to that.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut len,
        )
    };
    if answer == 0 { Ok(state) } else { Err(io::Error::last_os_error()) }
}
