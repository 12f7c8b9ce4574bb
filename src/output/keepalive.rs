//! What `keepalive` did, for people.

use std::fmt;
use std::io::{self, Write};

use super::Layout;
use super::sanitize::bounded;
use super::units::{Count, Counted};
use super::wrap;
use crate::net::Keepalive;
use crate::report::{KeepaliveReport, KeepaliveTarget};

/// More sockets than this are only counted.
const MANY: usize = 40;
/// The columns of a name in a sentence.
const NAME_WIDTH: usize = 60;

/// Writes a line for each socket, and the sum if there are several. What went wrong is not here but in
/// [`write_failures`].
///
/// # Errors
///
/// What `out` says.
pub fn write(report: &KeepaliveReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let good: Vec<&KeepaliveTarget> =
        report.targets.iter().filter(|target| !target.outcome.is_trouble()).collect();
    for target in good.iter().take(MANY) {
        let line = match (target.before, target.after) {
            (Some(before), Some(after)) => {
                let becomes = if report.dry_run { "would become" } else { "->" };
                format!("{}: keepalive {} {becomes} {}\n", Named(target), Words(before), Words(after))
            }
            _ => format!("{}: {}\n", Named(target), target.outcome.name()),
        };
        wrap::write(&line, layout.width, out)?;
    }
    if good.len() > MANY {
        writeln!(out, "... and {} more", Count(good.len() - MANY))?;
    }
    if report.targets.len() > 1 {
        let counts = report.summary;
        let (verb, done) =
            if report.dry_run { ("would be on", counts.would_do) } else { ("is on", counts.done) };
        let all = Counted(report.targets.len(), "socket");
        writeln!(out, "keepalive {verb} for {} of {all}", Count(done))?;
    }
    Ok(())
}

/// Writes one `error:` line for each socket that was refused, changed or failed.
///
/// # Errors
///
/// What `out` says.
pub fn write_failures(report: &KeepaliveReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let (bad, hint_style) = (layout.palette.bad, layout.palette.hint);
    let troubles = report.targets.iter().filter(|target| target.outcome.is_trouble());
    let mut last_hint = None;
    for target in troubles {
        let why = target.error.as_deref().unwrap_or_default();
        writeln!(out, "{bad}error:{bad:#} {}: {}: {why}", Named(target), target.outcome.name())?;
        if let Some(hint) = target.hint.as_deref().filter(|hint| last_hint != Some(*hint)) {
            writeln!(out, "{hint_style}hint:{hint_style:#} {hint}")?;
            last_hint = Some(hint);
        }
    }
    Ok(())
}

/// `fd 12 of nginx (1234), ESTABLISHED 10.0.0.1:80 -> 10.0.0.2:4711`
struct Named<'a>(&'a KeepaliveTarget);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.0;
        let comm = bounded(target.comm.as_bytes(), NAME_WIDTH);
        write!(f, "fd {} of {comm} ({}), ", target.fd, target.pid)?;
        f.write_str(target.state.map_or(target.kind.name(), crate::net::TcpState::name))?;
        target.local.map_or(Ok(()), |local| write!(f, " {local}"))?;
        target.peer.map_or(Ok(()), |peer| write!(f, " -> {peer}"))
    }
}

/// `off`, or `on (60s, then 6 times every 10s; 90s without an acknowledgement)`
struct Words(Keepalive);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keepalive { enabled, idle_s, interval_s, count, user_timeout_ms } = self.0;
        if !enabled {
            return f.write_str("off");
        }
        write!(f, "on (after {idle_s}s, then every {interval_s}s, {count} times")?;
        match user_timeout_ms {
            0 => f.write_str(")"),
            millis => write!(f, "; user timeout {:?})", std::time::Duration::from_millis(millis.into())),
        }
    }
}
