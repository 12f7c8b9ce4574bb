//! The signals that a stopped thread blocks: part of the state that it gets back if fdclose dies.

use crate::arch::Registers;
use crate::host::{self, Fallback};
use crate::ids::Pid;
use crate::proc::Procfs;
use crate::trace::Stopped;

/// Calls that block other signals than the thread does, for as long as they wait; those that came long after
/// PTRACE_GETSIGMASK are not needed here.
const WITH_A_MASK: [libc::c_long; 5] = [
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_rt_sigsuspend,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
];

/// What `thread`, whose own registers are `saved`, blocks when the call that it is in is over. `None` where that can't be
/// told.
pub(super) fn blocked(thread: &Stopped, saved: &Registers) -> Option<u64> {
    if let Ok(mask) = thread.blocked_signals() {
        return Some(mask);
    }
    host::fall_back(Fallback::MaskFromStatus);
    // /proc shows the mask of the moment, which the call will take back (`set_user_sigmask`, kernel/signal.c).
    let call = saved.call_in_progress().and_then(|number| libc::c_long::try_from(number).ok());
    if call.is_some_and(|call| WITH_A_MASK.contains(&call)) {
        return None;
    }
    // A thread's number has a directory as well, only that it is not listed.
    let thread = Procfs::host().open_listed(Pid::new(thread.tid().as_raw())?).ok()?;
    Some(thread.status().ok()?.signals.blocked)
}
