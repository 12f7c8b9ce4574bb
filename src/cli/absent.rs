//! What was asked for by its number, and is not there.

use std::fmt::Display;

use crate::output::units::Count;
use crate::selectors::Selectors;

/// More numbers than this are only counted.
const MANY: usize = 8;

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
    let more = numbers.len().saturating_sub(MANY);
    let shown: Vec<String> = numbers.take(MANY).map(|number| number.to_string()).collect();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {} more", Count(more)) }
}
