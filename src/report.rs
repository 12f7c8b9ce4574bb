//! What was found and done, in the shape of the JSON documents. Fields are added, never renamed; what is
//! absent is `null`.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::ids::{Fd, Inode, Pid, Tid};
use crate::kind::Kind;
use crate::method::{Method, Way};
use crate::net::TcpState;

/// The version of both documents. It changes only when a reader of the old one could be misled.
pub const SCHEMA: u32 = 1;

/// Bytes from the system that are text by custom only: a comm, a path.
///
/// In JSON they are a string. What is not UTF-8 becomes U+FFFD there: JSON has no bytes, and a reader that
/// needs them has the pid and the descriptor to ask the kernel with.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Vec<u8>>> From<T> for Text {
    fn from(bytes: T) -> Self {
        Self(Arc::from(bytes.into()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

/// What became of one selected descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done.
    Done,
    /// The process or the descriptor was no longer there.
    Gone,
    /// The descriptor referred to something else by then. It was left alone.
    Changed,
    /// Not tried: not allowed, or not without `--force`.
    Refused,
    /// Tried, and did not work.
    Failed,
    /// A dry run: it would have been tried.
    WouldDo,
}

impl Outcome {
    /// The word in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::WouldDo => "would-do",
        }
    }

    /// Whether it has to be told of even with `--quiet`.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Changed | Self::Refused | Self::Failed)
    }
}

/// What became of the connection behind a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionFate {
    /// The kernel no longer has it.
    Ended,
    /// It is still there.
    Remains,
    /// There was none, or nothing was done.
    NotApplicable,
    /// The look at it did not come back.
    Unknown,
}

/// A process that still has a descriptor to the same file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderReport {
    /// The process.
    pub pid: Pid,
    /// The thread, if it has a descriptor table of its own and is not the main thread.
    pub tid: Option<Tid>,
    /// Its name.
    pub comm: Text,
    /// Its descriptor.
    pub fd: Fd,
}

/// In which way something may be kept open that no descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeping {
    /// As a file registered with an io_uring(7) instance.
    IoUringFile,
    /// By a request of an io_uring instance that waits for it.
    IoUringRequest,
    /// As a descriptor on its way, in the queue of a Unix socket (SCM_RIGHTS).
    InFlight,
    /// By a thread in a call on a descriptor that was closed meanwhile.
    Call,
}

/// Something that keeps a connection open which no descriptor refers to, or may do so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeeperReport {
    /// How.
    pub how: Keeping,
    /// Whether the kernel says that it is this connection; otherwise only that it is some file.
    pub certain: bool,
    /// The process.
    pub pid: Pid,
    /// Its name.
    pub comm: Text,
    /// The io_uring instance or the Unix socket, or the number that the call was made with.
    pub fd: Fd,
    /// The thread that is in a call.
    pub tid: Option<Tid>,
    /// The call's name.
    pub call: Option<&'static str>,
}

/// How a call ended that was waiting on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitEnd {
    /// It failed with EBADF.
    Ebadf,
    /// It was poll(2), and told of the closed descriptor by POLLNVAL.
    Pollnval,
    /// The socket was shut down before, and the call told of its end.
    Woken,
    /// It goes on with the dead socket that took the place, which tells of its end.
    Replaced,
    /// It failed with ECONNRESET.
    Reset,
}

/// A thread that was waiting in a call on a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaiterReport {
    /// The thread.
    pub tid: Tid,
    /// The call's name.
    pub call: Cow<'static, str>,
    /// What became of the call.
    pub end: WaitEnd,
}

/// One selected descriptor and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetReport {
    /// The process.
    pub pid: Pid,
    /// Its name.
    pub comm: Text,
    /// The descriptor.
    pub fd: Fd,
    /// What it referred to, where that has an inode number of its own.
    pub inode: Option<Inode>,
    /// What sort of file.
    pub kind: Kind,
    /// What `/proc/PID/fd` showed, without the kernel's ` (deleted)`: a path, `socket:[N]`,
    /// `anon_inode:[eventfd]`.
    pub name: Text,
    /// Whether the file's last name was removed.
    pub deleted: bool,
    /// The state of a TCP socket.
    pub state: Option<TcpState>,
    /// This end of an internet socket.
    pub local: Option<SocketAddr>,
    /// The other end, if connected.
    pub peer: Option<SocketAddr>,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the descriptor is free now, as seen afterwards.
    pub fd_freed: bool,
    /// Whether the process closed it, after a thread that waited on it was woken.
    pub closed_by_process: bool,
    /// What became of the connection.
    pub connection: ConnectionFate,
    /// The state of a TCP connection that remains.
    pub state_after: Option<TcpState>,
    /// How the number was found that the connection was reset with.
    pub number_by: Option<Way>,
    /// Which threads of the process were waiting in a call on it.
    pub waiters: Vec<WaiterReport>,
    /// Which epoll instances of the process watched it, as seen before.
    pub watched_by: Vec<Fd>,
    /// Who still has it, as seen afterwards.
    pub holders: Vec<HolderReport>,
    /// What may keep the connection if nobody has it.
    pub kept_by: Vec<KeeperReport>,
    /// Whether every process could be looked into for that; `None` where nobody looked.
    pub all_seen: Option<bool>,
    /// What went wrong and why, in one line.
    pub error: Option<String>,
    /// What to do about it, in one line.
    pub hint: Option<String>,
}

/// What was done to one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessReport {
    /// The process.
    pub pid: Pid,
    /// Its name.
    pub comm: Text,
    /// How many threads were stopped at the most.
    pub threads: usize,
    /// How often it was stopped.
    pub stops: u64,
    /// The longest pause, in microseconds.
    pub paused_us_max: u64,
    /// All pauses together, in microseconds.
    pub paused_us_total: u64,
    /// Whether it runs on as it was. `false` is never expected.
    pub restored: bool,
    /// Whether it would have done so, too, if fdclose had been killed in the middle.
    pub insured: bool,
}

/// How many descriptors had which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All that were selected: the sum of the others.
    pub matched: usize,
    /// See [`Outcome::Done`].
    pub done: usize,
    /// See [`Outcome::Failed`].
    pub failed: usize,
    /// See [`Outcome::Refused`].
    pub refused: usize,
    /// See [`Outcome::Changed`].
    pub changed: usize,
    /// See [`Outcome::Gone`].
    pub gone: usize,
    /// See [`Outcome::WouldDo`].
    pub would_do: usize,
}

impl Summary {
    /// Counts `outcomes`.
    pub fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut sum = Self::default();
        for outcome in outcomes {
            sum.matched += 1;
            *match outcome {
                Outcome::Done => &mut sum.done,
                Outcome::Gone => &mut sum.gone,
                Outcome::Changed => &mut sum.changed,
                Outcome::Refused => &mut sum.refused,
                Outcome::Failed => &mut sum.failed,
                Outcome::WouldDo => &mut sum.would_do,
            } += 1;
        }
        sum
    }
}

/// The document of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The command: `close`.
    pub command: &'static str,
    /// Whether nothing was to be touched.
    pub dry_run: bool,
    /// How: `close`, `shutdown`, ...
    pub method: Method,
    /// Every selected descriptor.
    pub targets: Vec<TargetReport>,
    /// Every process that was stopped.
    pub processes: Vec<ProcessReport>,
    /// The counts.
    pub summary: Summary,
    /// Why it is done so; `None` unless that was asked for.
    pub explanation: Option<Explanation>,
}

impl ActionReport {
    /// The document of an action by `method`, with its summary.
    #[must_use]
    pub fn new(
        method: Method,
        dry_run: bool,
        targets: Vec<TargetReport>,
        processes: Vec<ProcessReport>,
    ) -> Self {
        let summary = Summary::of(targets.iter().map(|target| target.outcome));
        let (schema, command, explanation) = (SCHEMA, "close", None);
        Self { schema, command, dry_run, method, targets, processes, summary, explanation }
    }
}

mod doctor;
mod explain;
mod keepalive;
mod list;
mod rows;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, dead_code, reason = "for tests, and a part of it for fuzz targets")]
pub(crate) mod sample;
mod sockets;
mod watch;

pub use doctor::{Advice, Check, DoctorReport, PatientReport, RingReport};
pub use explain::{CallReport, ExplainedFd, ExplainedProcess, Explanation};
pub use keepalive::{KeepaliveReport, KeepaliveTarget};
pub use list::{FdReport, FileName, ListReport, ProcessUse, TcpMemoryReport};
pub use rows::FdRows;
pub use sockets::{SocketReport, Sockets, SocketsReport};
pub use watch::WatchLine;
