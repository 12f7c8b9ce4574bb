//! The calls that are injected.

use nix::errno::Errno;

use super::remote::Remote;
use crate::error::TraceError;
use crate::ids::Fd;

/// close(2) in the target. Linux frees the descriptor whatever the call answers, except for EBADF; an EINTR, EIO or
/// ENOSPC tells only that flushing the file failed.
///
/// # Errors
/// The outer one is about the transport ([`TraceError`]), the inner one is the call's own answer.
pub fn close(remote: &mut Remote<'_>, fd: Fd) -> Result<Result<(), Errno>, TraceError> {
    let number = u64::from(fd.as_raw().unsigned_abs());
    Ok(remote.call(remote.abi().calls.close, [number, 0, 0, 0, 0, 0])?.map(drop))
}
