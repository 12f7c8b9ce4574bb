//! `list`: what is there, and who holds it.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::absent::report_absent;
use super::look::{looked, report_unreadable};
use super::nothing::report_nothing;
use super::terminal::Terminal;
use super::{List, Output};
use crate::exit::Exit;
use crate::ids::{Fd, Inode, Pid};
use crate::kind::Kind;
use crate::listing::{self, Growths};
use crate::output::{Layout, json, summary, table};
use crate::proc::Procfs;
use crate::report::ListReport;
use crate::selectors::{KindChoice, Selectors};
use crate::survey::Detail;

/// Lists what is selected, once or again and again.
///
/// # Errors
/// /proc can't be read, or a stream can't be written to.
pub fn run(terminal: &Terminal, procfs: &Procfs, list: &List) -> anyhow::Result<Exit> {
    if list.no_holders {
        return sockets(terminal, procfs, &list.selectors, list.output);
    }
    let selectors = with_default_kind(&list.selectors);
    if let Some(every) = list.watch {
        return watch(terminal, procfs, &selectors, every, list.output);
    }
    let looked = looked(terminal, listing::list(procfs, &selectors, None))?;
    let Some((survey, report)) = looked else { return Ok(Exit::Refused) };
    let found = !report.fds.is_empty();
    let if_nothing = report_unreadable(terminal, procfs, &selectors, &survey)?;
    if found {
        report_absent(terminal, procfs, &selectors, Detail::All, numbers_of(&report))?;
    }
    terminal.result(|layout, out| show(&report, list.output, layout, out))?;
    if found {
        return Ok(Exit::of_listing(report.fds.len()));
    }
    if if_nothing == Exit::NothingMatched && (survey.unreadable.is_empty() || selectors.pids.is_empty()) {
        report_nothing(terminal, procfs, &selectors, Detail::All)?;
    }
    Ok(if_nothing)
}

/// Lists sockets as the kernel does, without a look into any process.
fn sockets(
    terminal: &Terminal,
    procfs: &Procfs,
    selectors: &Selectors,
    output: Output,
) -> anyhow::Result<Exit> {
    let looked = looked(terminal, listing::list_sockets(procfs, selectors))?;
    let Some((survey, report)) = looked else { return Ok(Exit::Refused) };
    report_unreadable(terminal, procfs, selectors, &survey)?;
    terminal.result(|layout, out| {
        if output.json {
            return json::write(&report, out);
        }
        if output.quiet {
            return Ok(());
        }
        table::write(report.sockets.iter().map(table::Row::from), layout, out)?;
        summary::write_sockets(&report, layout, out)
    })?;
    if report.sockets.is_empty() {
        terminal.error("no TCP socket matched", None)?;
    }
    Ok(Exit::of_listing(report.sockets.len()))
}

/// Lists it every so often, until the user ends it, nobody reads on, or every process that was named is gone.
fn watch(
    terminal: &Terminal,
    procfs: &Procfs,
    selectors: &Selectors,
    every: Duration,
    output: Output,
) -> anyhow::Result<Exit> {
    let mut growths = Growths::default();
    let mut first = true;
    loop {
        let begun = Instant::now();
        let listed = listing::list(procfs, selectors, Some(&mut growths));
        let Some((survey, report)) = looked(terminal, listed)? else { return Ok(Exit::Refused) };
        let lives = |pid: &Pid| {
            let living = procfs.open(*pid).and_then(|process| process.living_thread());
            !living.is_err_and(|error| error.is_gone())
        };
        // One that ended since it was looked at is not in what is reported: the next look will find it gone.
        let was_unreadable = |pid: &Pid| survey.unreadable.iter().any(|(unreadable, _)| unreadable == pid);
        let all_gone = !selectors.pids.is_empty()
            && selectors.pids.iter().all(was_unreadable)
            && !selectors.pids.iter().any(lives);
        if first || all_gone {
            // Once is enough: a terminal shows the list in this place from now on.
            let if_nothing = report_unreadable(terminal, procfs, selectors, &survey)?;
            if all_gone && !first {
                // They were there, and have ended; whether their parent has waited for them makes no difference.
                return Ok(Exit::NothingMatched);
            }
            if all_gone || if_nothing == Exit::Refused {
                return Ok(if_nothing);
            }
            report_absent(terminal, procfs, selectors, Detail::All, numbers_of(&report))?;
        }
        let is_read =
            terminal.screen(!output.json, first, |layout, out| show(&report, output, layout, out))?;
        if !is_read {
            return Ok(Exit::Success);
        }
        first = false;
        thread::sleep(every.saturating_sub(begun.elapsed()));
    }
}

/// The numbers of what is listed.
fn numbers_of(report: &ListReport) -> impl Iterator<Item = (Fd, Option<Inode>)> {
    report.fds.iter().map(|row| (row.fd, row.inode))
}

fn show(report: &ListReport, output: Output, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    if output.json {
        return json::write(report, out);
    }
    if output.quiet {
        return Ok(());
    }
    table::write(report.fds.iter().map(table::Row::from), layout, out)?;
    summary::write(report, layout, out)
}

/// Where nothing says which process or descriptor is meant, TCP is: that is where leaks are looked for, and a
/// whole host's files and pipes would bury them. `--kind any` shows those, too.
fn with_default_kind(selectors: &Selectors) -> Selectors {
    let mut selectors = selectors.clone();
    let says_which = !selectors.pids.is_empty()
        || !selectors.inodes.is_empty()
        || !selectors.fds.is_empty()
        || !selectors.kinds.is_empty()
        || selectors.deleted;
    if !says_which {
        selectors.kinds.push(KindChoice::Only(Kind::Tcp));
    }
    selectors
}
