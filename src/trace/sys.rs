//! Every unsafe call of the tracer: thin, one system call each, nothing decided here.
//!
//! nix is not used for these: its `waitpid` fails with EINVAL on a stop by a real-time signal after consuming it,
//! its `cont` and `detach` can't hand such a signal on, and its `getregset` drops the length.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

use crate::host::{self, Feature};
use crate::ids::{Fd, Pid, RemoteAddr, Tid};
use crate::watchdog;

/// ptrace(2) request numbers are unsigned in glibc and signed in musl.
#[cfg(target_env = "musl")]
pub(super) type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
pub(super) type Request = libc::c_uint;

/// `PTRACE_O_SUSPEND_SECCOMP` (Linux 4.3).
pub(super) const OPTION_SUSPEND_SECCOMP: usize = 1 << 21;
/// `PTRACE_O_TRACESYSGOOD`: syscall-stops carry bit 7, and so can't be taken for a SIGTRAP.
pub(super) const OPTION_SYSGOOD: usize = 1;
/// `PTRACE_EVENT_STOP`: the stop of PTRACE_INTERRUPT and of group-stops under PTRACE_SEIZE.
pub(super) const EVENT_STOP: i32 = 128;

/// How a stopped tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// To the next signal or event.
    Cont,
    /// To the next entry or exit of a system call, too.
    Syscall,
    /// Not at all: from a group-stop back into one that a SIGCONT ends.
    Listen,
}

/// Makes all threads allocate from one arena (mallopt(3)): another for each thread costs six system calls when it
/// starts, and the tracer's thread allocates little. Only glibc has arenas.
pub(super) fn one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain numbers; nothing allocated so far is moved.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

pub(super) fn ptrace(request: Request, tid: Tid, addr: usize, data: usize) -> Result<(), Errno> {
    watchdog::beat();
    let (addr, data) = (ptr::without_provenance_mut::<u8>(addr), ptr::without_provenance_mut::<u8>(data));
    // SAFETY: callers in this file use only requests whose `addr` and `data` are plain numbers, or point `data` to
    // memory of the size that the request writes, alive for the call.
    let answer = unsafe { libc::ptrace(request, tid.as_raw(), addr, data) };
    Errno::result(answer).map(drop)
}

pub(super) fn seize(tid: Tid, options: usize) -> Result<(), Errno> {
    ptrace(libc::PTRACE_SEIZE, tid, 0, options)
}

pub(super) fn set_options(tid: Tid, options: usize) -> Result<(), Errno> {
    let set = || ptrace(libc::PTRACE_SETOPTIONS, tid, 0, options);
    // Options that it does not know a kernel refuses together.
    if options & OPTION_SUSPEND_SECCOMP == 0 { set() } else { host::ask(Feature::SuspendSeccomp, set) }
}

pub(super) fn interrupt(tid: Tid) -> Result<(), Errno> {
    ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// `signal`: 0, or the signal of the signal-delivery-stop that `tid` is in.
pub(super) fn resume(tid: Tid, how: Resume, signal: i32) -> Result<(), Errno> {
    let request = match how {
        Resume::Cont => libc::PTRACE_CONT,
        Resume::Syscall => libc::PTRACE_SYSCALL,
        Resume::Listen => libc::PTRACE_LISTEN,
    };
    ptrace(request, tid, 0, signal.cast_unsigned() as usize)
}

pub(super) fn detach(tid: Tid, signal: i32) -> Result<(), Errno> {
    ptrace(libc::PTRACE_DETACH, tid, 0, signal.cast_unsigned() as usize)
}

/// What a signal says of itself (sigaction(2)).
#[derive(Debug, Clone, Copy)]
pub(super) struct SignalInfo {
    /// `si_code`
    pub(super) code: i32,
    /// `si_addr`: of a fault the address; of any other signal it means nothing.
    pub(super) address: u64,
}

/// What the signal of the current signal-delivery-stop says of itself.
pub(super) fn signal_info(tid: Tid) -> Result<SignalInfo, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    ptrace(libc::PTRACE_GETSIGINFO, tid, 0, info.as_mut_ptr().expose_provenance())?;
    // SAFETY: zeroed memory is a valid siginfo_t, and PTRACE_GETSIGINFO fills it.
    let info = unsafe { info.assume_init() };
    // SAFETY: every siginfo_t has bytes where si_addr lies; that they are an address is for the caller to know.
    let address = unsafe { info.si_addr() };
    Ok(SignalInfo { code: info.si_code, address: address.addr() as u64 })
}

/// The status of a tracee that changed state, without waiting, as waitpid(2) has it; `None` while it runs. One that has
/// ended is reaped.
///
/// A stop is looked at and not taken (WNOWAIT): taking the report of a signal-delivery-stop clears the signal
/// (`wait_task_stopped`), which then only PTRACE_CONT and its like bring back, and is lost if the tracer dies before
/// that. As long as the report is not taken, the end of the tracer delivers it. Checked on 6.18: of 200 signals, none
/// came after a waitpid(2), all after a look.
///
/// # Errors
/// ECHILD: no such tracee of this thread (any more).
pub(super) fn poll_status(tid: Tid) -> Result<Option<i32>, Errno> {
    watchdog::beat();
    let (code, status) = look(tid, libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT)?;
    match code {
        libc::CLD_TRAPPED | libc::CLD_STOPPED => Ok(Some(status << 8 | 0x7f)),
        libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED => {
            // Another thread of this process may have been quicker.
            reap(tid);
            Ok(Some(if code == libc::CLD_EXITED { (status & 0xff) << 8 } else { status & 0x7f }))
        }
        _ => Ok(None),
    }
}

/// Reaps a tracee that has ended, whichever thread of this process traces it; whether there was one to reap. A leader
/// can't be reaped before the last thread of its process.
pub(super) fn reap(tid: Tid) -> bool {
    // Whatever the flags, wait takes the stops of tracees, too (`wait_task_stopped`): those are the tracer's to take.
    // So it is looked at first; what has ended stays so.
    has_exited(tid, libc::WNOWAIT) && has_exited(tid, 0)
}

fn has_exited(tid: Tid, more_flags: i32) -> bool {
    let ended = [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED];
    look(tid, libc::WEXITED | more_flags).is_ok_and(|(code, _)| ended.contains(&code))
}

/// waitid(2) without waiting: `si_code`, 0 if there is nothing to tell, and `si_status`.
fn look(tid: Tid, flags: i32) -> Result<(i32, i32), Errno> {
    let id = libc::id_t::try_from(tid.as_raw()).map_err(|_| Errno::ECHILD)?;
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is a live siginfo_t.
    let answer =
        unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), flags | libc::WNOHANG | libc::__WALL) };
    Errno::result(answer)?;
    // SAFETY: zeroed memory is a valid siginfo_t, and waitid fills it or leaves it; the status is a number in either.
    let (info, status) = unsafe {
        let info = info.assume_init();
        (info, info.si_status())
    };
    Ok((info.si_code, status))
}

/// Whether the calling thread traces anything, or has a child: waitid(2) finds none of either otherwise. Before Linux 4.7 it
/// knows no `__WALL`, and that is not told.
pub(super) fn has_tracee() -> bool {
    let flags =
        libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::WNOHANG | libc::__WALL | libc::__WNOTHREAD;
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is a live siginfo_t.
    let answer = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    Errno::result(answer) != Err(Errno::ECHILD)
}

fn sigchld_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set; SIGCHLD is a valid signal.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        set.assume_init()
    }
}

/// Blocks SIGCHLD in the calling thread, so that [`wait_sigchld`] can take it.
pub(super) fn block_sigchld() -> io::Result<()> {
    let set = sigchld_set();
    // SAFETY: `set` is initialised; no old set is asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Gives SIGCHLD its default disposition. A parent may have left it ignored across `execve`, and then the kernel
/// sends none for a tracee's stop (`do_notify_parent_cldstop`).
pub(super) fn reset_sigchld() -> io::Result<()> {
    // SAFETY: SIG_DFL runs no code of ours.
    match unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The signals that are pending for this thread or process and blocked; bit 0 is signal 1.
pub(super) fn pending_signals() -> io::Result<u64> {
    let mut pending = 0_u64;
    // SAFETY: the kernel writes the 8 bytes that it is told of (rt_sigpending(2)).
    let answer = unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, size_of::<u64>()) };
    if answer == 0 { Ok(pending) } else { Err(io::Error::last_os_error()) }
}

/// Sleeps until a SIGCHLD comes or `limit` is over. Spurious returns are to be expected.
pub(super) fn wait_sigchld(limit: Duration) {
    let set = sigchld_set();
    let limit = libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(limit.subsec_nanos().cast_signed()),
    };
    // SAFETY: `set` and `limit` are initialised; no siginfo is asked for. The result does not matter: the caller
    // asks waitpid, whatever ended the sleep.
    unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const limit) };
}

/// Copies from the target's memory; returns how many bytes could be read before the first unreadable page.
pub(super) fn read_memory(tid: Tid, from: RemoteAddr, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let address = usize::try_from(from.0).map_err(|_| Errno::EFAULT)?;
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: into.len() };
    // SAFETY: `local` covers `into` exactly; `remote` is an address in another process, which the kernel checks.
    let copied =
        unsafe { libc::process_vm_readv(tid.as_raw(), &raw const local, 1, &raw const remote, 1, 0) };
    Errno::result(copied).map(|n| usize::try_from(n).unwrap_or(0))
}

/// Copies to the target's memory, where the target itself may write; returns how many bytes could be written.
pub(super) fn write_memory(tid: Tid, to: RemoteAddr, from: &[u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let address = usize::try_from(to.0).map_err(|_| Errno::EFAULT)?;
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: from.len() };
    // SAFETY: `local` covers `from` exactly and is only read; `remote` is an address in another process, which the
    // kernel checks.
    let copied =
        unsafe { libc::process_vm_writev(tid.as_raw(), &raw const local, 1, &raw const remote, 1, 0) };
    Errno::result(copied).map(|n| usize::try_from(n).unwrap_or(0))
}

/// The blocked signals (PTRACE_GETSIGMASK, Linux 3.11): of a thread in a call with a mask of its own, such as
/// ppoll(2), the mask it will have after it.
pub(super) fn blocked_signals(tid: Tid) -> Result<u64, Errno> {
    let mut mask = 0_u64;
    let mask_at = (&raw mut mask).expose_provenance();
    host::ask(Feature::SignalMask, || ptrace(libc::PTRACE_GETSIGMASK, tid, size_of::<u64>(), mask_at))?;
    Ok(mask)
}

/// Whether descriptor `own_fd` of this process and `fd` of thread `tid` are the same open file (kcmp(2), Linux 3.5).
pub(super) fn same_file(
    own: u32,
    own_fd: std::os::fd::BorrowedFd<'_>,
    tid: Tid,
    fd: Fd,
) -> Result<bool, Errno> {
    use std::os::fd::AsRawFd as _;
    const KCMP_FILE: libc::c_long = 0;
    let order = host::ask(Feature::Kcmp, || {
        // SAFETY: plain numbers.
        let answer = unsafe {
            libc::syscall(libc::SYS_kcmp, own, tid.as_raw(), KCMP_FILE, own_fd.as_raw_fd(), fd.as_raw())
        };
        Errno::result(answer)
    });
    order.map(|order| order == 0)
}

/// Whether an epoll instance watches the file at `fd` (kcmp(2), Linux 4.13).
pub(super) fn epoll_watches(tid: Tid, epoll: Fd, fd: Fd) -> Result<bool, Errno> {
    const KCMP_EPOLL_TFD: libc::c_long = 7;
    // struct kcmp_epoll_slot: the instance, the number watched, and which of that number.
    let slot: [u32; 3] = [epoll.as_raw().unsigned_abs(), fd.as_raw().unsigned_abs(), 0];
    let (of, fd) = (tid.as_raw(), fd.as_raw());
    let compare = || {
        // SAFETY: the kernel reads the slot, which outlives the call; the rest are plain numbers.
        Errno::result(unsafe { libc::syscall(libc::SYS_kcmp, of, of, KCMP_EPOLL_TFD, fd, slot.as_ptr()) })
    };
    let order = host::ask(Feature::Kcmp, || host::ask(Feature::EpollCompare, compare));
    order.map(|order| order == 0)
}

/// Where `struct rseq` of a thread lies, if it registered one.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct RseqConfiguration {
    pub(super) rseq_abi_pointer: u64,
    pub(super) rseq_abi_size: u32,
    pub(super) signature: u32,
    pub(super) flags: u32,
    pub(super) pad: u32,
}

/// The soft RLIMIT_NOFILE of another process (prlimit(2)).
pub(super) fn most_descriptors(pid: Pid) -> Result<u64, Errno> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is alive for the call; no new limits are given.
    let asked = unsafe { libc::prlimit(pid.as_raw(), libc::RLIMIT_NOFILE, ptr::null(), &raw mut limits) };
    Errno::result(asked).map(|_| limits.rlim_cur)
}

/// How a thread's system calls are dispatched back to it: `struct ptrace_sud_config` (linux/ptrace.h).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct UserDispatchConfiguration {
    pub(super) mode: u64,
    pub(super) selector: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG (Linux 6.4; EIO below).
pub(super) fn user_dispatch_configuration(tid: Tid) -> Result<UserDispatchConfiguration, Errno> {
    const PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG: Request = 0x4211;
    let mut config = UserDispatchConfiguration::default();
    let config_at = (&raw mut config).expose_provenance();
    let len = size_of::<UserDispatchConfiguration>();
    let request = PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG;
    host::ask(Feature::UserDispatch, || ptrace(request, tid, len, config_at))?;
    Ok(config)
}

/// PTRACE_GET_RSEQ_CONFIGURATION (Linux 5.13; EIO below).
pub(super) fn rseq_configuration(tid: Tid) -> Result<RseqConfiguration, Errno> {
    const PTRACE_GET_RSEQ_CONFIGURATION: Request = 0x420f;
    let mut config = RseqConfiguration::default();
    let config_at = (&raw mut config).expose_provenance();
    let len = size_of::<RseqConfiguration>();
    host::ask(Feature::RseqConfiguration, || ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, len, config_at))?;
    Ok(config)
}
