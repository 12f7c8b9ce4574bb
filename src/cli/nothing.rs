//! Nothing matched: what did not, and where else to look.

use std::io;

use super::terminal::Terminal;
use crate::net::TcpState;
use crate::selectors::Selectors;

/// Says that nothing matched, and what did not.
///
/// # Errors
/// A failure of standard error.
pub(super) fn report_nothing(terminal: &Terminal, selectors: &Selectors) -> io::Result<()> {
    let numbers = || selectors.inodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let ranges = selectors.fds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (what, hint) = match selectors.pids.as_slice() {
        [pid] => {
            let what = match (selectors.inodes.is_empty(), ranges.as_str()) {
                (true, "") => format!("nothing of process {pid} matched"),
                (true, fds) => format!("process {pid} has no such descriptor open: {fds}"),
                (false, "") => format!("process {pid} has no descriptor to inode {}", numbers()),
                (false, fds) => {
                    format!("descriptor {fds} of process {pid} is not inode {}", numbers())
                }
            };
            (what, format!("fdclose list --pid {pid} shows what it has"))
        }
        _ => ("nothing matched".to_owned(), "fdclose list --kind any shows what is there".to_owned()),
    };
    match Unheld::of(selectors) {
        Some(unheld) if unheld.never => {
            terminal.error(&format!("{what}: {NEVER_HELD}"), Some(&unheld.hint()))
        }
        Some(unheld) => terminal.error(&what, Some(&unheld.hint())),
        None => terminal.error(&what, Some(&hint)),
    }
}

const NEVER_HELD: &str = "no process holds sockets in TIME-WAIT, they end by themselves";

/// Where what is looked for may be: among the sockets that no process holds.
struct Unheld {
    states: Vec<TcpState>,
    /// No process can hold one.
    never: bool,
    netns: bool,
}

impl Unheld {
    fn of(selectors: &Selectors) -> Option<Self> {
        let states: Vec<TcpState> =
            selectors.states.iter().copied().filter(|state| state.outlives_its_descriptor()).collect();
        let never = selectors.states.iter().all(|state| *state == TcpState::TimeWait);
        (!states.is_empty()).then_some(Self { states, never, netns: !selectors.netns.is_empty() })
    }

    fn hint(&self) -> String {
        let names =
            |separator| self.states.iter().map(|state| state.name()).collect::<Vec<_>>().join(separator);
        let command = format!("fdclose list --no-holders --state {}", names(",").to_lowercase());
        let there = if self.netns { " (with the same --netns)" } else { "" };
        if self.never {
            format!("there is nothing to close; {command}{there} shows them")
        } else {
            let names = names(" or ");
            format!(
                "those in {names} that no process holds any more end by themselves; {command}{there} shows them"
            )
        }
    }
}
