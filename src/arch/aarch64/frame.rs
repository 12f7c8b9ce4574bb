//! A signal frame, as the kernel itself would have put it on the stack, for `rt_sigreturn` to undo a surgery whose
//! surgeon has died.
//!
//! The layout is `struct rt_sigframe` of arch/arm64/kernel/signal.c: `siginfo`, `ucontext`, and at the end of that the
//! records of the vector state (arch/arm64/include/uapi/asm/sigcontext.h), unchanged since 3.7. The way there is the
//! link register: behind the call comes `ret`, and that leads to the vDSO's `__kernel_rt_sigreturn`.

use super::Registers;
use crate::ids::RemoteAddr;

/// Where the parts lie, in bytes from the frame's start.
const SIGINFO: usize = 128;
const STACK_FLAGS: usize = SIGINFO + 24;
const SIGMASK: usize = SIGINFO + 40;
const SIGCONTEXT: usize = SIGINFO + 176;
const RECORDS: usize = SIGCONTEXT + 288;
/// `sizeof(struct rt_sigframe)`
const FRAME: usize = RECORDS + 4096;

/// No mode of sigaltstack(2): the call inside of rt_sigreturn fails with EINVAL, which is ignored there, and the
/// thread's alternate stack stays as it is.
const KEEP_ALTERNATE_STACK: u32 = u32::MAX;

const FPSIMD_MAGIC: u32 = 0x4650_8001;
/// `struct user_fpsimd_state`: 32 vectors, FPSR, FPCR, and 8 bytes that mean nothing.
pub const FPSIMD_STATE: usize = 528;
/// `struct fpsimd_context`: magic, size, FPSR, FPCR, the vectors.
const FPSIMD_CONTEXT: usize = 528;
const VECTORS: usize = 512;

/// Code that is in the target already, which a surgery without its surgeon falls back on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gadgets {
    /// `svc #0; ret`
    pub syscall_ret: RemoteAddr,
    /// `mov x8, #139; svc #0`: `__kernel_rt_sigreturn`
    pub sigreturn: RemoteAddr,
}

const SYSCALL_RET: &[u8] = &[0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6];
const SIGRETURN: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// Where code is likely to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likely {
    /// In the vDSO.
    Linker,
    /// In the C library.
    Library,
}

impl Gadgets {
    /// All that is needed, by means of a search for bytes. Chains of calls are not made here.
    pub fn find(_chains: bool, mut search: impl FnMut(Likely, &[u8]) -> Option<RemoteAddr>) -> Option<Self> {
        let sigreturn = search(Likely::Linker, SIGRETURN)?;
        let syscall_ret = search(Likely::Library, SYSCALL_RET)?;
        Some(Self { syscall_ret, sigreturn })
    }

    /// What must be where.
    pub fn pieces(self, _chains: bool) -> impl Iterator<Item = (RemoteAddr, &'static [u8])> {
        [(self.syscall_ret, SYSCALL_RET), (self.sigreturn, SIGRETURN)].into_iter()
    }
}

/// Has the call in `registers` come back to the lifeline at `at`.
pub fn hang_on(registers: &mut Registers, gadgets: Gadgets, at: RemoteAddr) {
    registers.set_sp(at);
    registers.set_way_back(gadgets.sigreturn);
}

/// What a thread is to be given back.
#[derive(Debug, Clone, Copy)]
pub struct Restored<'a> {
    /// Its registers, any restart of a call already applied ([`Registers::with_restart_applied`]).
    pub registers: &'a Registers,
    /// Its blocked signals.
    pub blocked: u64,
    /// Its `struct user_fpsimd_state` (NT_PRFPREG). Larger vectors, if it has such in use, are lost.
    pub xstate: &'a [u8],
}

/// An upper bound for the length of [`lifeline`].
#[must_use]
pub const fn lifeline_len(_xstate: usize) -> usize {
    FRAME
}

/// The stack of a thread whose surgeon may die. With the stack pointer at `at` and the link register as [`hang_on`] sets
/// it, a call made at [`Gadgets::syscall_ret`] goes on, if nobody stops it behind the call, to `rt_sigreturn` and so to
/// what `restored` says. `None` if the vector state is none, or `at` is no place for a frame.
#[must_use]
pub fn lifeline(_gadgets: Gadgets, restored: Restored<'_>, at: RemoteAddr) -> Option<Vec<u8>> {
    let state: &[u8; FPSIMD_STATE] = restored.xstate.try_into().ok()?;
    if !at.0.is_multiple_of(16) {
        return None;
    }
    let mut bytes = vec![0; FRAME];
    put(&mut bytes, STACK_FLAGS, &KEEP_ALTERNATE_STACK.to_le_bytes());
    put(&mut bytes, SIGMASK, &restored.blocked.to_le_bytes());
    // struct sigcontext: the address of a fault, then the registers.
    let general = &restored.registers.general;
    let words = general.regs.iter().chain([&general.sp, &general.pc, &general.pstate]);
    for (index, word) in words.enumerate() {
        put(&mut bytes, SIGCONTEXT + 8 + 8 * index, &word.to_le_bytes());
    }
    put(&mut bytes, RECORDS, &FPSIMD_MAGIC.to_le_bytes());
    put(&mut bytes, RECORDS + 4, &u32::try_from(FPSIMD_CONTEXT).ok()?.to_le_bytes());
    // The vectors are last there, FPSR and FPCR in front. A record of zeroes, the end, is behind.
    let (vectors, status) = state.split_at(VECTORS);
    put(&mut bytes, RECORDS + 8, status.get(..8)?);
    put(&mut bytes, RECORDS + 16, vectors);
    Some(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::tests::registers;
    use super::*;

    #[test]
    fn is_laid_out_as_the_kernel_does_it() {
        let gadgets = Gadgets { syscall_ret: RemoteAddr(0x100), sigreturn: RemoteAddr(0x200) };
        let mut regs = registers(Place::At { was_eintr: false }, 207, 3);
        let mut xstate = [7; FPSIMD_STATE];
        xstate[512..520].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let restored = Restored { registers: &regs, blocked: 0x4002, xstate: &xstate };
        let bytes = lifeline(gadgets, restored, RemoteAddr(0x7000)).unwrap();
        assert_eq!(bytes.len(), 4688, "sizeof(struct rt_sigframe)");
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
        assert_eq!(word(168), 0x4002);
        assert_eq!((word(304 + 8), word(304 + 8 + 8 * 8)), (3, 207));
        assert_eq!((word(304 + 256), word(304 + 264), word(304 + 272)), (0x2000, 0x1000, 0x6000_0000));
        assert_eq!(word(592), 528 << 32 | u64::from(FPSIMD_MAGIC));
        assert_eq!(word(600), 0x0807_0605_0403_0201);
        assert_eq!((word(608), word(608 + 512)), (0x0707_0707_0707_0707, 0));
        assert_eq!(lifeline(gadgets, restored, RemoteAddr(0x7008)), None, "the kernel would not take it");
        assert_eq!(lifeline(gadgets, Restored { xstate: &[0; 100], ..restored }, RemoteAddr(0x7000)), None);
        hang_on(&mut regs, gadgets, RemoteAddr(0x7000));
        assert_eq!((regs.general.sp, regs.general.regs[30]), (0x7000, 0x200));
    }
}
