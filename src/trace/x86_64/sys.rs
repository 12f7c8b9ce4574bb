//! What the tracer asks of an x86-64 kernel alone: the registers.
#![allow(unsafe_code)]

use std::mem::{MaybeUninit, size_of};
use std::ptr;

use nix::errno::Errno;

use super::sys::ptrace;
use crate::arch::{NATIVE_REGSET_LEN, Registers};
use crate::ids::Tid;

const NT_PRSTATUS: usize = 1;

/// The general registers, in the layout of the tracer whatever the tracee runs.
pub(super) fn registers(tid: Tid) -> Result<Registers, Errno> {
    let mut regs = MaybeUninit::<libc::user_regs_struct>::uninit();
    ptrace(libc::PTRACE_GETREGS, tid, 0, regs.as_mut_ptr().expose_provenance())?;
    // SAFETY: PTRACE_GETREGS succeeded, and then fills the whole structure.
    Ok(Registers(unsafe { regs.assume_init() }))
}

/// Sets the general registers, segments aside: those must be the tracee's own.
pub(super) fn set_registers(tid: Tid, regs: &Registers) -> Result<(), Errno> {
    match ptrace(libc::PTRACE_SETREGS, tid, 0, ptr::from_ref(&regs.0).expose_provenance()) {
        // Some registers are set by now. It stops at a segment selector without the privilege level of user code,
        // which user code may load all the same.
        Err(Errno::EIO) => regs.but_segments().try_for_each(|(at, value)| poke_user(tid, at, value)),
        answer => answer,
    }
}

/// Sets one register, by its offset in `struct user`.
fn poke_user(tid: Tid, at: usize, value: u64) -> Result<(), Errno> {
    ptrace(libc::PTRACE_POKEUSER, tid, at, usize::try_from(value).map_err(|_| Errno::EINVAL)?)
}

/// What has to be known of a thread before it is stopped: nothing, `orig_rax` and the registers tell all.
#[derive(Debug, Default)]
pub(super) struct Before(());

impl Before {
    pub(super) const fn look(_: Tid) -> Self {
        Self(())
    }
}

/// The length in bytes of the tracee's own general register set, whatever it runs, and its registers.
pub(super) fn regset(tid: Tid, _: &Before) -> Result<(usize, Registers), Errno> {
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

/// The floating point and vector registers, in the format of XSAVE.
pub(super) fn extended_state(tid: Tid) -> Result<Vec<u8>, Errno> {
    const NT_X86_XSTATE: usize = 0x202;
    // AVX-512 takes 2.7 KiB, AMX tiles 8 KiB more; nothing comes near the last so far. What is longer is cut, and
    // refused further up.
    for room in [4 * 1024, 16 * 1024] {
        let mut bytes = vec![0_u8; room];
        let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: room };
        ptrace(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, (&raw mut iov).expose_provenance())?;
        if iov.iov_len < room {
            bytes.truncate(iov.iov_len);
            return Ok(bytes);
        }
    }
    Err(Errno::EOVERFLOW)
}

/// Whether the thread has a shadow stack (NT_X86_SHSTK, Linux 6.6; a kernel that knows none has none to offer).
pub(super) fn has_shadow_stack(tid: Tid) -> bool {
    const NT_X86_SHSTK: usize = 0x204;
    let mut pointer = 0_u64;
    let mut iov = libc::iovec { iov_base: (&raw mut pointer).cast(), iov_len: size_of::<u64>() };
    ptrace(libc::PTRACE_GETREGSET, tid, NT_X86_SHSTK, (&raw mut iov).expose_provenance()).is_ok()
}

/// What an injected call would cost the thread besides its general registers: nothing. A system call keeps the vector
/// registers of x86-64.
#[derive(Debug)]
pub struct Volatile(());

/// None.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(super) fn volatile_state(_tid: Tid) -> Result<Option<Volatile>, Errno> {
    Ok(None)
}

/// There is none.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(super) fn set_volatile_state(_tid: Tid, state: &Volatile) -> Result<(), Errno> {
    let Volatile(()) = state;
    Ok(())
}
