//! `doctor`: what works here, and why not.

use super::Doctor;
use super::terminal::Terminal;
use crate::doctor::examine;
use crate::exit::Exit;
use crate::output::sanitize::printable;
use crate::output::{doctor, json};
use crate::proc::Procfs;

/// Examines the host and the process that was named.
///
/// # Errors
/// A stream can't be written to.
pub fn run(terminal: &Terminal, procfs: &Procfs, asked: &Doctor) -> anyhow::Result<Exit> {
    let report = match examine(procfs, asked.pid) {
        Ok(report) => report,
        Err(error) => {
            let (what, exit) = match asked.pid {
                Some(pid) if error.is_gone() => (format!("there is no process {pid}"), Exit::NothingMatched),
                _ => (printable(error.to_string().as_bytes()).into_owned(), Exit::Refused),
            };
            terminal.error(&what, None)?;
            return Ok(exit);
        }
    };
    terminal.result(|layout, out| {
        if asked.json { json::write(&report, out) } else { doctor::write(&report, layout, out) }
    })?;
    Ok(Exit::Success)
}
