//! The questions about this process. None of them does anything.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// Whether ptrace(2) itself is denied to this process, whoever is meant: asked for thread 0, which there is never, the
/// kernel says ESRCH (`find_get_task_by_vpid`, kernel/ptrace.c), and a filter on system calls says something else.
pub(super) fn is_denied() -> bool {
    let request: libc::c_uint = libc::PTRACE_DETACH;
    // SAFETY: there is no thread 0, so nothing is done; the arguments are no addresses.
    unsafe { libc::ptrace(request, 0, 0_usize, 0_usize) };
    Errno::last() != Errno::ESRCH
}

/// Whether a filter on system calls is around this process (PR_GET_SECCOMP, Linux 2.6.23; with strict mode it would not
/// be running). A filter that denies the question is one, too.
pub(super) fn is_filtered() -> bool {
    // SAFETY: no pointers are involved.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0_usize, 0_usize, 0_usize, 0_usize) };
    // EINVAL: a kernel without seccomp.
    mode > 0 || (mode < 0 && Errno::last() != Errno::EINVAL)
}

/// Whether this process, and what it runs, can have this capability at all (PR_CAPBSET_READ, Linux 2.6.25).
pub(super) fn can_have_capability(number: usize) -> bool {
    // SAFETY: no pointers are involved.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0_usize, 0_usize, 0_usize) != 0 }
}
