//! aarch64, native. 32-bit arm code under the same kernel is told by its register set and refused.
//!
//! What is different from x86-64, all in arch/arm64/kernel/signal.c, `do_signal`, and seen on 6.1: on its way to a stop
//! the kernel forgets that the thread was in a call (the number reads -1), and one that is to start anew is taken back
//! before the tracer sees it: the instruction pointer is at the `svc` and x0 is the first argument again. Which restart
//! code it was stays in a local variable of the kernel's, and x0 as the call began in `orig_x0`, which ptrace(2) does not
//! show. So the code around the instruction pointer has to tell where a thread stands ([`Place`]).

pub mod chain;
pub mod frame;
mod waits;

use super::{Abi, Calls, Word};
use crate::ids::RemoteAddr;

/// `sizeof(struct user_pt_regs)`: the length of a 64-bit tracee's NT_PRSTATUS. A 32-bit one's has 72 bytes.
pub const NATIVE_REGSET_LEN: usize = size_of::<libc::user_regs_struct>();

/// How code that runs under this kernel may call it, if fdclose is to act on it.
pub static ABIS: [&Abi; 1] = [&ABI];

/// The register of a call's number, and of a way back.
const X8: usize = 8;
const X30: usize = 30;

/// A call that does nothing.
const GETPID: u64 = 172;

static ABI: Abi = Abi {
    name: "aarch64",
    // svc #0
    instruction: &[0x01, 0x00, 0x00, 0xd4],
    regset_len: NATIVE_REGSET_LEN,
    word: Word::Bits64,
    calls: &Calls { close: 57, socket: 198, shutdown: 210, dup3: 24 },
    load_call: |regs, nr, args| {
        if let Some(places) = regs.general.regs.first_chunk_mut() {
            *places = args;
        }
        regs.general.regs[X8] = nr;
    },
    eintr_on_interrupt: waits::EINTR_ON_INTERRUPT,
    args: |regs| regs.general.regs.first_chunk().copied().unwrap_or_default(),
    waits: waits::NATIVE,
    rewinds: true,
};

/// Where a thread stands, as the code around its instruction pointer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At a call instruction: its call is to start anew, or it is about to make one.
    At {
        /// The call had EINTR, and starts anew by [`Registers::hide_interruption`].
        was_eintr: bool,
    },
    /// Behind a call instruction, with the call's first argument where that could be found out.
    Behind {
        /// `orig_x0`
        first: Option<u64>,
    },
    /// At neither, or nobody has looked.
    Elsewhere,
}

impl Place {
    /// By the eight bytes of code that have the instruction pointer in their middle.
    #[must_use]
    pub fn of(code: [u8; 8]) -> Self {
        // svc #imm; the kernel does not look at the number.
        let is_call = |bytes: [u8; 4]| u32::from_le_bytes(bytes) & 0xffe0_001f == 0xd400_0001;
        let [a, b, c, d, e, f, g, h] = code;
        match (is_call([a, b, c, d]), is_call([e, f, g, h])) {
            (_, true) => Self::At { was_eintr: false },
            (true, false) => Self::Behind { first: None },
            (false, false) => Self::Elsewhere,
        }
    }
}

/// The general registers of a stopped thread, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// `struct user_pt_regs`
    pub general: libc::user_regs_struct,
    /// Where the thread stands.
    pub place: Place,
}

impl Registers {
    /// The instruction pointer.
    #[must_use]
    pub fn ip(&self) -> RemoteAddr {
        RemoteAddr(self.general.pc)
    }

    /// The stack pointer.
    #[must_use]
    pub fn sp(&self) -> RemoteAddr {
        RemoteAddr(self.general.sp)
    }

    /// Near where the thread has its own variables: `tpidr_el0`, which is none of the general registers.
    #[must_use]
    pub fn thread_pointer(&self) -> Option<RemoteAddr> {
        None
    }

    /// Moves the instruction pointer.
    pub fn set_ip(&mut self, ip: RemoteAddr) {
        self.general.pc = ip.0;
        self.place = Place::Elsewhere;
    }

    /// Moves the stack pointer.
    pub fn set_sp(&mut self, sp: RemoteAddr) {
        self.general.sp = sp.0;
    }

    /// The number of the call this thread was interrupted in, if it was in one: no call changes x8.
    #[must_use]
    pub fn call_in_progress(&self) -> Option<u64> {
        // The number is an int to the kernel.
        let [a, b, c, d, ..] = self.general.regs[X8].to_le_bytes();
        let number = u64::try_from(i32::from_le_bytes([a, b, c, d])).ok();
        number.filter(|_| self.place != Place::Elsewhere)
    }

    /// What the last call returned: a value, or a negated errno. Of a call that is to start anew it is its first
    /// argument.
    #[must_use]
    pub fn result(&self, _abi: &Abi) -> i64 {
        self.general.regs[0].cast_signed()
    }

    /// Whether the thread would show EINTR for a call that it has come out of.
    pub(super) fn is_behind_call(&self) -> bool {
        matches!(self.place, Place::Behind { .. })
    }

    /// Whether the call the thread is in is to start anew.
    pub(super) fn shows_restart(&self, _abi: &Abi) -> bool {
        matches!(self.place, Place::At { .. })
    }

    /// Makes the call that the thread has come out of start anew; whether that can be done.
    pub(super) fn restart_unless_handled(&mut self) -> bool {
        let Place::Behind { first: Some(first) } = self.place else { return false };
        self.general.regs[0] = first;
        self.general.pc = self.general.pc.wrapping_sub(ABI.instruction.len() as u64);
        self.place = Place::At { was_eintr: true };
        true
    }

    /// Whether it starts anew by [`Self::hide_interruption`] and not by the kernel's doing.
    #[must_use]
    pub fn is_taken_back(&self) -> bool {
        self.place == Place::At { was_eintr: true }
    }

    /// That it does, where the code alone can't tell.
    pub fn remember_taken_back(&mut self) {
        if let Place::At { was_eintr } = &mut self.place {
            *was_eintr = true;
        }
    }

    /// Gives the call that would start anew this result instead.
    pub(super) fn end_restart(&mut self, value: i64) {
        self.general.regs[0] = value.cast_unsigned();
        self.general.pc = self.general.pc.wrapping_add(ABI.instruction.len() as u64);
        self.place = Place::Behind { first: None };
    }

    /// These registers as they are: the kernel has taken a call that is to start anew back already.
    #[must_use]
    pub fn with_restart_applied(&self) -> Self {
        *self
    }

    /// Sets this thread up to go to a syscall-entry-stop at `site` with its own x0, and with a call that does nothing, for
    /// [`Self::load_call`]'s to be made there instead: so the kernel keeps this x0 as that of the call (`orig_x0`), for
    /// [`Self::as_interrupted`].
    pub fn approach(&mut self, site: RemoteAddr) {
        self.general.regs[X8] = GETPID;
        self.set_ip(site);
    }

    /// These registers as the kernel had them before it looked whether the call starts anew: put into the
    /// syscall-exit-stop of another call that began with the same x0, they make it look once more, and see the same.
    /// `None` if no call is to start anew. `slept` says whether the thread surely was in the call.
    #[must_use]
    pub fn as_interrupted(&self, slept: bool) -> Option<Self> {
        let Place::At { was_eintr } = self.place else { return None };
        let mut regs = *self;
        let code =
            if was_eintr { -waits::ERESTARTNOHAND } else { -waits::restart_code(&self.general.regs, slept) };
        regs.general.regs[0] = code.cast_unsigned();
        regs.general.pc = self.general.pc.wrapping_add(ABI.instruction.len() as u64);
        regs.place = Place::Behind { first: None };
        Some(regs)
    }

    /// Whether the call that is to start anew ends with EINTR if a handler runs, whatever its SA_RESTART.
    #[must_use]
    pub fn ends_by_handler(&self, slept: bool) -> bool {
        let code = self.as_interrupted(slept).map(|before| -before.general.regs[0].cast_signed());
        matches!(code, Some(waits::ERESTARTNOHAND | waits::ERESTART_RESTARTBLOCK))
    }

    /// Whether the call that is to start anew keeps its deadline in the kernel, if the thread was in it.
    #[must_use]
    pub fn may_have_deadline(&self) -> bool {
        self.place == Place::At { was_eintr: false }
            && waits::restart_code(&self.general.regs, true) == waits::ERESTART_RESTARTBLOCK
    }

    /// Sets this thread up to run one call at `site`, the address of a system call instruction.
    pub fn load_call(&mut self, abi: &Abi, site: RemoteAddr, nr: u64, args: [u64; 6]) {
        (abi.load_call)(self, nr, args);
        self.set_ip(site);
    }

    /// Where a function that is come out of returns to.
    fn set_way_back(&mut self, to: RemoteAddr) {
        self.general.regs[X30] = to.0;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{abi_of_regset_len, native_abi};
    use super::*;

    pub(in super::super) fn registers(place: Place, number: u64, x0: i64) -> Registers {
        let mut regs = std::array::from_fn(|index| 100 + index as u64);
        (regs[0], regs[X8]) = (x0.cast_unsigned(), number);
        let general = libc::user_regs_struct { regs, sp: 0x2000, pc: 0x1000, pstate: 0x6000_0000 };
        Registers { general, place }
    }

    #[test]
    fn a_call_touches_only_its_own_registers() {
        let before = registers(Place::At { was_eintr: false }, 57, 11);
        let mut after = before;
        after.load_call(native_abi(), RemoteAddr(0x7000), 24, [77, 1, 2, 3, 4, 5]);
        let mut expected = before.general;
        expected.regs[..6].copy_from_slice(&[77, 1, 2, 3, 4, 5]);
        (expected.regs[8], expected.pc) = (24, 0x7000);
        assert_eq!(after.general, expected);
        assert_eq!(after.call_in_progress(), None);
    }

    #[test]
    fn the_code_tells_where_a_thread_stands() {
        let (svc, svc_7, ret) = (0xd400_0001_u32, 0xd400_00e1_u32, 0xd65f_03c0_u32);
        let of = |before: u32, at: u32| {
            let [a, b, c, d] = before.to_le_bytes();
            let [e, f, g, h] = at.to_le_bytes();
            Place::of([a, b, c, d, e, f, g, h])
        };
        assert_eq!(of(ret, svc), Place::At { was_eintr: false });
        assert_eq!(of(svc, svc_7), Place::At { was_eintr: false });
        assert_eq!(of(svc_7, ret), Place::Behind { first: None });
        assert_eq!(of(ret, ret), Place::Elsewhere);
        assert_eq!(of(ret, 0xd400_0002), Place::Elsewhere, "hvc");
    }

    #[test]
    fn only_an_interrupted_wait_is_rewritten() {
        let native = native_abi();
        let behind = Place::Behind { first: Some(5) };
        let mut waited = registers(behind, 22, -4);
        assert!(waited.hide_interruption(native));
        assert_eq!(
            waited,
            Registers { general: waited.general, ..registers(Place::At { was_eintr: true }, 22, 5) }
        );
        assert_eq!((waited.general.pc, waited.general.regs[0]), (0x1000 - 4, 5));
        for (place, number, x0) in [
            (behind, 22, 1),
            (behind, 101, -4),
            (behind, 57, -4),
            (Place::Behind { first: None }, 22, -4),
            (Place::At { was_eintr: false }, 22, -4),
            (Place::Elsewhere, 22, -4),
        ] {
            let mut other = registers(place, number, x0);
            assert!(!other.hide_interruption(native));
            assert_eq!(other, registers(place, number, x0));
        }
    }

    #[test]
    fn only_a_call_that_would_start_anew_is_ended() {
        let native = native_abi();
        let mut waits = registers(Place::At { was_eintr: false }, 207, 3);
        assert_eq!(waits.interrupted(native).map(|call| (call.number, call.args[0])), Some((207, 3)));
        assert!(waits.end_call(native, libc::EBADF));
        assert_eq!((waits.result(native), waits.general.pc), (-9, 0x1004));
        assert!(!waits.end_call(native, libc::EBADF));
        assert!(!registers(Place::Elsewhere, 207, 3).end_call(native, libc::EBADF));
    }

    #[test]
    fn a_call_that_starts_anew_is_what_it_was_before_the_kernel_looked() {
        let at = Place::At { was_eintr: false };
        let code = |mut regs: Registers, args: [u64; 4], slept| {
            regs.general.regs[..4].copy_from_slice(&args);
            let before = regs.as_interrupted(slept).unwrap();
            assert_eq!((before.general.pc, &before.general.regs[1..]), (0x1004, &regs.general.regs[1..]));
            before.general.regs[0].cast_signed()
        };
        assert_eq!(code(registers(at, 207, 3), [3, 0, 0, 0], true), -512, "recvfrom");
        assert_eq!(code(registers(at, 73, 3), [3, 0, 0, 0], true), -514, "ppoll");
        assert_eq!(code(registers(at, 101, 3), [3, 0, 0, 0], true), -516, "nanosleep");
        assert_eq!(code(registers(at, 101, 3), [3, 0, 0, 0], false), -514, "about to sleep");
        assert_eq!(code(registers(at, 115, 1), [1, 1, 0, 0], true), -514, "to a point in time");
        assert_eq!(code(registers(at, 98, 3), [3, 0x80, 0, 0], true), -512, "futex without a timeout");
        assert_eq!(code(registers(at, 98, 3), [3, 0x89, 0, 9], true), -516, "futex with one");
        assert_eq!(code(registers(at, 98, 3), [3, 0x86, 0, 9], true), -513, "FUTEX_LOCK_PI");
        let mut hidden = registers(Place::Behind { first: Some(3) }, 22, -4);
        assert!(hidden.hide_interruption(native_abi()));
        assert_eq!(code(hidden, [3, 0, 0, 0], true), -514, "epoll_pwait");
        assert_eq!(registers(Place::Elsewhere, 22, 3).as_interrupted(true), None);
    }

    #[test]
    fn the_length_of_the_register_set_tells_the_abi() {
        assert_eq!(abi_of_regset_len(272), Some(native_abi()));
        assert_eq!(abi_of_regset_len(72), None, "32-bit arm");
    }
}
