//! Every unsafe call on sockets: thin, one system call each.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::host::{self, Feature};
use crate::ids::Fd;

/// A copy of a descriptor of another process (pidfd_getfd(2), Linux 5.6), close-on-exec. The process does not
/// notice. It needs the same rights as ptrace(2)'s attach.
pub(super) fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: Fd) -> Result<OwnedFd, Errno> {
    let raw = host::ask(Feature::PidfdGetfd, || {
        // SAFETY: plain numbers in, a new descriptor out.
        Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd.as_raw(), 0) })
    })?;
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

/// The first bytes of TCP_INFO (tcp(7)), as many as there is room for.
pub(super) fn tcp_info<'b>(socket: BorrowedFd<'_>, room: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut len = libc::socklen_t::try_from(room.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: `room` holds at least `len` bytes and is borrowed for the call; the kernel cuts what it has to that,
    // and says in `len` how much it was.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            room.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(room.len());
    Ok(&room[..len])
}

/// Sets an option whose value is an int.
pub(super) fn set_int_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: libc::c_int,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: `value` is alive for the call, and `len` is its size.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// SIOCOUTQ or SIOCOUTQNSD of tcp(7): how much of what was written waits.
pub(super) fn queue_len(socket: BorrowedFd<'_>, request: libc::Ioctl) -> Result<u32, Errno> {
    let mut len: libc::c_int = 0;
    // SAFETY: both requests write one int, and `len` is one.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut len) })?;
    u32::try_from(len).map_err(|_| Errno::EOVERFLOW)
}

/// SIOCGSKNS: the network namespace of a socket (Linux 4.10; CAP_NET_ADMIN there).
pub(super) fn netns_of(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // linux/sockios.h
    const SIOCGSKNS: libc::Ioctl = 0x894c;
    // SAFETY: no argument.
    let raw = Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// SO_ATTACH_FILTER of socket(7): nothing but what `program` lets through is received from now on.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> Result<(), Errno> {
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0);
    // SAFETY: `program` and the instructions it points to are alive for the call, which copies and checks them, and only
    // reads them; `len` and `size` are theirs.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    };
    Errno::result(answer).map(drop)
}
