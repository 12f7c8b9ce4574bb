//! What works on this host, and on one process of it: tried, not concluded from version numbers.
//!
//! What is tried is tried on a child made for it and on sockets of fdclose's own. Of other processes only what /proc
//! shows is read.

use crate::ids::Pid;
use crate::proc::{ProcError, Procfs};
use crate::report::{DoctorReport, Text};

mod advice;
mod explain;
mod host;
mod patient;
mod probes;
mod runtime;
mod subject;

pub use explain::explain;
pub use subject::{COMMAND as SUBJECT_COMMAND, be_subject};

/// Examines the host, and the process `pid` if one is named.
///
/// # Errors
/// The process is not there, or not to be looked into.
pub fn examine(procfs: &Procfs, pid: Option<Pid>) -> Result<DoctorReport, ProcError> {
    let look_at = |pid| patient::look_at(procfs, &procfs.open(pid)?);
    let target = pid.map(look_at).transpose()?;
    let kernel = procfs.text("sys/kernel/osrelease").unwrap_or_default();
    let checks = host::checks(procfs);
    let advice = advice::advice(&checks, target.as_ref(), None);
    Ok(DoctorReport::new(Text::from(kernel.trim_ascii()), checks, target, advice))
}
