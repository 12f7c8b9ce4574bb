//! `list`: what is there, and who holds it.

use super::List;
use super::look::{report_nothing, report_unreadable};
use super::terminal::Terminal;
use crate::exit::Exit;
use crate::kind::Kind;
use crate::output::{json, table};
use crate::proc::Procfs;
use crate::report::{FdReport, ListReport, Text};
use crate::selectors::{KindChoice, Selectors};
use crate::survey::{Detail, Match, Survey, survey};

/// Lists what is selected.
///
/// # Errors
/// /proc can't be read, or a stream can't be written to.
pub fn run(terminal: &Terminal, procfs: &Procfs, list: &List) -> anyhow::Result<Exit> {
    let selectors = with_default_kind(&list.selectors);
    let survey = survey(procfs, &selectors, Detail::All)?;
    let if_nothing = report_unreadable(terminal, procfs, &selectors, &survey)?;
    let report = ListReport::new(survey.matches.iter().map(|found| fd_report(&survey, found)).collect());
    terminal.result(|layout, out| {
        if list.output.json {
            return json::write(&report, out);
        }
        if list.output.quiet {
            return Ok(());
        }
        let rows: Vec<table::Row<'_>> = report.fds.iter().map(table::Row::from).collect();
        table::write(&rows, layout, out)
    })?;
    if !report.fds.is_empty() {
        return Ok(Exit::of_listing(report.fds.len()));
    }
    if if_nothing == Exit::NothingMatched && (survey.unreadable.is_empty() || selectors.pids.is_empty()) {
        report_nothing(terminal, &selectors)?;
    }
    Ok(if_nothing)
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

fn fd_report(survey: &Survey, found: &Match) -> FdReport {
    let subject = survey.subject_of(found);
    let queue = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    FdReport {
        pid: subject.process.pid(),
        comm: Text::from(subject.comm.clone()),
        uid: subject.uid,
        fd: found.fd,
        inode: found.identity.target.inode(),
        kind: found.kind(),
        name: Text::from(found.name()),
        deleted: found.identity.target.is_deleted(),
        state: found.tcp_state(),
        local: found.local(),
        peer: found.peer(),
        recv_q: found.socket.as_ref().map(|socket| queue(socket.recv_q)),
        send_q: found.socket.as_ref().map(|socket| queue(socket.send_q)),
        idle_ms: found.socket.as_ref().and_then(|socket| socket.idle_ms),
        netns: subject.netns,
    }
}
