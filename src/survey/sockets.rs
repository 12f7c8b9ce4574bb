//! TCP sockets alone, as the kernel lists them: no process is looked into.

use super::{Survey, SurveyError, facts, namespaces};
use crate::ids::Pid;
use crate::net::{Diag, DiagError, Protocols, SocketInfo, SocketRows, SocketTable, TcpState};
use crate::proc::{ProcError, Procfs};
use crate::select::{self, Choice};
use crate::selectors::Selectors;

/// The sockets of each network namespace that was asked, with its number where that is known.
pub type ByNamespace = Vec<(Option<u64>, SocketRows)>;

/// Every TCP socket that `selectors` select, those without a descriptor (TIME-WAIT, orphaned) included: of the chosen
/// network namespaces, or else of fdclose's own; the longest idle first. What is selected by the process is not looked
/// at.
///
/// # Errors
/// If a network namespace that was named, or fdclose's own, can't be asked.
pub fn sockets(procfs: &Procfs, selectors: &Selectors) -> Result<(Survey, ByNamespace), SurveyError> {
    let mut survey = Survey { idle_for: selectors.idle_for, ..Survey::default() };
    let mut unknown = 0;
    let mut all: ByNamespace = if selectors.netns.is_empty() {
        let rows = of_own(procfs, selectors, &mut unknown)?;
        vec![(procfs.own_netns().ok(), rows)]
    } else {
        let (answers, unasked) = namespaces::each(procfs, &selectors.netns, |diag| {
            let (rows, of_this) = ask(diag, selectors)?;
            unknown += of_this;
            Ok(rows)
        })?;
        survey.unasked = unasked;
        answers.into_iter().map(|(number, rows)| (Some(number), rows)).collect()
    };
    for (_, rows) in &mut all {
        rows.sort();
    }
    survey.idle_unknown = unknown;
    Ok((survey, all))
}

/// The selected sockets, and how many may be that, but nobody knows for how long they have been idle.
fn ask(mut diag: Diag, selectors: &Selectors) -> Result<(SocketRows, usize), DiagError> {
    let (mut rows, mut unknown) = (SocketRows::default(), 0);
    let states = if selectors.states.is_empty() { TcpState::ALL } else { &selectors.states };
    diag.dump_tcp(states, true, |socket| keep(socket, selectors, &mut rows, &mut unknown))?;
    Ok((rows, unknown))
}

fn of_own(procfs: &Procfs, selectors: &Selectors, unknown: &mut usize) -> Result<SocketRows, SurveyError> {
    if let Ok((rows, of_this)) = Diag::open().and_then(|diag| ask(diag, selectors)) {
        *unknown = of_this;
        return Ok(rows);
    }
    // Whatever the reason why the kernel can't be asked, its tables in /proc tell.
    let own = Pid::new(std::process::id().cast_signed())
        .map_or_else(|| Err(ProcError::Gone { path: "/proc/self".into() }), |own| procfs.open(own))?;
    let mut rows = SocketRows::default();
    for socket in SocketTable::read(&own, Protocols::TCP)?.iter() {
        keep(socket, selectors, &mut rows, unknown);
    }
    Ok(rows)
}

fn keep(socket: SocketInfo, selectors: &Selectors, rows: &mut SocketRows, unknown: &mut usize) {
    if !selectors.inodes.is_empty() && !selectors.inodes.contains(&socket.inode) {
        return;
    }
    match select::by_socket(selectors, &facts(Some(&socket))) {
        Choice::Yes => rows.push(socket),
        Choice::No => {}
        Choice::IdleUnknown => *unknown += 1,
    }
}
