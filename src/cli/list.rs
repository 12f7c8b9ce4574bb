//! `list`: what is there, and who holds it.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::look::{look, report_nothing, report_unreadable};
use super::terminal::Terminal;
use super::{List, Output};
use crate::exit::Exit;
use crate::ids::Pid;
use crate::kind::Kind;
use crate::listing::{Growths, listing};
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
    let selectors = with_default_kind(&list.selectors);
    if let Some(every) = list.watch {
        return watch(terminal, procfs, &selectors, every, list.output);
    }
    let Some(survey) = look(terminal, procfs, &selectors, Detail::All)? else { return Ok(Exit::Refused) };
    let if_nothing = report_unreadable(terminal, procfs, &selectors, &survey)?;
    let report = listing(procfs, &survey, None);
    terminal.result(|layout, out| show(&report, list.output, layout, out))?;
    if !report.fds.is_empty() {
        return Ok(Exit::of_listing(report.fds.len()));
    }
    if if_nothing == Exit::NothingMatched && (survey.unreadable.is_empty() || selectors.pids.is_empty()) {
        report_nothing(terminal, &selectors)?;
    }
    Ok(if_nothing)
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
        let Some(survey) = look(terminal, procfs, selectors, Detail::All)? else { return Ok(Exit::Refused) };
        let lives = |pid: &Pid| {
            let living = procfs.open(*pid).and_then(|process| process.living_thread());
            !living.is_err_and(|error| error.is_gone())
        };
        let all_gone = !selectors.pids.is_empty() && !selectors.pids.iter().any(lives);
        if first || all_gone {
            // Once is enough: a terminal shows the list in this place from now on.
            let if_nothing = report_unreadable(terminal, procfs, selectors, &survey)?;
            if all_gone || if_nothing == Exit::Refused {
                return Ok(if_nothing);
            }
        }
        let report = listing(procfs, &survey, Some(&mut growths));
        let is_read =
            terminal.screen(!output.json, first, |layout, out| show(&report, output, layout, out))?;
        if !is_read {
            return Ok(Exit::Success);
        }
        first = false;
        thread::sleep(every.saturating_sub(begun.elapsed()));
    }
}

fn show(report: &ListReport, output: Output, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    if output.json {
        return json::write(report, out);
    }
    if output.quiet {
        return Ok(());
    }
    let rows: Vec<table::Row<'_>> = report.fds.iter().map(table::Row::from).collect();
    table::write(&rows, layout, out)?;
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
