//! Signals to a process, and waiting for its end.

use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};

use super::Process;
use crate::host::{self, Fallback};
use crate::proc::error::ProcError;
use crate::proc::sys::pidfd_send_signal;

impl Process {
    /// Sends it a signal, and gives back what to wait for its end with. Without pidfds (Linux 5.3) it is looked at right
    /// before the signal goes to its number; that leaves a microsecond in which it may end and another get the number.
    ///
    /// # Errors
    /// [`ProcError::Gone`] if it is no more, [`ProcError::Denied`] if it is another user's.
    pub fn signal(&self, signal: i32) -> Result<Option<OwnedFd>, ProcError> {
        let pidfd = self.pidfd()?;
        match &pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd.as_fd(), signal),
            None if self.exists()? => {
                host::fall_back(Fallback::SignalToNumber);
                let number = nix::unistd::Pid::from_raw(self.pid().as_raw());
                Signal::try_from(signal).and_then(|signal| kill(number, signal))
            }
            None => Err(Errno::ESRCH),
        }
        .map_err(|errno| ProcError::from_errno(errno, self.path(b"")))?;
        Ok(pidfd)
    }

    /// Waits until all its threads have ended, or for `span`; whether they have. The end of a process closes its
    /// descriptors first. Without a pidfd it is looked at every `look_every`.
    ///
    /// # Errors
    /// Only if /proc or the pidfd can't be read.
    pub fn wait_for_end(
        &self,
        pidfd: Option<&OwnedFd>,
        span: Duration,
        look_every: Duration,
    ) -> Result<bool, ProcError> {
        let Some(pidfd) = pidfd else {
            host::fall_back(Fallback::EndByLooking);
            thread::sleep(look_every.min(span));
            return match self.living_thread() {
                Ok(_) => Ok(false),
                Err(error) if error.is_gone() => Ok(true),
                Err(error) => Err(error),
            };
        };
        // Rounded up, so that a wait is never a busy one.
        let millis = span.as_millis().saturating_add(1).min(60_000);
        let timeout =
            PollTimeout::try_from(i32::try_from(millis).unwrap_or(60_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(ProcError::from_errno(errno, self.path(b""))),
        }
    }
}
