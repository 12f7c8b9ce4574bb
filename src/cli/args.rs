//! The command line as clap sees it. `mod.rs` turns it into plain data.

use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::generate::What;
use super::reset::RawReset;
use super::{
    Action, Cli, Command, Conduct, Doctor, KeepaliveAction, List, Method, Output, UsageError, Watch, help,
    values,
};
use crate::host::Version;
use crate::ids::Pid;
use crate::output::style::ColorChoice;
use crate::trace::Signal;

mod policy;
mod selectors;
mod wish;

use policy::RawPolicy;
use selectors::RawSelectors;
use wish::RawWish;

/// The ids of the options that every command takes, before it or after.
pub(super) const GLOBAL: &[&str] = &["verbose", "color", "assume_kernel"];

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Debug, Parser)]
#[command(
    name = "fdclose",
    version,
    about = help::ABOUT,
    long_about = help::LONG_ABOUT,
    after_help = help::AFTER_SHORT,
    after_long_help = help::AFTER_LONG,
    override_usage = help::USAGE,
    styles = STYLES,
    term_width = help::WIDTH,
    args_override_self = true,
    disable_help_subcommand = true,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub(super) struct Raw {
    #[command(flatten)]
    selectors: RawSelectors,
    #[command(flatten)]
    conduct: RawConduct,
    #[command(flatten)]
    output: RawOutput,
    /// Show every row, however many
    ///
    /// Also which processes would not have survived the death of fdclose in the middle.
    #[arg(short, long, global = true, help_heading = "Output", action = ArgAction::Count)]
    verbose: u8,
    /// When to use colour: auto, always or never
    ///
    /// auto is on a terminal, unless NO_COLOR is set or TERM is dumb.
    #[arg(long, global = true, help_heading = "Output", value_name = "WHEN", value_enum, default_value_t)]
    #[arg(hide_short_help = true, hide_possible_values = true, allow_hyphen_values = true)]
    color: RawColor,
    /// Do without what came later than this kernel, for tests
    #[arg(long, global = true, hide = true, value_name = "X.Y")]
    assume_kernel: Option<Version>,
    /// Print help; --help has more than -h
    #[arg(short, long, global = true, help_heading = "Output", action = ArgAction::Help)]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, help_heading = "Output", action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Option<RawCommand>,
}

#[derive(Debug, Subcommand)]
// The options of a command are made when it is given: to make those of all takes longer than a close.
#[command(defer = true)]
// One of these exists for the length of a parse: its size is of no interest.
#[allow(clippy::large_enum_variant)]
enum RawCommand {
    /// Show what is selected: every descriptor and who holds it
    #[command(
        after_long_help = help::AFTER_LIST,
        args_override_self = true,
        override_usage = "fdclose list [SELECTORS] [OPTIONS]",
        term_width = help::WIDTH
    )]
    List {
        #[command(flatten)]
        selectors: RawSelectors,
        /// Again every so often, with a forecast
        ///
        /// A time from 100ms to 1day. From how the number of its descriptors grows it is said when a process will
        /// have none left. With --json a document a line.
        #[arg(long, value_name = "TIME", value_parser = values::period(), allow_hyphen_values = true)]
        #[arg(help_heading = "Output")]
        watch: Option<Duration>,
        /// TCP sockets alone, whoever holds them: faster
        ///
        /// As the kernel lists them, those that nobody holds included; no process is looked into. Those of fdclose's
        /// own network namespace, or of those named by --netns.
        #[arg(long, help_heading = "Output")]
        no_holders: bool,
        #[command(flatten)]
        output: RawOutput,
    },
    /// Switch TCP keepalive on in other processes' sockets
    #[command(
        long_about = help::KEEPALIVE,
        after_long_help = help::AFTER_KEEPALIVE,
        args_override_self = true,
        override_usage = "fdclose keepalive SELECTORS [OPTIONS]",
        term_width = help::WIDTH
    )]
    Keepalive {
        #[command(flatten)]
        selectors: RawSelectors,
        #[command(flatten)]
        wish: RawWish,
        #[command(flatten)]
        output: RawOutput,
    },
    /// Close what is idle for too long, again and again
    #[command(
        long_about = help::WATCH,
        after_long_help = help::AFTER_WATCH,
        args_override_self = true,
        override_usage = "fdclose watch [SELECTORS] --idle-for TIME [OPTIONS]",
        term_width = help::WIDTH
    )]
    Watch {
        #[command(flatten)]
        selectors: RawSelectors,
        #[command(flatten)]
        policy: RawPolicy,
    },
    /// The process that serves the metrics
    #[command(hide = true, name = super::watch::EXPORTER_COMMAND)]
    MetricsServer,
    /// Say what works on this host, on a process, and why not
    #[command(
        long_about = help::DOCTOR,
        after_long_help = help::AFTER_DOCTOR,
        args_override_self = true,
        term_width = help::WIDTH
    )]
    #[command(override_usage = "fdclose doctor [--pid PID] [--json]")]
    Doctor {
        /// Also look at this process
        #[arg(long, value_name = "PID", action = ArgAction::Append, value_delimiter = ',')]
        #[arg(value_parser = values::pid(), allow_hyphen_values = true)]
        pid: Vec<Pid>,
        /// Print one JSON document
        #[arg(long, help_heading = "Output")]
        json: bool,
    },
    /// The process that the doctor tries things on
    #[command(hide = true, name = crate::doctor::SUBJECT_COMMAND)]
    DoctorSubject,
    /// Make a CLOSE-WAIT leak in a child process, show it, close it
    #[command(long_about = help::DEMO, term_width = help::WIDTH)]
    Demo,
    /// The server that the demo starts
    #[command(hide = true, name = super::demo::SERVER_COMMAND)]
    DemoServer,
    /// Write the man page or shell completions to standard output
    #[command(hide = true, term_width = help::WIDTH)]
    Generate {
        #[command(subcommand)]
        what: RawWhat,
    },
}

#[derive(Debug, Subcommand)]
enum RawWhat {
    /// The man page, in roff
    Man,
    /// What is done where the kernel lacks something, for tests
    Fallbacks,
    /// Completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Conduct")]
struct RawConduct {
    /// Touch nothing, show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask before acting on a broad selection
    ///
    /// Needed for one where there is no terminal to ask on.
    #[arg(short, long)]
    yes: bool,
    /// Act on every other descriptor of the same sockets, too, in any process
    ///
    /// A connection ends with its last holder. Other descriptors of the same process are closed as well.
    #[arg(long, hide_short_help = true)]
    all_holders: bool,
    /// Show first what was found, and what would be the right method
    ///
    /// For each descriptor who else holds it, who watches it and who waits in a call on it, and for each process
    /// what doctor --pid says. To act on nothing, with --dry-run.
    #[arg(long, hide_short_help = true)]
    explain: bool,
    /// Act even on what is refused as risky
    ///
    /// That is: descriptors 0 to 2, listening sockets, what is registered with an io_uring, pid 1, and the processes
    /// fdclose was started from.
    #[arg(long)]
    force: bool,
    /// How: close, replace, shutdown, destroy, reset or kill
    ///
    /// close, the default, has the process itself close the descriptor. replace puts a dead socket over it, so that the number
    /// stays taken until the application itself closes it. shutdown ends both directions of a socket for all
    /// who hold it, and leaves the descriptor. destroy has the kernel end the connection, as ss --kill does,
    /// and leaves the descriptor. reset has the connection get a RST in the name of its peer, and leaves the
    /// descriptor. kill sends the process a signal.
    #[arg(long, value_name = "METHOD", value_enum, default_value_t)]
    #[arg(hide_possible_values = true, hide_default_value = true, allow_hyphen_values = true)]
    method: RawMethod,
    /// The signal of --method kill, by name or number
    ///
    /// Without it, KILL.
    #[arg(long, value_name = "SIGNAL", hide_short_help = true)]
    #[arg(value_parser = values::signal(), allow_hyphen_values = true)]
    signal: Option<Signal>,
    #[command(flatten)]
    reset: RawReset,
    /// The longest single pause of a process, 1us to 1min
    ///
    /// What takes longer is done in several short pauses.
    #[arg(long, value_name = "TIME", default_value = "10ms", hide_short_help = true)]
    #[arg(value_parser = values::max_pause(), allow_hyphen_values = true)]
    max_pause: Duration,
    /// Give up on a process that does not stop
    ///
    /// A time from 1ms to 1h. The process is left as it was.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = values::timeout(), allow_hyphen_values = true)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
struct RawOutput {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Print only what went wrong
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum RawMethod {
    #[default]
    Close,
    Replace,
    Shutdown,
    Destroy,
    Reset,
    Kill,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum RawColor {
    #[default]
    Auto,
    Always,
    Never,
}

impl Raw {
    /// Options that would be ignored without a word.
    pub(super) fn contradiction(&self) -> Option<UsageError> {
        if let Some(RawCommand::Doctor { pid, .. }) = &self.command
            && pid.len() > 1
        {
            return Some(UsageError::several_patients());
        }
        if self.conduct.signal.is_some() && !matches!(self.conduct.method, RawMethod::Kill) {
            let message = "--signal has a meaning for --method kill only".to_owned();
            return Some(UsageError { message, hint: None });
        }
        self.conduct.reset.contradiction(matches!(self.conduct.method, RawMethod::Reset))
    }
}

impl From<Raw> for Cli {
    fn from(raw: Raw) -> Self {
        let command = match raw.command {
            None => Command::Act(Action {
                selectors: raw.selectors.into(),
                method: match raw.conduct.method {
                    RawMethod::Close => Method::Close,
                    RawMethod::Replace => Method::Replace,
                    RawMethod::Shutdown => Method::Shutdown,
                    RawMethod::Destroy => Method::Destroy,
                    RawMethod::Reset => Method::Reset(raw.conduct.reset.into()),
                    RawMethod::Kill => Method::Kill(raw.conduct.signal.unwrap_or(Signal::KILL)),
                },
                conduct: raw.conduct.into(),
                output: raw.output.into(),
            }),
            Some(RawCommand::List { selectors, watch, no_holders, output }) => {
                Command::List(List { selectors: selectors.into(), watch, no_holders, output: output.into() })
            }
            Some(RawCommand::Keepalive { selectors, wish, output }) => Command::Keepalive(KeepaliveAction {
                selectors: selectors.into(),
                wish: wish.into(),
                dry_run: wish.dry_run,
                yes: wish.yes,
                output: output.into(),
            }),
            Some(RawCommand::Watch { selectors, policy }) => Command::Watch(Watch {
                selectors: selectors.into(),
                every: policy.every,
                method: policy.method.into(),
                metrics: policy.metrics,
                dry_run: policy.dry_run,
                force: policy.force,
                max_pause: policy.max_pause,
                timeout: policy.timeout,
                policy: policy.into(),
            }),
            Some(RawCommand::Doctor { pid, json }) => {
                Command::Doctor(Doctor { pid: pid.first().copied(), json })
            }
            Some(RawCommand::DoctorSubject) => Command::DoctorSubject,
            Some(RawCommand::MetricsServer) => Command::MetricsServer,
            Some(RawCommand::Demo) => Command::Demo,
            Some(RawCommand::DemoServer) => Command::DemoServer,
            Some(RawCommand::Generate { what: RawWhat::Man }) => Command::Generate(What::Man),
            Some(RawCommand::Generate { what: RawWhat::Fallbacks }) => Command::Generate(What::Fallbacks),
            Some(RawCommand::Generate { what: RawWhat::Completions { shell } }) => {
                Command::Generate(What::Completions(shell))
            }
        };
        let color = match raw.color {
            RawColor::Auto => ColorChoice::Auto,
            RawColor::Always => ColorChoice::Always,
            RawColor::Never => ColorChoice::Never,
        };
        Self { command, verbose: raw.verbose, color, assume_kernel: raw.assume_kernel }
    }
}

impl From<RawConduct> for Conduct {
    fn from(raw: RawConduct) -> Self {
        Self {
            dry_run: raw.dry_run,
            yes: raw.yes,
            all_holders: raw.all_holders,
            explain: raw.explain,
            force: raw.force,
            max_pause: raw.max_pause,
            timeout: raw.timeout,
        }
    }
}

impl From<RawOutput> for Output {
    fn from(raw: RawOutput) -> Self {
        Self { json: raw.json, quiet: raw.quiet }
    }
}
