//! One run of a program, measured.

use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, poll};

use super::sys;

/// A run that takes longer than this is ended, and the benchmark with it.
const RUN_DEADLINE_MS: u16 = 30_000;

/// How a run went: its wall time, from before the program was started to after it was waited for, and the most memory
/// it had, in KiB.
pub(crate) struct Timed {
    pub(crate) wall: Duration,
    pub(crate) status: ExitStatus,
    #[allow(dead_code, reason = "not every benchmark looks at it")]
    pub(crate) peak_kib: u64,
}

/// Runs `command` to its end.
pub(crate) fn timed(command: &mut Command) -> Result<Timed> {
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let ended = wait_until_ended(&child);
    if !matches!(ended, Ok(true)) {
        child.kill().context("cannot end it")?;
    }
    let (status, peak_kib) = sys::wait(child).context("cannot wait")?;
    let wall = start.elapsed();
    ensure!(ended?, "{command:?} did not end within {RUN_DEADLINE_MS} ms");
    Ok(Timed { wall, status, peak_kib })
}

fn wait_until_ended(child: &Child) -> Result<bool> {
    let pidfd = sys::pidfd_open(child).context("pidfd_open")?;
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, RUN_DEADLINE_MS).context("poll")? == 1)
}
