//! The benchmark's side of `benches/c/many_sockets.c`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Running victims. Dropping this ends them; so does the benchmark's own end, as they end when their standard input
/// does.
pub(crate) struct Victim {
    controller: Child,
    pub(crate) sockets: usize,
    /// The inode of one of their sockets.
    pub(crate) inode: u64,
}

impl Victim {
    /// Starts `processes` with `sockets` together.
    pub(crate) fn start(program: &Path, processes: usize, sockets: usize) -> Result<Self> {
        let mut controller = Command::new(program)
            .args([processes.to_string(), (sockets / processes).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = controller.stdout.take().context("the victim has no standard output")?;
        let mut victim = Self { controller, sockets, inode: 0 };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("the victim's answer")?;
        let pids: Vec<&str> = line.strip_prefix("ready ").unwrap_or_default().split_whitespace().collect();
        ensure!(pids.len() == processes, "the victim did not get ready; its message is above");
        victim.inode = pids.last().and_then(|pid| socket_of(pid)).context("the victim has no socket")?;
        Ok(victim)
    }
}

fn socket_of(pid: &str) -> Option<u64> {
    fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok).find_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.controller.stdin.take());
        if let Err(error) = self.controller.wait() {
            eprintln!("cannot wait for the victim: {error}");
        }
    }
}
