//! The tracer: ptrace(2) made safe to use. Attach without stopping, stop with a deadline, always let go.

mod deadline;
mod group;
pub mod refusal;
mod stop;
mod sys;
mod tracee;

pub use deadline::Deadline;
pub use group::{OnStop, SeizedGroup, StoppedGroup};
pub use stop::{Report, Signal, Stop};
pub use tracee::{Seized, Stopped, Waited};

use std::io;
use std::thread;

use nix::errno::Errno;

use crate::ids::{Pid, RemoteAddr};

/// Readies a process to be a tracer: SIGCHLD, by which the kernel tells of stops, must neither be ignored nor be
/// taken by a thread that does not wait for it. Call it before any other thread is started.
///
/// # Errors
/// What sigaction(2) or pthread_sigmask(3) answer.
pub fn prepare_process() -> io::Result<()> {
    sys::reset_sigchld()?;
    sys::block_sigchld()
}

/// Runs `surgery` on a thread made for it. When that thread ends, however it ends, the kernel detaches whatever it
/// still traces (`exit_ptrace`): also threads that can't be detached because they never stopped.
///
/// # Errors
/// The payload of a panic inside `surgery`, or the reason no thread could be started.
pub fn on_tracer_thread<T: Send>(surgery: impl FnOnce() -> T + Send) -> io::Result<thread::Result<T>> {
    thread::scope(|scope| {
        let tracer = thread::Builder::new().name("tracer".into()).spawn_scoped(scope, || {
            // The mask is inherited; this is for callers that did not prepare their process. Without it, waiting
            // only takes longer.
            let _ = sys::block_sigchld();
            surgery()
        })?;
        Ok(tracer.join())
    })
}

/// Copies from the target's memory (process_vm_readv(2), Linux 3.2); returns how many bytes could be read before
/// the first unreadable page.
///
/// # Errors
/// EFAULT when nothing could be read, EPERM, ESRCH.
pub fn read_memory(pid: Pid, from: RemoteAddr, into: &mut [u8]) -> Result<usize, Errno> {
    sys::read_memory(pid, from, into)
}
