//! What was done, for people: a line, or a table and a line.

use std::io::{self, Write};

use super::Layout;
use super::sanitize::bounded;
use super::table::{self, Row};
use super::units::{Count, Counted, Micros};
use super::wrap;
use crate::ids::Inode;
use crate::method::Way;
use crate::report::{
    ActionReport, ConnectionFate, HolderReport, Outcome, ProcessReport, TargetReport, WaitEnd,
};

mod keepers;

/// More rows than this are shown only to those who ask for more words.
const MANY: usize = 40;
/// More holders of one file than this are only counted.
const MANY_HOLDERS: usize = 8;
/// The columns of a name or path in a sentence.
const NAME_WIDTH: usize = 60;

/// Writes the result of an action: for one descriptor a sentence, for more a table and a sum. The reasons of
/// what went wrong are not here but in [`super::failures`].
///
/// # Errors
///
/// What `out` says.
pub fn write(report: &ActionReport, verbose: bool, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    if report.targets.len() > 1 {
        return write_many(report, &report.targets, verbose, layout, out);
    }
    let mut sentence = Vec::new();
    write_one(report, layout, &mut sentence)?;
    write_uninsured(report, verbose, &mut sentence)?;
    wrap::write(&String::from_utf8_lossy(&sentence), layout.width, out)
}

fn write_one(report: &ActionReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    match report.targets.as_slice() {
        [target] => {
            let (verb, done) = verb(report);
            if target.outcome.is_trouble() {
                // Which and why is told with the failures.
                let style = layout.palette.outcome(target.outcome);
                write!(out, "{verb} {done} of 1: {style}{}{style:#}", target.outcome.name())?;
                return write_pause(report, "paused", out);
            }
            write!(out, "{verb} {done} of 1: {}", Described(target))?;
            if target.outcome == Outcome::Gone {
                write!(out, "; gone by itself")?;
            }
            write_waiters(&[target], out)?;
            write_connection(target, layout, out)?;
            write_way(target, out)?;
            write_pause(report, "paused", out)?;
            write_holders(target, false, out)?;
            keepers::write(&report.targets, out)
        }
        _ => Ok(()),
    }
}

fn write_many(
    report: &ActionReport,
    targets: &[TargetReport],
    verbose: bool,
    layout: &Layout,
    out: &mut dyn Write,
) -> io::Result<()> {
    let shown = if verbose { targets.len() } else { targets.len().min(MANY) };
    table::write(targets[..shown].iter().map(Row::from), layout, out)?;
    if shown < targets.len() {
        writeln!(out, "... and {} more (-v shows all)", Count(targets.len() - shown))?;
    }
    let mut sentence = Vec::new();
    write_sum(report, targets, layout, &mut sentence)?;
    let held = |target: &&TargetReport| target.outcome == Outcome::Done && !target.holders.is_empty();
    targets[..shown].iter().filter(held).try_for_each(|target| write_holders(target, true, &mut sentence))?;
    keepers::write(targets, &mut sentence)?;
    write_uninsured(report, verbose, &mut sentence)?;
    wrap::write(&String::from_utf8_lossy(&sentence), layout.width, out)
}

/// Which processes would not have survived the death of fdclose: nothing has come of it, so only `verbose` tells.
fn write_uninsured(report: &ActionReport, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    let uninsured = report.processes.iter().filter(|process| verbose && !process.insured);
    uninsured.into_iter().try_for_each(|process| {
        let comm = bounded(process.comm.as_bytes(), NAME_WIDTH);
        writeln!(
            out,
            "  {comm} ({}) had no insurance: had fdclose been killed during the call, a thread of it would have \
             run on with wrong registers, or been ended by its seccomp filter",
            process.pid
        )
    })
}

/// One sentence about all.
fn write_sum(
    report: &ActionReport,
    targets: &[TargetReport],
    layout: &Layout,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (verb, done) = verb(report);
    let mut pids: Vec<_> = targets.iter().map(|target| target.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let whose = Counted(pids.len(), "process");
    write!(out, "{verb} {} of {} of {whose}", Count(done), Counted(targets.len(), "descriptor"))?;
    let counts = report.summary;
    let others = [
        (Outcome::Gone, counts.gone),
        (Outcome::Changed, counts.changed),
        (Outcome::Refused, counts.refused),
        (Outcome::Failed, counts.failed),
    ];
    for (outcome, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        let style = layout.palette.outcome(outcome);
        write!(out, ", {style}{} {}{style:#}", Count(count), outcome.name())?;
    }
    write_waiters(&targets.iter().collect::<Vec<_>>(), out)?;
    let fate = |wanted| {
        let done = targets.iter().filter(|target| target.outcome == Outcome::Done);
        sockets(done.filter(|target| target.connection == wanted).map(|target| target.inode))
    };
    let (ended, remain) = (fate(ConnectionFate::Ended), fate(ConnectionFate::Remains));
    let unknown = fate(ConnectionFate::Unknown);
    if ended > 0 {
        write!(out, "; {} ended", Counted(ended, "connection"))?;
    }
    if remain > 0 {
        let style = layout.palette.notable;
        let verb = if remain == 1 { "remains" } else { "remain" };
        write!(out, "; {style}{} {verb}{style:#}", Counted(remain, "connection"))?;
    }
    if unknown > 0 {
        let style = layout.palette.notable;
        write!(out, "; {style}{} not seen to end{style:#}", Counted(unknown, "connection"))?;
    }
    write_pause(report, "longest pause", out)
}

/// What was done in a few words: `closed 2 of 3`.
#[must_use]
pub fn brief(report: &ActionReport) -> String {
    let (verb, done) = verb(report);
    format!("{verb} {} of {}", Count(done), Count(report.summary.matched))
}

/// How many sockets these are: one that several descriptors refer to, of whatever process, counts once.
fn sockets(inodes: impl Iterator<Item = Option<Inode>>) -> usize {
    let mut inodes: Vec<Option<Inode>> = inodes.collect();
    inodes.sort_unstable();
    inodes.dedup();
    inodes.len()
}

/// The word for what was done, and how often it was.
fn verb(report: &ActionReport) -> (&'static str, usize) {
    let counts = report.summary;
    if report.dry_run {
        (report.method.conditional(), counts.would_do)
    } else {
        (report.method.past(), counts.done)
    }
}

/// What threads got that were waiting on what was closed: `; 2 threads that waited on it got EBADF`.
fn write_waiters(targets: &[&TargetReport], out: &mut dyn Write) -> io::Result<()> {
    let object = if targets.len() == 1 { "it" } else { "them" };
    let ends = [
        (WaitEnd::Woken, "woken"),
        (WaitEnd::Ebadf, "got EBADF"),
        (WaitEnd::Pollnval, "polled POLLNVAL"),
        (WaitEnd::Replaced, "told of its end"),
        (WaitEnd::Reset, "got ECONNRESET"),
    ];
    for (end, what) in ends {
        let waiters = targets.iter().flat_map(|target| &target.waiters);
        let count = waiters.filter(|waiter| waiter.end == end).count();
        if count > 0 {
            write!(out, "; {} that waited on {object} {what}", Counted(count, "thread"))?;
        }
    }
    match targets.iter().filter(|target| target.closed_by_process).count() {
        0 => Ok(()),
        1 if targets.len() == 1 => write!(out, ", and the process closed it itself"),
        count => write!(out, "; {} closed by the process itself then", Count(count)),
    }
}

fn write_connection(target: &TargetReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let (style, word) = match (target.outcome, target.connection) {
        (Outcome::Done, ConnectionFate::Ended) => (layout.palette.good, "connection ended"),
        (Outcome::Done, ConnectionFate::Remains) => (layout.palette.notable, "connection remains"),
        (Outcome::Done, ConnectionFate::Unknown) => (layout.palette.notable, "connection not seen to end"),
        _ => return Ok(()),
    };
    write!(out, "; {style}{word}{style:#}")
}

/// How the number of a connection that was reset was found.
fn write_way(target: &TargetReport, out: &mut dyn Write) -> io::Result<()> {
    match target.number_by {
        Some(Way::Repair) => write!(out, "; its number told by the socket"),
        Some(Way::Challenge) => write!(out, "; its number told when asked by a segment"),
        Some(Way::Given) | None => Ok(()),
    }
}

/// The end of the sentence: how long the target stood still.
fn write_pause(report: &ActionReport, word: &str, out: &mut dyn Write) -> io::Result<()> {
    match report.processes.iter().filter(|process| process.stops > 0).map(longest).max() {
        Some(pause) => writeln!(out, "; {word} {}", Micros(pause)),
        None => writeln!(out),
    }
}

fn longest(process: &ProcessReport) -> u64 {
    process.paused_us_max
}

/// Who still has the file.
fn write_holders(target: &TargetReport, named: bool, out: &mut dyn Write) -> io::Result<()> {
    let Some((last, others)) = target.holders[..target.holders.len().min(MANY_HOLDERS)].split_last() else {
        return Ok(());
    };
    write!(out, "  ")?;
    if named {
        write!(out, "what was {} is ", Described(target))?;
    }
    write!(out, "still held by ")?;
    for holder in others {
        write_holder(holder, out)?;
        write!(out, ", ")?;
    }
    write_holder(last, out)?;
    match target.holders.len().saturating_sub(MANY_HOLDERS) {
        0 => writeln!(out),
        more => writeln!(out, " and {} more", Count(more)),
    }
}

fn write_holder(holder: &HolderReport, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{} ({}", bounded(holder.comm.as_bytes(), NAME_WIDTH), holder.pid)?;
    if let Some(tid) = holder.tid {
        write!(out, ", thread {tid}")?;
    }
    write!(out, ") fd {}", holder.fd)
}

/// A descriptor in a sentence: `fd 12 of nginx (1234), CLOSE-WAIT 127.0.0.1:8888 -> 127.0.0.1:49416`.
pub(super) struct Described<'a>(pub(super) &'a TargetReport);

impl std::fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let target = self.0;
        let comm = bounded(target.comm.as_bytes(), NAME_WIDTH);
        write!(f, "fd {} of {comm} ({}), ", target.fd, target.pid)?;
        if let Some(local) = target.local {
            f.write_str(target.state.map_or(target.kind.name(), crate::net::TcpState::name))?;
            write!(f, " {local}")?;
            target.peer.map_or(Ok(()), |peer| write!(f, " -> {peer}"))
        } else {
            write!(f, "{} {}", target.kind, bounded(target.name.as_bytes(), NAME_WIDTH))?;
            if target.deleted { f.write_str(" (deleted)") } else { Ok(()) }
        }
    }
}
