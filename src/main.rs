//! The command: parse, run, print the error once, exit status.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use fdclose::cli::terminal::Terminal;
use fdclose::cli::{self, Cli, Command, NotParsed};
use fdclose::exit::Exit;
use fdclose::output::sanitize::printable;
use fdclose::output::style::ColorChoice;
use fdclose::proc::Procfs;
use fdclose::{trace, watchdog};

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
    trace::prepare_process()?;
    let procfs = Procfs::host();
    if let Err(error) = procfs.check_pid_namespace() {
        terminal.error(&printable(error.to_string().as_bytes()), None)?;
        return Ok(Exit::Refused);
    }
    match &cli.command {
        Command::Act(action) => watch_over(terminal, action.conduct.timeout)?,
        Command::List(_) | Command::Keepalive(_) => watch_over(terminal, HANGS_AFTER)?,
        Command::Watch(watch) => watch_over(terminal, watch.timeout)?,
        Command::MetricsServer | Command::Demo | Command::DemoServer | Command::Generate(_) => {}
    }
    match &cli.command {
        Command::Act(action) => cli::close::run(terminal, &procfs, action, cli.verbose > 0),
        Command::List(list) => cli::list::run(terminal, &procfs, list),
        Command::Keepalive(action) => cli::keepalive::run(terminal, &procfs, action),
        Command::Watch(watch) => cli::watch::run(terminal, &procfs, watch),
        Command::MetricsServer => cli::watch::serve(),
        Command::Demo => cli::demo::run(terminal, &procfs),
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
fn watch_over(terminal: &Terminal, timeout: Duration) -> anyhow::Result<()> {
    let terminal = *terminal;
    let on_hang = move |pid| {
        let what = format!(
            "gave up on process {pid}: a system call about it does not come back; what was done to other processes is \
             not reported"
        );
        let hint = format!(
            "some of its memory, or a thread of it, may wait for a file server that does not answer, or for \
             userfaultfd: see the state of its threads (ps -L -o tid,stat,wchan -p {pid})"
        );
        // Where standard error can't be written to, the exit status has to do.
        let _ = terminal.error(&what, Some(&hint));
        #[expect(clippy::disallowed_methods, reason = "the thread that main waits for does not come back")]
        std::process::exit(Exit::Failed.code().into());
    };
    watchdog::start(timeout.saturating_add(HANGS_AFTER), on_hang).context("can't start a thread")
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
