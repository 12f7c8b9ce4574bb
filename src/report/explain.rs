//! Why something is done as it is: a part of the document of an action.

use serde::Serialize;

use super::{Advice, Check, HolderReport, PatientReport};
use crate::ids::{Fd, Inode, Pid, Tid};

/// A thread in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallReport {
    /// The thread.
    pub tid: Tid,
    /// The call's name.
    pub call: &'static str,
}

/// What was found out about one selected descriptor before anything was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedFd {
    /// Its number.
    pub fd: Fd,
    /// What it refers to, where that has an inode number of its own.
    pub inode: Option<Inode>,
    /// Why it is not touched; `None` if it is.
    pub refusal: Option<String>,
    /// Who else holds it. Of what is no socket nobody is known.
    pub holders: Vec<HolderReport>,
    /// Which epoll instances of the process watch it.
    pub watched_by: Vec<Fd>,
    /// With which io_uring instances of the process it is registered.
    pub registered_with: Vec<Fd>,
    /// Which threads of the process wait in a call on it, alone or among others. Of those that wait for an epoll instance
    /// that watches it, not more than 64 are named.
    pub calls: Vec<CallReport>,
}

/// One process, and what is selected of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedProcess {
    /// The process, as `doctor --pid` shows it; `None` if it could not be looked at.
    pub process: Option<PatientReport>,
    /// Other processes with the very same descriptor table: what is closed here is closed there. Each of them is told of as
    /// a holder, too.
    pub shares_table_with: Vec<Pid>,
    /// The method that is the right one for these descriptors.
    pub advice: Advice,
    /// Its descriptors.
    pub fds: Vec<ExplainedFd>,
}

/// The reasoning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What this host and these privileges can do, as `doctor` tries it.
    pub checks: Vec<Check>,
    /// Whether every process could be looked into for holders.
    pub all_seen: bool,
    /// Process by process.
    pub processes: Vec<ExplainedProcess>,
}
