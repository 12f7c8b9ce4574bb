//! The call that a thread waits in, looked at before the thread is asked to stop.
//!
//! Of a call that shows EINTR for the stop (epoll_pwait and others) the first argument is gone by then: x0 is the result, and
//! the kernel's own copy, `orig_x0`, is shown by none of its interfaces to a tracer on a kernel that is new enough (see
//! `first_argument`). While the thread sleeps in the call, /proc/PID/syscall shows it.

use std::fs;

use crate::arch::{Registers, native_abi};
use crate::ids::Tid;
use crate::proc::InSyscall;

/// So many looks at a thread that runs, about 2 us each. One at work comes to its next wait meanwhile, or is interrupted in
/// code of its own: in between are those that begin to wait between the last look and the stop.
const LOOKS: u32 = 50;

/// No more descriptors are looked through for an epoll instance: the target stands still.
const MOST_DESCRIPTORS: usize = 4096;

/// epoll_pwait, epoll_pwait2
const ON_EPOLL: [u64; 2] = [22, 441];

/// What a thread was about before its stop; nothing, if it was in no call that needs to be known.
#[derive(Debug, Default)]
pub(in crate::trace) struct Before(Option<Waiting>);

/// A wait that may show EINTR.
#[derive(Debug)]
struct Waiting {
    call: InSyscall,
    /// How often the thread has given up its processor by itself so far, for this wait the last time.
    switches: u64,
}

impl Before {
    /// Looks at a thread that is about to be stopped.
    pub(in crate::trace) fn look(tid: Tid) -> Self {
        for _ in 0..LOOKS {
            match in_call(tid) {
                Some(InSyscall::Running) => continue,
                Some(InSyscall::Call { number, .. }) if native_abi().may_show_eintr(number) => {}
                _ => return Self(None),
            }
            // In this order: the count is not newer than the call.
            if let Some(switches) = switches(tid)
                && let Some(call @ InSyscall::Call { .. }) = in_call(tid)
            {
                return Self(Some(Waiting { call, switches }));
            }
        }
        Self(None)
    }

    /// The first argument of the call that the thread, in its stop with these registers, has come out of with EINTR.
    ///
    /// It was in it when looked at: all that the registers still tell is the same, and it has given up its processor just
    /// once since then, for the stop. Else there may be only one that it can be.
    pub(super) fn first_argument(&self, tid: Tid, registers: &Registers) -> Option<u64> {
        self.0.as_ref().and_then(|waiting| waiting.first_argument(tid, registers)).or_else(|| {
            let number = registers.general.regs[8];
            if ON_EPOLL.contains(&number) { only_epoll(tid) } else { None }
        })
    }
}

impl Waiting {
    fn first_argument(&self, tid: Tid, registers: &Registers) -> Option<u64> {
        let InSyscall::Call { number, args: [first, others @ ..], sp, pc } = self.call else { return None };
        let [_, now @ .., _, _, number_now] = registers.general.regs.first_chunk::<9>()?;
        let same = (number, &others, sp, pc) == (*number_now, now, registers.sp(), registers.ip());
        (same && switches(tid)? == self.switches + 1).then_some(first)
    }
}

fn in_call(tid: Tid) -> Option<InSyscall> {
    InSyscall::parse(&fs::read(format!("/proc/{tid}/syscall")).ok()?).ok()
}

/// `voluntary_ctxt_switches` (proc_pid_status(5)); a name can't look like it, as its line ends are written `\n`.
fn switches(tid: Tid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// The one descriptor of an epoll instance that the thread has.
fn only_epoll(tid: Tid) -> Option<u64> {
    let mut found = None;
    for (looked_at, entry) in fs::read_dir(format!("/proc/{tid}/fd")).ok()?.enumerate() {
        let entry = entry.ok()?;
        if looked_at >= MOST_DESCRIPTORS {
            return None;
        }
        // Of the kernel's own name: that of a file begins with a slash.
        if fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[eventpoll]") {
            let number = entry.file_name().to_str()?.parse().ok()?;
            if found.replace(number).is_some() {
                return None;
            }
        }
    }
    found
}
