//! What went wrong, for people: each thing once, with its reason and the way out.

use std::fmt;
use std::io::{self, Write};

use super::Layout;
use super::result::Described;
use super::sanitize::bounded;
use super::units::{Count, Counted};
use crate::ids::Fd;
use crate::report::{ActionReport, Outcome, TargetReport};

/// More ranges of descriptors than this are only counted.
const MANY_RANGES: usize = 8;
/// The longest reason, in columns. Ours are shorter; one that quotes a target might not be.
const REASON_WIDTH: usize = 400;

/// Writes one `error:` line for each descriptor that was refused, changed or failed, with a `hint:` line
/// where there is one. Descriptors of one process that share the reason share the line.
///
/// # Errors
///
/// What `out` says.
pub fn write(report: &ActionReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    for group in grouped(report.targets.iter().filter(|target| target.outcome.is_trouble())) {
        let Some(first) = group.first() else { continue };
        let bad = layout.palette.bad;
        write!(out, "{bad}error:{bad:#} ")?;
        if group.len() == 1 {
            write!(out, "{}", Described(first))?;
        } else {
            let comm = bounded(first.comm.as_bytes(), REASON_WIDTH);
            let what = Counted(group.len(), "descriptor");
            write!(out, "{what} of {comm} ({}) (fd {})", first.pid, Ranges(&group))?;
        }
        write!(out, ": {}", first.outcome.name())?;
        match &first.error {
            Some(reason) => writeln!(out, ": {}", bounded(reason.as_bytes(), REASON_WIDTH))?,
            None if first.outcome == Outcome::Changed => {
                writeln!(out, ": it referred to something else by then, and was left alone")?;
            }
            None => writeln!(out)?,
        }
        if let Some(hint) = &first.hint {
            let style = layout.palette.hint;
            writeln!(out, "{style}hint:{style:#} {}", bounded(hint.as_bytes(), REASON_WIDTH))?;
        }
    }
    Ok(())
}

/// Descriptors of one process with one reason, each group in the order of its first.
fn grouped<'a>(targets: impl Iterator<Item = &'a TargetReport>) -> Vec<Vec<&'a TargetReport>> {
    let mut groups: Vec<Vec<&TargetReport>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for target in targets {
        let reason = (target.pid, target.outcome, &target.error, &target.hint);
        let place = *places.entry(reason).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups
}

/// The numbers of descriptors, neighbours drawn together: `3-9, 12`.
struct Ranges<'a>(&'a [&'a TargetReport]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fds: Vec<i32> = self.0.iter().map(|target| Fd::as_raw(target.fd)).collect();
        fds.sort_unstable();
        let ranges: Vec<&[i32]> = fds.chunk_by(|a, b| b - a <= 1).collect();
        for (at, range) in ranges.iter().take(MANY_RANGES).enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            match range {
                [first, .., last] => write!(f, "{first}-{last}")?,
                range => range.iter().try_for_each(|fd| write!(f, "{fd}"))?,
            }
        }
        let left: usize = ranges.iter().skip(MANY_RANGES).map(|range| range.len()).sum();
        if left > 0 { write!(f, " and {} more", Count(left)) } else { Ok(()) }
    }
}
