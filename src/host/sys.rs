//! Probes for which there is no safe wrapper.
#![allow(unsafe_code)]

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
