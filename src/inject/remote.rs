//! One stopped thread made to run system calls for us, then put back as if nothing had been.
//!
//! The sequence, checked by experiment on 3.10 to 6.18 (an interrupted `poll(1500 ms)` returned after 1501 ms):
//!
//! 1. The thread is in a PTRACE_EVENT_STOP. Its registers are saved.
//! 2. PTRACE_SETREGS: the call in the registers, the instruction pointer at a `syscall` instruction, `orig_rax` -1.
//! 3. PTRACE_SYSCALL to the syscall-entry-stop, PTRACE_SYSCALL to the syscall-exit-stop; the result is read there.
//! 4. PTRACE_INTERRUPT, then PTRACE_CONT: the thread reports PTRACE_EVENT_STOP before it runs any instruction.
//! 5. There the saved registers go back. It must be there: a restart code written in a syscall-stop would be seen
//!    by the application, in a signal-type stop the kernel acts on it.
//!
//! Signals need no mask: one that arrives between 2 and the entry is reported as a signal-delivery-stop. The saved
//! registers go back right there, the signal is delivered as it would have been, the thread stops again before the
//! first instruction of the handler, and the call is tried anew from that state. So nothing is held back, queued
//! or reordered, and a tracer that dies leaves no signal blocked. Between the entry and the exit no signal can
//! be reported, and after the exit the queued PTRACE_EVENT_STOP comes first (`get_signal` looks at job control
//! before it dequeues).

mod chained;
#[cfg_attr(target_arch = "aarch64", path = "remote/rewound.rs")]
#[cfg_attr(not(target_arch = "aarch64"), path = "remote/kept.rs")]
mod restarts;
mod result;

use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::deathpoint::{self, Place};
use super::gadget::Site;
use super::landmarks::Landmarks;
use super::lifeline::Lifeline;
use super::restart;
use crate::arch::{Abi, Registers};
use crate::error::TraceError;
use crate::ids::{Pid, RemoteAddr, Tid};
use crate::proc::Seccomp;
use crate::trace::{Deadline, Seized, Stop, Stopped, Volatile, Waited};

pub use chained::{ChainEnd, end_signal};
use result::decode;

/// So many signals may get in the way of one call. Each costs two stops, about 20 us.
const MOST_SIGNALS: u32 = 1_000;

/// How long a thread may need to get to the injected call. Only scheduling stands in its way, unless it is in a frozen
/// cgroup, whose threads can be stopped and looked at but do not run.
const ENTRY_LIMIT: Duration = Duration::from_millis(250);

/// A stopped thread on loan. [`Self::finish`] gives it back unharmed; a drop puts it back as well as it can.
#[derive(Debug)]
pub struct Remote<'a> {
    /// `None` only inside a method, or after the thread is lost.
    thread: Option<Stopped>,
    tid: Tid,
    pid: Pid,
    abi: &'static Abi,
    site: Site,
    landmarks: &'a Landmarks,
    lifeline: Option<Lifeline>,
    laying: Laying,
    saved: Registers,
    /// What else a call would change.
    volatile: Option<Volatile>,
    slept: Slept,
    /// The thread's registers are not `saved` at the moment.
    displaced: bool,
    /// The thread's seccomp filters are out of force.
    seccomp_suspended: bool,
    /// Its mode, if known. Filters are in force again when fdclose dies, and decide on the call and on the way back.
    seccomp: Option<Seccomp>,
    /// No call was made without a lifeline, nor by a thread under seccomp(2).
    insured: bool,
    /// A call that takes longer than this is interrupted: no target is paused for the length of a SO_LINGER.
    patience: Duration,
    /// No wait for the thread is longer than this.
    limit: Duration,
}

/// Whether the thread surely sleeps in the call that its saved registers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slept(bool);

/// When a lifeline is laid, if there can be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Laying {
    Done,
    BeforeNextCall,
}

/// Where the way to the syscall-entry-stop led.
enum Entry {
    Reached(Stopped),
    /// A signal came first and has been delivered; try again.
    Again(Stopped),
}

impl<'a> Remote<'a> {
    /// Borrows `thread`, which must be in a PTRACE_EVENT_STOP, to run calls at `site`.
    ///
    /// # Errors
    /// [`TraceError`], `Gone` included.
    pub fn prepare(
        mut thread: Stopped,
        pid: Pid,
        site: Site,
        landmarks: &'a Landmarks,
        seccomp: Option<Seccomp>,
        (patience, limit): (Duration, Duration),
    ) -> Result<Self, TraceError> {
        let (abi, saved) = thread.abi_and_registers()?;
        // Segment registers that user code may load but PTRACE_SETREGS refuses would make it fail half-way later on.
        thread.set_registers(&saved)?;
        let volatile = thread.volatile_state()?;
        let tid = thread.tid();
        let lifeline = Lifeline::lay(&thread, &saved, landmarks);
        Ok(Self {
            slept: restarts::slept(&thread, &saved),
            thread: Some(thread),
            landmarks,
            lifeline,
            laying: Laying::Done,
            tid,
            pid,
            abi,
            site,
            saved,
            volatile,
            displaced: false,
            seccomp_suspended: false,
            seccomp,
            insured: true,
            patience,
            limit,
        })
    }

    /// Takes the thread's seccomp filters out of force until [`Self::finish`]: otherwise they apply to the injected
    /// call, and strict mode kills the target for it.
    ///
    /// # Errors
    /// [`TraceError::Ptrace`] where the kernel does not allow it.
    pub fn suspend_seccomp(&mut self) -> Result<(), TraceError> {
        if let Some(thread) = &mut self.thread {
            thread.suspend_seccomp(true)?;
            self.seccomp_suspended = true;
        }
        Ok(())
    }

    /// Runs one system call in the target and returns its result: the outer `Result` is about the transport, the
    /// inner one is what the target's kernel call answered.
    ///
    /// # Errors
    /// [`TraceError::Gone`] if the thread was killed, [`TraceError::Stuck`] if the call does not come back, others
    /// as ptrace(2) has them. After any of them the thread is put back as far as possible by [`Self::finish`].
    pub fn call(&mut self, nr: u64, args: [u64; 6]) -> Result<Result<u64, Errno>, TraceError> {
        for _ in 0..MOST_SIGNALS {
            let thread = self.take()?;
            match self.enter(thread, nr, args)? {
                Entry::Again(thread) => self.thread = Some(thread),
                Entry::Reached(thread) => {
                    let thread = self.leave(thread)?;
                    deathpoint::reach(Place::Left);
                    let result = thread.registers()?.result(self.abi);
                    self.thread = Some(thread);
                    return Ok(decode(result));
                }
            }
        }
        Err(TraceError::SignalStorm(self.tid))
    }

    /// From a stop to the syscall-entry-stop of our call.
    fn enter(&mut self, mut thread: Stopped, nr: u64, args: [u64; 6]) -> Result<Entry, TraceError> {
        if mem::replace(&mut self.laying, Laying::Done) == Laying::BeforeNextCall {
            self.lifeline = Lifeline::lay(&thread, &self.saved, self.landmarks);
        }
        thread = self.leave_last_call(thread)?;
        let mut call = self.load(nr, args);
        match &self.lifeline {
            Some(lifeline) => lifeline.hold(&mut call),
            None => self.insured = false,
        }
        self.insured &= self.seccomp == Some(Seccomp::Disabled);
        self.displaced = true;
        if let Err(error) = thread.set_registers(&call) {
            self.thread = Some(thread);
            return Err(error);
        }
        deathpoint::reach(Place::Loaded);
        let deadline = self.entry_deadline();
        loop {
            thread = self.run_to_entry(thread, deadline)?;
            match thread.stop() {
                Stop::Syscall => {
                    if let Err(error) = restarts::begin(&mut thread, self.abi, self.site(), nr, args) {
                        self.thread = Some(thread);
                        return Err(error);
                    }
                    return Ok(Entry::Reached(thread));
                }
                // A SIGCONT, an interrupt left over, or ours: nothing ran yet, the registers are still as set.
                Stop::Interrupt | Stop::Group(_) | Stop::OtherEvent(_) if deadline.remaining().is_some() => {}
                Stop::Interrupt | Stop::Group(_) | Stop::OtherEvent(_) => {
                    self.thread = Some(thread);
                    return Err(TraceError::NotEntered(self.tid));
                }
                Stop::SignalDelivery(_) if self.is_own_fault(&thread)? => {
                    thread.interrupt_next()?;
                    let thread = self.next_stop(thread.run_without_signal()?)?;
                    self.thread = Some(thread);
                    return Err(TraceError::NoGadget(format!("{} raised a fault", self.site())));
                }
                Stop::SignalDelivery(_) => return self.deliver(thread).map(Entry::Again),
            }
        }
    }

    /// Lets the thread run until it stops, for whatever reason; it is not left to itself with our registers.
    ///
    /// It is interrupted only when all the time is over: a thread that has to wait long for a CPU would otherwise be
    /// interrupted whenever it gets one, and never arrive.
    fn run_to_entry(&mut self, thread: Stopped, deadline: Deadline) -> Result<Stopped, TraceError> {
        match thread.run_to_syscall()?.wait(deadline)? {
            Waited::Stopped(thread) => Ok(thread),
            Waited::Gone => Err(TraceError::Gone(self.tid)),
            Waited::Late(late) => {
                late.interrupt()?;
                self.next_stop(late)
            }
        }
    }

    /// Puts the thread back as it was, lets its signal be delivered, and stops it again before it runs on.
    fn deliver(&mut self, mut thread: Stopped) -> Result<Stopped, TraceError> {
        self.give_back(&mut thread)?;
        self.end_if_handled(&mut thread)?;
        // Its handler's frame goes right below its stack pointer.
        self.take_up_lifeline()?;
        loop {
            thread.interrupt_next()?;
            thread = self.next_stop(thread.run()?)?;
            match thread.stop() {
                Stop::Interrupt | Stop::Group(_) => break,
                Stop::SignalDelivery(_) | Stop::Syscall | Stop::OtherEvent(_) => {}
            }
        }
        (_, self.saved) = restart::hide_interruption(&mut thread)?;
        self.volatile = thread.volatile_state()?;
        self.slept = restarts::slept(&thread, &self.saved);
        self.lifeline = Lifeline::lay(&thread, &self.saved, self.landmarks);
        Ok(thread)
    }

    /// Gives the thread its own registers.
    fn give_back(&mut self, thread: &mut Stopped) -> Result<(), TraceError> {
        thread.set_registers(&self.saved)?;
        if let Some(volatile) = &self.volatile {
            thread.set_volatile_state(volatile)?;
        }
        self.displaced = false;
        Ok(())
    }

    /// Where the call is made.
    fn site(&self) -> RemoteAddr {
        self.lifeline.as_ref().map_or(self.site.address, Lifeline::site)
    }

    /// Whether the thread would have come to itself if fdclose had died in the middle of any call made so far.
    #[must_use]
    pub fn is_insured(&self) -> bool {
        self.insured
    }

    fn take_up_lifeline(&mut self) -> Result<(), TraceError> {
        self.lifeline.take().map_or(Ok(()), Lifeline::take_up)
    }

    /// From the syscall-entry-stop to the syscall-exit-stop.
    fn leave(&mut self, thread: Stopped) -> Result<Stopped, TraceError> {
        deathpoint::reach(Place::Entered);
        let running = thread.run_to_syscall()?;
        let late = match running.wait(Deadline::after(self.patience))? {
            Waited::Stopped(thread) => return self.expect_exit(thread),
            Waited::Gone => return Err(TraceError::Gone(self.tid)),
            Waited::Late(late) => late,
        };
        // A close that lingers (SO_LINGER, socket(7)) gives up its wait at once; the kernel goes on without it.
        late.interrupt()?;
        let thread = self.next_stop(late)?;
        self.expect_exit(thread)
    }

    fn expect_exit(&mut self, thread: Stopped) -> Result<Stopped, TraceError> {
        if thread.stop() == Stop::Syscall {
            return Ok(thread);
        }
        let stop = format!("{:?} inside the injected call", thread.stop());
        self.thread = Some(thread);
        Err(TraceError::UnexpectedStop { tid: self.tid, stop })
    }

    /// Whether the signal comes from the injected call. No handler may hear of it.
    fn is_own_fault(&self, thread: &Stopped) -> Result<bool, TraceError> {
        thread.is_fault_of_call(self.site(), self.abi.instruction.len() as u64)
    }

    fn next_stop(&mut self, running: Seized) -> Result<Stopped, TraceError> {
        match running.wait(Deadline::after(self.limit))? {
            Waited::Stopped(thread) => Ok(thread),
            Waited::Gone => Err(TraceError::Gone(self.tid)),
            // It stays traced until the tracer's thread ends, and then runs into its lifeline, if it has one.
            Waited::Late(_) => {
                Err(TraceError::Stuck { tid: self.tid, has_lifeline: self.lifeline.is_some() })
            }
        }
    }

    /// When to give up on a thread that does not run.
    fn entry_deadline(&self) -> Deadline {
        Deadline::after(self.limit.min(ENTRY_LIMIT))
    }

    /// The thread.
    #[must_use]
    pub fn tid(&self) -> Tid {
        self.tid
    }

    fn take(&mut self) -> Result<Stopped, TraceError> {
        self.thread.take().ok_or(TraceError::Gone(self.tid))
    }

    /// Puts everything back and returns the thread in a signal-type stop, ready to be detached.
    ///
    /// # Errors
    /// [`TraceError::Gone`] if the thread was killed meanwhile; any other error means that the thread could not be
    /// restored.
    pub fn finish(mut self) -> Result<Stopped, TraceError> {
        self.restore()
    }

    fn restore(&mut self) -> Result<Stopped, TraceError> {
        let mut thread = self.restore_registers()?;
        deathpoint::reach(Place::Restored);
        if self.seccomp_suspended {
            thread.suspend_seccomp(false)?;
            self.seccomp_suspended = false;
        }
        Ok(thread)
    }

    fn restore_registers(&mut self) -> Result<Stopped, TraceError> {
        let thread = self.take()?;
        let thread = self.settle(thread)?;
        self.take_up_lifeline()?;
        Ok(thread)
    }

    /// Takes the thread to a signal-type stop with its own registers.
    fn settle(&mut self, mut thread: Stopped) -> Result<Stopped, TraceError> {
        if self.displaced {
            self.show_again(&mut thread)?;
        }
        while self.displaced && !thread.stop().is_signal_type() {
            thread.interrupt_next()?;
            thread = self.next_stop(thread.run()?)?;
        }
        if self.displaced {
            self.give_back(&mut thread)?;
        }
        Ok(thread)
    }

    /// The process this thread belongs to.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How the target's code calls the kernel.
    #[must_use]
    pub fn abi(&self) -> &'static Abi {
        self.abi
    }
}

impl Drop for Remote<'_> {
    fn drop(&mut self) {
        // Reached with a thread only on an error or a panic on the way; that error is the one to be told. The
        // thread is detached by its own drop.
        if self.thread.is_some() {
            let _ = self.restore();
        }
    }
}
