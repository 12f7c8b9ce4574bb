//! Many closes in one go, without a stop between them: a stack of return addresses that leads from one call to the
//! next through code the target has already.
//!
//! Each step is `pop %rdi; ret`, the descriptor, `pop %rax; ret`, the number of close, `syscall; ret`. A system call
//! keeps all registers but rax, rcx and r11, so what the last step needs in rsi and rdx is set from the start: it sends
//! the thread a signal that it neither handles nor blocks, and whose default is to be ignored. A traced thread stops for
//! it all the same, which tells the tracer that the chain is through. Without a tracer the signal is nothing, and the
//! chain runs on into the lifeline that lies behind it.

use super::Registers;
use super::frame::{self, Gadgets, Restored};
use crate::ids::{Fd, RemoteAddr};

const CLOSE: u64 = 3;
const TGKILL: u64 = 234;
const STEP_WORDS: usize = 5;
/// The length of a step in bytes; its argument is the second word.
pub const STEP: u64 = 8 * STEP_WORDS as u64;

/// The signal at the end, and the thread it goes to, by the numbers of the target's own pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndSignal {
    /// Its process.
    pub tgid: i32,
    /// The thread.
    pub tid: i32,
    /// The signal.
    pub signal: i32,
}

/// Signals whose default is to be ignored, the least used first. SIGCONT is none: it takes pending stops away.
pub const QUIET_SIGNALS: [i32; 3] = [libc::SIGWINCH, libc::SIGURG, libc::SIGCHLD];

/// A chain of closes.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// What to close, at least one.
    pub fds: &'a [Fd],
    /// How it ends.
    pub end: EndSignal,
}

/// An upper bound for the length in bytes of a chain of `fds` closes, the lifeline behind it included.
#[must_use]
pub const fn chain_len(fds: usize, xstate: usize) -> usize {
    fds * 8 * STEP_WORDS + frame::lifeline_len(xstate)
}

impl Chain<'_> {
    /// The bytes to put at `at`; `None` if the target lacks a gadget or the extended state is none.
    #[must_use]
    pub fn image(&self, gadgets: Gadgets, restored: Restored<'_>, at: RemoteAddr) -> Option<Vec<u8>> {
        let mut bytes = self.steps(gadgets)?;
        let behind = at.checked_add(bytes.len() as u64)?;
        bytes.extend_from_slice(&frame::lifeline(gadgets, restored, behind)?);
        Some(bytes)
    }

    /// Its steps alone, to be put right in front of a lifeline that lies there already.
    #[must_use]
    pub fn steps(&self, gadgets: Gadgets) -> Option<Vec<u8>> {
        let pop_rdi_ret = gadgets.pop_rdi_ret?;
        let mut bytes = Vec::with_capacity(self.fds.len() * 8 * STEP_WORDS);
        let mut step = |first: u64, call: u64| {
            for word in [pop_rdi_ret.0, first, gadgets.pop_rax_ret.0, call, gadgets.syscall_ret.0] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        };
        for fd in self.fds.get(1..)? {
            step(u64::from(fd.as_raw().unsigned_abs()), CLOSE);
        }
        step(u64::from(self.end.tgid.unsigned_abs()), TGKILL);
        Some(bytes)
    }

    /// Sets a thread up to run the chain that lies at `at`.
    pub fn load(&self, registers: &mut Registers, gadgets: Gadgets, at: RemoteAddr) {
        let first = self.fds.first().map_or(u64::MAX, |fd| u64::from(fd.as_raw().unsigned_abs()));
        let (tid, signal) =
            (u64::from(self.end.tid.unsigned_abs()), u64::from(self.end.signal.unsigned_abs()));
        registers.load_call(&super::ABI, gadgets.syscall_ret, CLOSE, [first, tid, signal, 0, 0, 0]);
        registers.set_sp(at);
    }

    /// Where the stack pointer is when the chain at `at` is through: at the lifeline.
    #[must_use]
    pub fn end_sp(&self, at: RemoteAddr) -> Option<RemoteAddr> {
        at.checked_add(STEP.checked_mul(self.fds.len() as u64)?)
    }

    /// Where a chain belongs whose lifeline lies at `lifeline`.
    #[must_use]
    pub fn start_before(&self, lifeline: RemoteAddr) -> Option<RemoteAddr> {
        lifeline.0.checked_sub(STEP.checked_mul(self.fds.len() as u64)?).map(RemoteAddr)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::registers;
    use super::*;

    #[test]
    fn leads_from_call_to_call_and_into_the_lifeline() {
        let gadgets = Gadgets {
            syscall_ret: RemoteAddr(0x100),
            pop_rax_ret: RemoteAddr(0x200),
            pop_rdi_ret: Some(RemoteAddr(0x300)),
        };
        let fds: Vec<Fd> = [7, 9, 11].map(|fd| Fd::new(fd).unwrap()).to_vec();
        let chain = Chain { fds: &fds, end: EndSignal { tgid: 50, tid: 51, signal: 28 } };
        let regs = registers(-1, 11);
        let restored = Restored { registers: &regs, blocked: 0, xstate: &[0; 832] };
        let at = RemoteAddr(0x7000);
        let bytes = chain.image(gadgets, restored, at).unwrap();
        let words: Vec<u64> =
            bytes[..8 * 17].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        let expected =
            [[0x300, 9, 0x200, 3, 0x100], [0x300, 11, 0x200, 3, 0x100], [0x300, 50, 0x200, 234, 0x100]]
                .concat();
        assert_eq!(words[..15], expected);
        assert_eq!(words[15..], [0x200, 15], "the lifeline");
        assert_eq!(chain.end_sp(at), Some(RemoteAddr(0x7000 + 15 * 8)), "right at the lifeline");
        assert!(bytes.len() <= chain_len(3, 832));
        assert_eq!(chain.steps(gadgets).unwrap(), bytes[..8 * 15]);
        assert_eq!(chain.start_before(RemoteAddr(0x7000 + 15 * 8)), Some(at));

        let mut loaded = regs;
        chain.load(&mut loaded, gadgets, at);
        let r = loaded.0;
        assert_eq!((r.rip, r.rsp, r.rax, r.rdi, r.rsi, r.rdx), (0x100, 0x7000, 3, 7, 51, 28));
        assert_eq!(chain.image(Gadgets { pop_rdi_ret: None, ..gadgets }, restored, at), None);
    }
}
