//! The document of `doctor`.

use serde::Serialize;

use super::{SCHEMA, Text};
use crate::ids::{Fd, Pid, Tid};

/// Something that this host can do or not, as it was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: `ptrace`, `pidfd_getfd`, ...
    pub name: &'static str,
    /// Whether it worked.
    pub ok: bool,
    /// What was done, and what came of it.
    pub evidence: String,
    /// What it is good for.
    pub purpose: &'static str,
}

/// An io_uring(7) instance of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RingReport {
    /// Its descriptor.
    pub fd: Fd,
    /// How many files are registered with it: a connection among them lives on when its descriptor is closed. `None`
    /// where the kernel does not tell.
    pub registered_files: Option<u64>,
}

/// A process, looked at from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatientReport {
    /// The process.
    pub pid: Pid,
    /// Its name.
    pub comm: Text,
    /// Its effective user.
    pub uid: u32,
    /// What its program is made for: `x86_64`, `i386`, `x32`, `aarch64`; `None` if it can't be told.
    pub architecture: Option<&'static str>,
    /// How many threads it has.
    pub threads: u32,
    /// `disabled`, `strict`, `filter` or `dead`; `None` where the kernel does not tell.
    pub seccomp: Option<&'static str>,
    /// Who traces it.
    pub tracer: Option<Tid>,
    /// The namespaces in which it is not with fdclose; `None` if that can't be told.
    pub other_namespaces: Option<Vec<&'static str>>,
    /// `go`, `jvm`, `node` or `python`; `None` for any other.
    pub runtime: Option<&'static str>,
    /// What it means there to close a descriptor that is still in use.
    pub runtime_risk: Option<&'static str>,
    /// How many descriptors it has; `None` where fdclose may not look.
    pub descriptors: Option<usize>,
    /// How many epoll(7) instances it has.
    pub epoll_instances: usize,
    /// Its io_uring(7) instances.
    pub io_urings: Vec<RingReport>,
    /// Why it may not be traced; `None` if it may.
    pub refusal: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The value of `--method`; `None` if none will do.
    pub method: Option<&'static str>,
    /// Why.
    pub why: String,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `doctor`.
    pub command: &'static str,
    /// The kernel's version.
    pub kernel: Text,
    /// What fdclose is made for.
    pub architecture: &'static str,
    /// What was tried.
    pub checks: Vec<Check>,
    /// The process that was named.
    pub target: Option<PatientReport>,
    /// What follows from all this.
    pub advice: Advice,
}

impl DoctorReport {
    /// The document around what was found.
    #[must_use]
    pub fn new(kernel: Text, checks: Vec<Check>, target: Option<PatientReport>, advice: Advice) -> Self {
        let architecture = std::env::consts::ARCH;
        Self { schema: SCHEMA, command: "doctor", kernel, architecture, checks, target, advice }
    }
}
