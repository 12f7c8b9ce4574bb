//! What the tracer asks of an arm64 kernel alone: the registers.
#![allow(unsafe_code)]

mod before;

use std::fs;
use std::mem::MaybeUninit;

use nix::errno::Errno;

use super::sys::{ptrace, read_memory};
use crate::arch::frame::FPSIMD_STATE;
use crate::arch::{NATIVE_REGSET_LEN, Place, Registers};
use crate::ids::{RemoteAddr, Tid};
use crate::proc::InSyscall;

pub(super) use before::Before;

const NT_PRSTATUS: usize = 1;
const NT_PRFPREG: usize = 2;
/// The number of the call, an int (Linux 3.19).
const NT_ARM_SYSTEM_CALL: usize = 0x404;
/// `struct user_sve_header` and what it says follows (Linux 4.15).
const NT_ARM_SVE: usize = 0x405;
/// The same of streaming mode (Linux 5.19).
const NT_ARM_SSVE: usize = 0x40b;
/// `struct user_gcs`: guarded control stack (Linux 6.13).
const NT_ARM_GCS: usize = 0x410;

/// `SVE_PT_REGS_SVE`: all of each vector follows, not its first 128 bits alone.
const REGS_SVE: u16 = 1;
/// `sizeof(struct user_sve_header)`; its first word is the length of it all, its flags are at 12.
const SVE_HEADER: usize = 16;
const SVE_FLAGS: usize = 12;
/// More than 32 vectors of the architecture's longest (256 bytes), its predicates and the header.
const MOST_SVE: usize = 16 * 1024;

/// NO_SYSCALL
const NO_CALL: i32 = -1;

/// PTRACE_GETREGSET; how many bytes there were.
fn get(tid: Tid, set: usize, into: &mut [u8]) -> Result<usize, Errno> {
    let mut iov = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    ptrace(libc::PTRACE_GETREGSET, tid, set, (&raw mut iov).expose_provenance())?;
    Ok(iov.iov_len)
}

/// PTRACE_SETREGSET
fn set(tid: Tid, set: usize, from: &[u8]) -> Result<(), Errno> {
    let mut iov = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    ptrace(libc::PTRACE_SETREGSET, tid, set, (&raw mut iov).expose_provenance())
}

fn general(tid: Tid) -> Result<(usize, libc::user_regs_struct), Errno> {
    let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let mut iov = libc::iovec { iov_base: regs.as_mut_ptr().cast(), iov_len: NATIVE_REGSET_LEN };
    ptrace(libc::PTRACE_GETREGSET, tid, NT_PRSTATUS, (&raw mut iov).expose_provenance())?;
    // SAFETY: zeroed memory is a valid user_regs_struct, whatever the kernel has filled of it.
    Ok((iov.iov_len, unsafe { regs.assume_init() }))
}

/// The general registers. Where the thread stands is not looked at.
pub(super) fn registers(tid: Tid) -> Result<Registers, Errno> {
    Ok(Registers { general: general(tid)?.1, place: Place::Elsewhere })
}

/// Sets the general registers.
pub(super) fn set_registers(tid: Tid, regs: &Registers) -> Result<(), Errno> {
    let mut iov =
        libc::iovec { iov_base: (&raw const regs.general).cast_mut().cast(), iov_len: NATIVE_REGSET_LEN };
    ptrace(libc::PTRACE_SETREGSET, tid, NT_PRSTATUS, (&raw mut iov).expose_provenance())
}

/// The length in bytes of the tracee's own general register set, whatever it runs, its registers, and where it stands.
/// `before` is what it was about before this stop.
pub(super) fn regset(tid: Tid, before: &Before) -> Result<(usize, Registers), Errno> {
    let (len, general) = general(tid)?;
    let mut registers = Registers { general, place: Place::Elsewhere };
    let mut code = [0; 8];
    let from = general.pc.checked_sub(4).filter(|_| len == NATIVE_REGSET_LEN);
    if let Some(from) = from
        && read_memory(tid, RemoteAddr(from), &mut code) == Ok(code.len())
    {
        registers.place = Place::of(code);
    }
    if let Place::Behind { .. } = registers.place
        && general.regs[0].cast_signed() == -i64::from(libc::EINTR)
        // One that was only interrupted here, having come out of its call before, has an EINTR of its own.
        && came_from_call(tid) != Some(false)
    {
        let first = first_argument(tid, general.regs[8])?.or_else(|| before.first_argument(tid, &registers));
        registers.place = Place::Behind { first };
    }
    Ok((len, registers))
}

/// `orig_x0`: x0 as it was when the thread made its last call, `number`.
///
/// ptrace(2) does not show it, but /proc/PID/syscall does, of a thread that is in a call; and whether it is in one the
/// kernel tells from the number, which a tracer may set. It is set back at once. If fdclose dies in between, the kernel
/// takes the thread for one in that call, whose result (EINTR) is no restart code: nothing comes of it.
///
/// Kernels of 2026 (seen in Debian's 6.1.0-56) copy x0 to it whenever a tracer sets registers of a thread that is in a call,
/// the number just set included, other than in a syscall-exit-stop. It then reads EINTR, which is no argument of any call;
/// [`Before`] has to tell.
fn first_argument(tid: Tid, number: u64) -> Result<Option<u64>, Errno> {
    let Ok(number) = i32::try_from(number) else { return Ok(None) };
    set(tid, NT_ARM_SYSTEM_CALL, &number.to_ne_bytes())?;
    let text = fs::read(format!("/proc/{tid}/syscall"));
    set(tid, NT_ARM_SYSTEM_CALL, &NO_CALL.to_ne_bytes())?;
    Ok(match text.map(|text| InSyscall::parse(&text)) {
        Ok(Ok(InSyscall::Call { args: [first, ..], .. }))
            if first.cast_signed() != -i64::from(libc::EINTR) =>
        {
            Some(first)
        }
        _ => None,
    })
}

/// In a syscall-exit-stop: sets the general registers, and their x0 as the first argument of the call (`orig_x0`).
///
/// Kernels of 2026 copy x0 there with every setting of registers, but in a syscall-exit-stop, which they know by the stop's
/// own `si_code`; it may be written to, and nothing else looks at it. By that copying the argument was lost when the call got
/// those of the injected one. Others have kept it, and copy nothing.
pub(super) fn set_first_argument(tid: Tid, regs: &Registers) -> Result<(), Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    ptrace(libc::PTRACE_GETSIGINFO, tid, 0, info.as_mut_ptr().expose_provenance())?;
    // SAFETY: zeroed memory is a valid siginfo_t, and PTRACE_GETSIGINFO has filled it.
    let info = unsafe { info.assume_init() };
    let mut unlike = info;
    unlike.si_code = 0;
    let set_info = |info: &libc::siginfo_t| {
        ptrace(libc::PTRACE_SETSIGINFO, tid, 0, std::ptr::from_ref(info).expose_provenance())
    };
    set_info(&unlike)?;
    set_registers(tid, regs).and(set_info(&info))
}

/// In a syscall-entry-stop: has the kernel make this call instead. In any other stop -1 says that the thread is in none.
pub(super) fn set_call(tid: Tid, number: Option<u64>) -> Result<(), Errno> {
    let number = number.map_or(Ok(NO_CALL), i32::try_from).map_err(|_| Errno::ENOSYS)?;
    set(tid, NT_ARM_SYSTEM_CALL, &number.to_ne_bytes())
}

/// Whether the thread came to its stop out of a call, by the kernel's own stack (/proc/PID/stack, CAP_SYS_ADMIN), at
/// whose far end stands how it was entered; `None` if that can't be read. Seen on 6.1.
pub(super) fn came_from_call(tid: Tid) -> Option<bool> {
    let stack = fs::read(format!("/proc/{tid}/stack")).ok()?;
    let has = |name: &[u8]| stack.windows(name.len()).any(|window| window == name);
    // An interrupt comes by way of el0_irq (el0_interrupt from 5.14 on), a call by el0_svc.
    if has(b"el0_svc") {
        Some(true)
    } else if has(b"el0") {
        Some(false)
    } else {
        None
    }
}

/// The floating point and vector registers, 128 bits of each.
pub(super) fn extended_state(tid: Tid) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; FPSIMD_STATE];
    let got = get(tid, NT_PRFPREG, &mut bytes)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// Whether the thread has a guarded control stack in use.
pub(super) fn has_shadow_stack(tid: Tid) -> bool {
    // features_enabled, features_locked, gcspr_el0; the lowest bit of the first is PR_SHADOW_STACK_ENABLE.
    let mut state = [0; 24];
    get(tid, NT_ARM_GCS, &mut state).is_ok() && state[0] & 1 != 0
}

/// What an injected call would cost the thread besides its general registers: of vectors of the Scalable Vector Extension
/// a call keeps the first 128 bits alone, and it ends streaming mode (Documentation/arm64/sve.rst, sme.rst).
///
/// A thread that is stopped in a call of its own has lost them already, by the same rule; it has none.
#[derive(Debug)]
pub struct Volatile {
    regset: usize,
    state: Vec<u8>,
}

/// None of a thread that has nothing but 128 bits in its vectors, or of a kernel that knows no more.
pub(super) fn volatile_state(tid: Tid) -> Result<Option<Volatile>, Errno> {
    for regset in [NT_ARM_SSVE, NT_ARM_SVE] {
        let mut header = [0; SVE_HEADER];
        let Ok(SVE_HEADER) = get(tid, regset, &mut header) else { continue };
        let [low, high] = [header[SVE_FLAGS], header[SVE_FLAGS + 1]];
        if u16::from_ne_bytes([low, high]) & REGS_SVE == 0 {
            continue;
        }
        let mut state = vec![0; MOST_SVE];
        let got = get(tid, regset, &mut state)?;
        state.truncate(got);
        return Ok(Some(Volatile { regset, state }));
    }
    Ok(None)
}

/// Gives the thread that back.
pub(super) fn set_volatile_state(tid: Tid, state: &Volatile) -> Result<(), Errno> {
    set(tid, state.regset, &state.state)
}
