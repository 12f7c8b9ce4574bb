//! The programs compared, and one measured run of one of them.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::timed::timed;
use super::victim::{Leak, Victim};

/// Who closes the descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Fdclose,
    Floor,
    Gdb,
    /// A program that starts and ends, attached to nobody: the noise of the machine in both figures.
    Nobody,
}

/// Where the peers' programs are.
pub(crate) struct Peers {
    pub(crate) fdclose: PathBuf,
    pub(crate) floor: PathBuf,
    /// What `gdb --version` says, if there is a gdb.
    pub(crate) gdb: Option<String>,
    /// Takes what the peers print, to be shown when one fails. A file, so that printing wakes nobody.
    printed: PathBuf,
}

/// One run's wall time, from before the program was started to after it was waited for, and the largest
/// gap in the spinning thread's time meanwhile.
pub(crate) struct Run {
    pub(crate) wall: Duration,
    pub(crate) pause: Duration,
}

impl Peers {
    /// `$FDCLOSE_BIN` replaces the fdclose that cargo built.
    pub(crate) fn find(floor: PathBuf) -> Self {
        let fdclose = env::var_os("FDCLOSE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_fdclose").into());
        Self {
            fdclose: fdclose.into(),
            floor,
            gdb: gdb_version(),
            printed: Path::new(env!("CARGO_TARGET_TMPDIR")).join("one_close.printed"),
        }
    }

    /// Has `peer` close the victim's oldest leaked socket, checks that it did, and has the victim leak
    /// another one. For [`Peer::Nobody`] the gap is watched for `at_least` that long.
    pub(crate) fn run(&self, peer: Peer, victim: &mut Victim, at_least: Duration) -> Result<Run> {
        if peer == Peer::Nobody {
            return self.run_nobody(victim, at_least);
        }
        let leak = victim.oldest_leak()?;
        let mut command = self.command(peer, victim.pid(), &leak);
        let printed = File::create(&self.printed).context("the file for what the peers print")?;
        command.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed);
        victim.take_gap()?;
        let run = timed(&mut command)?;
        let (wall, status) = (run.wall, run.status);
        let pause = victim.take_gap().with_context(|| format!("after {command:?}"))?;
        if let Some(file) = victim.descriptor(&leak)? {
            bail!(
                "{command:?} ended with {status} and left descriptor {} open ({}); it printed:\n{}",
                leak.fd,
                file.display(),
                self.what_was_printed(),
            );
        }
        ensure!(
            status.success(),
            "{command:?} ended with {status}; it printed:\n{}",
            self.what_was_printed()
        );
        victim.leak()?;
        Ok(Run { wall, pause })
    }

    fn run_nobody(&self, victim: &mut Victim, at_least: Duration) -> Result<Run> {
        let mut command = Command::new(&self.floor);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        victim.take_gap()?;
        let wall = timed(&mut command)?.wall;
        thread::sleep(at_least.saturating_sub(wall));
        Ok(Run { wall, pause: victim.take_gap()? })
    }

    fn command(&self, peer: Peer, pid: u32, leak: &Leak) -> Command {
        let pid = pid.to_string();
        let mut command;
        match peer {
            Peer::Fdclose => {
                command = Command::new(&self.fdclose);
                command.args(["--pid", &pid, "--inode", &leak.inode.to_string()]);
            }
            Peer::Gdb => {
                command = Command::new("gdb");
                command.args(["-batch", "-nx", "-p", &pid, "-ex", &format!("p (int)close({})", leak.fd)]);
            }
            Peer::Floor | Peer::Nobody => {
                command = Command::new(&self.floor);
                command.args([pid, leak.fd.to_string()]);
            }
        }
        command
    }

    fn what_was_printed(&self) -> String {
        fs::read(&self.printed)
            .map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn gdb_version() -> Option<String> {
    let output = Command::new("gdb").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}
