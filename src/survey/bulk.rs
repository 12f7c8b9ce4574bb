//! Looking at thousands of descriptors of one process: on several threads, with the table of TCP sockets read beside.
//!
//! A link takes 3 us to read, most of it for the kernel to find it; a row of the table 1 us.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, ScopedJoinHandle};
use std::{mem, panic};

use super::crew::{self, Place};
use super::{ASK_ONE_BY_ONE, Detail};
use crate::ids::{Fd, Inode};
use crate::kind::Kind;
use crate::net::{Diag, DiagError, SocketTable, TcpState};
use crate::proc::{FdDir, FdIdentity, FdTarget, ProcError, Process};
use crate::select::{self, Verdict};
use crate::selectors::{KindChoice, Selectors};

/// So many descriptors a thread takes at once.
const PORTION: usize = 256;

/// A descriptor, what it is, and whether it is selected.
type Found = (Fd, FdIdentity, Verdict);
type Seen = Option<Found>;

/// What has to be known of the TCP sockets of a network namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Only those in these states can be selected; `None` if all can.
    states: Option<Vec<TcpState>>,
    /// Nothing but TCP can be selected.
    pub(super) only_tcp: bool,
    /// Also for how long they have been idle.
    pub(super) info: bool,
    /// Many may be selected.
    pub(super) many: bool,
}

impl Wanted {
    pub(super) fn of(selectors: &Selectors, detail: Detail) -> Self {
        let any_socket = FdTarget::Socket(Inode(0));
        let selects_sockets = Fd::new(0)
            .is_some_and(|fd| select::by_descriptor(&any_fd(selectors), fd, &any_socket) != Verdict::No);
        Self {
            // A listing shows them all, and those that are no connection are known by being in no table.
            states: (detail != Detail::All
                && !selectors.states.is_empty()
                && !selectors.states.contains(&TcpState::Close))
            .then(|| selectors.states.clone()),
            only_tcp: !selectors.states.is_empty() || selectors.idle_for.is_some(),
            info: detail != Detail::Ends || selectors.idle_for.is_some(),
            many: selects_sockets && selectors.netns.is_empty(),
        }
    }

    /// Those in the network namespace that `diag` asks.
    pub(super) fn ask(&self, diag: &mut Diag) -> Result<SocketTable, DiagError> {
        SocketTable::ask_for_tcp(diag, self.states(), self.info)
    }

    /// Whether those that are in no table may be selected, too.
    pub(super) fn takes_missing(&self) -> bool {
        self.states.is_none()
    }

    fn states(&self) -> &[TcpState] {
        self.states.as_deref().unwrap_or(TcpState::ALL)
    }

    /// Reads those in the network namespace of `process`.
    pub(super) fn read(&self, process: &Process) -> Option<SocketTable> {
        // Why they can't be read makes no difference: the sockets then go without a state.
        SocketTable::read_tcp(process, self.states(), self.info).ok()
    }
}

/// Whether nothing but TCP can be selected.
pub(super) fn only_tcp(selectors: &Selectors) -> bool {
    let only_tcp = |choice: &KindChoice| *choice == KindChoice::Only(Kind::Tcp);
    let by_kind = !selectors.kinds.is_empty() && selectors.kinds.iter().all(only_tcp);
    by_kind || !selectors.states.is_empty() || selectors.idle_for.is_some()
}

fn any_fd(selectors: &Selectors) -> Selectors {
    Selectors { fds: Vec::new(), ..selectors.clone() }
}

/// What `identify` says of each descriptor in `dir` whose number is `wanted`, in no order. `on_many` is called if there
/// are many.
pub(super) fn look(
    dir: &FdDir,
    wanted: impl Fn(Fd) -> bool,
    identify: impl Fn(Fd) -> Result<Seen, ProcError> + Sync,
    on_many: &mut dyn FnMut(),
) -> Result<Vec<Found>, ProcError> {
    let identify_all = |fds: Vec<Fd>, found: &mut Vec<Found>| -> Result<(), ProcError> {
        fds.into_iter().try_for_each(|fd| identify(fd).map(|seen| found.extend(seen)))
    };
    let (hand_out, portions) = mpsc::channel();
    let portions = Mutex::new(portions);
    // Not locked while it works on one.
    let next = || portions.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let take_part = || -> Result<Vec<Found>, ProcError> {
        let mut found = Vec::new();
        while let Some(portion) = next() {
            identify_all(portion, &mut found)?;
        }
        Ok(found)
    };
    thread::scope(|scope| {
        let mut helpers = Vec::new();
        // Without a thread the others do it.
        let help = |place: Place| {
            let work = move || {
                let done = take_part();
                drop(place);
                done
            };
            thread::Builder::new().name("scan".to_owned()).spawn_scoped(scope, work).ok()
        };
        let (mut few, mut portion) = (true, Vec::new());
        dir.each_candidate(|fd| {
            portion.extend(Some(fd).filter(|fd| wanted(*fd)));
            if portion.len() <= if few { ASK_ONE_BY_ONE } else { PORTION } {
                return;
            }
            if mem::take(&mut few) {
                on_many();
            }
            helpers.extend(crew::join().and_then(help));
            // Can't fail: the other end is above.
            let _ = hand_out.send(mem::take(&mut portion));
        })?;
        drop(hand_out);
        let mut found = Vec::new();
        identify_all(portion, &mut found)?;
        while let Some(portion) = next() {
            helpers.extend(crew::join().and_then(help));
            identify_all(portion, &mut found)?;
        }
        for helper in helpers {
            found.extend(joined(helper)?);
        }
        Ok(found)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
