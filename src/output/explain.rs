//! Why something is done as it is, for people.

use std::io::{self, Write};

use super::result::Described;
use super::units::{Count, Counted};
use super::{Layout, doctor, wrap};
use crate::output::sanitize::bounded;
use crate::report::{ActionReport, ExplainedFd, ExplainedProcess, Explanation, TargetReport};

/// More descriptors of a process than this are shown only to those who ask for more words.
const MANY: usize = 40;
/// The columns of a name in a sentence.
const NAME_WIDTH: usize = 60;

/// Writes the reasoning for what `preview` shows of the same action.
///
/// # Errors
///
/// What `out` says.
pub fn write(
    explanation: &Explanation,
    preview: &ActionReport,
    verbose: bool,
    layout: &Layout,
    out: &mut dyn Write,
) -> io::Result<()> {
    explanation.checks.iter().filter(|check| !check.ok).try_for_each(|check| {
        // What works need not be told to explain what is done.
        doctor::write_check(check, layout, out)
    })?;
    let mut targets = preview.targets.iter();
    for process in &explanation.processes {
        let targets: Vec<&TargetReport> = targets.by_ref().take(process.fds.len()).collect();
        write_process(process, &targets, preview, verbose, layout, out)?;
    }
    if !explanation.all_seen {
        let lines = "not every process could be looked into: there may be more holders\n";
        wrap::write(lines, layout.width, out)?;
    }
    Ok(())
}

fn write_process(
    process: &ExplainedProcess,
    targets: &[&TargetReport],
    preview: &ActionReport,
    verbose: bool,
    layout: &Layout,
    out: &mut dyn Write,
) -> io::Result<()> {
    match (&process.process, targets.first()) {
        (Some(patient), _) => doctor::write_target(patient, layout, out)?,
        (None, Some(target)) => {
            let comm = bounded(target.comm.as_bytes(), NAME_WIDTH);
            writeln!(out, "\n{comm} ({}): could not be looked at", target.pid)?;
        }
        (None, None) => {}
    }
    if !process.shares_table_with.is_empty() {
        let pids = process.shares_table_with.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let line =
            format!("its descriptor table is that of {pids} as well: what is closed here is closed there\n");
        wrap::write(&line, layout.width, out)?;
    }
    let shown = if verbose { process.fds.len() } else { process.fds.len().min(MANY) };
    for (fd, target) in process.fds.iter().zip(targets).take(shown) {
        wrap::write(&sentence(fd, target, preview), layout.width, out)?;
    }
    if shown < process.fds.len() {
        writeln!(out, "... and {} more (-v shows all)", Count(process.fds.len() - shown))?;
    }
    doctor::write_advice(&process.advice, layout, out)
}

/// One descriptor: what would be done, and what was found.
fn sentence(fd: &ExplainedFd, target: &TargetReport, preview: &ActionReport) -> String {
    let mut parts = vec![match &fd.refusal {
        Some(why) => format!("refused: {why}"),
        // What was asked for, which need not be the best.
        None => format!("asked for: --method {}", preview.method.name()),
    }];
    let numbers = |fds: &[crate::ids::Fd]| fds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !fd.watched_by.is_empty() {
        parts.push(format!("watched by epoll instance {}", numbers(&fd.watched_by)));
    }
    if !fd.registered_with.is_empty() {
        parts.push(format!("registered with io_uring {}", numbers(&fd.registered_with)));
    }
    if let Some(first) = fd.calls.first() {
        let more = fd.calls.len() - 1;
        let others = if more == 0 { String::new() } else { format!(" and {} more", Counted(more, "thread")) };
        parts.push(format!("thread {}{others} waits in {} on it", first.tid, first.call));
    }
    match fd.holders.as_slice() {
        [] if target.inode.is_some() && target.kind.is_socket() => {
            parts.push("no other holder is seen".to_owned());
        }
        [] => {}
        [first, rest @ ..] => {
            let comm = bounded(first.comm.as_bytes(), NAME_WIDTH);
            let others =
                if rest.is_empty() { String::new() } else { format!(" and {} more", Count(rest.len())) };
            parts.push(format!("held as well by {comm} ({}) fd {}{others}", first.pid, first.fd));
        }
    }
    format!("{}: {}\n", Described(target), parts.join("; "))
}
