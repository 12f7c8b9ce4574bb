//! The benchmark's side of `benches/c/batch_victim.c`.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, unshare};

/// Which of the victim's sockets are leaked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Contiguous,
    EveryOther,
}

impl Layout {
    /// How many of `sockets` are leaked, and how many are open connections that are to stay.
    pub(crate) fn split(self, sockets: usize) -> (usize, usize) {
        match self {
            Self::Contiguous => (sockets, 0),
            Self::EveryOther => (sockets - sockets / 2, sockets / 2),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Contiguous => "contiguous",
            Self::EveryOther => "every-other",
        })
    }
}

/// The gaps in the spinning thread's time: the largest, and all notable ones together.
#[derive(Clone, Copy)]
pub(crate) struct Gaps {
    pub(crate) largest: Duration,
    pub(crate) sum: Duration,
    /// How much of its time it waited for a processor that others had, as the kernel counts.
    pub(crate) waited: Duration,
}

/// A running victim. Dropping it ends it; so does the benchmark's own end, however that comes about, because the victim
/// ends when its standard input does.
pub(crate) struct Victim {
    controller: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) pid: u32,
    /// Of its end of the connections.
    pub(crate) port: u16,
    leaked: usize,
    kept: usize,
}

impl Victim {
    pub(crate) fn start(program: &Path, sockets: usize, layout: Layout) -> Result<Self> {
        enter_namespace()?;
        let mut controller = Command::new(program)
            .args([sockets.to_string(), layout.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let commands = controller.stdin.take();
        let answers = BufReader::new(controller.stdout.take().context("the victim has no standard output")?);
        let (leaked, kept) = layout.split(sockets);
        let mut victim = Self { controller, commands, answers, pid: 0, port: 0, leaked, kept };
        let answer = victim.answer("ready")?;
        let (pid, port) = answer.split_once(' ').context("the victim did not say where it is")?;
        (victim.pid, victim.port) = (number(pid)?, number(port)?);
        ensure!(victim.left()? == (leaked, kept), "the victim has not made its sockets");
        Ok(victim)
    }

    /// Has the first thread spin from now on.
    pub(crate) fn spin(&mut self) -> Result<()> {
        self.ask("spin", "spins").map(drop)
    }

    /// The gaps since [`Self::spin`]. The first thread waits again.
    pub(crate) fn take_gaps(&mut self) -> Result<Gaps> {
        let answer = self.ask("take", "gaps")?;
        let times = answer.split(' ').map(|time| Ok(Duration::from_nanos(number(time)?)));
        let [largest, sum, waited] = times
            .collect::<Result<Vec<_>>>()?
            .try_into()
            .map_err(|_| anyhow!("the victim did not say what it measured"))?;
        Ok(Gaps { largest, sum, waited })
    }

    /// Has the target close everything leaked itself; what it took.
    pub(crate) fn close(&mut self) -> Result<Duration> {
        Ok(Duration::from_nanos(number(&self.ask("close", "closed")?)?))
    }

    /// The numbers of the leaked descriptors, one a line.
    pub(crate) fn descriptors(&mut self) -> Result<String> {
        Ok(self.ask("fds", "fds")?.replace(' ', "\n"))
    }

    /// Checks that what was leaked is closed, or that it is all there, and that the rest is untouched.
    pub(crate) fn check(&mut self, closed: bool) -> Result<()> {
        let expected = (if closed { 0 } else { self.leaked }, self.kept);
        let left = self.left()?;
        ensure!(left == expected, "leaked and kept descriptors left: {left:?}, should be {expected:?}");
        Ok(())
    }

    fn left(&mut self) -> Result<(usize, usize)> {
        let answer = self.ask("left", "left")?;
        let (leaked, kept) = answer.split_once(' ').context("the victim did not say what is left")?;
        Ok((number(leaked)?, number(kept)?))
    }

    fn ask(&mut self, command: &str, expected: &str) -> Result<String> {
        let commands = self.commands.as_mut().context("the victim has no standard input")?;
        writeln!(commands, "{command}").context("the victim reads no more")?;
        self.answer(expected)
    }

    fn answer(&mut self, expected: &str) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the victim's answer")?;
        match line.trim_end_matches('\n').split_once(' ') {
            Some((word, rest)) if word == expected => Ok(rest.to_owned()),
            _ if line.is_empty() => bail!("the victim ended; its message is above"),
            _ => bail!("the victim should answer {expected:?} and said {line:?}"),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Err(error) = self.controller.wait() {
            eprintln!("cannot wait for the victim: {error}");
        }
    }
}

/// Goes where no other connections are, this process and whatever it starts from now on. Those of a busy machine would
/// be listed, too, and those of the victims before are in TIME-WAIT: from a number of them on the kernel makes no more,
/// and closing costs a tenth.
fn enter_namespace() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace (root is needed)")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("cannot run ip")?;
    ensure!(status.success(), "the loopback interface does not come up: {status}");
    Ok(())
}

fn number<N>(text: &str) -> Result<N>
where
    N: std::str::FromStr,
    N::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("{text:?} should be a number"))
}
