//! What differs between processors: registers, system call numbers, the system call instruction.
//!
//! Pure tables and register moves: no I/O, no unsafe. Each architecture is one small file with the same names in
//! it; a 64-bit x86 kernel also runs 32-bit tracees, which [`Abi`] tells apart.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod i386;
mod waits;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::ids::RemoteAddr;

#[cfg(target_arch = "aarch64")]
pub use aarch64::{ABIS, NATIVE_REGSET_LEN, Place, Registers, chain, frame};
pub use waits::{Interrupted, On, WaitingCall, socket_call};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{ABIS, NATIVE_REGSET_LEN, Registers, chain, compat_abi, frame};

/// `-EINTR`: what a call shows that never restarts by itself.
const EINTR: i64 = libc::EINTR as i64;

/// How one sort of code makes system calls: which instruction, which registers, which numbers.
#[derive(Debug)]
pub struct Abi {
    /// The name people know it by.
    pub name: &'static str,
    /// The system call instruction's bytes.
    pub instruction: &'static [u8],
    /// Length of the `NT_PRSTATUS` register set, in bytes: the one sound sign of which `Abi` a stopped thread runs
    /// (PTRACE_GETREGSET gives it back; the code segment alone can lie).
    pub regset_len: usize,
    /// The size of a pointer.
    pub word: Word,
    /// The call numbers.
    pub calls: &'static Calls,
    /// Moves a call's number and arguments into the registers.
    pub(crate) load_call: fn(&mut Registers, u64, [u64; 6]),
    /// Call numbers that show a plain EINTR when a tracer's interrupt ends their wait; see
    /// [`Registers::hide_interruption`].
    eintr_on_interrupt: &'static [u64],
    /// The arguments of the call a thread is in.
    args: fn(&Registers) -> [u64; 6],
    /// The calls that wait on descriptors.
    waits: &'static [WaitingCall],
    /// Whether a call that is to start anew shows in a stop as already taken back: the instruction pointer at the call
    /// instruction, its arguments in place. Whoever stands there is taken for one that makes this call.
    pub rewinds: bool,
}

/// The size of a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}

/// The numbers of the calls that fdclose injects.
#[derive(Debug)]
pub struct Calls {
    /// close(2)
    pub close: u64,
    /// socket(2); of 32-bit code from Linux 4.3 on, before only as a part of socketcall(2)
    pub socket: u64,
    /// shutdown(2); likewise
    pub shutdown: u64,
    /// dup3(2)
    pub dup3: u64,
}

/// Two `Abi`s are the same when they are the same table.
impl PartialEq for Abi {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Abi {}

impl Abi {
    /// Whether the call `number` may show EINTR to a thread that was only stopped.
    #[must_use]
    pub fn may_show_eintr(&self, number: u64) -> bool {
        self.eintr_on_interrupt.contains(&number)
    }
}

/// The `Abi` of a stopped thread, from the length its register set came back with; `None` for a length that
/// belongs to no tracee this build knows.
#[must_use]
pub fn abi_of_regset_len(len: usize) -> Option<&'static Abi> {
    ABIS.into_iter().find(|abi| abi.regset_len == len)
}

/// How code of the same sort as fdclose's calls the kernel.
#[must_use]
pub fn native_abi() -> &'static Abi {
    let [native, ..] = ABIS;
    native
}

impl Registers {
    /// Whether the thread is in a call that is about to return EINTR.
    #[must_use]
    pub fn shows_eintr(&self, abi: &Abi) -> bool {
        self.is_behind_call() && self.result(abi) == -EINTR
    }

    /// Whether a call may be made at `site` instead of what the thread would go on with. Where the kernel takes the thread
    /// for one whose call starts anew as long as it stands at its instruction, it may not be that one: the kernel could
    /// put another call's number in place of ours (`setup_restart_syscall`, arch/arm64/kernel/signal.c).
    #[must_use]
    pub fn may_call_from(&self, site: RemoteAddr, abi: &Abi) -> bool {
        !abi.rewinds || self.ip() != site
    }

    /// Makes the stop invisible to a call that would otherwise show EINTR for it.
    ///
    /// Most interrupted calls carry one of the kernel's restart codes and go on by themselves. Some show a plain
    /// `-EINTR` for any wake-up, a tracer's included: `epoll_wait`, calls with SO_RCVTIMEO or SO_SNDTIMEO,
    /// `sigtimedwait`, `semop`, `io_getevents`, `io_uring_enter`. In a signal-type stop, writing
    /// `-ERESTARTNOHAND` over it makes the kernel itself decide: restart the call, or return EINTR exactly when a
    /// handler does run. Checked on 6.18 and, for the design, on 3.10 to 6.1.
    ///
    /// A finite wait starts over with its whole timeout. It is not rewritten to what was left:
    ///
    /// - When a wait began, nothing tells exactly. `se.exec_start` in `/proc/PID/task/TID/sched` is when the thread last
    ///   ran, which is later if it was woken in between; `/proc/timer_list` names no threads since 4.11, hashes
    ///   addresses, and lacks the timers of SO_RCVTIMEO, which are not hrtimers.
    /// - Where the timeout is an argument (r10 of `epoll_wait`), the application would see it changed: only rax, rcx and
    ///   r11 are lost in a call (x86-64 psABI, A.2.1), and gcc keeps the others from one call to the next. A loop of
    ///   waits of 500 ms, its call inlined, went on with waits of 100 ms when that was written once.
    /// - Elsewhere it is in memory of the application's, or an option of a socket that others share.
    ///
    /// Returns whether the registers changed. Only meaningful in a PTRACE_EVENT_STOP or signal-delivery-stop.
    pub fn hide_interruption(&mut self, abi: &Abi) -> bool {
        let hit =
            self.shows_eintr(abi) && self.call_in_progress().is_some_and(|number| abi.may_show_eintr(number));
        hit && self.restart_unless_handled()
    }
}
