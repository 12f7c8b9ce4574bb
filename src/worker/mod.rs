//! A process of its own for work that must not be cut off when the command is killed.
//!
//! The command that the user has started is the one that gets killed: by `kill -9`, by a closed terminal, by a
//! service manager. So the work is done in a child of it, which leads a session of its own, so that no signal to the
//! command's process group or terminal reaches it, and which is tied to the command by a pipe, the leash: when the
//! command is gone, or does not want to go on, the kernel closes the pipe, and the worker comes to an end at its next
//! safe place ([`signals::end_is_wanted`]). Nobody asks at intervals whether anybody else is still there.
//!
//! A child made by fork(2) and not by executing the program again: it has everything the parent has found out, and it
//! takes a tenth of the time.

mod sys;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, dup2_stdin, dup2_stdout, pipe2, setsid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::progress;
use crate::trace::signals;
use crate::watchdog;

/// The worker ended without having told what it had done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// A signal ended it, by number.
    #[error("the process that fdclose works in was killed by signal {0}")]
    Killed(i32),
    /// It has ended itself, as a system call did not come back; see [`watchdog`].
    #[error("gave up: a system call about this process does not come back")]
    Hung,
    /// Whatever else: a bug.
    #[error("the process that fdclose works in failed: {0}")]
    Failed(String),
}

/// The exit status of a worker that hangs.
const HUNG: i32 = 3;

/// A thread that has been joined is listed for a moment yet: what pthread_join(3) waits for comes before its end (`exit_mm`
/// before `exit_notify`, kernel/exit.c). Seen on an emulated processor.
const LISTED_YET: Duration = Duration::from_millis(50);

/// Whether a worker can be made. With more than one thread, but for the [`watchdog`]'s, it can't: the child would
/// have copies of the locks that the others hold, and nobody to release them.
#[must_use]
pub fn is_possible() -> bool {
    let expected = 1 + usize::from(watchdog::limit().is_some());
    let until = Instant::now() + LISTED_YET;
    loop {
        if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == expected) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        thread::yield_now();
    }
}

/// Does `work` in a process of its own and returns what it returned there. What `prepare` does is done there first,
/// while it has one thread only. Signals that mean to end this process must
/// be held back meanwhile ([`signals::Held`]); one that comes takes the worker off its work.
///
/// # Errors
/// The outer one if no process could be made, and nothing was done; the inner one if it was lost.
pub fn run<P, T: Serialize + DeserializeOwned>(
    prepare: impl FnOnce() -> P,
    work: impl FnOnce(P) -> T,
) -> Result<Result<T, Lost>, Errno> {
    let (leash, leash_end) = pipe2(OFlag::O_CLOEXEC)?;
    let (result, result_end) = pipe2(OFlag::O_CLOEXEC)?;
    let (progress, progress_end) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    match watchdog::while_it_rests(sys::fork)? {
        None => {
            // Its own copies would keep the pipes open for ever.
            drop((leash_end, result, progress));
            progress::tell(progress_end);
            let worked = catch_unwind(AssertUnwindSafe(|| be_worker(leash, result_end, prepare, work)));
            // The panic's message is out. What can't be told is told by the status.
            sys::exit(i32::from(!matches!(worked, Ok(Ok(())))))
        }
        Some(worker) => {
            drop((leash, result_end, progress_end));
            Ok(wait_for(worker, leash_end, result, &File::from(progress)))
        }
    }
}

fn be_worker<P, T: Serialize>(
    leash: OwnedFd,
    result: OwnedFd,
    prepare: impl FnOnce() -> P,
    work: impl FnOnce(P) -> T,
) -> io::Result<()> {
    // A child of fork(2) never leads a process group, so this can't fail.
    setsid()?;
    // Who reads the command's output is not to wait for more than the command.
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    signals::end_with(leash);
    let prepared = prepare();
    if let Some(limit) = watchdog::limit() {
        watchdog::start(limit, |_| sys::exit(HUNG))?;
    }
    let done = work(prepared);
    let mut out = BufWriter::new(File::from(result));
    serde_json::to_writer(&mut out, &done)?;
    out.flush()
}

/// Reads what the worker has to tell, to its end. The leash is let go when a signal wants this process to end.
fn wait_for<T: DeserializeOwned>(
    worker: Pid,
    leash: OwnedFd,
    result: OwnedFd,
    progress: &File,
) -> Result<T, Lost> {
    let mut leash = Some(leash);
    // Without it, a signal only takes effect when the worker is through.
    let wishes = signals::ending_signals().ok();
    let mut told = Vec::new();
    let mut result = File::from(result);
    let read = loop {
        if let (Some(_), Some(wishes)) = (&leash, &wishes) {
            let mut ready = [result.as_fd(), wishes.as_fd(), progress.as_fd()]
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let polled = poll(&mut ready, PollTimeout::NONE);
            progress::hear(progress);
            let [result, wishes, _] = ready.map(|ready| ready.any() == Some(true));
            if polled.is_ok() && wishes {
                leash = None;
                continue;
            }
            if polled.is_ok() && !result {
                continue;
            }
        }
        let mut piece = [0; 16 * 1024];
        match result.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(len) => told.extend_from_slice(piece.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    drop(leash);
    let status = sys::wait_for_end(worker).map_err(|errno| Lost::Failed(errno.desc().to_owned()))?;
    if libc::WIFSIGNALED(status) {
        return Err(Lost::Killed(libc::WTERMSIG(status)));
    }
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == HUNG {
        return Err(Lost::Hung);
    }
    read.map_err(|error| Lost::Failed(error.to_string()))?;
    serde_json::from_slice(&told).map_err(|error| Lost::Failed(format!("its report: {error}")))
}
