//! A signal frame, as the kernel itself would have put it on the stack, for `rt_sigreturn` to undo a surgery whose
//! surgeon has died.
//!
//! The layout is `struct rt_sigframe` of arch/x86/include/asm/sigframe.h, unchanged since 2.6:
//! return address, `ucontext`, `siginfo`. The extended state lies behind it, aligned to 64 bytes, in the format of
//! the XSAVE instruction, which PTRACE_GETREGSET with NT_X86_XSTATE gives as it is but for the few bytes that tell
//! the kernel how much of it there is (`struct _fpx_sw_bytes`).

use super::Registers;
use crate::ids::RemoteAddr;

/// Size of `struct rt_sigframe` in bytes.
const FRAME: usize = 440;
const UC_FLAGS: usize = 8;
const UC_STACK_FLAGS: usize = 32;
const SIGCONTEXT: usize = 48;
const SIGMASK: usize = 304;
/// UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS: extended state is there, `ss` is to be restored.
const FLAGS: u64 = 7;
/// No mode of sigaltstack(2): the call inside of rt_sigreturn fails with EINVAL, which is ignored there, and the
/// thread's alternate stack stays as it is.
const KEEP_ALTERNATE_STACK: u32 = u32::MAX;

const XSTATE_ALIGN: u64 = 64;
/// Where `struct _fpx_sw_bytes` lies in the FXSAVE area.
const SW_BYTES: usize = 464;
const XSTATE_HEADER: usize = 512;
/// The tile registers' bits in XSTATE_BV, and where the state before them ends in the standard format of every processor
/// that has them.
const AMX: u64 = 0b11 << 17;
const AMX_AT: usize = 2696;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;

/// Code that is in the target already, which a surgery without its surgeon falls back on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gadgets {
    /// `syscall; ret`
    pub syscall_ret: RemoteAddr,
    /// `pop %rax; ret`
    pub pop_rax_ret: RemoteAddr,
    /// `pop %rdi; ret`: only a chain of calls needs it.
    pub pop_rdi_ret: Option<RemoteAddr>,
}

const SYSCALL_RET: &[u8] = &[0x0f, 0x05, 0xc3];
const POP_RAX_RET: &[u8] = &[0x58, 0xc3];
const POP_RDI_RET: &[u8] = &[0x5f, 0xc3];

/// Where code is likely to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likely {
    /// In the vDSO, which is two pages and has `syscall; ret`; so does the dynamic linker, near its start.
    Linker,
    /// In the C library, near its start.
    Library,
}

impl Gadgets {
    /// All that is needed, by means of a search for bytes; what only chains need only if `chains`.
    pub fn find(chains: bool, mut search: impl FnMut(Likely, &[u8]) -> Option<RemoteAddr>) -> Option<Self> {
        let syscall_ret = search(Likely::Linker, SYSCALL_RET)?;
        let pop_rax_ret = search(Likely::Library, POP_RAX_RET)?;
        let pop_rdi_ret = if chains { search(Likely::Library, POP_RDI_RET) } else { None };
        Some(Self { syscall_ret, pop_rax_ret, pop_rdi_ret })
    }

    /// What must be where; what only chains need only if `chains`.
    pub fn pieces(self, chains: bool) -> impl Iterator<Item = (RemoteAddr, &'static [u8])> {
        let needed = [
            (Some(self.syscall_ret), SYSCALL_RET),
            (Some(self.pop_rax_ret), POP_RAX_RET),
            (self.pop_rdi_ret.filter(|_| chains), POP_RDI_RET),
        ];
        needed.into_iter().filter_map(|(at, bytes)| Some((at?, bytes)))
    }
}

/// Has the call in `registers` come back to the lifeline at `at`.
pub fn hang_on(registers: &mut Registers, gadgets: Gadgets, at: RemoteAddr) {
    // The way back is on the stack.
    let Gadgets { .. } = gadgets;
    registers.set_sp(at);
}

const RT_SIGRETURN: u64 = 15;
/// Before the frame: the address of `pop %rax; ret`, and what it pops.
const LEAD: u64 = 16;

/// The stack of a thread whose surgeon may die. With the stack pointer at `at`, a call made at
/// [`Gadgets::syscall_ret`] goes on, if nobody stops it behind the call, to `rt_sigreturn` and so to what
/// `restored` says. `None` if the extended state is none.
#[must_use]
pub fn lifeline(gadgets: Gadgets, restored: Restored<'_>, at: RemoteAddr) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 16];
    put(&mut bytes, 0, gadgets.pop_rax_ret.0);
    put(&mut bytes, 8, RT_SIGRETURN);
    bytes.extend_from_slice(&signal_frame(restored, at.checked_add(LEAD)?)?);
    // The frame's own first word: where a handler would have returned to. Here the call is made from there.
    put(&mut bytes, 16, gadgets.syscall_ret.0);
    Some(bytes)
}

/// An upper bound for the length of [`lifeline`] with an extended state of `xstate` bytes.
#[must_use]
pub const fn lifeline_len(xstate: usize) -> usize {
    16 + FRAME + 64 + xstate + 4
}

/// What a thread is to be given back.
#[derive(Debug, Clone, Copy)]
pub struct Restored<'a> {
    /// Its registers, any restart of a call already applied ([`Registers::with_restart_applied`]).
    pub registers: &'a Registers,
    /// Its blocked signals.
    pub blocked: u64,
    /// Its NT_X86_XSTATE.
    pub xstate: &'a [u8],
}

/// The bytes to put at `at`, the address of the frame.
///
/// The first word is the address `rt_sigreturn` is called from; it is left for the caller to fill in, as 0. The
/// stack pointer has to be 8 above `at` when the call is made. `None` if the extended state is too short to be one.
#[must_use]
fn signal_frame(restored: Restored<'_>, at: RemoteAddr) -> Option<Vec<u8>> {
    let xstate_at = at.0.checked_add(FRAME as u64)?.checked_next_multiple_of(XSTATE_ALIGN)?;
    let mut bytes = vec![0; usize::try_from(xstate_at - at.0).ok()?];
    put(&mut bytes, UC_FLAGS, FLAGS);
    put_u32(&mut bytes, UC_STACK_FLAGS, KEEP_ALTERNATE_STACK);
    for (index, value) in sigcontext(restored.registers).into_iter().enumerate() {
        put(&mut bytes, SIGCONTEXT + 8 * index, value);
    }
    put(&mut bytes, SIGCONTEXT + 184, xstate_at);
    put(&mut bytes, SIGMASK, restored.blocked);
    bytes.extend_from_slice(&xstate_for_frame(restored.xstate)?);
    Some(bytes)
}

/// `struct sigcontext_64`, up to the segments.
fn sigcontext(registers: &Registers) -> [u64; 19] {
    let r = &registers.0;
    // cs, gs, fs, ss: 16 bits each. gs and fs are not restored by the kernel.
    let segments = (r.cs & 0xffff) | (r.ss & 0xffff) << 48;
    [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax,
        r.rcx, r.rsp, r.rip, r.eflags, segments,
    ]
}

fn xstate_for_frame(xstate: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u64::from_le_bytes(xstate.get(at..at + 8)?.try_into().ok()?));
    if xstate.len() < XSTATE_HEADER + 64 {
        return None;
    }
    // ptrace gives room for AMX wherever the processor has it; a frame may have it only for a thread that asked the
    // kernel for AMX (arch_prctl(2)), and else would have none of its extended state restored.
    let in_use = word(XSTATE_HEADER)?;
    let (xstate, features) = match xstate.get(..AMX_AT) {
        Some(_) if in_use & AMX != 0 => return None,
        Some(without) => (without, word(SW_BYTES)? & !AMX),
        None => (xstate, word(SW_BYTES)?),
    };
    let size = u32::try_from(xstate.len()).ok()?;
    let mut bytes = xstate.to_vec();
    bytes.extend_from_slice(&MAGIC2.to_le_bytes());
    put_u32(&mut bytes, SW_BYTES, MAGIC1);
    put_u32(&mut bytes, SW_BYTES + 4, size + 4);
    put(&mut bytes, SW_BYTES + 8, features);
    put_u32(&mut bytes, SW_BYTES + 16, size);
    Some(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(place) = bytes.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::registers;
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn is_laid_out_as_the_kernel_does_it() {
        // The offsets were read off a frame the kernel made (6.18): fpstate pointer aside, they are its ABI.
        let gadgets =
            Gadgets { syscall_ret: RemoteAddr(0x111), pop_rax_ret: RemoteAddr(0x222), pop_rdi_ret: None };
        let regs = registers(-1, 11);
        let mut xstate = vec![7; 832];
        put(&mut xstate, SW_BYTES, 0xe7);
        let restored = Restored { registers: &regs, blocked: 0x4002, xstate: &xstate };
        let at = RemoteAddr(0x7000_0008);
        let bytes = lifeline(gadgets, restored, at).unwrap();
        assert_eq!((word(&bytes, 0), word(&bytes, 8), word(&bytes, 16)), (0x222, 15, 0x111));
        let frame = &bytes[16..];
        assert_eq!(word(frame, 176), regs.0.rip);
        assert_eq!(word(frame, 168), regs.0.rsp);
        assert_eq!(word(frame, 152), regs.0.rax);
        assert_eq!(word(frame, 192), 0x33 | 0x2b << 48);
        assert_eq!(word(frame, 304), 0x4002);
        let fpstate = word(frame, 232);
        assert_eq!(fpstate % 64, 0);
        let area = &bytes[usize::try_from(fpstate - at.0).unwrap()..];
        assert_eq!(area.len(), 832 + 4);
        assert_eq!(word(area, 464), u64::from(MAGIC1) | 836 << 32);
        assert_eq!(word(area, 472), 0xe7);
        assert_eq!(word(area, 480) & 0xffff_ffff, 832);
        assert_eq!(area[832..], MAGIC2.to_le_bytes());
        assert!(bytes.len() <= lifeline_len(832));
        assert_eq!(lifeline(gadgets, Restored { xstate: &[0; 100], ..restored }, at), None);
    }

    #[test]
    fn tiles_are_left_out_unless_they_are_in_use() {
        let mut xstate = vec![0; 11_008];
        put(&mut xstate, SW_BYTES, 0x602e7);
        put(&mut xstate, XSTATE_HEADER, 0x2e7);
        let cut = xstate_for_frame(&xstate).unwrap();
        assert_eq!(cut.len(), AMX_AT + 4);
        assert_eq!(word(&cut, SW_BYTES + 8), 0x2e7);
        put(&mut xstate, XSTATE_HEADER, 0x402e7);
        assert_eq!(xstate_for_frame(&xstate), None);
    }
}
