//! The ways to end what is selected, one file each.

mod batch;
mod choice;
pub mod close;
mod destroy;
mod kill;
mod pace;
mod release;
mod replace;
mod reset;
mod sharers;
mod shutdown;
mod surgeon;
mod waits;
mod wake;

use std::borrow::Cow;
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

pub use choice::{Method, ResetWish, Unfit};
pub use sharers::sharers_of;

use crate::error::{AttachError, TraceError};
use crate::ids::{Fd, Tid};
use crate::net::SocketInfo;
use crate::proc::{FdIdentity, FdTarget, Process, Procfs};

/// Does `job` by `method`. Never fails as a whole: what went wrong is in the [`Operation`].
#[must_use]
pub fn run(method: Method, procfs: &Procfs, job: &Job<'_>, conduct: Conduct) -> Operation {
    match method {
        Method::Close => close::close(procfs, job, conduct),
        Method::Replace => close::perform(batch::Act::Replace, procfs, job, conduct),
        Method::Shutdown => shutdown::shutdown(procfs, job, conduct),
        Method::Destroy => destroy::destroy(job),
        Method::Reset(wish) => reset::reset(job, wish, conduct),
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
    /// The epoll instances of the process that are known to watch each.
    pub watched: &'a [&'a [Fd]],
    /// Whether the calling thread ends afterwards, so that it may trace ([`crate::trace::on_this_thread`]).
    pub is_last: bool,
}

impl Job<'_> {
    /// What became of an item of whose descriptor no copy, or one of something else, could be made; `None` if it is what
    /// it was, as where the thread has ended whose descriptors are copied.
    fn without_copy(&self, item: &Item) -> Option<ItemOutcome> {
        match self.process.look(self.table, item.fd) {
            Ok(Some(target)) if target == item.expected.target => None,
            Ok(Some(_)) => Some(ItemOutcome::Changed),
            Ok(None) => Some(ItemOutcome::Gone),
            Err(error) if error.is_gone() => Some(ItemOutcome::Gone),
            Err(error) => Some(ItemOutcome::Failed(error.to_string())),
        }
    }
}

/// What became of an [`Item`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemOutcome {
    /// The call was made. If the file could not be flushed on the way, this is what close(2) said of it.
    Done(#[serde(with = "errno_by_number")] Option<Errno>),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitEnd {
    /// It failed with EBADF.
    BadDescriptor,
    /// It was poll(2), and told of the closed descriptor by POLLNVAL.
    PolledInvalid,
    /// The socket was shut down before, and the call told of its end.
    Woken,
    /// It goes on with the dead socket that took the place, which tells of its end.
    Replaced,
    /// It failed with ECONNRESET.
    Reset,
}

/// A thread that was waiting in a call on a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// The descriptor.
    pub fd: Fd,
    /// The thread.
    pub tid: Tid,
    /// The call's name.
    pub call: Cow<'static, str>,
    /// What became of the call.
    pub end: WaitEnd,
}

/// How the number was found that a connection takes a RST with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The socket told it (TCP_REPAIR).
    Repair,
    /// The kernel told it when asked by a segment: a challenge ACK (RFC 5961).
    Challenge,
    /// The user did.
    Given,
}

/// How the number of one descriptor's connection was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The descriptor.
    pub fd: Fd,
    /// How.
    pub way: Way,
}

/// An errno on its way from one process of fdclose to another.
mod errno_by_number {
    use nix::errno::Errno;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde asks for this")]
    pub(super) fn serialize<S: Serializer>(errno: &Option<Errno>, to: S) -> Result<S::Ok, S::Error> {
        errno.map(|errno| errno as i32).serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Errno>, D::Error> {
        Ok(Option::deserialize(from)?.map(Errno::from_raw))
    }
}

/// Why an operation ended early: an [`AttachError`] or [`crate::worker::Lost`], told in a way that can be handed from
/// process to process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// What it means for what was not tried.
    pub verdict: Verdict,
    /// The error in words.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// What an [`Obstacle`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The process has ended.
    Gone,
    /// The kernel does not allow it; nothing was touched.
    Refused,
    /// It went wrong.
    Failed,
}

impl From<AttachError> for Obstacle {
    fn from(error: AttachError) -> Self {
        let verdict = match &error {
            AttachError::Refused(_) | AttachError::Seccomp { .. } => Verdict::Refused,
            error if error.is_gone() => Verdict::Gone,
            _ => Verdict::Failed,
        };
        Self { verdict, message: error.to_string(), hint: error.hint() }
    }
}

/// How one process was treated, and what became of its items.
#[derive(Debug, Serialize, Deserialize)]
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
    /// How the numbers of connections were found.
    pub found: Vec<Found>,
    /// Why it ended early, if it did.
    pub error: Option<Obstacle>,
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
            found: Vec::new(),
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
        self.error.get_or_insert_with(|| error.into());
    }
}
