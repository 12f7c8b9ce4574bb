//! What can go wrong with a target, and what to tell the user to do about it.

use nix::errno::Errno;

use crate::ids::{Pid, RemoteAddr, Tid};
use crate::proc::{ProcError, Seccomp};
use crate::refusal::Refusal;
use crate::trace::{Confinement, Filter};

/// A request to the kernel about a traced thread failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// The thread ended, or was killed, while it was stopped.
    #[error("thread {0} ended")]
    Gone(Tid),
    /// The kernel refused a request.
    #[error("{request} on thread {tid}: {}", errno.desc())]
    Ptrace {
        /// The request's name in ptrace(2).
        request: &'static str,
        /// The thread.
        tid: Tid,
        /// The answer.
        errno: Errno,
    },
    /// A thread did not come back from the injected call, not even when interrupted: a dead NFS or FUSE server.
    #[error("thread {tid} is still inside the injected call{}", aftermath(*.has_lifeline))]
    Stuck {
        /// The thread.
        tid: Tid,
        /// It will come to itself when the call returns.
        has_lifeline: bool,
    },
    /// A thread that was let go did not run.
    #[error("thread {0} does not run: its cgroup is frozen, or has no processor time left")]
    NotEntered(Tid),
    /// A thread reported a stop that can't follow what was asked of it.
    #[error("thread {tid} stopped in an unexpected way: {stop}")]
    UnexpectedStop {
        /// The thread.
        tid: Tid,
        /// The stop, in words.
        stop: String,
    },
    /// Signals came faster than one call could be made between two of them.
    #[error("thread {0} received signals without pause")]
    SignalStorm(Tid),
    /// No system call instruction could be found, or the one found raised a fault.
    #[error("no usable system call instruction in the target: {0}")]
    NoGadget(String),
    /// Scratch bytes below a thread's stack could not be put back.
    #[error("scratch bytes at {0} below the thread's stack could not be put back")]
    Scratch(RemoteAddr),
    /// The code this thread runs is none fdclose knows.
    #[error("thread {tid} runs code of a kind fdclose does not know")]
    UnknownAbi {
        /// The thread.
        tid: Tid,
    },
}

impl TraceError {
    /// A refused request.
    pub(crate) fn ptrace(request: &'static str, tid: Tid, errno: Errno) -> Self {
        Self::Ptrace { request, tid, errno }
    }
}

/// A process could not be attached to, or not stopped.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process ended.
    #[error("the process ended")]
    Gone,
    /// PTRACE_SEIZE was refused; [`Refusal::diagnose`] finds the reason.
    #[error("can't attach to thread {tid}: {}", errno.desc())]
    Seize {
        /// The thread.
        tid: Tid,
        /// The answer of ptrace(2).
        errno: Errno,
    },
    /// The reason why it may not be traced.
    #[error("{0}")]
    Refused(Refusal),
    /// A thread did not stop in time.
    #[error("thread {tid} can't be stopped{}", state_in_words(*.state))]
    CannotStop {
        /// The thread.
        tid: Tid,
        /// Its state letter (proc_pid_status(5)).
        state: Option<char>,
    },
    /// The target runs under seccomp, and its filter can't be taken out of force for the call.
    #[error("it runs under seccomp ({}), which applies to injected calls too, and can't be suspended: {error}", seccomp_in_words(*.mode))]
    Seccomp {
        /// The mode.
        mode: Seccomp,
        /// The answer to PTRACE_O_SUSPEND_SECCOMP.
        error: TraceError,
        /// What is around fdclose.
        confinement: Confinement,
    },
    /// No thread that uses the descriptor table looked at could be used.
    #[error("no thread that shares the descriptor table looked at can make the call")]
    OtherTable,
    /// Another process with the same descriptor table could not be stopped.
    #[error("process {pid} shares its descriptors and would have to be stopped as well, but: {error}")]
    Sharer {
        /// That process.
        pid: Pid,
        /// What went wrong with it.
        error: Box<AttachError>,
    },
    /// The processes that might share the descriptors could not be looked at.
    #[error("fdclose failed internally: nobody looked for processes that share the descriptors")]
    NobodyLooked,
    /// A signal asked fdclose to end.
    #[error("fdclose was asked to end before it was this descriptor's turn")]
    Interrupted,
    /// The system calls of every thread are dispatched back to it.
    #[error("it has its system calls dispatched back to it (prctl PR_SET_SYSCALL_USER_DISPATCH), ours too")]
    Dispatched,
    /// Every thread is inside a restartable sequence.
    #[error("every thread of it is inside a restartable sequence (rseq)")]
    AllInRseq,
    /// Threads were made faster than they could be attached to.
    #[error("the process makes threads faster than they can be attached to")]
    TooManyNewThreads,
    /// The tracing itself failed.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// /proc could not be read.
    #[error(transparent)]
    Proc(#[from] ProcError),
}

impl AttachError {
    /// Whether it only says that the process ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::Proc(error) => error.is_gone(),
            Self::Trace(TraceError::Gone(_)) => true,
            _ => false,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::CannotStop { state: Some('D'), .. } => Some(
                "it waits in the kernel for a disk, a network file system, a frozen cgroup or a vfork child; \
                 try again when that wait is over, or give a longer --timeout"
                    .into(),
            ),
            Self::Trace(TraceError::NotEntered(_)) => Some("thaw it first (docker unpause, cgroup.freeze), then try again".into()),
            Self::Trace(TraceError::Stuck { .. }) => {
                Some("the file system below it does not answer: look at its server or mount".into())
            }
            Self::Sharer { error, .. } => error.hint(),
            Self::OtherTable => Some("try again".into()),
            Self::Dispatched => Some("try again when a thread of it waits in a call of its own".into()),
            Self::AllInRseq => Some("try again: such sequences last nanoseconds".into()),
            Self::Seccomp { confinement, .. } => Some(format!(
                "{}; for a TCP connection, `ss --kill` ends it without freeing the descriptor",
                how_to_suspend_seccomp(*confinement)
            )),
            Self::CannotStop { .. } | Self::TooManyNewThreads => Some("give a longer --timeout".into()),
            _ => None,
        }
    }
}

/// The kernel takes CAP_SYS_ADMIN for it outside of user namespaces, and no seccomp around the tracer
/// (`check_ptrace_options`, kernel/ptrace.c).
fn how_to_suspend_seccomp(confinement: Confinement) -> &'static str {
    match confinement {
        Confinement { filter: Filter::AllowsPtrace | Filter::DeniesPtrace, .. } => {
            "a filter is around fdclose itself, and who is under one can't suspend another's: run fdclose as root on the \
             host, or docker run --cap-add SYS_PTRACE --cap-add SYS_ADMIN --security-opt seccomp=unconfined; in \
             Kubernetes kubectl debug --profile=sysadmin"
        }
        Confinement { without_sys_admin: true, .. } => {
            "CAP_SYS_ADMIN is beyond what this container or service may have: run fdclose as root on the host, or docker \
             run --cap-add SYS_PTRACE --cap-add SYS_ADMIN; in Kubernetes kubectl debug --profile=sysadmin"
        }
        _ => "run fdclose as root with CAP_SYS_ADMIN, not in a user namespace, on Linux 4.3 or later",
    }
}

fn aftermath(has_lifeline: bool) -> &'static str {
    if has_lifeline {
        "; it goes on as before as soon as that returns"
    } else {
        ", and could not be put back"
    }
}

fn state_in_words(state: Option<char>) -> &'static str {
    match state {
        Some('D') => ": it is in uninterruptible sleep (state D)",
        Some('R') => ": it is running but did not get to stop in time (state R)",
        Some('S') => ": it sleeps but did not get to stop in time (state S)",
        _ => " in time",
    }
}

fn seccomp_in_words(mode: Seccomp) -> &'static str {
    match mode {
        Seccomp::Strict => "strict mode, where any other call kills it",
        _ => "filter mode",
    }
}
