//! Connections that remain although no descriptor refers to them: what is the reason, or may be.

use std::fmt;
use std::io::{self, Write};

use super::{MANY_HOLDERS, NAME_WIDTH, sockets};
use crate::output::sanitize::bounded;
use crate::output::units::{Count, Counted};
use crate::report::{ConnectionFate, KeeperReport, Keeping, Outcome, TargetReport};

/// Writes it for those of `targets` that it is true of: a line for what is known, and one for what is possible.
pub(super) fn write(targets: &[TargetReport], out: &mut dyn Write) -> io::Result<()> {
    let unheld: Vec<&TargetReport> = targets.iter().filter(|target| is_unheld(target)).collect();
    let is_known = |target: &&TargetReport| target.kept_by.iter().any(|keeper| keeper.certain);
    let (known, unknown): (Vec<_>, Vec<_>) = unheld.iter().partition(|target| is_known(target));
    if !known.is_empty() {
        let (what, keepers) = (What(targets, &known), Keepers(&keepers_of(&known)));
        writeln!(out, "  no descriptor refers to {what} any more; kept by {keepers}")?;
    }
    if !unknown.is_empty() {
        let (what, keepers) = (What(targets, &unknown), keepers_of(&unknown));
        write!(out, "  no descriptor is seen that refers to {what}; ")?;
        if keepers.is_empty() {
            writeln!(
                out,
                "it may be used by a call that has not returned, be on its way over a Unix socket (SCM_RIGHTS), or \
                 be registered with an io_uring"
            )?;
        } else {
            writeln!(out, "may be kept by {}", Keepers(&keepers))?;
        }
    }
    if unheld.iter().any(|target| target.all_seen == Some(false)) {
        writeln!(out, "  not every process could be looked into: one of them may hold what remains")?;
    }
    Ok(())
}

fn is_unheld(target: &TargetReport) -> bool {
    let remains = target.outcome == Outcome::Done && target.connection == ConnectionFate::Remains;
    remains && target.holders.is_empty() && target.all_seen.is_some()
}

/// Everything that keeps one of `targets`, or may do so, each once.
fn keepers_of<'a>(targets: &[&'a TargetReport]) -> Vec<&'a KeeperReport> {
    let mut all: Vec<&KeeperReport> = Vec::new();
    for keeper in targets.iter().flat_map(|target| &target.kept_by) {
        if !all.contains(&keeper) {
            all.push(keeper);
        }
    }
    all
}

/// The connections of some of the targets, in a sentence.
struct What<'a>(&'a [TargetReport], &'a [&'a TargetReport]);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            f.write_str("it")
        } else {
            let count = sockets(self.1.iter().map(|target| target.inode));
            let verb = if count == 1 { "remains" } else { "remain" };
            write!(f, "{} that {verb}", Counted(count, "connection"))
        }
    }
}

/// What keeps something, in a row.
struct Keepers<'a>(&'a [&'a KeeperReport]);

impl fmt::Display for Keepers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, keeper) in self.0.iter().take(MANY_HOLDERS).enumerate() {
            f.write_str(match at {
                0 => "",
                _ if keeper.certain => ", ",
                _ => ", or ",
            })?;
            let whose = bounded(keeper.comm.as_bytes(), NAME_WIDTH);
            let (pid, fd) = (keeper.pid, keeper.fd);
            match (keeper.how, keeper.tid, keeper.call) {
                (Keeping::IoUringFile, ..) if keeper.certain => {
                    write!(f, "{whose} ({pid}), registered with its io_uring (fd {fd})")
                }
                (Keeping::IoUringFile, ..) => write!(f, "{whose} ({pid}) with its io_uring (fd {fd})"),
                (Keeping::IoUringRequest, ..) => {
                    write!(f, "{whose} ({pid}) by a request of its io_uring (fd {fd})")
                }
                (Keeping::InFlight, ..) => {
                    write!(
                        f,
                        "{whose} ({pid}), to whom descriptors are on their way over its Unix socket (fd {fd})"
                    )
                }
                (Keeping::Call, tid, call) => {
                    let tid = tid.map(|tid| tid.to_string()).unwrap_or_default();
                    let call = call.unwrap_or("a call");
                    write!(
                        f,
                        "{whose} ({pid}), whose thread {tid} is in {call} on a closed descriptor (fd {fd})"
                    )
                }
            }?;
        }
        match self.0.len().saturating_sub(MANY_HOLDERS) {
            0 => Ok(()),
            more => write!(f, " and {} more", Count(more)),
        }
    }
}
