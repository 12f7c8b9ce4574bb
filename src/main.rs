//! The command: parse, run, print the error once, exit status.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use fdclose::cli::terminal::Terminal;
use fdclose::cli::{self, Cli, Command, NotParsed};
use fdclose::exit::Exit;
use fdclose::ids::Pid;
use fdclose::output::result;
use fdclose::output::sanitize::printable;
use fdclose::output::style::ColorChoice;
use fdclose::proc::Procfs;
use fdclose::report::ActionReport;
use fdclose::work::Oversight;
use fdclose::{host, trace, watchdog};

fn main() -> ExitCode {
    let (terminal, outcome) = match cli::parse(std::env::args_os()) {
        Ok(cli) => {
            let terminal = Terminal::detect(cli.color);
            (terminal, run(&cli, &terminal))
        }
        Err(not_parsed) => {
            let terminal = Terminal::detect(ColorChoice::Auto);
            (terminal, tell(&not_parsed, &terminal))
        }
    };
    let exit = outcome.unwrap_or_else(|error| {
        // Where standard error can't be written to either, the exit status has to do.
        let _ = terminal.error(&printable(format!("{error:#}").as_bytes()), None);
        Exit::Failed
    });
    exit.into()
}

fn run(cli: &Cli, terminal: &Terminal) -> anyhow::Result<Exit> {
    if let Some(version) = cli.assume_kernel {
        host::assume(version);
    }
    trace::prepare_process()?;
    let procfs = Procfs::host();
    if let Err(error) = procfs.check_pid_namespace() {
        terminal.error(&printable(error.to_string().as_bytes()), None)?;
        return Ok(Exit::Refused);
    }
    let on_hang = |pid, acted: Option<&ActionReport>| give_up(terminal, pid, acted);
    let limit = |timeout: Duration| timeout.saturating_add(HANGS_AFTER);
    match &cli.command {
        Command::List(_) | Command::Keepalive(_) | Command::Doctor(_) => {
            watch_over(terminal, limit(HANGS_AFTER))?;
        }
        Command::Watch(watch) => watch_over(terminal, limit(watch.timeout))?,
        Command::Act(_)
        | Command::MetricsServer
        | Command::DoctorSubject
        | Command::Demo
        | Command::DemoServer
        | Command::Generate(_) => {}
    }
    match &cli.command {
        Command::Act(action) => {
            let oversight =
                Oversight { limit: limit(action.conduct.timeout), on_hang: &on_hang, meanwhile: &|| () };
            cli::close::run(terminal, &procfs, action, cli.verbose > 0, oversight)
        }
        Command::List(list) => cli::list::run(terminal, &procfs, list),
        Command::Keepalive(action) => cli::keepalive::run(terminal, &procfs, action),
        Command::Watch(watch) => cli::watch::run(terminal, &procfs, watch),
        Command::MetricsServer => cli::watch::serve(),
        Command::Doctor(asked) => cli::doctor::run(terminal, &procfs, asked),
        Command::DoctorSubject => {
            fdclose::doctor::be_subject()?;
            Ok(Exit::Success)
        }
        Command::Demo => {
            let oversight = Oversight { limit: limit(HANGS_AFTER), on_hang: &on_hang, meanwhile: &|| () };
            cli::demo::run(terminal, &procfs, oversight)
        }
        Command::DemoServer => cli::demo::serve(),
        Command::Generate(what) => {
            terminal.result(|_, out| cli::generate::write(*what, out))?;
            Ok(Exit::Success)
        }
    }
}

/// Calls that have not come back for so long, on top of `--timeout`, hang.
const HANGS_AFTER: Duration = Duration::from_secs(3);

/// Has this process end when a system call about another one hangs.
fn watch_over(terminal: &Terminal, limit: Duration) -> anyhow::Result<()> {
    let terminal = *terminal;
    watchdog::start(limit, move |pid| give_up(&terminal, pid, None)).context("can't start a thread")
}

/// Says that a system call about `pid` hangs, and ends this process. `acted` is what was done, if all was.
fn give_up(terminal: &Terminal, pid: Pid, acted: Option<&ActionReport>) {
    let (acted_on, hint) = match acted {
        Some(report) => (
            format!(
                "what was selected has been acted on all the same ({}); {}what became of connections is not reported",
                result::brief(report),
                if report.targets.is_empty() { "which not, and " } else { "" }
            ),
            format!(
                "do not repeat it: a number that was freed may mean another file by now; a thread of {pid}, or of a process \
                 that shares a socket with it, may hang with the lock of the socket: see ps -eL -o pid,tid,stat,wchan"
            ),
        ),
        None => (
            "what was done by then is not reported".to_owned(),
            format!(
                "some of its memory, or a thread of it, may wait for a file server that does not answer, or for \
                 userfaultfd: see the state of its threads (ps -L -o tid,stat,wchan -p {pid})"
            ),
        ),
    };
    let what = format!("gave up on process {pid}: a system call about it does not come back; {acted_on}");
    // Where standard error can't be written to, the exit status has to do.
    let _ = terminal.error(&what, Some(&hint));
    // That a process could not be restored is worse.
    let exit = acted.map_or(Exit::Failed, |report| Exit::of_action(report).max(Exit::Failed));
    #[expect(clippy::disallowed_methods, reason = "the thread that does the work does not come back")]
    std::process::exit(exit.code().into());
}

fn tell(not_parsed: &NotParsed, terminal: &Terminal) -> anyhow::Result<Exit> {
    match not_parsed {
        NotParsed::Help(help) => {
            let colored = std::io::stdout().is_terminal();
            terminal.result(|_, out| out.write_all(help.text(colored).as_bytes()))?;
            Ok(Exit::Success)
        }
        NotParsed::Usage(error) => {
            terminal.error(&error.message, error.hint.as_deref())?;
            Ok(Exit::Refused)
        }
    }
}
