//! Insurance against our own death.
//!
//! A tracer that dies leaves its tracee to run on with whatever registers it has. While a call is injected, these
//! are ours: the thread would run on behind the call instruction as if its own call had answered. So the stack pointer
//! is set, for the time of the call, to a place below the thread's stack where a complete signal frame lies, in front
//! of it the way to `rt_sigreturn`. With the tracer there, the thread is stopped behind the call and put back
//! as ever, and none of it is used. Without, the thread returns into `pop %rax; ret`, makes the call `rt_sigreturn`, and
//! has its own registers, signal mask and vector state back, its interrupted call about to be made anew.
//!
//! No code is written: the gadgets are bytes found in the target's libraries. The scratch bytes lie where no compiler
//! and no signal handler of a stopped thread keeps anything, and are put back all the same. A thread whose stack can't
//! be told from other memory, as a goroutine's, borrows the far end of the main thread's ([`Landmarks::spare`]).

use nix::errno::Errno;

use super::dispatch::Dispatch;
use super::gadget;
use super::landmarks::Landmarks;
use super::mask;
use crate::arch::chain::{self, Chain};
use crate::arch::frame::{self, Gadgets};
use crate::arch::{Registers, native_abi};
use crate::error::TraceError;
use crate::ids::{RemoteAddr, Tid};
use crate::trace::{Stopped, read_memory, write_memory};

/// Below the stack pointer, leaf functions keep data in 128 bytes of red zone (x86-64 psABI, 3.2.2).
const RED_ZONE: u64 = 128;

/// Between the scratch bytes and the end of the stack, at the least.
const MARGIN: u64 = 4096;

/// A lifeline that is laid out.
#[derive(Debug)]
pub(super) struct Lifeline {
    tid: Tid,
    at: RemoteAddr,
    gadgets: Gadgets,
    /// What was there before.
    before: Vec<u8>,
}

impl Lifeline {
    /// Lays one for `thread`, whose registers are `saved`. `None` where that can't be done: no gadgets, no known stack,
    /// a shadow stack (which would not allow the return), system calls that are dispatched back to the thread, an old
    /// kernel.
    pub(super) fn lay(thread: &Stopped, saved: &Registers, landmarks: &Landmarks) -> Option<Self> {
        Self::lay_behind(thread, saved, landmarks, None)
    }

    /// The same, with a chain of calls in front of it, if there is room.
    pub(super) fn lay_behind(
        thread: &Stopped,
        saved: &Registers,
        landmarks: &Landmarks,
        chain: Option<&Chain<'_>>,
    ) -> Option<Self> {
        let (tid, gadgets) = (thread.tid(), landmarks.gadgets?);
        let abi = thread.abi_and_registers().ok()?.0;
        if abi != native_abi() || thread.has_shadow_stack() {
            return None;
        }
        if !Dispatch::of(thread).allows(gadgets.syscall_ret, abi) {
            return None;
        }
        if !saved.may_call_from(gadgets.syscall_ret, abi) {
            return None;
        }
        // Found before the stop; a library may have been unloaded since.
        let is_there = |(at, bytes): (RemoteAddr, &[u8])| {
            gadget::read_bytes(tid, at.0, bytes.len() as u64).is_some_and(|found| found == bytes)
        };
        if !gadgets.pieces(chain.is_some()).all(is_there) {
            return None;
        }
        let xstate = thread.extended_state().ok()?;
        let blocked = mask::blocked(thread, saved)?;
        let len = chain::chain_len(chain.map_or(0, |chain| chain.fds.len()), xstate.len());
        let at = match landmarks.stack_below(saved.sp()) {
            Some(lower_end) => place(saved.sp(), len, lower_end),
            None => landmarks.spare(tid).and_then(|(from, to)| fit(from, to, len)),
        }?;
        let restored = frame::Restored { registers: &saved.with_restart_applied(), blocked, xstate: &xstate };
        let bytes = match chain {
            Some(chain) => chain.image(gadgets, restored, at)?,
            None => frame::lifeline(gadgets, restored, at)?,
        };
        let mut before = vec![0; bytes.len()];
        if read_memory(tid, at, &mut before) != Ok(before.len()) {
            return None;
        }
        let line = Self { tid, at, gadgets, before };
        match write_memory(tid, at, &bytes) {
            Ok(written) if written == bytes.len() => Some(line),
            // A part may have been written: the bytes go back, and nothing has come of it.
            _ => {
                let _ = line.take_up();
                None
            }
        }
    }

    /// Puts another chain in front of it, no longer than the one it was laid with; where it starts. Its thread must be
    /// at the lifeline. `None`, if that can't be done; then only bytes are changed that nobody runs into.
    pub(super) fn put_in_front(
        &self,
        chain: &Chain<'_>,
        landmarks: &Landmarks,
        lifeline: RemoteAddr,
    ) -> Option<RemoteAddr> {
        let (start, steps) = (chain.start_before(lifeline)?, chain.steps(landmarks.gadgets?)?);
        (start >= self.at && write_memory(self.tid, start, &steps) == Ok(steps.len())).then_some(start)
    }

    /// Makes the rest of a chain in front of it harmless, while its thread is out of reach: each step closes a number
    /// that no descriptor has, and the way to the lifeline stays open.
    pub(super) fn cut(&self, steps: usize) {
        for step in 0..steps {
            let first = self.at.checked_add(8 + chain::STEP * step as u64);
            // A thread whose memory is gone has nothing to make harmless.
            let _ = first.map(|at| write_memory(self.tid, at, &u64::from(u32::MAX).to_le_bytes()));
        }
    }

    /// The call instruction with a way back behind it.
    pub(super) fn site(&self) -> RemoteAddr {
        self.gadgets.syscall_ret
    }

    /// Makes the call in `registers`, at [`Self::site`], one that comes back to the lifeline.
    pub(super) fn hold(&self, registers: &mut Registers) {
        frame::hang_on(registers, self.gadgets, self.at);
    }

    /// Where it begins.
    pub(super) fn sp(&self) -> RemoteAddr {
        self.at
    }

    /// Puts the scratch bytes back. To be done before anything of the thread's own may run: the kernel puts the frame
    /// of a real signal to the same place.
    pub(super) fn take_up(self) -> Result<(), TraceError> {
        match write_memory(self.tid, self.at, &self.before) {
            Ok(written) if written == self.before.len() => Ok(()),
            // Its memory went with it.
            Err(Errno::ESRCH) => Err(TraceError::Gone(self.tid)),
            _ => Err(TraceError::Scratch(self.at)),
        }
    }
}

/// Where `len` bytes fit between the stack's lower end and what is in use.
fn place(sp: RemoteAddr, len: usize, lower_end: RemoteAddr) -> Option<RemoteAddr> {
    let at = sp.0.checked_sub(RED_ZONE)?.checked_sub(u64::try_from(len).ok()?)? & !15;
    (at >= lower_end.0.checked_add(MARGIN)?).then_some(RemoteAddr(at))
}

/// Where `len` bytes fit between `from` and `to`.
fn fit(from: RemoteAddr, to: RemoteAddr, len: usize) -> Option<RemoteAddr> {
    let at = to.0.checked_sub(u64::try_from(len).ok()?)? & !15;
    (at >= from.0).then_some(RemoteAddr(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_clear_of_the_red_zone_and_the_end() {
        let at = |sp, len| place(RemoteAddr(sp), len, RemoteAddr(0x10_0000)).map(|at| at.0);
        assert_eq!(at(0x11_0000, 0x1000), Some(0x11_0000 - 128 - 0x1000));
        assert_eq!(at(0x11_0007, 0x1000), Some(0x11_0000 - 128 - 0x1000));
        assert_eq!(at(0x10_2080, 0x1000), Some(0x10_1000), "just fits");
        assert_eq!(at(0x10_207f, 0x1000), None);
        assert_eq!(at(0x40, 0x1000), None);
        let fit = |len| fit(RemoteAddr(0x5000), RemoteAddr(0x6008), len).map(|at| at.0);
        assert_eq!((fit(0x1000), fit(0x1008), fit(0x1009)), (Some(0x5000), Some(0x5000), None));
    }
}
