//! Who lists, and one measured run of each.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::timed::{Timed, timed};
use super::victim::Victim;

/// A command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    /// `fdclose list --no-holders`, which shows idle times as well.
    Sockets,
    /// `fdclose list`.
    Holders,
    /// `fdclose --inode INODE --dry-run`: whoever holds one socket, for which all descriptors are looked at.
    Map,
    /// `ss -tn`.
    SsPlain,
    /// `ss -tni`.
    SsInfo,
    /// `ss -tnp`.
    SsHolders,
    /// `lsof -nP -iTCP`.
    Lsof,
    /// `benches/c/read_links.c`.
    ReadLinks,
}

/// As many threads as fdclose takes (`MOST_THREADS` in src/survey/bulk.rs).
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(4)
}

/// Where the programs are.
pub(crate) struct Peers {
    pub(crate) fdclose: PathBuf,
    read_links: PathBuf,
    pub(crate) has_lsof: bool,
    printed: PathBuf,
}

impl Peers {
    /// `$FDCLOSE_BIN` replaces the fdclose that cargo built.
    pub(crate) fn find(read_links: PathBuf) -> Self {
        let fdclose = env::var_os("FDCLOSE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_fdclose").into());
        let lsof = Command::new("lsof").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        Self {
            fdclose: fdclose.into(),
            read_links,
            has_lsof: lsof.is_ok_and(|status| status.success()),
            printed: Path::new(env!("CARGO_TARGET_TMPDIR")).join("list.printed"),
        }
    }

    fn command(&self, peer: Peer, victim: &Victim) -> Command {
        let (program, arguments): (&Path, Vec<String>) = match peer {
            Peer::Sockets => (&self.fdclose, words("list --no-holders")),
            Peer::Holders => (&self.fdclose, words("list")),
            Peer::Map => (&self.fdclose, words(&format!("--inode {} --dry-run", victim.inode))),
            Peer::SsPlain => ("ss".as_ref(), words("-tn")),
            Peer::SsInfo => ("ss".as_ref(), words("-tni")),
            Peer::SsHolders => ("ss".as_ref(), words("-tnp")),
            Peer::Lsof => ("lsof".as_ref(), words("-nP -iTCP")),
            Peer::ReadLinks => (&self.read_links, vec![threads().to_string()]),
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Has `peer` print to nowhere.
    pub(crate) fn run(&self, peer: Peer, victim: &Victim) -> Result<Timed> {
        let mut command = self.command(peer, victim);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let run = timed(&mut command)?;
        ensure!(run.status.success(), "{command:?} ended with {}", run.status);
        Ok(run)
    }

    /// Has it print to a file, and checks that it shows everything that it is to show.
    pub(crate) fn check(&self, peer: Peer, victim: &Victim) -> Result<()> {
        let mut command = self.command(peer, victim);
        let printed = File::create(&self.printed).context("the file for what is printed")?;
        command.stdout(printed).stderr(Stdio::null());
        let run = timed(&mut command)?;
        // Read piece by piece: the peak memory of a child is at least that of the benchmark when it was started
        // (posix_spawn(3) shares it until the program is loaded).
        let printed = BufReader::new(File::open(&self.printed).context("what was printed")?);
        ensure!(run.status.success(), "{command:?} ended with {}", run.status);
        if peer == Peer::ReadLinks {
            let line = printed.lines().next().transpose()?.unwrap_or_default();
            let links = line.split_whitespace().nth(1).and_then(|links| links.parse::<usize>().ok());
            ensure!(links >= Some(victim.sockets), "{command:?} read {links:?} of {} links", victim.sockets);
            return Ok(());
        }
        let wanted = if peer == Peer::Map { 1 } else { victim.sockets };
        let mut shown = 0;
        for line in printed.lines() {
            shown += usize::from(line?.contains("ESTAB"));
        }
        ensure!(shown >= wanted, "{command:?} shows {shown} of {wanted} sockets");
        Ok(())
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
