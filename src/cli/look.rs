//! What every command begins with: look, and say what could not be looked at.

use std::io;

use super::terminal::{Terminal, Unwritten};
use crate::error::AttachError;
use crate::exit::Exit;
use crate::host::Feature;
use crate::ids::Pid;
use crate::output::sanitize::printable;
use crate::output::units::Counted;
use crate::output::unreadable;
use crate::plan::Plan;
use crate::proc::{ProcError, Procfs};
use crate::refusal::Refusal;
use crate::selectors::Selectors;
use crate::survey::{Detail, Match, NetnsError, Survey, SurveyError, survey};

/// Looks at what is selected. `None` if a network namespace that was named can't be asked; that has been said then, and
/// nothing was touched.
///
/// # Errors
/// /proc can't be read, or standard error not be written to.
pub(super) fn look(
    terminal: &Terminal,
    procfs: &Procfs,
    selectors: &Selectors,
    detail: Detail,
) -> anyhow::Result<Option<Survey>> {
    looked(terminal, survey(procfs, selectors, detail))
}

/// What came of a look, as [`look`] has it.
///
/// # Errors
/// As [`look`].
pub(super) fn looked<T>(terminal: &Terminal, found: Result<T, SurveyError>) -> anyhow::Result<Option<T>> {
    match found {
        Err(SurveyError::Netns(error)) => {
            let hint = match &error {
                NetnsError::Process { source: ProcError::Denied { .. }, .. } => {
                    Some("it takes the rights of ptrace(2) over that process: run fdclose as root")
                }
                NetnsError::Process { .. } => None,
                NetnsError::Path { .. } | NetnsError::NoNamespace { .. } => {
                    Some("'ip netns' lists those with a name; /proc/PID/ns/net is that of a process")
                }
                NetnsError::Unasked { .. } => Some("to enter another network namespace takes CAP_SYS_ADMIN"),
            };
            terminal.error(&printable(error.to_string().as_bytes()), hint)?;
            Ok(None)
        }
        found => Ok(Some(found?)),
    }
}

/// Says which processes could not be looked into. What follows for the exit status if nothing else matched:
/// [`Exit::NothingMatched`], or [`Exit::Refused`] if a named process is there but may not be read.
///
/// # Errors
/// A failure of standard error.
pub(super) fn report_unreadable(
    terminal: &Terminal,
    procfs: &Procfs,
    selectors: &Selectors,
    survey: &Survey,
) -> io::Result<Exit> {
    report_idle_unknown(terminal, survey)?;
    for error in &survey.unasked {
        terminal.note(&printable(error.to_string().as_bytes()))?;
    }
    if selectors.pids.is_empty() {
        if !survey.unreadable.is_empty() {
            let is_root = nix::unistd::geteuid().is_root();
            terminal.note(&unreadable::sentence(&survey.unreadable, is_root))?;
        }
        return Ok(Exit::NothingMatched);
    }
    let mut exit = Exit::NothingMatched;
    if survey.subjects.is_empty() {
        for pid in &selectors.pids {
            if let Some(refusal) = has_nothing(procfs, *pid) {
                exit = Exit::Refused;
                terminal
                    .error(&format!("process {pid} has no descriptors: {refusal}"), Some(&refusal.hint()))?;
            }
        }
    }
    for (pid, error) in survey.unreadable.iter().filter(|(pid, _)| has_nothing(procfs, *pid).is_none()) {
        if error.is_gone() {
            terminal.error(&format!("there is no process {pid}"), None)?;
            continue;
        }
        exit = Exit::Refused;
        let (why, hint) = reason(procfs, *pid, error);
        terminal.error(&format!("can't look into process {pid}: {why}"), hint.as_deref())?;
    }
    Ok(exit)
}

/// Whether every process that was named by its number could be looked into.
pub(super) fn saw_all_named(selectors: &Selectors, survey: &Survey) -> bool {
    selectors.pids.is_empty() || survey.unreadable.is_empty()
}

/// Says how many connections `--idle-for` left out because it can't be told whether they are idle.
fn report_idle_unknown(terminal: &Terminal, survey: &Survey) -> io::Result<()> {
    if survey.idle_unknown == 0 {
        return Ok(());
    }
    let connections = Counted(survey.idle_unknown, "connection");
    terminal.note(&format!(
        "{connections} left out: for how long they have been idle is told by sock_diag(7) or a copy of the descriptor \
         ({}), and neither could be had",
        Feature::PidfdGetfd
    ))
}

/// Warns of descriptors that an event loop of their process has not lost track of, before they are closed behind its back.
///
/// # Errors
/// A failure of standard error.
pub(super) fn report_watched(terminal: &Terminal, survey: &Survey, plan: &Plan) -> io::Result<()> {
    const WAY_OUT: &str = "it may take a new file with the same number for the old one; --method shutdown tells it that \
                           the connection has ended, and it closes by itself; --method replace keeps the number taken";
    for share in &plan.processes {
        let matches = share.act_on.iter().filter_map(|index| survey.matches.get(*index));
        let watched: Vec<&Match> = matches.filter(|found| !found.watched_by.is_empty()).collect();
        // Nothing is watched, most often, and then nothing is to cost anything.
        if watched.is_empty() {
            continue;
        }
        let Some(subject) = survey.subjects.get(share.subject) else { continue };
        let process = format!("{} ({})", printable(&subject.comm), subject.process.pid());
        match watched.as_slice() {
            [] => {}
            [found] => {
                let instance = found.watched_by.first().map(ToString::to_string).unwrap_or_default();
                let fd = found.fd;
                terminal.note(&format!(
                    "{process} still watches fd {fd} (epoll instance {instance}): {WAY_OUT}"
                ))?;
            }
            several => {
                let count = Counted(several.len(), "descriptor");
                terminal.note(&format!("{process} still watches {count} of these by epoll: {WAY_OUT}"))?;
            }
        }
    }
    Ok(())
}

/// Says what was `done` although its result could not be written, and the `hint` how to see that.
///
/// # Errors
/// A failure of standard error.
pub(super) fn report_untold(
    terminal: &Terminal,
    unwritten: &Unwritten,
    done: &str,
    hint: &str,
) -> io::Result<()> {
    let what = format!("{unwritten}; what was selected has been acted on all the same: {done}");
    terminal.error(&what, Some(hint))
}

/// Why a process that is there has no descriptors at all, if that is so.
fn has_nothing(procfs: &Procfs, pid: Pid) -> Option<Refusal> {
    let process = procfs.open(pid).ok()?;
    let stat = process.stat().ok()?;
    if stat.is_kernel_thread() {
        Some(Refusal::KernelThread)
    } else if stat.is_dead() && process.living_thread().is_err_and(|error| error.is_gone()) {
        Some(Refusal::Zombie)
    } else {
        None
    }
}

/// Why the descriptors of a process may not be read: the same rules as for tracing, Yama apart.
fn reason(procfs: &Procfs, pid: Pid, error: &ProcError) -> (String, Option<String>) {
    let diagnosed = match error {
        ProcError::Denied { .. } => {
            procfs.open(pid).ok().and_then(|process| Refusal::diagnose(procfs, &process, pid.leader()))
        }
        _ => None,
    };
    match diagnosed {
        Some(refusal) => {
            let hint = AttachError::Refused(refusal.clone()).hint();
            (refusal.to_string(), hint)
        }
        None => (error.to_string(), None),
    }
}
