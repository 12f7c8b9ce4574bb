//! Probes for which there is no safe wrapper.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::errno::Errno;

use super::{Feature, ask};

/// close_range(2), of numbers that no descriptor of this process has: only whether it is there.
///
/// # Errors
/// ENOSYS where it is not; what a filter on system calls answers.
pub(crate) fn close_range_of_nothing() -> Result<(), Errno> {
    const NONE: libc::c_uint = libc::c_uint::MAX;
    ask(Feature::CloseRange, || {
        // SAFETY: plain numbers, and no descriptor has this one: they are never negative as an int.
        Errno::result(unsafe { libc::syscall(libc::SYS_close_range, NONE, NONE, 0) }).map(drop)
    })
}

/// A new io_uring(7) instance with room for one request; close-on-exec, as all of them are.
///
/// # Errors
/// ENOSYS where there is none (Linux 5.1), EPERM where none is allowed (`kernel.io_uring_disabled`, a filter).
pub(crate) fn io_uring() -> Result<OwnedFd, Errno> {
    // struct io_uring_params
    let mut params = [0_u32; 30];
    // SAFETY: the parameters are writable and as long as the kernel's.
    let made = Errno::result(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) })?;
    let fd = i32::try_from(made).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
