//! The command line: what is typed, checked before anything is touched.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::host::Version;
use crate::ids::Pid;
pub use crate::method::Method;
use crate::net::KeepaliveWish;
use crate::output::style::ColorChoice;
use crate::policy::Policy;
use crate::selectors::Selectors;

mod absent;
mod args;
pub mod close;
pub mod demo;
pub mod doctor;
pub mod generate;
mod help;
pub mod keepalive;
pub mod list;
mod look;
mod nothing;
mod reset;
pub mod terminal;
mod unselected;
mod usage;
mod values;
pub mod watch;

pub use usage::{Help, NotParsed, UsageError};

/// What is to be done, and how to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cli {
    /// What.
    pub command: Command,
    /// How often `--verbose` was given.
    pub verbose: u8,
    /// When to colour.
    pub color: ColorChoice,
    /// What came later than this kernel is not to be used.
    pub assume_kernel: Option<Version>,
}

/// One of the things fdclose does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Act on what is selected. The selection has passed [`Selectors::check_for_action`].
    Act(Action),
    /// Show what is selected.
    List(List),
    /// Switch keepalive on. The selection is not empty.
    Keepalive(KeepaliveAction),
    /// Close what is idle, again and again. The selection says for how long.
    Watch(Watch),
    /// The child of `Watch`: the server that is asked for metrics.
    MetricsServer,
    /// Say what works.
    Doctor(Doctor),
    /// The child of `Doctor`: what it tries things on.
    DoctorSubject,
    /// Make a leak and close it.
    Demo,
    /// The child of `Demo`: the server that leaks.
    DemoServer,
    /// Write what packagers install.
    Generate(generate::What),
}

impl Command {
    /// What it is about, if it can be selected.
    fn selectors(&self) -> Option<&Selectors> {
        match self {
            Self::Act(action) => Some(&action.selectors),
            Self::List(list) => Some(&list.selectors),
            Self::Keepalive(action) => Some(&action.selectors),
            Self::Watch(watch) => Some(&watch.selectors),
            _ => None,
        }
    }
}

/// The main action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// On what.
    pub selectors: Selectors,
    /// How.
    pub method: Method,
    /// Within which limits.
    pub conduct: Conduct,
    /// What to print.
    pub output: Output,
}

/// `fdclose list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// What; everything if empty.
    pub selectors: Selectors,
    /// Again and again, this often.
    pub watch: Option<Duration>,
    /// Sockets alone, without their holders.
    pub no_holders: bool,
    /// What to print.
    pub output: Output,
}

impl List {
    /// What can't be told without looking into processes.
    fn contradiction(&self) -> Option<UsageError> {
        let Selectors { pids, fds, comms, kinds, deleted, .. } = &self.selectors;
        let given = [
            ("--pid", !pids.is_empty()),
            ("--fd", !fds.is_empty()),
            ("--comm", !comms.is_empty()),
            ("--kind", !kinds.is_empty()),
            ("--deleted", *deleted),
            ("--watch", self.watch.is_some()),
        ];
        let (option, _) = given.into_iter().find(|(_, is_given)| *is_given && self.no_holders)?;
        let message =
            format!("--no-holders looks into no process and lists TCP sockets once: leave out {option}");
        Some(UsageError { message, hint: None })
    }
}

/// `fdclose keepalive`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepaliveAction {
    /// On what.
    pub selectors: Selectors,
    /// What to set.
    pub wish: KeepaliveWish,
    /// Touch nothing, say what would be done.
    pub dry_run: bool,
    /// Do not ask.
    pub yes: bool,
    /// What to print.
    pub output: Output,
}

/// `fdclose doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doctor {
    /// The process to look at.
    pub pid: Option<Pid>,
    /// One JSON document instead of text.
    pub json: bool,
}

/// `fdclose watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// On what.
    pub selectors: Selectors,
    /// How often.
    pub every: Duration,
    /// How.
    pub method: Method,
    /// Within which bounds.
    pub policy: Policy,
    /// Where to tell how it goes.
    pub metrics: Option<SocketAddr>,
    /// Touch nothing, say what would be done.
    pub dry_run: bool,
    /// Also where it is known to be risky.
    pub force: bool,
    /// The longest single pause of a target.
    pub max_pause: Duration,
    /// The longest wait for a target to stop.
    pub timeout: Duration,
}

/// How an action behaves.
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conduct {
    /// Touch nothing, say what would be done.
    pub dry_run: bool,
    /// Do not ask.
    pub yes: bool,
    /// Also every other descriptor of the same sockets, in any process.
    pub all_holders: bool,
    /// Say why it is done so.
    pub explain: bool,
    /// Also where it is known to be risky.
    pub force: bool,
    /// The longest single pause of a target.
    pub max_pause: Duration,
    /// The longest wait for a target to stop.
    pub timeout: Duration,
}

/// What is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Output {
    /// One JSON document instead of text.
    pub json: bool,
    /// Only what went wrong.
    pub quiet: bool,
}

/// Reads a command line. The first of `args` is the program's own name.
///
/// # Errors
///
/// [`NotParsed::Help`] if help or the version was asked for, [`NotParsed::Usage`] if anything is wrong or
/// too much is selected. Nothing was printed yet.
pub fn parse<I>(args: I) -> Result<Cli, NotParsed>
where
    I: IntoIterator<Item = OsString>,
{
    let mut command = args::Raw::command();
    let matches = command.try_get_matches_from_mut(args).map_err(|err| NotParsed::from_clap(&err))?;
    let misplaced = misplaced(&matches);
    let raw = args::Raw::from_arg_matches(&matches).map_err(|err| NotParsed::from_clap(&err))?;
    if let Some(err) = misplaced.or_else(|| raw.contradiction()) {
        return Err(NotParsed::Usage(err));
    }
    let cli = Cli::from(raw);
    let impossible = cli.command.selectors().and_then(|selectors| selectors.check_possible().err());
    if let Some(impossible) = impossible {
        return Err(NotParsed::Usage(UsageError { message: impossible.to_string(), hint: None }));
    }
    let acts_on = match &cli.command {
        Command::Act(action) => Some(&action.selectors),
        // It harms nothing to keep all connections of a process alive; but all of the host are not meant by accident.
        Command::Keepalive(action) if action.selectors.is_empty() => Some(&action.selectors),
        Command::Watch(watch) if watch.selectors.idle_for.is_none() => {
            return Err(NotParsed::Usage(UsageError::needs_idle_time()));
        }
        Command::Watch(watch) if watch.selectors.is_only_idle() => {
            return Err(NotParsed::Usage(UsageError::watches_all()));
        }
        Command::Watch(watch) => Some(&watch.selectors),
        Command::List(list) => {
            if let Some(error) = list.contradiction() {
                return Err(NotParsed::Usage(error));
            }
            None
        }
        _ => None,
    };
    if let Some(selectors) = acts_on {
        selectors.check_for_action().map_err(|err| NotParsed::Usage(UsageError::too_broad(err)))?;
    }
    Ok(cli)
}

/// An option of the main action in front of another command, where it would be ignored without a word.
fn misplaced(matches: &clap::ArgMatches) -> Option<UsageError> {
    let (name, inner) = matches.subcommand()?;
    let given = |id: &&clap::Id| {
        matches.value_source(id.as_str()) == Some(clap::parser::ValueSource::CommandLine)
            && !args::GLOBAL.contains(&id.as_str())
    };
    let id = matches.ids().find(given)?.as_str();
    let option = args::Raw::command().get_arguments().find(|arg| arg.get_id() == id)?.get_long()?.to_owned();
    let also_there = inner.try_contains_id(id).is_ok();
    Some(UsageError::misplaced(&option, name, also_there))
}

#[cfg(test)]
mod tests;
