//! The main action: close what is selected.

use std::io::{self, BufReader, Write};
use std::panic::resume_unwind;
use std::sync::OnceLock;

use anyhow::Context as _;

use super::absent::{numbers_of, report_absent};
use super::look::{look, report_unreadable, report_untold, report_watched, saw_all_named};
use super::nothing::report_nothing;
use super::terminal::{Terminal, Unwritten};
use super::{Action, Output};
use crate::apply::{self, Acts};
use crate::doctor;
use crate::exit::Exit;
use crate::ids::Pid;
use crate::method::{self, Method};
use crate::output::progress::Bar;
use crate::output::units::Counted;
use crate::output::{Layout, confirm, explain, failures, json, result, table};
use crate::plan::{self, OwnFacts, Plan};
use crate::proc::Procfs;
use crate::report::{ActionReport, Explanation};
use crate::selectors::Selectors;
use crate::survey::{self, Detail, Survey};
use crate::trace::signals::Held;
use crate::work::{self, Oversight};

/// How far it got on the thread that does it.
enum Stage {
    /// It is over, and told.
    Over(Exit),
    /// Nothing is to be done, or only to be shown.
    Preview(ActionReport, Named),
    /// It is done, and was looked at.
    Done(ActionReport, Named),
    /// Something is left traced. It is to be looked at once the end of the thread has let go of that.
    Cut(Box<Done>, Named),
}

/// What was done, and why.
struct Done {
    survey: Survey,
    plan: Plan,
    acts: Acts,
    explanation: Option<Explanation>,
}

impl Done {
    /// Looks at it.
    fn report(self, procfs: &Procfs, method: Method) -> ActionReport {
        let Self { mut survey, plan, acts, explanation } = self;
        let report = apply::finish(procfs, &mut survey, &plan, method, acts);
        ActionReport { explanation, ..report }
    }
}

/// Whether every process that was named could be looked into, and what was named by its number is there. What could not
/// or is not is a part of the task that was not done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Seen,
    Unseen,
}

/// Runs the action and says how it went.
///
/// # Errors
/// Only what leaves nothing to report: /proc can't be read, or a stream can't be written to.
pub fn run(
    terminal: &Terminal,
    procfs: &Procfs,
    action: &Action,
    verbose: bool,
    oversight: Oversight<'_>,
) -> anyhow::Result<Exit> {
    let Action { method, output, .. } = action;
    let bar = (!output.quiet).then(Bar::default);
    let acted = OnceLock::<ActionReport>::new();
    let on_hang = |pid, _: Option<&ActionReport>| {
        bar.iter().for_each(Bar::erase);
        if let Some(report) = acted.get().filter(|report| !report.targets.is_empty()) {
            // What can't be written here is told in few words with the hang.
            let _ = tell(terminal, *output, verbose, report);
        }
        (oversight.on_hang)(pid, acted.get());
    };
    let oversight = Oversight { on_hang: &on_hang, ..oversight };
    let with_bar = Oversight { meanwhile: &|| bar.iter().for_each(Bar::show), ..oversight };
    let work = || act(terminal, procfs, action, verbose, &acted);
    let (stage, held) = work::on_work_thread(with_bar, work).context("can't start a thread")?;
    bar.iter().for_each(Bar::erase);
    let stage = stage.unwrap_or_else(|panic| resume_unwind(panic))?;
    let is_over = matches!(stage, Stage::Done(..) | Stage::Cut(..));
    let (report, named, _held) = match stage {
        Stage::Over(exit) => return Ok(exit),
        Stage::Preview(report, named) => {
            drop(held);
            (report, named, None)
        }
        // Until the report is out: what ends fdclose then is the signal itself.
        Stage::Done(report, named) => (report, named, Some(held)),
        Stage::Cut(done, named) => {
            let report = work::on_another_thread(oversight, || done.report(procfs, *method))
                .unwrap_or_else(|panic| resume_unwind(panic));
            (report, named, Some(held))
        }
    };
    let written = tell(terminal, *output, verbose, &report)?;
    let exit = Exit::of_action(&report);
    match written {
        Ok(()) => Ok(exit.if_all_seen(named == Named::Seen)),
        Err(unwritten) if is_over => {
            let hint = "'fdclose list' with the same selectors shows what is left";
            report_untold(terminal, &unwritten, &result::brief(&report), hint)?;
            // That a process could not be restored is worse.
            Ok(exit.max(Exit::Failed))
        }
        Err(unwritten) => Err(unwritten.untouched()),
    }
}

/// Writes the report: the result, and what went wrong. The inner error is that of the result.
fn tell(
    terminal: &Terminal,
    output: Output,
    verbose: bool,
    report: &ActionReport,
) -> io::Result<Result<(), Unwritten>> {
    let written = terminal.result(|layout, out| match (output.json, output.quiet) {
        (true, _) => json::write(report, out),
        (false, true) => Ok(()),
        (false, false) => result::write(report, verbose, layout, out),
    });
    if !output.json || written.is_err() {
        terminal.diagnostic(|layout, out| failures::write(report, layout, out))?;
    }
    Ok(written)
}

/// `acted` gets what was done before anything of it is looked at.
fn act(
    terminal: &Terminal,
    procfs: &Procfs,
    action: &Action,
    verbose: bool,
    acted: &OnceLock<ActionReport>,
) -> anyhow::Result<Stage> {
    let Action { selectors, method, conduct, output } = action;
    let method = *method;
    let Some(mut survey) = look(terminal, procfs, selectors, Detail::Ends)? else {
        return Ok(Stage::Over(Exit::Refused));
    };
    let if_nothing = report_unreadable(terminal, procfs, selectors, &survey)?;
    if survey.matches.is_empty() {
        if output.json {
            terminal.result(|_, out| {
                json::write(&ActionReport::new(method, conduct.dry_run, vec![], vec![]), out)
            })?;
        }
        if if_nothing == Exit::NothingMatched && (survey.unreadable.is_empty() || selectors.pids.is_empty()) {
            report_nothing(terminal, procfs, selectors, Detail::Idle)?;
        }
        return Ok(Stage::Over(if_nothing));
    }
    let is_seen = saw_all_named(selectors, &survey);
    let is_there = report_absent(terminal, procfs, selectors, Detail::Ends, numbers_of(&survey))?;
    let named = if is_seen && is_there { Named::Seen } else { Named::Unseen };
    if conduct.all_holders {
        survey = survey::with_all_holders(procfs, survey)?;
        report_unreadable(terminal, procfs, &Selectors::default(), &survey)?;
    }
    let plan = plan::plan(&survey, method, &own_facts(procfs), conduct.force);
    if !output.quiet && method == Method::Close {
        report_watched(terminal, &survey, &plan)?;
    }
    let explanation = explained(terminal, procfs, &survey, &plan, action, verbose)?;
    if conduct.dry_run || plan.is_empty() {
        let preview = apply::preview(&survey, &plan, method, conduct.dry_run);
        return Ok(Stage::Preview(ActionReport { explanation, ..preview }, named));
    }
    let exact = selectors.is_exact() && !conduct.all_holders && !method.always_asks();
    let agreed = conduct.yes || exact || agree(terminal, &survey, &plan, method)?;
    if !agreed {
        return Ok(Stage::Over(Exit::Refused));
    }
    Held::hold().context("can't hold signals back")?.to_the_end();
    let limits = method::Conduct { max_pause: conduct.max_pause, timeout: conduct.timeout };
    let acts = apply::act(procfs, &mut survey, &plan, method, limits, true);
    let leaves_traced = acts.leaves_traced();
    acted.get_or_init(|| ActionReport {
        explanation: explanation.clone(),
        ..apply::unfinished(method, &acts)
    });
    let done = Done { survey, plan, acts, explanation };
    // Here, somebody watches over what is asked of the kernel.
    Ok(if leaves_traced {
        Stage::Cut(Box::new(done), named)
    } else {
        Stage::Done(done.report(procfs, method), named)
    })
}

/// The reasoning, if it is asked for; people are told at once, before anything is done.
fn explained(
    terminal: &Terminal,
    procfs: &Procfs,
    survey: &Survey,
    plan: &Plan,
    action: &Action,
    verbose: bool,
) -> anyhow::Result<Option<Explanation>> {
    let Action { method, conduct, output, .. } = action;
    if !conduct.explain || (output.quiet && !output.json) {
        return Ok(None);
    }
    let explanation = doctor::explain(procfs, survey, plan);
    if !output.json {
        let preview = apply::preview(survey, plan, *method, true);
        let told = terminal.result(|layout, out| {
            explain::write(&explanation, &preview, verbose, layout, out)?;
            writeln!(out)
        });
        told.map_err(Unwritten::untouched)?;
    }
    Ok(Some(explanation))
}

/// What the plan must know of this process. A parent outside of this pid namespace is not seen, and can't be named
/// either.
pub(super) fn own_facts(procfs: &Procfs) -> OwnFacts {
    let pid = Pid::new(std::process::id().cast_signed());
    let mut ancestors: Vec<Pid> = Vec::new();
    let mut next = pid.and_then(|pid| procfs.parent_of(pid));
    while let Some(ancestor) = next.filter(|ancestor| !ancestors.contains(ancestor)) {
        ancestors.push(ancestor);
        next = procfs.parent_of(ancestor);
    }
    OwnFacts { pid, ancestors }
}

/// Shows what a broad selection matched and asks; without a terminal, says what to do instead.
fn agree(terminal: &Terminal, survey: &Survey, plan: &Plan, method: Method) -> anyhow::Result<bool> {
    let preview = apply::preview(survey, plan, method, true);
    agree_to(terminal, method.imperative(), plan.len(), plan.processes.len(), |layout, out| {
        table::write(preview.targets.iter().map(table::Row::from), layout, out)
    })
}

/// Shows what is about to be done by `preview` and asks for it; without a terminal, says what to do instead.
///
/// # Errors
/// A stream can't be written to, or read from.
pub(super) fn agree_to(
    terminal: &Terminal,
    verb: &str,
    descriptors: usize,
    processes: usize,
    preview: impl FnOnce(&Layout, &mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<bool> {
    if !terminal.can_ask() {
        terminal.error(
            &format!(
                "this selection is broad (it matches {} of {}), and there is no terminal to ask on; nothing was touched",
                Counted(descriptors, "descriptor"),
                Counted(processes, "process")
            ),
            Some("look at it with --dry-run, then give --yes"),
        )?;
        return Ok(false);
    }
    terminal.result(preview).map_err(Unwritten::untouched)?;
    let mut input = BufReader::new(io::stdin().lock());
    let agreed = confirm::ask(verb, descriptors, processes, &mut input, &mut io::stderr().lock())
        .context("can't ask on the terminal")?;
    if !agreed {
        terminal.note("nothing was touched")?;
    }
    Ok(agreed)
}
