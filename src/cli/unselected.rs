//! What was asked for by its number and is there, but is left out by another selector.

use std::fmt;

use crate::net::TcpState;
use crate::output::sanitize::{bounded, printable};
use crate::output::units::{Count, Idle};
use crate::selectors::Selectors;
use crate::survey::{Match, Survey};

/// The columns of a name in a sentence.
const NAME_WIDTH: usize = 60;

/// Only what `selectors` say by number, and where that is to be looked for; `None` if they name none.
pub(super) fn by_number(selectors: &Selectors) -> Option<Selectors> {
    let Selectors { pids, comms, fds, inodes, .. } = selectors.clone();
    let none = Selectors::default();
    if !fds.is_empty() && !pids.is_empty() {
        return Some(Selectors { pids, fds, ..none });
    }
    if !fds.is_empty() && !comms.is_empty() {
        return Some(Selectors { fds, comms, ..none });
    }
    (!inodes.is_empty()).then_some(Selectors { pids, inodes, ..none })
}

/// Says of what is there that `selectors` leave it out, and by which of them. `None` if nothing is there.
pub(super) fn sentence(selectors: &Selectors, there: &Survey) -> Option<String> {
    let first = there.matches.first()?;
    let (which, what) = (Which(there, first), What(selectors, first));
    let options = leaving_out(selectors, there);
    let one = options.len() == 1;
    Some(match (there.matches.len(), in_a_row(&options)) {
        (_, None) => format!("{which} ({what}) was not selected when it was looked for, but would be now"),
        (1, Some(options)) => {
            let verb = if one { "does" } else { "do" };
            format!("{which} is open ({what}), but {options} {verb} not select it")
        }
        (count, Some(options)) => {
            let (count, verb) = (Count(count), if one { "selects" } else { "select" });
            format!(
                "{count} such descriptors are open (first {which}, {what}), but {options} {verb} none of them"
            )
        }
    })
}

/// Which options leave out what is there: those that leave out all of it, if there are any.
fn leaving_out(selectors: &Selectors, there: &Survey) -> Vec<&'static str> {
    let apart = selectors.apart();
    let leaves_out =
        |alone: &Selectors| there.matches.iter().filter(|found| !there.selects(alone, found)).count();
    let left_out: Vec<(&'static str, usize)> =
        apart.iter().map(|(option, alone)| (*option, leaves_out(alone))).collect();
    let at_least = |least: usize| -> Vec<&'static str> {
        left_out.iter().filter(|(_, count)| *count >= least).map(|(option, _)| *option).collect()
    };
    let all = at_least(there.matches.len());
    let some = if all.is_empty() { at_least(1) } else { all };
    // Whether a socket is in a namespace is not known here; but if it is nothing else, it is that.
    if some.is_empty() && !selectors.netns.is_empty() { vec!["--netns"] } else { some }
}

/// `--state, --peer and --kind`.
fn in_a_row(options: &[&str]) -> Option<String> {
    Some(match options.split_last()? {
        (last, []) => (*last).to_owned(),
        (last, others) => format!("{} and {last}", others.join(", ")),
    })
}

/// `fd 12 of nginx (1234)`.
struct Which<'a>(&'a Survey, &'a Match);

impl fmt::Display for Which<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.0.subject_of(self.1);
        write!(f, "fd {} of {} ({}", self.1.fd, printable(&subject.comm), subject.process.pid())?;
        if subject.is_private {
            write!(f, ", thread {}", subject.table)?;
        }
        f.write_str(")")
    }
}

/// `CLOSE-WAIT 127.0.0.1:8888 -> 127.0.0.1:49416`, with what else it was selected by.
struct What<'a>(&'a Selectors, &'a Match);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(selectors, found) = self;
        let kind = found.kind().name();
        let Some(local) = found.local() else {
            let name = found.name();
            if !name.starts_with(kind.as_bytes()) {
                write!(f, "{kind} ")?;
            }
            f.write_str(&bounded(&name, NAME_WIDTH))?;
            return f.write_str(if found.identity.target.is_deleted() { " (deleted)" } else { "" });
        };
        write!(f, "{} {local}", found.tcp_state().map_or(kind, TcpState::name))?;
        found.peer().map_or(Ok(()), |peer| write!(f, " -> {peer}"))?;
        if let Some(inode) = found.socket_inode().filter(|_| !selectors.inodes.is_empty()) {
            write!(f, ", inode {inode}")?;
        }
        match found.socket.as_ref().and_then(|socket| socket.idle_ms) {
            Some(ms) if selectors.idle_for.is_some() => write!(f, ", idle {}", Idle(ms)),
            _ => Ok(()),
        }
    }
}
