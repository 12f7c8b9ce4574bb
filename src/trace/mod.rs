//! The tracer: ptrace(2) made safe to use. Attach without stopping, stop with a deadline, always let go.

mod awaited;
mod confinement;
mod deadline;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod group;
#[cfg(target_arch = "aarch64")]
#[path = "aarch64/sys.rs"]
mod machine;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/sys.rs"]
mod machine;
mod round_up;
mod seen;
pub mod signals;
mod stop;
mod sys;
mod thread;
mod tracee;

pub use awaited::{MOST_POLLED, Selected, polled};
pub use confinement::{Confinement, Filter};
pub use deadline::Deadline;
pub use group::{OnStop, SeizedGroup, StoppedGroup};
pub use machine::Volatile;
pub use seen::Roll;
pub use stop::{Report, Signal, Stop};
pub use thread::{REAP_EVERY, on_this_thread, on_tracer_thread, spend_this_thread};
pub use tracee::{Seized, Stopped, UserDispatch, Waited};

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::ids::{Fd, Pid, RemoteAddr, Tid};

/// Readies a process to be a tracer: SIGCHLD, by which the kernel tells of stops, must neither be ignored nor be
/// taken by a thread that does not wait for it. Call it before any other thread is started. All threads allocate from
/// one arena afterwards.
///
/// # Errors
/// What sigaction(2) or pthread_sigmask(3) answer.
pub fn prepare_process() -> io::Result<()> {
    sys::one_arena();
    sys::reset_sigchld()?;
    sys::block_sigchld()
}

/// Whether descriptor `own_fd` of this process, whose pid is `own`, and `fd` of thread `tid` are the same open file (kcmp(2), Linux 3.5): the
/// surest and cheapest comparison there is.
///
/// # Errors
/// EBADF if `fd` is not open; ENOSYS where the kernel can't tell; ESRCH, EPERM.
pub fn same_file(own: u32, own_fd: BorrowedFd<'_>, tid: Tid, fd: Fd) -> Result<bool, Errno> {
    sys::same_file(own, own_fd, tid, fd)
}

/// Whether the calling thread may still be attached to something. Where nobody waits for that any more, its first signal
/// would stop it until this thread ends.
#[must_use]
pub fn leaves_traced() -> bool {
    sys::has_tracee()
}

/// Whether two threads share one descriptor table (kcmp(2), Linux 3.5, needs CONFIG_KCMP or its predecessor).
///
/// # Errors
/// ENOSYS where the kernel can't tell, ESRCH, EPERM.
pub fn same_descriptor_table(one: Tid, other: Tid) -> Result<bool, Errno> {
    crate::proc::same_descriptor_table(one, other)
}

/// Whether the epoll(7) instance `epoll` of thread `tid` watches the file at its descriptor `fd` (kcmp(2), Linux 4.13).
/// What fdinfo says of an instance takes far longer: 2.5 ms for 1,000 files, this 0.06 ms.
///
/// # Errors
/// ENOENT if it watches no descriptor `fd`; EBADF, EINVAL; ENOSYS where the kernel can't tell; ESRCH, EPERM.
pub fn epoll_watches(tid: Tid, epoll: Fd, fd: Fd) -> Result<bool, Errno> {
    sys::epoll_watches(tid, epoll, fd)
}

/// One more than the highest number of a descriptor that a process may get (RLIMIT_NOFILE, prlimit(2), Linux 2.6.36);
/// `None` if that can't be asked.
#[must_use]
pub fn most_descriptors(pid: Pid) -> Option<u64> {
    sys::most_descriptors(pid).ok()
}

/// Copies to the target's memory, where the target itself may write (process_vm_writev(2), Linux 3.2); returns how
/// many bytes could be written. `tid` is a thread of it that lives: a leader that has ended has no memory.
///
/// # Errors
/// EFAULT when nothing could be written, EPERM, ESRCH.
pub fn write_memory(tid: Tid, to: RemoteAddr, from: &[u8]) -> Result<usize, Errno> {
    sys::write_memory(tid, to, from)
}

/// Copies from the target's memory (process_vm_readv(2), Linux 3.2); returns how many bytes could be read before
/// the first unreadable page. `tid`: as for [`write_memory`].
///
/// # Errors
/// EFAULT when nothing could be read, EPERM, ESRCH.
pub fn read_memory(tid: Tid, from: RemoteAddr, into: &mut [u8]) -> Result<usize, Errno> {
    sys::read_memory(tid, from, into)
}
