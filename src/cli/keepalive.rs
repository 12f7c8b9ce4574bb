//! `keepalive`: switches keepalive on in other processes' sockets.

use super::KeepaliveAction;
use super::absent::{numbers_of, report_absent};
use super::close::agree_to;
use super::look::{look, report_unreadable, report_untold, saw_all_named};
use super::nothing::report_nothing;
use super::terminal::Terminal;
use crate::exit::Exit;
use crate::keepalive;
use crate::kind::Kind;
use crate::output::units::Count;
use crate::output::{self, json};
use crate::proc::Procfs;
use crate::report::KeepaliveReport;
use crate::selectors::{KindChoice, Selectors};
use crate::survey::Detail;

/// Runs the action and says how it went.
///
/// # Errors
/// Only what leaves nothing to report: /proc can't be read, or a stream can't be written to.
pub fn run(terminal: &Terminal, procfs: &Procfs, action: &KeepaliveAction) -> anyhow::Result<Exit> {
    let KeepaliveAction { selectors, wish, dry_run, yes, output } = action;
    let selectors = only_connections(selectors);
    let Some(survey) = look(terminal, procfs, &selectors, Detail::Ends)? else { return Ok(Exit::Refused) };
    let if_nothing = report_unreadable(terminal, procfs, &selectors, &survey)?;
    if survey.matches.is_empty() {
        if output.json {
            terminal.result(|_, out| json::write(&KeepaliveReport::new(*dry_run, vec![]), out))?;
        }
        if if_nothing == Exit::NothingMatched && (survey.unreadable.is_empty() || selectors.pids.is_empty()) {
            report_nothing(terminal, procfs, &selectors, Detail::Idle)?;
        }
        return Ok(if_nothing);
    }
    let is_seen = saw_all_named(&selectors, &survey);
    let is_there = report_absent(terminal, procfs, &selectors, Detail::Ends, numbers_of(&survey))?;
    if !dry_run && !yes && !selectors.is_exact() {
        let preview = keepalive::apply(&survey, *wish, true);
        let (sockets, processes) = (preview.summary.would_do, survey.subjects.len());
        if sockets > 0
            && !agree_to(terminal, "Switch keepalive on for", sockets, processes, |layout, out| {
                output::keepalive::write(&preview, layout, out)
            })?
        {
            return Ok(Exit::Refused);
        }
    }
    let report = keepalive::apply(&survey, *wish, *dry_run);
    let written = terminal.result(|layout, out| match (output.json, output.quiet) {
        (true, _) => json::write(&report, out),
        (false, true) => Ok(()),
        (false, false) => output::keepalive::write(&report, layout, out),
    });
    if !output.json || written.is_err() {
        terminal.diagnostic(|layout, out| output::keepalive::write_failures(&report, layout, out))?;
    }
    match written {
        Ok(()) => Ok(Exit::of_outcomes(report.summary, true).if_all_seen(is_seen && is_there)),
        Err(unwritten) if *dry_run => Err(unwritten.untouched()),
        Err(unwritten) => {
            let counts = report.summary;
            let done = format!("keepalive is on for {} of {}", Count(counts.done), Count(counts.matched));
            let hint = "'fdclose keepalive --dry-run' with the same selectors shows what is in force";
            report_untold(terminal, &unwritten, &done, hint)?;
            Ok(Exit::Failed)
        }
    }
}

/// Where nothing says which sort is meant, TCP is.
fn only_connections(selectors: &Selectors) -> Selectors {
    let mut selectors = selectors.clone();
    if selectors.kinds.is_empty() && selectors.inodes.is_empty() && selectors.fds.is_empty() {
        selectors.kinds.push(KindChoice::Only(Kind::Tcp));
    }
    selectors
}
