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

use crate::arch::{NATIVE_REGSET_LEN, Registers};
use crate::ids::{Pid, RemoteAddr, Tid};

/// ptrace(2) request numbers are unsigned in glibc and signed in musl.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// `PTRACE_O_SUSPEND_SECCOMP` (Linux 4.3).
pub(super) const OPTION_SUSPEND_SECCOMP: usize = 1 << 21;
/// `PTRACE_O_TRACESYSGOOD`: syscall-stops carry bit 7, and so can't be taken for a SIGTRAP.
pub(super) const OPTION_SYSGOOD: usize = 1;
/// `PTRACE_EVENT_STOP`: the stop of PTRACE_INTERRUPT and of group-stops under PTRACE_SEIZE.
pub(super) const EVENT_STOP: i32 = 128;

const NT_PRSTATUS: usize = 1;

/// How a stopped tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// To the next signal or event.
    Cont,
    /// To the next entry or exit of a system call, too.
    Syscall,
}

fn ptrace(request: Request, tid: Tid, addr: usize, data: usize) -> Result<(), Errno> {
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
    ptrace(libc::PTRACE_SETOPTIONS, tid, 0, options)
}

pub(super) fn interrupt(tid: Tid) -> Result<(), Errno> {
    ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// `signal`: 0, or the signal of the signal-delivery-stop that `tid` is in.
pub(super) fn resume(tid: Tid, how: Resume, signal: i32) -> Result<(), Errno> {
    let request = match how {
        Resume::Cont => libc::PTRACE_CONT,
        Resume::Syscall => libc::PTRACE_SYSCALL,
    };
    ptrace(request, tid, 0, signal.cast_unsigned() as usize)
}

pub(super) fn detach(tid: Tid, signal: i32) -> Result<(), Errno> {
    ptrace(libc::PTRACE_DETACH, tid, 0, signal.cast_unsigned() as usize)
}

/// The general registers, in the layout of the tracer whatever the tracee runs.
#[cfg(target_arch = "x86_64")]
pub(super) fn registers(tid: Tid) -> Result<Registers, Errno> {
    let mut regs = MaybeUninit::<libc::user_regs_struct>::uninit();
    ptrace(libc::PTRACE_GETREGS, tid, 0, regs.as_mut_ptr().expose_provenance())?;
    // SAFETY: PTRACE_GETREGS succeeded, and then fills the whole structure.
    Ok(Registers(unsafe { regs.assume_init() }))
}

#[cfg(target_arch = "x86_64")]
pub(super) fn set_registers(tid: Tid, regs: &Registers) -> Result<(), Errno> {
    ptrace(libc::PTRACE_SETREGS, tid, 0, ptr::from_ref(&regs.0).expose_provenance())
}

/// The length in bytes of the tracee's own general register set, whatever it runs, and its registers.
#[cfg(target_arch = "x86_64")]
pub(super) fn regset(tid: Tid) -> Result<(usize, Registers), Errno> {
    let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let mut iov = libc::iovec { iov_base: regs.as_mut_ptr().cast(), iov_len: NATIVE_REGSET_LEN };
    let iov_at = (&raw mut iov).expose_provenance();
    ptrace(libc::PTRACE_GETREGSET, tid, NT_PRSTATUS, iov_at)?;
    if iov.iov_len != NATIVE_REGSET_LEN {
        // Shorter: a 32-bit tracee's own layout, which is not the one to work with.
        return Ok((iov.iov_len, registers(tid)?));
    }
    // SAFETY: zeroed memory is a valid user_regs_struct, and the kernel has filled it whole.
    Ok((iov.iov_len, Registers(unsafe { regs.assume_init() })))
}

/// What the signal of the current signal-delivery-stop says of itself: `si_signo` and `si_code`.
pub(super) fn signal_info(tid: Tid) -> Result<(i32, i32), Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    ptrace(libc::PTRACE_GETSIGINFO, tid, 0, info.as_mut_ptr().expose_provenance())?;
    // SAFETY: zeroed memory is a valid siginfo_t, and PTRACE_GETSIGINFO fills it.
    let info = unsafe { info.assume_init() };
    Ok((info.si_signo, info.si_code))
}

/// The status of a tracee that changed state, without waiting; `None` while it runs.
///
/// # Errors
/// ECHILD: no such tracee of this thread (any more).
pub(super) fn poll_status(tid: Tid) -> Result<Option<i32>, Errno> {
    let mut status = 0;
    // SAFETY: `status` is a live int.
    let answer = unsafe { libc::waitpid(tid.as_raw(), &raw mut status, libc::__WALL | libc::WNOHANG) };
    match Errno::result(answer)? {
        0 => Ok(None),
        _ => Ok(Some(status)),
    }
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
pub(super) fn read_memory(pid: Pid, from: RemoteAddr, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let address = usize::try_from(from.0).map_err(|_| Errno::EFAULT)?;
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: into.len() };
    // SAFETY: `local` covers `into` exactly; `remote` is an address in another process, which the kernel checks.
    let copied =
        unsafe { libc::process_vm_readv(pid.as_raw(), &raw const local, 1, &raw const remote, 1, 0) };
    Errno::result(copied).map(|n| usize::try_from(n).unwrap_or(0))
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

/// PTRACE_GET_RSEQ_CONFIGURATION (Linux 5.13; EIO below).
pub(super) fn rseq_configuration(tid: Tid) -> Result<RseqConfiguration, Errno> {
    const PTRACE_GET_RSEQ_CONFIGURATION: Request = 0x420f;
    let mut config = RseqConfiguration::default();
    let config_at = (&raw mut config).expose_provenance();
    ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, size_of::<RseqConfiguration>(), config_at)?;
    Ok(config)
}
