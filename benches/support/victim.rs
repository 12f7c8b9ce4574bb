//! The benchmark's side of `benches/c/victim.c`.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A socket the victim left in CLOSE-WAIT.
pub(crate) struct Leak {
    pub(crate) fd: u32,
    pub(crate) inode: u64,
}

/// A running victim. Dropping it ends it; so does the benchmark's own end, however that comes about,
/// because the victim ends when its standard input does.
pub(crate) struct Victim {
    controller: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: u32,
    leaks: VecDeque<Leak>,
}

impl Victim {
    /// Starts a victim of `threads` threads that has leaked `leaks` sockets.
    pub(crate) fn start(program: &Path, threads: usize, leaks: usize) -> Result<Self> {
        let mut controller = Command::new(program)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let commands = controller.stdin.take();
        let answers = controller.stdout.take().context("the victim has no standard output")?;
        let mut victim =
            Self { controller, commands, answers: BufReader::new(answers), pid: 0, leaks: VecDeque::new() };
        victim.pid = number(&victim.answer("ready")?)?;
        for _ in 0..leaks {
            victim.leak()?;
        }
        Ok(victim)
    }

    /// The pid of the process to trace.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Leaks one more socket.
    pub(crate) fn leak(&mut self) -> Result<()> {
        let answer = self.ask("leak", "leaked")?;
        let (fd, inode) = answer.split_once(' ').context("the victim did not say what it leaked")?;
        self.leaks.push_back(Leak { fd: number(fd)?, inode: number(inode)? });
        Ok(())
    }

    /// The socket leaked longest ago, for a peer to close.
    pub(crate) fn oldest_leak(&mut self) -> Result<Leak> {
        let leak = self.leaks.pop_front().context("the victim has no leaked socket left")?;
        let seen = self.descriptor(&leak)?;
        let expected = PathBuf::from(format!("socket:[{}]", leak.inode));
        ensure!(
            seen.as_ref() == Some(&expected),
            "descriptor {} of the victim should be {} before the close, and is {seen:?}",
            leak.fd,
            expected.display(),
        );
        Ok(leak)
    }

    /// What the descriptor refers to by the kernel's word, or `None` when it is not open.
    pub(crate) fn descriptor(&self, leak: &Leak) -> Result<Option<PathBuf>> {
        let path = format!("/proc/{}/fd/{}", self.pid, leak.fd);
        match fs::read_link(&path) {
            Ok(file) => Ok(Some(file)),
            // A victim that died has no such descriptor either, but then the directory is gone too.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::metadata(format!("/proc/{}/fd", self.pid)).context("the victim is gone")?;
                Ok(None)
            }
            Err(error) => Err(error).context(path),
        }
    }

    /// The largest gap in the spinning thread's time since the last answer the victim gave.
    pub(crate) fn take_gap(&mut self) -> Result<Duration> {
        let answer = self.ask("take", "gap")?;
        Ok(Duration::from_nanos(number(&answer)?))
    }

    fn ask(&mut self, command: &str, expected: &str) -> Result<String> {
        let commands = self.commands.as_mut().context("the victim has no standard input")?;
        writeln!(commands, "{command}").context("the victim reads no more")?;
        self.answer(expected)
    }

    fn answer(&mut self, expected: &str) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the victim's answer")?;
        match line.trim_end().split_once(' ') {
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

fn number<N>(text: &str) -> Result<N>
where
    N: std::str::FromStr,
    N::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("{text:?} should be a number"))
}
