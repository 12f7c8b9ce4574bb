//! One traced thread. What may be asked of it depends on whether it runs or is stopped, so these are two types:
//! stopping and resuming consume the one and give the other.

#[cfg(target_arch = "aarch64")]
mod arm64;
pub(super) mod taken_back;

use std::marker::PhantomData;
use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::deadline::Deadline;
use super::machine::{self, Before, Volatile};
use super::stop::{Report, Signal, Stop};
use super::sys;
use crate::arch::{self, Abi, Registers};
use crate::error::TraceError;
use crate::host::{self, Fallback};
use crate::ids::{RemoteAddr, Tid};

/// ptrace requests are only taken from the thread that attached: nothing here may wander to another one.
type OnTracerThread = PhantomData<*const ()>;

/// So many looks before sleeping: a stop takes about 10 us, less than going to sleep and being woken.
const LOOKS_BEFORE_SLEEP: u32 = 40;

/// The longest sleep between two looks at a tracee, so that a lost SIGCHLD only costs time.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// A traced thread that runs, or is about to report a stop.
///
/// It can't be detached in this state (ptrace(2): every request but PTRACE_INTERRUPT wants a stop). If it is
/// dropped, it stays traced until the tracer's thread ends, which is why surgery has a thread of its own
/// ([`super::on_tracer_thread`]).
#[derive(Debug)]
pub struct Seized {
    tid: Tid,
    before: Before,
    taken_back: bool,
    pinned: OnTracerThread,
}

/// A traced thread in a ptrace-stop. Dropping it detaches it: a safety net, for the errors on the way.
#[derive(Debug)]
pub struct Stopped {
    tid: Tid,
    stop: Stop,
    before: Before,
    taken_back: bool,
    pinned: OnTracerThread,
}

/// What came of waiting for a thread.
#[derive(Debug)]
pub enum Waited {
    /// It stopped.
    Stopped(Stopped),
    /// It ended, or an `execve` of its process replaced it.
    Gone,
    /// It still runs and time is up.
    Late(Seized),
}

/// Where a thread's calls are let through that are else dispatched back to it; all as it asked for by prctl(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserDispatch {
    /// The address of the byte that switches it; 0 if there is none.
    pub selector: u64,
    /// The start of the code that may make calls whatever the byte says.
    pub offset: u64,
    /// Its length.
    pub len: u64,
}

impl Seized {
    /// Attaches to a thread without stopping it (PTRACE_SEIZE, Linux 3.4).
    ///
    /// # Errors
    /// What ptrace(2) answers: EPERM has many causes, which [`crate::refusal`] tells apart; ESRCH means
    /// that the thread is gone.
    pub fn seize(tid: Tid) -> Result<Self, Errno> {
        sys::seize(tid, sys::OPTION_SYSGOOD)?;
        Ok(Self { tid, before: Before::default(), taken_back: false, pinned: PhantomData })
    }

    /// A thread that the calling one is attached to already, whether it runs or not: an execve(2) gives a thread the number
    /// of its process's first one.
    pub(super) fn adopt(tid: Tid) -> Self {
        Self { tid, before: Before::default(), taken_back: false, pinned: PhantomData }
    }

    /// The thread.
    #[must_use]
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// Asks the thread to stop (PTRACE_INTERRUPT). A thread that is gone is no error here: waiting tells.
    ///
    /// # Errors
    /// Any answer of ptrace(2) but ESRCH.
    pub fn interrupt(&self) -> Result<(), TraceError> {
        match sys::interrupt(self.tid) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(TraceError::ptrace("PTRACE_INTERRUPT", self.tid, errno)),
        }
    }

    /// What the thread has reported, without waiting.
    ///
    /// # Errors
    /// Any answer of waitpid(2) but ECHILD, which means that the thread is gone.
    pub fn look(self) -> Result<Waited, TraceError> {
        loop {
            match sys::poll_status(self.tid) {
                Ok(Some(status)) => match Report::from(status) {
                    Report::Stopped(stop) => {
                        return Ok(Waited::Stopped(self.stopped(stop)));
                    }
                    Report::Ended => return Ok(Waited::Gone),
                    Report::Unexpected(_) => {}
                },
                Ok(None) => return Ok(Waited::Late(self)),
                Err(Errno::ECHILD) => return Ok(Waited::Gone),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(TraceError::ptrace("waitpid", self.tid, errno)),
            }
        }
    }

    /// Waits until the thread stops or ends.
    ///
    /// # Errors
    /// Any answer of waitpid(2) but ECHILD, which means that the thread is gone.
    pub fn wait(mut self, deadline: Deadline) -> Result<Waited, TraceError> {
        let mut looks = 0;
        loop {
            self = match self.look()? {
                Waited::Late(late) => late,
                reported => return Ok(reported),
            };
            let Some(left) = deadline.remaining() else { return Ok(Waited::Late(self)) };
            looks += 1;
            if looks > LOOKS_BEFORE_SLEEP {
                sys::wait_sigchld(left.min(LONGEST_SLEEP));
            }
        }
    }
}

/// `si_code` of a SIGSYS by which syscall user dispatch (prctl(2)) answers a call.
const SYS_USER_DISPATCH: i32 = 2;

/// A request to a thread that should be stopped. ESRCH then means that SIGKILL, which no stop withstands, or an
/// exit has taken it.
fn answer<T>(request: &'static str, tid: Tid, answer: Result<T, Errno>) -> Result<T, TraceError> {
    answer.map_err(|errno| match errno {
        Errno::ESRCH => TraceError::Gone(tid),
        errno => TraceError::ptrace(request, tid, errno),
    })
}

impl Stopped {
    /// The thread.
    #[must_use]
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// Why it is stopped.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop
    }

    /// How the code it is in calls the kernel, and its registers.
    ///
    /// # Errors
    /// [`TraceError::UnknownAbi`] if this build does not know such code; others, `Gone` included.
    pub fn abi_and_registers(&self) -> Result<(&'static Abi, Registers), TraceError> {
        let (len, mut registers) =
            answer("PTRACE_GETREGSET", self.tid, machine::regset(self.tid, &self.before))?;
        if self.taken_back {
            registers.remember_taken_back();
        }
        let abi = arch::abi_of_regset_len(len).ok_or(TraceError::UnknownAbi { tid: self.tid })?;
        Ok((abi, registers))
    }

    /// Its general registers.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn registers(&self) -> Result<Registers, TraceError> {
        answer("PTRACE_GETREGS", self.tid, machine::registers(self.tid))
    }

    /// Replaces its general registers.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn set_registers(&mut self, registers: &Registers) -> Result<(), TraceError> {
        self.taken_back = registers.is_taken_back();
        answer("PTRACE_SETREGS", self.tid, machine::set_registers(self.tid, registers))
    }

    /// Whether the signal of this signal-delivery-stop was raised by an injected call at `site`, whose instruction is
    /// `len` bytes long, and so is no business of the target's.
    ///
    /// That is a fault at the very address, or a SIGSYS by which syscall user dispatch (prctl(2)) answers right behind
    /// it. Anything else is the thread's own: it may have been on its way since before the stop.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn is_fault_of_call(&self, site: RemoteAddr, len: u64) -> Result<bool, TraceError> {
        let Stop::SignalDelivery(signal) = self.stop else { return Ok(false) };
        let info = answer("PTRACE_GETSIGINFO", self.tid, sys::signal_info(self.tid))?;
        let ip = self.registers()?.ip();
        Ok(match signal.as_raw() {
            libc::SIGSEGV | libc::SIGBUS => info.code > 0 && ip == site && info.address == site.0,
            libc::SIGSYS => info.code == SYS_USER_DISPATCH && Some(ip) == site.checked_add(len),
            _ => false,
        })
    }

    /// The same for a chain of injected code that began with the stack pointer at `start`: a fault of the thread's own
    /// can only have been on its way from before the first step.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn is_fault_of_chain(&self, start: RemoteAddr) -> Result<bool, TraceError> {
        let Stop::SignalDelivery(signal) = self.stop else { return Ok(false) };
        if ![libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGSYS].contains(&signal.as_raw()) {
            return Ok(false);
        }
        let info = answer("PTRACE_GETSIGINFO", self.tid, sys::signal_info(self.tid))?;
        let registers = self.registers()?;
        if signal.as_raw() == libc::SIGSYS {
            // The very first call of the chain may be the one that is answered so.
            return Ok(info.code == SYS_USER_DISPATCH);
        }
        Ok(info.code > 0 && (registers.sp() != start || info.address == registers.ip().0))
    }

    /// Takes the thread's seccomp filters out of force while it is traced, or puts them back
    /// (PTRACE_O_SUSPEND_SECCOMP, Linux 4.3, wants CAP_SYS_ADMIN and no seccomp around fdclose). Only ever set on
    /// a thread while it is stopped: code of the target must not get to run without its filter.
    ///
    /// # Errors
    /// EPERM or EINVAL where that is not allowed or not known.
    pub fn suspend_seccomp(&mut self, suspend: bool) -> Result<(), TraceError> {
        let seccomp = if suspend { sys::OPTION_SUSPEND_SECCOMP } else { 0 };
        answer("PTRACE_SETOPTIONS", self.tid, sys::set_options(self.tid, sys::OPTION_SYSGOOD | seccomp))
    }

    /// The address of its `struct rseq` (rseq(2)); `None` where it registered none.
    ///
    /// # Errors
    /// EIO where the kernel can't tell (PTRACE_GET_RSEQ_CONFIGURATION).
    pub fn rseq_area(&self) -> Result<Option<u64>, Errno> {
        let config = sys::rseq_configuration(self.tid)?;
        Ok((config.rseq_abi_pointer != 0).then_some(config.rseq_abi_pointer))
    }

    /// How its system calls are dispatched back to it (prctl(2), PR_SET_SYSCALL_USER_DISPATCH); `None` where they are
    /// not, or the kernel can't tell (PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG came with Linux 6.4).
    #[must_use]
    pub fn user_dispatch(&self) -> Option<UserDispatch> {
        let config = sys::user_dispatch_configuration(self.tid);
        let config = config.inspect_err(|_| host::fall_back(Fallback::DispatchUnknown)).ok()?;
        let found = UserDispatch { selector: config.selector, offset: config.offset, len: config.len };
        (config.mode != 0).then_some(found)
    }

    /// Its blocked signals.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included; EIO below Linux 3.11.
    pub fn blocked_signals(&self) -> Result<u64, TraceError> {
        answer("PTRACE_GETSIGMASK", self.tid, sys::blocked_signals(self.tid))
    }

    /// What a call would cost it besides its general registers, if anything; see [`Volatile`].
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn volatile_state(&self) -> Result<Option<Volatile>, TraceError> {
        answer("PTRACE_GETREGSET", self.tid, machine::volatile_state(self.tid))
    }

    /// Gives it that back.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn set_volatile_state(&mut self, state: &Volatile) -> Result<(), TraceError> {
        answer("PTRACE_SETREGSET", self.tid, machine::set_volatile_state(self.tid, state))
    }

    /// Its floating point and vector registers, as [`crate::arch::frame`] takes them.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn extended_state(&self) -> Result<Vec<u8>, TraceError> {
        answer("PTRACE_GETREGSET", self.tid, machine::extended_state(self.tid))
    }

    /// Whether it has a shadow stack, on which every return is checked against its call.
    #[must_use]
    pub fn has_shadow_stack(&self) -> bool {
        machine::has_shadow_stack(self.tid)
    }

    /// Lets it run on, handing on the signal of a signal-delivery-stop. A member of a group-stop stays stopped, as its
    /// parent was told it is, and reports when a SIGCONT ends that.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn run(self) -> Result<Seized, TraceError> {
        let signal = self.stop.signal_to_hand_on();
        match self.stop {
            Stop::Group(_) => self.go(sys::Resume::Listen, signal),
            _ if self.taken_back => self.run_to_own_call(),
            _ => self.go(sys::Resume::Cont, signal),
        }
    }

    /// Lets it run to the next entry or exit of a system call, handing on the signal of a signal-delivery-stop.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn run_to_syscall(self) -> Result<Seized, TraceError> {
        let signal = self.stop.signal_to_hand_on();
        self.go(sys::Resume::Syscall, signal)
    }

    /// Lets it run on without the signal it is stopped for. Only for a fault that the surgery itself caused.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn run_without_signal(self) -> Result<Seized, TraceError> {
        self.go(sys::Resume::Cont, 0)
    }

    /// Queues a PTRACE_EVENT_STOP: the thread reports it before it runs any code of its own.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn interrupt_next(&self) -> Result<(), TraceError> {
        answer("PTRACE_INTERRUPT", self.tid, sys::interrupt(self.tid))
    }

    fn go(self, how: sys::Resume, signal: i32) -> Result<Seized, TraceError> {
        let (tid, taken_back) = (self.tid, self.taken_back);
        mem::forget(self);
        answer("PTRACE_CONT", tid, sys::resume(tid, how, signal))?;
        Ok(Seized { tid, before: Before::default(), taken_back, pinned: PhantomData })
    }

    /// Ends the tracing; the thread runs on, or stays stopped if its process is in a group-stop. A thread that is
    /// gone is detached, too.
    ///
    /// # Errors
    /// Any answer of ptrace(2) but ESRCH.
    pub fn detach(self) -> Result<(), TraceError> {
        let (tid, signal) = (self.tid, self.stop.signal_to_hand_on());
        mem::forget(self);
        match sys::detach(tid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(TraceError::ptrace("PTRACE_DETACH", tid, errno)),
        }
    }

    /// The signal it is stopped for, if this is a signal-delivery-stop.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.stop {
            Stop::SignalDelivery(signal) => Some(signal),
            _ => None,
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Nothing can be done about a failure here: the end of the tracer's thread detaches in any case.
        let _ = sys::detach(self.tid, self.stop.signal_to_hand_on());
    }
}
