//! The one system call that neither the standard library nor nix offers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Child;

/// A descriptor that becomes readable when `child` ends (pidfd_open(2), Linux 5.3).
pub(super) fn pidfd_open(child: &Child) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours. The pid can't have been reused:
    // only a wait on `child`, which needs it mutably, lets it go.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
