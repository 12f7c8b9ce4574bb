//! `watch`: the same selection again and again, closing what has been idle for long enough.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::Watch;
use super::close::own_facts;
use super::look::{look, looked, report_unreadable, report_watched};
use super::terminal::{Terminal, Unwritten};
use crate::apply;
use crate::exit::Exit;
use crate::ids::{Fd, Inode, Pid};
use crate::kind::Kind;
use crate::method::{self, Method};
use crate::metrics::Metrics;
use crate::net::TcpState;
use crate::output::json;
use crate::output::sanitize::printable;
use crate::plan::{self, OwnFacts, Plan, ProcessPlan};
use crate::proc::{Process, Procfs};
use crate::report::{ActionReport, Outcome, WatchLine};
use crate::selectors::{KindChoice, NetnsChoice, Selectors};
use crate::survey::{Detail, Match, NetnsError, Subject, Survey};
use crate::trace::signals::{self, Held};

mod exporter;
mod sys;
mod unseen;

pub(super) use exporter::COMMAND as EXPORTER_COMMAND;
pub use exporter::serve;

use exporter::Exporter;
use unseen::Unseen;

/// What a run came to.
enum Run {
    /// It is over; whether all went well.
    Over(bool),
    /// Nothing of what is watched can ever come back.
    NothingLeft,
    /// Nobody reads what is told.
    Unread,
}

/// Watches until a signal comes, or every process that was named has ended.
///
/// # Errors
/// The metrics can't be served, or standard error can't be written to.
pub fn run(terminal: &Terminal, procfs: &Procfs, watch: &Watch) -> anyhow::Result<Exit> {
    // From now on they are only ever looked for, and none cuts anything off.
    let held = Held::hold().context("can't hold signals back")?;
    let endings = signals::ending_signals().context("can't wait for signals")?;
    let mut watcher = match Watcher::new(terminal, procfs, watch)? {
        Ok(watcher) => watcher,
        Err(exit) => return Ok(exit),
    };
    let exit = loop {
        let begun = Instant::now();
        match watcher.run()? {
            Run::Over(_) => {}
            Run::NothingLeft => break Exit::NothingMatched,
            Run::Unread => {
                terminal.error("nobody reads what is told on standard output", None)?;
                break Exit::Failed;
            }
        }
        if end_comes(&endings, begun + watch.every)? {
            break Exit::Success;
        }
    };
    take_all(&endings)?;
    drop(held);
    Ok(exit)
}

/// Waits until the time has come; whether a signal came before.
fn end_comes(endings: &SignalFd, until: Instant) -> anyhow::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, so that the time is over when it has come.
        let millis = if left.is_zero() { 0 } else { left.as_millis() + 1 };
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(endings.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if until <= Instant::now() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno).context("can't wait for signals"),
        }
    }
}

/// Takes the signals that came: the end is a clean one, and none is to be delivered after it.
fn take_all(endings: &SignalFd) -> anyhow::Result<()> {
    while poll(&mut [PollFd::new(endings.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0 {
        endings.read_signal().context("can't take a signal")?;
    }
    Ok(())
}

struct Watcher<'a> {
    terminal: &'a Terminal,
    procfs: &'a Procfs,
    watch: &'a Watch,
    own: OwnFacts,
    /// The processes that were named, held: another one with the number of one that has ended is never meant.
    named: Option<Vec<Process>>,
    /// Those whose network namespaces were named: another one's with the number of one that has ended is not meant either.
    netns_of: Vec<Process>,
    /// What is refused again at each run is told once.
    refused: BTreeSet<(Pid, Fd, Option<Inode>)>,
    /// The processes whose event loops were warned of, by pid and start time.
    warned: BTreeSet<(Pid, Option<u64>)>,
    /// What the last look could not see.
    unseen: Unseen,
    metrics: Metrics,
    exporter: Option<Exporter>,
    first: bool,
}

impl<'a> Watcher<'a> {
    fn new(
        terminal: &'a Terminal,
        procfs: &'a Procfs,
        watch: &'a Watch,
    ) -> anyhow::Result<Result<Self, Exit>> {
        let exporter = match watch.metrics.map(Exporter::start) {
            Some(Err(error)) => {
                terminal.error(&printable(error.what.as_bytes()), error.hint.as_deref())?;
                return Ok(Err(Exit::Refused));
            }
            Some(Ok(exporter)) => {
                terminal.note(&format!("metrics on http://{}/metrics", exporter.address()?))?;
                Some(exporter)
            }
            None => None,
        };
        let pids = &watch.selectors.pids;
        let (open, gone): (Vec<_>, Vec<_>) =
            pids.iter().map(|pid| procfs.open(*pid).map_err(|_| *pid)).partition(Result::is_ok);
        for pid in gone.into_iter().filter_map(Result::err) {
            terminal.error(&format!("there is no process {pid}"), None)?;
        }
        let named: Option<Vec<Process>> =
            (!pids.is_empty()).then(|| open.into_iter().filter_map(Result::ok).collect());
        if named.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Err(Exit::NothingMatched));
        }
        let in_netns = watch.selectors.netns.iter().filter_map(|choice| match choice {
            NetnsChoice::Process(pid) => Some(*pid),
            NetnsChoice::All | NetnsChoice::Path(_) => None,
        });
        let mut netns_of = Vec::new();
        for pid in in_netns {
            match procfs.open(pid) {
                Ok(process) => netns_of.push(process),
                // Whatever gets its number later is not meant.
                Err(source) => {
                    looked::<()>(terminal, Err(NetnsError::Process { pid, source }.into()))?;
                    return Ok(Err(Exit::NothingMatched));
                }
            }
        }
        Ok(Ok(Self {
            terminal,
            procfs,
            watch,
            own: own_facts(procfs),
            named,
            netns_of,
            refused: BTreeSet::new(),
            warned: BTreeSet::new(),
            unseen: Unseen::default(),
            metrics: Metrics::default(),
            exporter,
            first: true,
        }))
    }

    /// One look, and what follows from it. What fails concerns this run alone.
    fn run(&mut self) -> anyhow::Result<Run> {
        let begun = Instant::now();
        let run = match self.look_and_act() {
            Ok(run) => run,
            Err(error) => {
                self.terminal.error(&printable(format!("{error:#}").as_bytes()), None)?;
                Run::Over(false)
            }
        };
        self.first = false;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.metrics.ended(matches!(run, Run::Over(true)), at, begun.elapsed());
        if let Some(exporter) = &mut self.exporter
            && let Err(error) = exporter.show(&self.metrics)
        {
            self.terminal.error(&printable(format!("{error:#}").as_bytes()), None)?;
        }
        Ok(run)
    }

    fn look_and_act(&mut self) -> anyhow::Result<Run> {
        // Whoever started it may have ended, and their numbers be others' by now.
        self.own = own_facts(self.procfs);
        let Some(everything) = self.everything() else {
            self.terminal.error("every process that was named has ended", None)?;
            return Ok(Run::NothingLeft);
        };
        if self.report_lost_netns()? {
            return Ok(Run::NothingLeft);
        }
        let looked = look(self.terminal, self.procfs, &everything, Detail::Idle)?;
        let Some(mut survey) = looked else { return Ok(Run::Over(false)) };
        // If it still exists now, the number was its own all along.
        if let Some(named) = &self.named {
            let still = |process: &&Process| process.exists().unwrap_or(false);
            let still: BTreeSet<Pid> = named.iter().filter(still).map(Process::pid).collect();
            survey.retain(|_, subject| still.contains(&subject.process.pid()));
        }
        // It may have had another process's number, and namespace, by the time it was looked into.
        if self.report_lost_netns()? {
            return Ok(Run::NothingLeft);
        }
        // A socket counts once, whoever has how many descriptors to it.
        let states: BTreeMap<Inode, TcpState> = survey
            .matches
            .iter()
            .filter_map(|found| Some((found.identity.target.inode()?, found.tcp_state()?)))
            .collect();
        survey.narrow(&self.watch.selectors);
        survey.mark();
        self.metrics.found(states.into_values(), survey.matches.len());
        let unseen = Unseen::of(&survey, &everything);
        let has_seen_all = unseen.is_nothing();
        if self.first || (unseen != self.unseen && !has_seen_all) {
            report_unreadable(self.terminal, self.procfs, &everything, &survey)?;
        }
        self.unseen = unseen;
        let plan = self.plan(&survey);
        let Watch { method, dry_run, max_pause, timeout, .. } = *self.watch;
        self.warn(&survey, &plan)?;
        let idle = |found: &Match| ((survey.subject_of(found).process.pid(), found.fd), idle_ms(found));
        let idle: HashMap<(Pid, Fd), Option<u64>> = survey.matches.iter().map(idle).collect();
        let report = if dry_run || plan.is_empty() {
            apply::preview(&survey, &plan, method, dry_run)
        } else {
            let limits = method::Conduct { max_pause, timeout };
            apply::apply(self.procfs, &mut survey, &plan, method, limits)
        };
        self.metrics.did(&report);
        let is_read = self.tell(&report, |pid, fd| idle.get(&(pid, fd)).copied().flatten())?;
        let failed = report.targets.iter().any(|target| target.outcome == Outcome::Failed)
            || report.processes.iter().any(|process| !process.restored);
        Ok(if is_read { Run::Over(!failed && has_seen_all) } else { Run::Unread })
    }

    /// Whether nobody can tell any more which namespace was meant; that has been said then.
    fn report_lost_netns(&self) -> anyhow::Result<bool> {
        let Some(ended) = self.netns_of.iter().find(|process| has_ended(process)) else { return Ok(false) };
        let pid = ended.pid();
        let what = format!("process {pid}, whose network namespace was meant by --netns, has ended");
        self.terminal.error(&what, None)?;
        Ok(true)
    }

    /// All connections of the processes that are watched, idle or not: their number is a metric. `None` if every process
    /// that was named has ended.
    fn everything(&mut self) -> Option<Selectors> {
        let mut pids = Vec::new();
        if let Some(named) = &mut self.named {
            named.retain(|process| !has_ended(process));
            pids.extend(named.iter().map(Process::pid));
            if pids.is_empty() {
                return None;
            }
        }
        let kinds = vec![KindChoice::Only(Kind::Tcp)];
        Some(Selectors { pids, kinds, idle_for: None, states: Vec::new(), ..self.watch.selectors.clone() })
    }

    /// Warns, once for each process, of what its event loops still watch.
    fn warn(&mut self, survey: &Survey, plan: &Plan) -> anyhow::Result<()> {
        if self.watch.method != Method::Close {
            return Ok(());
        }
        let identity = |subject: &Subject| (subject.process.pid(), subject.process.start_time().ok());
        // Only those that are there: they come and go for as long as this runs.
        self.warned.retain(|warned| {
            let mut of_number = survey.subjects.iter().filter(|subject| subject.process.pid() == warned.0);
            of_number.any(|subject| identity(subject) == *warned)
        });
        let is_watched =
            |index: &usize| survey.matches.get(*index).is_some_and(|found| !found.watched_by.is_empty());
        let news = plan.processes.iter().filter(|share| share.act_on.iter().any(is_watched));
        let process = |share: &ProcessPlan| survey.subjects.get(share.subject).map(identity);
        let news = news.filter(|share| process(share).is_some_and(|process| self.warned.insert(process)));
        let processes: Vec<ProcessPlan> = news.cloned().collect();
        Ok(report_watched(self.terminal, survey, &Plan { processes, refused: Vec::new() })?)
    }

    fn plan(&self, survey: &Survey) -> Plan {
        let plan = plan::plan(survey, self.watch.method, &self.own, self.watch.force);
        let limit_of = |subject: usize| {
            let subject = survey.subjects.get(subject)?;
            subject.process.descriptor_limit().ok().flatten()
        };
        self.watch.policy.bound(plan, limit_of, |index| idle_ms(survey.matches.get(index)?))
    }

    /// A line for each action. Whether somebody reads them.
    fn tell(
        &mut self,
        report: &ActionReport,
        idle_ms: impl Fn(Pid, Fd) -> Option<u64>,
    ) -> anyhow::Result<bool> {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut refused = BTreeSet::new();
        let mut written = Ok(());
        for target in &report.targets {
            if target.outcome == Outcome::Refused {
                let key = (target.pid, target.fd, target.inode);
                refused.insert(key);
                if self.refused.contains(&key) {
                    continue;
                }
            }
            let idle_ms = idle_ms(target.pid, target.fd);
            let line = WatchLine::new(&time, report.dry_run, report.method, idle_ms, target);
            written = written.and_then(|()| json::write(&line, &mut out));
        }
        for process in report.processes.iter().filter(|process| !process.restored) {
            let comm = printable(process.comm.as_bytes());
            self.terminal.error(&format!("{comm} ({}) could not be restored", process.pid), None)?;
        }
        let written = written.and_then(|()| out.flush());
        // What got lost is told at the next look.
        refused.retain(|key| written.is_ok() || self.refused.contains(key));
        self.refused = refused;
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                let unwritten = Unwritten::from(error);
                bail!("{unwritten}; the lines of this look are lost")
            }
            Ok(()) => Ok(true),
        }
    }
}

/// What can't be looked at now may be later, and has not ended.
fn has_ended(process: &Process) -> bool {
    process.living_thread().is_err_and(|error| error.is_gone())
}

fn idle_ms(found: &Match) -> Option<u64> {
    found.socket.as_ref()?.idle_ms
}
