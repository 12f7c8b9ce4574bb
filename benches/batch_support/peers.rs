//! Who closes, and one measured run of each.

use std::env;
use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::timed::{Timed, timed};
use super::victim::{Gaps, Layout, Victim};

/// Who ends the connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The victim itself, in a loop.
    Own,
    Fdclose,
    /// `benches/c/one_stop_per_call.c`.
    OneStopPerCall,
    /// `ss --kill`, which leaves the descriptors.
    Ss,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::Own, Self::Fdclose, Self::OneStopPerCall, Self::Ss];
}

/// What one run showed.
#[derive(Default)]
pub(crate) struct Run {
    /// With the target waiting in a call: the whole command, or for [`Peer::Own`] the loop alone.
    pub(crate) wall: Duration,
    pub(crate) peak_kib: u64,
    /// From a run with the target computing.
    pub(crate) computing: Option<Computing>,
}

/// What was seen with a thread of the target computing.
pub(crate) struct Computing {
    pub(crate) wall: Duration,
    pub(crate) gaps: Gaps,
    /// All pauses together, and the largest, as fdclose tells.
    pub(crate) told: Option<(Duration, Duration)>,
}

/// What is read of fdclose's document.
#[derive(Deserialize)]
struct Printed {
    processes: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    paused_us_total: u64,
    paused_us_max: u64,
}

/// Where the programs are.
pub(crate) struct Peers {
    pub(crate) fdclose: PathBuf,
    pub(crate) one_stop_per_call: PathBuf,
    pub(crate) victim: PathBuf,
    /// What fdclose and the others print.
    printed: PathBuf,
    /// What one of them reads.
    descriptors: PathBuf,
}

impl Peers {
    /// `$FDCLOSE_BIN` replaces the fdclose that cargo built.
    pub(crate) fn find(victim: PathBuf, one_stop_per_call: PathBuf) -> Self {
        let fdclose = env::var_os("FDCLOSE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_fdclose").into());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self {
            fdclose: fdclose.into(),
            one_stop_per_call,
            victim,
            printed: folder.join("batch.printed"),
            descriptors: folder.join("batch.descriptors"),
        }
    }

    /// Has `peer` close all that a new victim has leaked, and checks that it did; a second one, whose first thread
    /// computes, if pauses are to be seen.
    pub(crate) fn run(&self, peer: Peer, sockets: usize, layout: Layout) -> Result<Run> {
        let mut victim = Victim::start(&self.victim, sockets, layout)?;
        let mut run = Run::default();
        if peer == Peer::Own {
            run.wall = victim.close()?;
        } else {
            let timed = self.run_command(peer, &mut victim)?;
            (run.wall, run.peak_kib) = (timed.wall, timed.peak_kib);
        }
        victim.check(peer != Peer::Ss)?;
        end(victim)?;
        if matches!(peer, Peer::Fdclose | Peer::OneStopPerCall) {
            let mut victim = Victim::start(&self.victim, sockets, layout)?;
            victim.spin()?;
            let wall = self.run_command(peer, &mut victim)?.wall;
            let gaps = victim.take_gaps()?;
            victim.check(true)?;
            let told = if peer == Peer::Fdclose { Some(self.pauses_told()?) } else { None };
            run.computing = Some(Computing { wall, gaps, told });
            end(victim)?;
        }
        Ok(run)
    }

    fn run_command(&self, peer: Peer, victim: &mut Victim) -> Result<Timed> {
        let pid = victim.pid.to_string();
        let mut command;
        let mut input = Stdio::null();
        match peer {
            Peer::Fdclose => {
                command = Command::new(&self.fdclose);
                command.args(["--pid", &pid, "--state", "close-wait", "--yes", "--json"]);
            }
            Peer::Ss => {
                command = Command::new("ss");
                let port = format!(":{}", victim.port);
                command.args(["-K", "-H", "-n", "-t", "state", "close-wait", "sport", "=", &port]);
            }
            Peer::OneStopPerCall | Peer::Own => {
                command = Command::new(&self.one_stop_per_call);
                command.arg(pid);
                // Asking ends the spinning, so it is asked for before.
                input = File::open(&self.descriptors).context("the list of descriptors")?.into();
            }
        }
        let printed = File::create(&self.printed).context("the file for what is printed")?;
        command.stdin(input).stdout(printed.try_clone()?).stderr(printed);
        let run = timed(&mut command)?;
        ensure!(run.status.success(), "{command:?} ended with {}; it printed:\n{}", run.status, self.shown());
        Ok(run)
    }

    /// All pauses together, and the largest, of the last run of fdclose.
    fn pauses_told(&self) -> Result<(Duration, Duration)> {
        // Piece by piece: the peak memory of a child is at least that of the benchmark when it was started
        // (posix_spawn(3) shares it until the program is loaded).
        let printed = BufReader::new(File::open(&self.printed).context("what fdclose printed")?);
        let printed: Printed = serde_json::from_reader(printed).context("what fdclose printed")?;
        let process = printed.processes.first().context("fdclose did not tell of pauses")?;
        Ok((Duration::from_micros(process.paused_us_total), Duration::from_micros(process.paused_us_max)))
    }

    /// The descriptors are the same in every victim of a kind; this writes them down once.
    pub(crate) fn note_descriptors(&self, sockets: usize, layout: Layout) -> Result<()> {
        let mut victim = Victim::start(&self.victim, sockets, layout)?;
        let mut file = File::create(&self.descriptors).context("the list of descriptors")?;
        file.write_all(victim.descriptors()?.as_bytes())?;
        end(victim)
    }

    fn shown(&self) -> String {
        let mut shown = fs::read(&self.printed)
            .map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
        shown.truncate(2000);
        shown
    }
}

/// Ends a victim, and what the kernel still keeps of its connections: thousands in TIME-WAIT would make every later
/// round slower than the one before.
fn end(victim: Victim) -> Result<()> {
    drop(victim);
    let status = Command::new("ss")
        .args(["-K", "-H", "-n", "-t", "-a"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run ss")?;
    ensure!(status.success(), "ss -K ended with {status}");
    Ok(())
}
