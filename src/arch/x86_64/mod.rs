//! x86-64, native.

pub mod chain;
pub mod frame;
mod waits;

use super::{Abi, Calls, Word, i386};
use crate::ids::RemoteAddr;

/// `sizeof(struct user_regs_struct)`: the length of a 64-bit tracee's NT_PRSTATUS.
pub const NATIVE_REGSET_LEN: usize = size_of::<libc::user_regs_struct>();

/// `orig_rax` of a thread that is in no system call: the kernel then leaves `rax` alone (no restart).
const NO_CALL: u64 = u64::MAX;

/// `__X32_SYSCALL_BIT`
const X32_BIT: u32 = 1 << 30;

/// "Restart unless a handler runs" (`include/linux/errno.h`). Never seen by user code: the kernel turns it into a
/// restart, or into EINTR when it really delivers a signal to a handler.
const ERESTARTNOHAND: i64 = 514;

/// The kernel's restart codes: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK.
const RESTARTS: [i64; 4] = [-512, -513, -514, -516];

/// How code that runs under this kernel may call it: 64-bit code, and 32-bit code.
pub static ABIS: [&Abi; 2] = [&ABI, &i386::ABI];

static ABI: Abi = Abi {
    name: "x86-64",
    // syscall
    instruction: &[0x0f, 0x05],
    regset_len: NATIVE_REGSET_LEN,
    word: Word::Bits64,
    calls: &Calls { close: 3, socket: 41, shutdown: 48, dup3: 292 },
    load_call: |regs, nr, [a, b, c, d, e, f]| {
        let r = &mut regs.0;
        (r.rax, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9) = (nr, a, b, c, d, e, f);
    },
    eintr_on_interrupt: &[
        0,   // read, of a socket with SO_RCVTIMEO
        1,   // write, to a socket with SO_SNDTIMEO
        19,  // readv
        20,  // writev
        23,  // select, if its timeout can't be written to
        40,  // sendfile, to a socket with SO_SNDTIMEO
        42,  // connect, with SO_SNDTIMEO
        43,  // accept, with SO_RCVTIMEO
        44,  // sendto
        45,  // recvfrom
        46,  // sendmsg
        47,  // recvmsg
        65,  // semop
        128, // rt_sigtimedwait
        208, // io_getevents
        220, // semtimedop
        232, // epoll_wait
        270, // pselect6, if its timeout can't be written to
        271, // ppoll, likewise
        275, // splice
        276, // tee
        278, // vmsplice
        281, // epoll_pwait
        285, // fallocate, on tmpfs before Linux 6.9, which takes back what it did
        288, // accept4
        295, // preadv
        296, // pwritev
        299, // recvmmsg
        307, // sendmmsg
        327, // preadv2
        328, // pwritev2
        333, // io_pgetevents
        426, // io_uring_enter
        441, // epoll_pwait2
    ],
    args: |regs| {
        let r = &regs.0;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]
    },
    waits: waits::NATIVE,
    rewinds: false,
};

/// The lower 32 bits.
pub(super) fn low_half(register: u64) -> u32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The general registers of a stopped thread, in the 64-bit layout that PTRACE_GETREGS gives a 64-bit tracer for
/// any tracee, 32-bit ones included: so what is put back is all there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers(pub libc::user_regs_struct);

/// How 32-bit code calls the same kernel.
#[must_use]
pub fn compat_abi() -> &'static Abi {
    &i386::ABI
}

impl Registers {
    /// The instruction pointer.
    #[must_use]
    pub fn ip(&self) -> RemoteAddr {
        RemoteAddr(self.0.rip)
    }

    /// The stack pointer.
    #[must_use]
    pub fn sp(&self) -> RemoteAddr {
        RemoteAddr(self.0.rsp)
    }

    /// Near where the thread has its own variables (`%fs`); `None` where the registers don't tell.
    #[must_use]
    pub fn thread_pointer(&self) -> Option<RemoteAddr> {
        Some(RemoteAddr(self.0.fs_base))
    }

    /// Moves the instruction pointer.
    pub fn set_ip(&mut self, ip: RemoteAddr) {
        self.0.rip = ip.0;
    }

    /// The number of the call this thread was interrupted in, if it was in one. The kernel keeps it in `orig_rax`;
    /// an interrupt or exception leaves a negative number there instead.
    #[must_use]
    pub fn call_in_progress(&self) -> Option<u64> {
        // The number is an int to the kernel, and a 32-bit tracee's comes zero-extended.
        // x32 sets bit 30 of the same numbers.
        let nr = low_half(self.0.orig_rax).cast_signed();
        u64::try_from(nr).ok().map(|nr| nr & !u64::from(X32_BIT))
    }

    /// What the last call returned: a value, or a negated errno.
    #[must_use]
    pub fn result(&self, abi: &Abi) -> i64 {
        let raw = self.0.rax.cast_signed();
        // A 32-bit call's result is an int; the upper half of rax says nothing.
        if abi.word == Word::Bits32 { i64::from(low_half(self.0.rax).cast_signed()) } else { raw }
    }

    /// Whether the thread would show EINTR for a call that it is in.
    pub(super) fn is_behind_call(&self) -> bool {
        self.call_in_progress().is_some()
    }

    /// Whether the call the thread is in carries one of the kernel's restart codes.
    pub(super) fn shows_restart(&self, abi: &Abi) -> bool {
        RESTARTS.contains(&self.result(abi))
    }

    /// Makes the call that the thread is in start anew unless a handler runs; whether that can be done.
    pub(super) fn restart_unless_handled(&mut self) -> bool {
        self.set_result(-ERESTARTNOHAND);
        true
    }

    /// Whether its call is one to start anew without the kernel's doing: none is.
    #[must_use]
    #[allow(clippy::unused_self, reason = "elsewhere it is asked")]
    pub const fn is_taken_back(&self) -> bool {
        false
    }

    /// That it is.
    #[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "elsewhere it is noted")]
    pub const fn remember_taken_back(&mut self) {}

    /// Gives the call that would start anew this result instead.
    pub(super) fn end_restart(&mut self, value: i64) {
        self.set_result(value);
    }

    /// Replaces what the last call returned.
    fn set_result(&mut self, value: i64) {
        self.0.rax = value.cast_unsigned();
    }

    /// These registers, but with the restart of an interrupted call done as far as that is possible without the
    /// kernel: the instruction pointer back at the call, its number in place. A call that kept its deadline in the
    /// kernel (-516) starts over instead; after an `rt_sigreturn` its rest is forgotten there.
    #[must_use]
    pub fn with_restart_applied(&self) -> Self {
        let mut regs = *self;
        if self.call_in_progress().is_some() && RESTARTS.contains(&self.0.rax.cast_signed()) {
            regs.0.rax = self.0.orig_rax;
            regs.0.rip = self.0.rip.wrapping_sub(ABI.instruction.len() as u64);
        }
        regs
    }

    /// Every register but the segments, with its offset in bytes in `struct user` (sys/user.h), which begins with
    /// these.
    pub(crate) fn but_segments(&self) -> impl Iterator<Item = (usize, u64)> {
        macro_rules! with_offsets {
            ($($register:ident),*) => {
                [$((std::mem::offset_of!(libc::user_regs_struct, $register), self.0.$register)),*]
            };
        }
        with_offsets!(
            r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, eflags,
            rsp
        )
        .into_iter()
    }

    /// Moves the stack pointer.
    pub fn set_sp(&mut self, sp: RemoteAddr) {
        self.0.rsp = sp.0;
    }

    /// Sets this thread up to run one call at `site`, the address of a system call instruction.
    ///
    /// `orig_rax` becomes -1: otherwise the kernel, on its way out of the stop, would take the registers for an
    /// interrupted call and step the instruction pointer back by two (`arch_do_signal_or_restart`).
    pub fn load_call(&mut self, abi: &Abi, site: RemoteAddr, nr: u64, args: [u64; 6]) {
        (abi.load_call)(self, nr, args);
        self.0.rip = site.0;
        self.0.orig_rax = NO_CALL;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{abi_of_regset_len, native_abi};
    use super::*;

    pub(in super::super) fn registers(orig_rax: i64, rax: i64) -> Registers {
        let regs = libc::user_regs_struct {
            r15: 1,
            r14: 2,
            r13: 3,
            r12: 4,
            rbp: 5,
            rbx: 6,
            r11: 7,
            r10: 8,
            r9: 9,
            r8: 10,
            rax: rax.cast_unsigned(),
            rcx: 12,
            rdx: 13,
            rsi: 14,
            rdi: 15,
            orig_rax: orig_rax.cast_unsigned(),
            rip: 0x1000,
            cs: 0x33,
            eflags: 0x246,
            rsp: 0x2000,
            ss: 0x2b,
            fs_base: 18,
            gs_base: 19,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
        };
        Registers(regs)
    }

    #[test]
    fn a_call_touches_only_its_own_registers() {
        let before = registers(-1, 11);
        let mut after = before;
        after.load_call(native_abi(), RemoteAddr(0x7000), 3, [77, 1, 2, 3, 4, 5]);
        let mut expected = before.0;
        (expected.rip, expected.rax, expected.rdi, expected.rsi) = (0x7000, 3, 77, 1);
        (expected.rdx, expected.r10, expected.r8, expected.r9) = (2, 3, 4, 5);
        expected.orig_rax = u64::MAX;
        assert_eq!(after.0, expected);
    }

    #[test]
    fn a_32_bit_call_uses_the_32_bit_registers() {
        let mut regs = registers(-1, 11);
        regs.load_call(compat_abi(), RemoteAddr(0x7000), 6, [1, 2, 3, 4, 5, 0x99]);
        assert_eq!(
            (regs.0.rax, regs.0.rbx, regs.0.rcx, regs.0.rdx, regs.0.rsi, regs.0.rdi, regs.0.rbp),
            (6, 1, 2, 3, 4, 5, 0x99)
        );
    }

    #[test]
    fn only_an_interrupted_wait_is_rewritten() {
        let rewritten = |orig: i64, rax: i64, abi: &Abi| {
            let mut regs = registers(orig, rax);
            let changed = regs.hide_interruption(abi);
            assert_eq!(changed, regs.result(abi) != registers(orig, rax).result(abi));
            changed.then(|| regs.result(abi))
        };
        let native = native_abi();
        assert_eq!(rewritten(232, -4, native), Some(-ERESTARTNOHAND));
        assert_eq!(rewritten(232, 1, native), None, "events came: nothing to hide");
        assert_eq!(rewritten(232, -512, native), None, "restarts by itself");
        assert_eq!(rewritten(35, -4, native), None, "nanosleep's EINTR is a real one");
        assert_eq!(rewritten(3, -4, native), None, "close must never run twice");
        assert_eq!(rewritten(-1, -4, native), None, "not in a call");
        assert_eq!(rewritten(256, 0xffff_fffc, compat_abi()), Some(-ERESTARTNOHAND), "32-bit epoll_wait");
    }

    #[test]
    fn a_restart_without_the_kernel_steps_back_to_the_call() {
        let regs = registers(7, -516).with_restart_applied();
        assert_eq!((regs.0.rax, regs.0.rip), (7, 0x1000 - 2));
        for (orig_rax, rax) in [(7, 0), (7, -4), (-1, -512)] {
            assert_eq!(registers(orig_rax, rax).with_restart_applied(), registers(orig_rax, rax));
        }
    }

    #[test]
    fn the_length_of_the_register_set_tells_the_abi() {
        assert_eq!(abi_of_regset_len(216), Some(native_abi()));
        assert_eq!(abi_of_regset_len(68), Some(compat_abi()));
        assert_eq!(abi_of_regset_len(0), None);
    }
}
