//! What was asked for by its number, and is not there.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::terminal::Terminal;
use crate::ids::{Fd, Inode};
use crate::output::units::Count;
use crate::proc::Procfs;
use crate::selectors::{FdRange, Selectors};
use crate::survey::{Detail, Match, Survey, SurveyError, survey};

/// More numbers than this are only counted.
const MANY: usize = 8;

/// Says what was named by a single number and is not there, where something else `found` was selected. Whether all is
/// there: what is there and left out by another selector is nothing to be told of, and a range may have gaps.
///
/// # Errors
/// A failure of standard error, or /proc can't be read.
pub(super) fn report_absent(
    terminal: &Terminal,
    procfs: &Procfs,
    selectors: &Selectors,
    detail: Detail,
    found: impl Iterator<Item = (Fd, Option<Inode>)>,
) -> anyhow::Result<bool> {
    let lines = absent(procfs, selectors, detail, found)?;
    let Some((last, others)) = lines.split_last() else { return Ok(true) };
    for line in others {
        terminal.error(line, None)?;
    }
    terminal.error(last, Some(&hint(selectors)))?;
    Ok(false)
}

/// A line for each number that nobody has, as far as it can be known.
///
/// # Errors
/// As [`survey`].
pub(super) fn absent(
    procfs: &Procfs,
    selectors: &Selectors,
    detail: Detail,
    found: impl Iterator<Item = (Fd, Option<Inode>)>,
) -> Result<Vec<String>, SurveyError> {
    let singles = selectors.fds.iter().filter(|range| range.is_single()).map(|range| range.first());
    let mut named = Numbers { fds: singles.collect(), inodes: selectors.inodes.clone() };
    if !named.is_empty() {
        named.strike(found);
    }
    let Selectors { pids, comms, .. } = selectors;
    let none = Selectors::default;
    // Another selector may have left it out. A name says whose numbers are meant, but not whose inodes.
    if !named.fds.is_empty() {
        let comms = if pids.is_empty() { comms.clone() } else { Vec::new() };
        let fds = named.fds.iter().filter_map(|fd| FdRange::new(*fd, *fd)).collect();
        let there = survey(procfs, &Selectors { pids: pids.clone(), fds, comms, ..none() }, detail)?;
        named.strike(numbers_of(&there));
    }
    if !named.inodes.is_empty() {
        let inodes = named.inodes.clone();
        let there = survey(procfs, &Selectors { pids: pids.clone(), inodes, ..none() }, detail)?;
        // Not their numbers, which may be those of another process.
        for inode in numbers_of(&there).filter_map(|(_, inode)| inode) {
            named.inodes.remove(&inode);
        }
    }
    let fds = each(named.fds.iter()).into_iter().map(|fd| no_descriptor(selectors, &fd));
    let inodes = each(named.inodes.iter()).into_iter().map(|inode| no_inode(selectors, &inode));
    Ok(fds.chain(inodes).collect())
}

/// The numbers of what a survey found.
pub(super) fn numbers_of(survey: &Survey) -> impl Iterator<Item = (Fd, Option<Inode>)> {
    survey.matches.iter().map(|found: &Match| (found.fd, found.identity.target.inode()))
}

/// Where to look next.
pub(super) fn hint(selectors: &Selectors) -> String {
    match selectors.pids.as_slice() {
        [pid] => format!("fdclose list --pid {pid} shows what it has"),
        _ => "fdclose list --kind any shows what is there".to_owned(),
    }
}

/// What was named and not seen so far.
struct Numbers {
    fds: BTreeSet<Fd>,
    inodes: BTreeSet<Inode>,
}

impl Numbers {
    fn is_empty(&self) -> bool {
        self.fds.is_empty() && self.inodes.is_empty()
    }

    fn strike(&mut self, seen: impl Iterator<Item = (Fd, Option<Inode>)>) {
        for (fd, inode) in seen {
            self.fds.remove(&fd);
            if let Some(inode) = inode {
                self.inodes.remove(&inode);
            }
        }
    }
}

/// Says that nobody has descriptors of these numbers.
pub(super) fn no_descriptor(selectors: &Selectors, numbers: &str) -> String {
    match who(selectors, !selectors.comms.is_empty()) {
        Who::One(process) => format!("{process} has no such descriptor open: {numbers}"),
        Who::Any(nobody) => format!("{nobody} has such a descriptor open: {numbers}"),
    }
}

/// Says that nobody has a descriptor to these inodes.
pub(super) fn no_inode(selectors: &Selectors, numbers: &str) -> String {
    match who(selectors, false) {
        Who::One(process) => format!("{process} has no descriptor to inode {numbers}"),
        Who::Any(nobody) => format!("{nobody} has a descriptor to inode {numbers}"),
    }
}

/// Where it was looked for.
enum Who {
    One(String),
    Any(&'static str),
}

fn who(selectors: &Selectors, by_name: bool) -> Who {
    match selectors.pids.as_slice() {
        [pid] => Who::One(format!("process {pid}")),
        [] if by_name => Who::Any("no process of that name that could be looked into"),
        [] => Who::Any("no process that could be looked into"),
        _ => Who::Any("none of these processes that could be looked into"),
    }
}

/// Numbers in a sentence.
pub(super) fn listed<T: Display>(numbers: impl ExactSizeIterator<Item = T>) -> String {
    let (shown, more) = first_of(numbers);
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {} more", Count(more)) }
}

/// Each number, as long as there are not too many.
fn each<T: Display>(numbers: impl ExactSizeIterator<Item = T>) -> Vec<String> {
    let (mut each, more) = first_of(numbers);
    match more {
        0 => {}
        1 => each.push("1 other".to_owned()),
        more => each.push(format!("{} others", Count(more))),
    }
    each
}

/// Those that are shown, and how many there are more.
fn first_of<T: Display>(numbers: impl ExactSizeIterator<Item = T>) -> (Vec<String>, usize) {
    let more = numbers.len().saturating_sub(MANY);
    (numbers.take(MANY).map(|number| number.to_string()).collect(), more)
}
