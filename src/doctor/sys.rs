//! close_range(2), for which there is no safe wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// close_range(2), Linux 5.9, of numbers that no descriptor of this process has: only whether it is there.
pub(super) fn close_range_of_nothing() -> Result<(), Errno> {
    const NONE: libc::c_uint = libc::c_uint::MAX;
    // SAFETY: plain numbers, and no descriptor has this one: they are never negative as an int.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, NONE, NONE, 0) }).map(drop)
}
