//! fdclose closes a leaked file descriptor inside another process, which runs on and notices nothing else.
//!
//! The package is this library and a small binary on top of it (`src/main.rs`), which does nothing but parse, run,
//! print an error once, and exit.
//!
//! # One command, followed
//!
//! ```text
//! fdclose --pid 1234 --inode 43000
//! ```
//!
//! **What is asked.** [`cli::parse`] turns words into plain data, a [`cli::Cli`]; everything wrong is one line, and
//! nothing was touched. What is selected is [`selectors::Selectors`]. A selection that would mean a whole process or
//! a whole host ends here ([`selectors::TooBroad`]). `main` calls [`trace::prepare_process`], as SIGCHLD must be
//! blocked before there is a second thread, and hands over to [`cli::close::run`].
//!
//! **What is there.** [`survey::survey`] opens process 1234 ([`proc::Procfs::open`]). A [`proc::Process`] is an open
//! `/proc/1234`: it stays that process's, also when the number is given to another. Its descriptors
//! ([`proc::FdDir`]) are read as what they refer to ([`proc::FdTarget`]), and [`select`], which is pure, says which of
//! them match. State and addresses of the sockets come from copies of them ([`net::Copies`]) and from the kernel's
//! sock_diag(7) ([`net::Diag`]); where there are many, or the kernel has no pidfd_getfd(2), from all the sockets of
//! the target's network namespace ([`net::SocketTable`]). The result is a [`survey::Survey`]: here one
//! [`survey::Match`], `fd 12`.
//!
//! **What is to be done.** [`plan::plan`] sorts the matches by process and leaves out what is protected
//! ([`plan::Protection`]). `--dry-run` shows that plan; nothing more is decided after it. As a pid and an inode were
//! named ([`selectors::Selectors::is_exact`]), nobody is asked.
//!
//! **Doing it.** [`apply::apply`] hands the descriptors, as [`method::Item`]s with what each must still refer to, to
//! [`method::close::close`] by [`method::run`], process by process; with more than one descriptor that goes on in a
//! [`worker`], which outlives this process if it is killed. Until the report is out, signals to fdclose are held back
//! ([`trace::signals::Held`]). The work is done on a thread made for it ([`work::on_work_thread`]): the kernel takes
//! ptrace requests from the attaching thread alone, and when that thread ends, however it ends, it detaches whatever
//! is still traced.
//!
//! 1. [`trace::SeizedGroup::seize`] attaches to every thread and stops none; it lists them again until none is new.
//!    From here on the pid can't be reused, and the open directory is asked once more whether it is still the same
//!    process. What can be read before the stop (which threads wait in a call, what the target's memory has to
//!    offer: [`inject::Landmarks`]) is read now.
//! 2. [`trace::SeizedGroup::stop`] interrupts every thread, those at work last, and waits, with a deadline, until
//!    each is in a PTRACE_EVENT_STOP. [`inject::restart::hide_interruption`] is done to each at once: a call that
//!    would show the stop as EINTR is made to go on. If one waits on the very socket (`method/waits.rs`), and nobody
//!    else holds that ([`proc::Holders`]), the group is resumed, the socket shut down, and stopped again when the thread
//!    has left its call (`method/wake.rs`).
//!    Other processes that share the descriptor table are found (`method/sharers.rs`) and stopped first.
//! 3. One thread that uses the descriptor table in question is taken out, best one that waits in a call, never one
//!    inside a restartable sequence ([`inject::rseq`]). An [`inject::Site`] is a call instruction found in the target;
//!    none is ever written. A lifeline is laid below the thread's stack, by which it gets its own state back if
//!    fdclose dies during the call (`inject/lifeline.rs`).
//! 4. The descriptor is read again. It is not what was selected: [`method::ItemOutcome::Changed`]. It is: the thread
//!    runs close(2) by [`inject::fdops::close`]. [`inject::Remote`] saves its registers, moves the call into them
//!    ([`arch::Registers::load_call`]), goes to the syscall-entry-stop and the syscall-exit-stop, reads the result,
//!    and puts the registers back in the next PTRACE_EVENT_STOP. Then the descriptor is read once more, for what a
//!    call answers is not always what happened. A thread that still waits in a call on the descriptor
//!    ([`arch::WaitingCall`]) gets EBADF from it, before its call can start anew with a number that is another file's
//!    by then. For [`method::Method::Replace`] there are four calls instead of the one (`method/replace.rs`).
//! 5. With more descriptors than fit into `--max-pause`, the group is resumed, left alone for a moment and stopped
//!    again. At the end [`trace::StoppedGroup::detach`] lets every thread go, and the [`method::Operation`] tells what
//!    became of each item, and how long the pauses were.
//!
//! **Looking again.** [`verify::connections`] asks whether the connection is still there, and if so, who on this host
//! holds it. Only now, as it ends with its last holder, and that may have been in another process of the plan.
//! Where no descriptor refers to it, `verify/keepers.rs` looks for what else may keep it.
//!
//! **Telling it.** The [`report::ActionReport`] is what `--json` prints. [`output`] makes sentences and tables of it
//! for people, and everything that came from a target passes through [`output::sanitize`]. [`exit::Exit`] is the
//! status that follows from the report.
//!
//! When something fails on the way, the kernel's bare answer becomes a reason: [`refusal::Refusal`] finds out
//! which of a dozen rules made ptrace(2) say EPERM, and [`error::AttachError::hint`] says what to do about it.
//!
//! # Layers
//!
//! ```text
//! cli                       commands, the terminal, asking
//! apply, doctor, keepalive, listing, metrics, verify, output
//!                           carrying out a plan; looking again; what is shown
//! policy, plan, survey, select
//!                           what is there, and what is to be done with it
//! report, exit, selectors   plain data: what came of it, and what was asked for
//! method                    one way to end a descriptor, one file each
//! inject                    a system call in a stopped thread
//! worker                    work in a process of its own
//! trace    |  net           ptrace(2)                   |  sockets: ends, states, tables, segments
//! arch     |  proc          registers and call numbers  |  readers of /proc
//! kind, ids                 plain data: what sort of file; numbers that must not be mixed up
//! growth                    how numbers will go on
//! host                      what the kernel offers, and what is done where it does not
//! watchdog                  a way out of system calls that hang
//! ```
//!
//! Imports point down. The one exception is [`error`], which stands beside [`trace`]: each names types of the other.
//! [`arch`], [`select`], [`growth`], [`policy`] and [`plan::plan`] are pure, without I/O and without a clock, and so are the parsers in
//! [`proc`] and [`net`]. Every unsafe call is in a file named `sys.rs`. What could be used wrongly is made a type of
//! its own: a running thread ([`trace::Seized`]) and a stopped one ([`trace::Stopped`]) are two types, and resuming
//! consumes the one.
//!
//! # Older kernels
//!
//! What came after Linux 3.4 is a [`host::Feature`], and everything that takes one asks for it by [`host::ask`] or
//! [`host::has`]: no version is looked at, as distributions move new services to old kernels. Where one is lacking,
//! something else is done or it is said what is lacking; each of these ways is a [`host::Fallback`]. The hidden option
//! `--assume-kernel X.Y` has fdclose do without what came later than that version, so that these ways can be tested on
//! any kernel: `tests/old-kernels` runs the tests so, and counts the fallbacks that were taken. With that option, and
//! with it alone, fdclose leaves a file for each of them in the directory that FDCLOSE_TEST_FALLBACKS names;
//! `fdclose generate fallbacks` lists all.
//!
//! # Words
//!
//! They are those of ptrace(2).
//!
//! - **tracer**, **tracee**: who traces, and the thread that is traced. Tracing is a matter of threads (**tid**), not
//!   of processes (**tgid**, here [`ids::Pid`]).
//! - **seize**, **interrupt**, **detach**: to attach without stopping, to ask for a stop, to let go.
//! - **ptrace-stop**: any state in which the tracee waits for its tracer, here a [`trace::Stop`]. Of these:
//!   **PTRACE_EVENT_STOP**, after an interrupt or as part of a **group-stop** (the process is stopped by a signal, for
//!   its parent too); **signal-delivery-stop**, before a signal takes effect; **syscall-entry-stop** and
//!   **syscall-exit-stop**. A *signal-type stop* is any but the last two: registers put back there are taken as they
//!   are, pending restart included.
//! - **restart**: the kernel's way to make an interrupted call go on (`-ERESTARTSYS` and its like in the result).
//! - **native**, **compat**: 64-bit code, and 32-bit code under the same kernel ([`arch::Abi`]).
//! - **remote**, **local**: in the tracee, in fdclose.
//! - **holder**: a process with a descriptor to the file in question.
//! - **victim**: a process made to be operated on; there are some in the tests (`fixtures/`) only.
#![warn(missing_docs)]

pub mod apply;
pub mod arch;
pub mod cli;
pub mod doctor;
pub mod error;
pub mod exit;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod growth;
pub mod host;
pub mod ids;
pub mod inject;
pub mod keepalive;
pub mod kind;
pub mod listing;
pub mod method;
pub mod metrics;
pub mod net;
pub mod output;
pub mod plan;
pub mod policy;
pub mod proc;
pub mod progress;
pub mod refusal;
pub mod report;
pub mod select;
pub mod selectors;
pub mod survey;
pub mod trace;
pub mod verify;
pub mod watchdog;
pub mod work;
pub mod worker;
