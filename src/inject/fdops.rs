//! The calls that are injected.

use nix::errno::Errno;

use super::remote::Remote;
use crate::arch::native_abi;
use crate::error::TraceError;
use crate::host::{self, Feature};
use crate::ids::Fd;

/// close(2) in the target. Linux frees the descriptor whatever the call answers, except for EBADF; an EINTR, EIO or
/// ENOSPC tells only that flushing the file failed.
///
/// # Errors
/// The outer one is about the transport ([`TraceError`]), the inner one is the call's own answer.
pub fn close(remote: &mut Remote<'_>, fd: Fd) -> Result<Result<(), Errno>, TraceError> {
    Ok(remote.call(remote.abi().calls.close, [number(fd), 0, 0, 0, 0, 0])?.map(drop))
}

/// socket(2) of a stream in the target; `flags` are of SOCK_CLOEXEC and SOCK_NONBLOCK.
///
/// # Errors
/// As [`close`].
pub fn stream_socket(
    remote: &mut Remote<'_>,
    family: i32,
    flags: i32,
) -> Result<Result<Fd, Errno>, TraceError> {
    let [family, kind] = [family, libc::SOCK_STREAM | flags].map(|value| u64::from(value.unsigned_abs()));
    if !has_socket_calls(remote) {
        return Ok(Err(Errno::ENOSYS));
    }
    let answer = remote.call(remote.abi().calls.socket, [family, kind, 0, 0, 0, 0])?;
    Ok(answer.and_then(|fd| i32::try_from(fd).ok().and_then(Fd::new).ok_or(Errno::EBADF)))
}

/// shutdown(2) of both directions in the target.
///
/// # Errors
/// As [`close`].
pub fn shutdown(remote: &mut Remote<'_>, fd: Fd) -> Result<Result<(), Errno>, TraceError> {
    if !has_socket_calls(remote) {
        return Ok(Err(Errno::ENOSYS));
    }
    let how = u64::from(libc::SHUT_RDWR.unsigned_abs());
    Ok(remote.call(remote.abi().calls.shutdown, [number(fd), how, 0, 0, 0, 0])?.map(drop))
}

/// dup3(2) in the target: `to` comes to refer to what `from` does; `flags` is O_CLOEXEC or nothing.
///
/// # Errors
/// As [`close`].
pub fn dup3(remote: &mut Remote<'_>, from: Fd, to: Fd, flags: i32) -> Result<Result<(), Errno>, TraceError> {
    let flags = u64::from(flags.unsigned_abs());
    Ok(remote.call(remote.abi().calls.dup3, [number(from), number(to), flags, 0, 0, 0])?.map(drop))
}

/// What the call itself would find out, under [`host::assume`] alone.
fn has_socket_calls(remote: &Remote<'_>) -> bool {
    remote.abi() == native_abi() || host::has(Feature::SocketCalls32)
}

fn number(fd: Fd) -> u64 {
    u64::from(fd.as_raw().unsigned_abs())
}
