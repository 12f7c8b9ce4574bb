//! Nothing matched: what did not, and where else to look.

use super::absent::{absent, hint, listed, no_descriptor, no_inode, numbers_of};
use super::terminal::Terminal;
use super::unselected;
use crate::net::TcpState;
use crate::proc::Procfs;
use crate::selectors::Selectors;
use crate::survey::{Detail, survey};

/// Says that nothing matched, and what did not. What was asked for by number is looked for once more, by that alone.
///
/// # Errors
/// A failure of standard error, or /proc can't be read.
pub(super) fn report_nothing(
    terminal: &Terminal,
    procfs: &Procfs,
    selectors: &Selectors,
    detail: Detail,
) -> anyhow::Result<()> {
    let hint = hint(selectors);
    if let Some(numbers) = unselected::by_number(selectors) {
        let there = survey(procfs, &numbers, detail)?;
        let what = match unselected::sentence(selectors, &there) {
            Some(what) => {
                for line in absent(procfs, &numbers, detail, numbers_of(&there))? {
                    terminal.error(&line, None)?;
                }
                what
            }
            None if numbers.fds.is_empty() => no_inode(&numbers, &listed(numbers.inodes.iter())),
            None => no_descriptor(&numbers, &listed(numbers.fds.iter())),
        };
        return Ok(terminal.error(&what, Some(&hint))?);
    }
    let what = match selectors.pids.as_slice() {
        [pid] => format!("nothing of process {pid} matched"),
        _ => "nothing matched".to_owned(),
    };
    Ok(match Unheld::of(selectors) {
        Some(unheld) if unheld.never => {
            terminal.error(&format!("{what}: {NEVER_HELD}"), Some(&unheld.hint()))
        }
        Some(unheld) => terminal.error(&what, Some(&unheld.hint())),
        None => terminal.error(&what, Some(&hint)),
    }?)
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
