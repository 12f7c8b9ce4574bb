//! What differs between processors: registers, system call numbers, the system call instruction.
//!
//! Pure tables and register moves: no I/O, no unsafe. Each architecture is one small file with the same names in
//! it; a 64-bit x86 kernel also runs 32-bit tracees, which [`Abi`] tells apart.

#[cfg(target_arch = "x86_64")]
mod i386;
mod waits;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use waits::{Interrupted, On, WaitingCall, socket_call};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{NATIVE_REGSET_LEN, Registers, compat_abi, native_abi};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{chain, frame};

/// `-EINTR`: what a call shows that never restarts by itself.
const EINTR: i64 = libc::EINTR as i64;

/// "Restart unless a handler runs" (`include/linux/errno.h`). Never seen by user code: the kernel turns it into a
/// restart, or into EINTR when it really delivers a signal to a handler.
const ERESTARTNOHAND: i64 = 514;

/// The kernel's restart codes: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK.
const RESTARTS: [i64; 4] = [-512, -513, -514, -516];

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

/// The `Abi` of a stopped thread, from the length its register set came back with; `None` for a length that
/// belongs to no tracee this build knows.
#[must_use]
pub fn abi_of_regset_len(len: usize) -> Option<&'static Abi> {
    [native_abi(), compat_abi()].into_iter().find(|abi| abi.regset_len == len)
}

impl Registers {
    /// Whether the thread is in a call that is about to return EINTR.
    #[must_use]
    pub fn shows_eintr(&self, abi: &Abi) -> bool {
        self.call_in_progress().is_some() && self.result(abi) == -EINTR
    }

    /// Whether the call the thread is in carries one of the kernel's restart codes.
    fn shows_restart(&self, abi: &Abi) -> bool {
        RESTARTS.contains(&self.result(abi))
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
        let hit = self.shows_eintr(abi)
            && self.call_in_progress().is_some_and(|nr| abi.eintr_on_interrupt.contains(&nr));
        if hit {
            self.set_result(-ERESTARTNOHAND);
        }
        hit
    }
}
