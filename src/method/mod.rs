//! The ways to end what is selected, one file each.

mod batch;
mod choice;
pub mod close;
mod destroy;
mod kill;
mod pace;
mod shutdown;
mod surgeon;
mod waits;
mod wake;

use std::time::Duration;

use nix::errno::Errno;

pub use choice::{Method, Unfit};

use crate::error::{AttachError, TraceError};
use crate::ids::{Fd, Tid};
use crate::net::SocketInfo;
use crate::proc::{FdIdentity, FdTarget, Process, Procfs};

/// Does `job` by `method`. Never fails as a whole: what went wrong is in the [`Operation`].
#[must_use]
pub fn run(method: Method, procfs: &Procfs, job: &Job<'_>, conduct: Conduct) -> Operation {
    match method {
        Method::Close => close::close(procfs, job, conduct),
        Method::Shutdown => shutdown::shutdown(job),
        Method::Destroy => destroy::destroy(job),
        Method::Kill(signal) => kill::kill(job, signal, conduct),
    }
}

/// How gently to go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conduct {
    /// No pause of the target is to be longer than this.
    pub max_pause: Duration,
    /// No wait for the target is to be longer than this.
    pub timeout: Duration,
}

/// One descriptor to act on, and what it must still refer to at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The descriptor.
    pub fd: Fd,
    /// What it referred to when it was selected.
    pub expected: FdIdentity,
}

impl Item {
    /// Whether it is a socket.
    fn is_socket(&self) -> bool {
        matches!(self.expected.target, FdTarget::Socket(_))
    }
}

/// What to do in one process.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The process.
    pub process: &'a Process,
    /// The thread whose descriptor table is meant.
    pub table: Tid,
    /// Its network namespace, if that is known.
    pub netns: Option<u64>,
    /// What to act on there, by ascending descriptor.
    pub items: &'a [Item],
    /// What is known of each that is a socket.
    pub sockets: &'a [Option<&'a SocketInfo>],
}

/// What became of an [`Item`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemOutcome {
    /// The call was made. If the file could not be flushed on the way, this is what close(2) said of it.
    Done(Option<Errno>),
    /// A thread that waited on it was woken, and the process closed it.
    ByProcess,
    /// The descriptor was no longer open.
    Gone,
    /// It referred to something else.
    Changed,
    /// It could not be looked at or acted on, for this reason.
    Failed(String),
    /// The kernel, or what it is, does not allow it.
    Refused {
        /// Why.
        why: String,
        /// The way out.
        hint: String,
    },
    /// Something went wrong before it was its turn.
    NotTried,
}

/// How a call ended that a thread was waiting in when its descriptor was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// It failed with EBADF.
    BadDescriptor,
    /// It was poll(2), and told of the closed descriptor by POLLNVAL.
    PolledInvalid,
    /// The socket was shut down before, and the call told of its end.
    Woken,
}

/// A thread that was waiting in a call on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// The descriptor.
    pub fd: Fd,
    /// The thread.
    pub tid: Tid,
    /// The call's name.
    pub call: &'static str,
    /// What became of the call.
    pub end: WaitEnd,
}

/// How one process was treated, and what became of its items.
#[derive(Debug)]
pub struct Operation {
    /// One for each item, in their order.
    pub outcomes: Vec<ItemOutcome>,
    /// The largest number of threads stopped at once.
    pub threads: usize,
    /// How often the process was stopped.
    pub stops: u64,
    /// The longest pause: from the first thread asked to stop to the last one let go.
    pub longest_pause: Duration,
    /// All pauses together.
    pub total_pause: Duration,
    /// Who was waiting on a descriptor when it was closed.
    pub waited: Vec<Waited>,
    /// Why it ended early, if it did.
    pub error: Option<AttachError>,
    /// Whether every thread was put back as it was.
    pub restored: bool,
    /// Whether every call was made so that the target would have come to itself without fdclose.
    pub insured: bool,
}

impl Operation {
    /// Nothing done so far to `items` items.
    #[must_use]
    pub fn new(items: usize) -> Self {
        Self {
            outcomes: vec![ItemOutcome::NotTried; items],
            threads: 0,
            stops: 0,
            longest_pause: Duration::ZERO,
            total_pause: Duration::ZERO,
            waited: Vec::new(),
            error: None,
            restored: true,
            insured: true,
        }
    }

    fn count_pause(&mut self, pause: Duration) {
        self.longest_pause = self.longest_pause.max(pause);
        self.total_pause += pause;
    }

    fn fail(&mut self, error: impl Into<AttachError>) {
        let error = error.into();
        if let AttachError::Trace(TraceError::Stuck { has_lifeline: false, .. } | TraceError::Scratch(_)) =
            error
        {
            self.restored = false;
        }
        self.error.get_or_insert(error);
    }
}
