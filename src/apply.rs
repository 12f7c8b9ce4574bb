//! A plan to outcomes: act, look again, and tell what the kernel says then.

use std::collections::HashMap;
use std::mem;

use crate::ids::{Fd, Pid};
use crate::kind::Kind;
use crate::method::{
    self, Conduct, Item, ItemOutcome, Job, Method, Obstacle, Operation, Verdict, Waited, Way,
};
use crate::net::SocketInfo;
use crate::plan::{Plan, ProcessPlan};
use crate::proc::Procfs;
use crate::progress;
use crate::report::{
    ActionReport, ConnectionFate, Outcome, ProcessReport, Summary, TargetReport, Text, WaitEnd, WaiterReport,
};
use crate::survey::{Diags, Match, Survey};
use crate::trace;
use crate::verify;

mod still_idle;

/// Of no more targets is a second report kept, for when nobody comes back from the look at them: of 10,000, that took 5 ms.
const MOST_KEPT: usize = 1000;

/// The report on a plan that is not carried out: because it is a dry run, or because nothing in it may be done.
#[must_use]
pub fn preview(survey: &Survey, plan: &Plan, method: Method, dry_run: bool) -> ActionReport {
    let mut targets: Vec<(usize, TargetReport)> =
        planned(plan).map(|index| (index, target_report(survey, index, Outcome::WouldDo))).collect();
    targets.extend(refusals(survey, plan));
    ActionReport::new(method, dry_run, in_order(targets), Vec::new())
}

/// What was done, before it is looked at again.
#[derive(Debug)]
pub struct Acts {
    targets: Vec<(usize, TargetReport)>,
    processes: Vec<ProcessReport>,
    leaves_traced: bool,
}

impl Acts {
    /// Whether something is left that is traced until the thread ends that has acted.
    #[must_use]
    pub fn leaves_traced(&self) -> bool {
        self.leaves_traced
    }
}

/// Carries out `plan`, process by process, and reports what became of every match.
#[must_use]
pub fn apply(
    procfs: &Procfs,
    survey: &mut Survey,
    plan: &Plan,
    method: Method,
    conduct: Conduct,
) -> ActionReport {
    let acts = act(procfs, survey, plan, method, conduct, false);
    finish(procfs, survey, plan, method, acts)
}

/// Carries out `plan`, process by process. `thread_ends`: the calling thread does nothing else afterwards, see
/// [`crate::work`].
#[must_use]
pub fn act(
    procfs: &Procfs,
    survey: &mut Survey,
    plan: &Plan,
    method: Method,
    conduct: Conduct,
    thread_ends: bool,
) -> Acts {
    let mut diags = mem::take(&mut survey.diags);
    let mut targets: Vec<(usize, TargetReport)> = refusals(survey, plan).collect();
    let mut processes = Vec::new();
    progress::begin(plan.len());
    for (index, share) in plan.processes.iter().enumerate() {
        let Some(subject) = survey.subjects.get(share.subject) else { continue };
        let (share, awake) = still_idle::split(survey, &mut diags, share);
        targets.extend(awake.into_iter().map(|index| (index, left_alone(survey, index))));
        if share.act_on.is_empty() {
            continue;
        }
        let (items, sockets) = items(survey, &share);
        let matches = share.act_on.iter().filter_map(|index| survey.matches.get(*index));
        let watched: Vec<&[Fd]> = matches.map(|found| found.watched_by.as_slice()).collect();
        let job = Job {
            process: &subject.process,
            table: subject.table,
            netns: subject.netns,
            items: &items,
            sockets: &sockets,
            watched: &watched,
            is_last: thread_ends && index + 1 == plan.processes.len(),
        };
        progress::begin_part();
        let operation = method::run(method, procfs, &job, conduct);
        progress::reached(items.len());
        targets.extend(outcomes(survey, &share, method, &operation));
        if operation.stops > 0 || !operation.restored {
            processes.push(process_report(subject.process.pid(), &subject.comm, &operation));
        }
    }
    survey.diags = diags;
    // After an error, but also where all went well: a process that stopped sharing the descriptor table, or a leader that
    // has ended, is let go by nothing else.
    Acts { targets, processes, leaves_traced: trace::leaves_traced() }
}

/// Looks at what was done, and reports it. Only when all is: a connection ends with its last holder, which may be in
/// another of these processes.
#[must_use]
pub fn finish(procfs: &Procfs, survey: &mut Survey, plan: &Plan, method: Method, acts: Acts) -> ActionReport {
    let (mut diags, Acts { mut targets, processes, .. }) = (mem::take(&mut survey.diags), acts);
    verify(procfs, &mut diags, survey, plan, method, &mut targets);
    ActionReport::new(method, false, in_order(targets), processes)
}

/// The report on what was done for when [`finish`] does not come back; without the targets where they are many.
#[must_use]
pub fn unfinished(method: Method, acts: &Acts) -> ActionReport {
    let summary = Summary::of(acts.targets.iter().map(|(_, target)| target.outcome));
    let mut targets = if acts.targets.len() > MOST_KEPT { Vec::new() } else { acts.targets.clone() };
    let looked_at = |target: &&mut TargetReport| target.outcome == Outcome::Done && target.kind == Kind::Tcp;
    for target in targets.iter_mut().map(|(_, target)| target).filter(looked_at) {
        target.connection = ConnectionFate::Unknown;
    }
    let report = ActionReport::new(method, false, in_order(targets), acts.processes.clone());
    ActionReport { summary, ..report }
}

/// Looks up again what was a connection, process by process.
fn verify(
    procfs: &Procfs,
    diags: &mut Diags,
    survey: &Survey,
    plan: &Plan,
    method: Method,
    targets: &mut [(usize, TargetReport)],
) {
    for share in &plan.processes {
        let Some(subject) = survey.subjects.get(share.subject) else { continue };
        let pid = subject.process.pid();
        let done = targets
            .iter_mut()
            .filter(|(_, target)| target.pid == pid && target.outcome == Outcome::Done)
            .map(|(index, target)| {
                let found = survey.matches.get(*index);
                (found.and_then(|found| found.socket.as_ref()), target)
            });
        verify::connections(procfs, diags, subject, method, done);
    }
}

fn planned(plan: &Plan) -> impl Iterator<Item = usize> {
    plan.processes.iter().flat_map(|process| process.act_on.iter().copied())
}

fn in_order(mut targets: Vec<(usize, TargetReport)>) -> Vec<TargetReport> {
    targets.sort_by_key(|(index, _)| *index);
    targets.into_iter().map(|(_, target)| target).collect()
}

fn refusals<'a>(survey: &'a Survey, plan: &'a Plan) -> impl Iterator<Item = (usize, TargetReport)> + 'a {
    plan.refused.iter().map(|(index, reason)| {
        let target = TargetReport {
            error: Some(reason.to_string()),
            hint: Some(reason.hint().to_owned()),
            ..target_report(survey, *index, Outcome::Refused)
        };
        (*index, target)
    })
}

fn items<'a>(survey: &'a Survey, share: &ProcessPlan) -> (Vec<Item>, Vec<Option<&'a SocketInfo>>) {
    let item =
        |found: &'a Match| (Item { fd: found.fd, expected: found.identity.clone() }, found.socket.as_ref());
    share.act_on.iter().filter_map(|index| survey.matches.get(*index)).map(item).unzip()
}

/// The report on a match to which nothing has happened yet.
fn target_report(survey: &Survey, index: usize, outcome: Outcome) -> TargetReport {
    let found = &survey.matches[index];
    let subject = survey.subject_of(found);
    TargetReport {
        pid: subject.process.pid(),
        comm: Text::from(subject.comm.clone()),
        fd: found.fd,
        inode: found.identity.target.inode(),
        kind: found.kind(),
        name: Text::from(found.name()),
        deleted: found.identity.target.is_deleted(),
        state: found.tcp_state(),
        local: found.local(),
        peer: found.peer(),
        outcome,
        fd_freed: false,
        closed_by_process: false,
        connection: ConnectionFate::NotApplicable,
        state_after: None,
        number_by: None,
        waiters: Vec::new(),
        watched_by: found.watched_by.clone(),
        holders: Vec::new(),
        kept_by: Vec::new(),
        all_seen: None,
        error: None,
        hint: None,
    }
}

/// The report on a connection whose peer came back before it was its turn.
fn left_alone(survey: &Survey, index: usize) -> TargetReport {
    TargetReport {
        error: Some("its peer was heard of since it was selected: it was left alone".to_owned()),
        hint: Some("select again".to_owned()),
        ..target_report(survey, index, Outcome::Changed)
    }
}

/// What became of the matches of one process.
fn outcomes(
    survey: &Survey,
    share: &ProcessPlan,
    method: Method,
    operation: &Operation,
) -> Vec<(usize, TargetReport)> {
    let mut waiters: HashMap<Fd, Vec<WaiterReport>> = HashMap::new();
    for waited in &operation.waited {
        waiters.entry(waited.fd).or_default().push(waiter(waited));
    }
    let ways: HashMap<Fd, Way> = operation.found.iter().map(|found| (found.fd, found.way)).collect();
    let mut report = |index: usize, outcome| {
        let target = target_report(survey, index, Outcome::Done);
        let waiters = waiters.remove(&target.fd).unwrap_or_default();
        let number_by = ways.get(&target.fd).copied();
        (index, with_outcome(TargetReport { number_by, waiters, ..target }, method, outcome, operation))
    };
    share.act_on.iter().zip(&operation.outcomes).map(|(index, outcome)| report(*index, outcome)).collect()
}

fn with_outcome(
    target: TargetReport,
    method: Method,
    outcome: &ItemOutcome,
    operation: &Operation,
) -> TargetReport {
    let closed_by_process = *outcome == ItemOutcome::ByProcess;
    let (outcome, error, hint) = match outcome {
        ItemOutcome::Done(None) | ItemOutcome::ByProcess => (Outcome::Done, None, None),
        ItemOutcome::Done(Some(errno)) => {
            let note = format!("closed, but the last writes to the file failed: {}", errno.desc());
            (Outcome::Done, Some(note), None)
        }
        ItemOutcome::Gone => (Outcome::Gone, None, None),
        ItemOutcome::Changed => {
            let why = "the descriptor referred to something else by then, and was left alone";
            (Outcome::Changed, Some(why.to_owned()), Some("select again".to_owned()))
        }
        ItemOutcome::Failed(why) => (Outcome::Failed, Some(why.clone()), None),
        ItemOutcome::Refused { why, hint } => (Outcome::Refused, Some(why.clone()), Some(hint.clone())),
        ItemOutcome::NotTried => match operation.error.clone() {
            Some(Obstacle { verdict: Verdict::Gone, .. }) => (Outcome::Gone, None, None),
            Some(Obstacle { verdict: Verdict::Refused, message, hint }) => {
                (Outcome::Refused, Some(message), hint)
            }
            Some(Obstacle { verdict: Verdict::Failed, message, hint }) => {
                (Outcome::Failed, Some(message), hint)
            }
            None => (Outcome::Failed, Some("was not tried: this is a bug in fdclose".to_owned()), None),
        },
    };
    let fd_freed = outcome == Outcome::Done && (method.frees_descriptor() || closed_by_process);
    TargetReport { outcome, fd_freed, closed_by_process, error, hint, ..target }
}

fn waiter(waited: &Waited) -> WaiterReport {
    let end = match waited.end {
        method::WaitEnd::BadDescriptor => WaitEnd::Ebadf,
        method::WaitEnd::PolledInvalid => WaitEnd::Pollnval,
        method::WaitEnd::Woken => WaitEnd::Woken,
        method::WaitEnd::Replaced => WaitEnd::Replaced,
        method::WaitEnd::Reset => WaitEnd::Reset,
    };
    WaiterReport { tid: waited.tid, call: waited.call.clone(), end }
}

fn process_report(pid: Pid, comm: &[u8], operation: &Operation) -> ProcessReport {
    let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    ProcessReport {
        pid,
        comm: Text::from(comm),
        threads: operation.threads,
        stops: operation.stops,
        paused_us_max: micros(operation.longest_pause),
        paused_us_total: micros(operation.total_pause),
        restored: operation.restored,
        insured: operation.insured,
    }
}
