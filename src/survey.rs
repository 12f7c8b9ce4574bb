//! What is there: the descriptors that a selection matches, and what the socket tables say of them.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use crate::host::{self, Fallback};
use crate::ids::{Fd, Inode, Pid};
use crate::kind::Kind;
use crate::net::{Copies, NetError, SocketInfo};
use crate::proc::{FdIdentity, FdTarget, ProcError, Procfs};
use crate::select::{self, Choice, SocketFacts, Verdict};
use crate::selectors::Selectors;
use crate::watchdog;

mod bulk;
mod calls;
mod collect;
mod crew;
mod everyone;
mod idle;
mod look;
mod matches;
mod namespaces;
mod rings;
mod scan;
mod sockets;
mod tables;
mod watched;

pub use calls::{CallOn, calls_of, waits_on};
pub use collect::survey_each;
pub use everyone::with_all_holders;
pub use matches::{Match, Subject};
pub use namespaces::NetnsError;
pub use rings::Untold;
pub use tables::Diags;

use idle::IdleTimes;
use look::Found;
use namespaces::Chosen;
use tables::Tables;
use watched::{Instances, Watches};

pub use sockets::{ByNamespace, sockets};

/// How much must be known of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Kind, state and ends: enough to select and to act.
    Ends,
    /// That, and for how long connections have been idle, whether it is selected by that or not. What of their process
    /// still uses them is looked for by [`Survey::mark`], of what is left by then: it holds up event loops.
    Idle,
    /// Everything the tables have, queue lengths too.
    All,
}

/// Up to so many sockets of a process are asked one by one; above, reading the tables costs less.
const ASK_ONE_BY_ONE: usize = 500;

/// Everything found.
#[derive(Debug, Default)]
pub struct Survey {
    /// The processes with matches.
    pub subjects: Vec<Subject>,
    /// The matches, by process and descriptor; empty if they were not to be kept.
    pub matches: Vec<Match>,
    /// Processes that could not be looked into, with the reason. Only those that were asked for by number, or
    /// that the user may not look into.
    pub unreadable: Vec<(Pid, ProcError)>,
    /// For how long connections had to be idle to match.
    pub idle_for: Option<Duration>,
    /// How many connections were left out because nobody knows for how long they have been idle.
    pub idle_unknown: usize,
    /// Network namespaces that could not be asked for their sockets, where all were chosen.
    pub unasked: Vec<NetnsError>,
    /// What the sockets were asked through.
    pub diags: Diags,
    /// By process, the instances of which it has not been looked for whether they still use a match.
    unmarked: Vec<(usize, Instances)>,
}

/// Nothing can be found.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// `/proc` itself can't be read.
    #[error("can't read /proc: {0}")]
    Proc(#[from] ProcError),
    /// A network namespace that was named can't be asked.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The sockets of fdclose's own network namespace can't be listed.
    #[error("can't list the sockets: {0}")]
    Sockets(#[from] NetError),
}

/// Looks at every process that `selectors` allows.
///
/// # Errors
/// Only if /proc itself, or a network namespace that was named, can't be read; what concerns one process is in
/// [`Survey::unreadable`].
pub fn survey(procfs: &Procfs, selectors: &Selectors, detail: Detail) -> Result<Survey, SurveyError> {
    let mut matches = Vec::new();
    let survey = survey_each(procfs, selectors, detail, &mut |_, found| matches.push(found))?;
    Ok(Survey { matches, ..survey })
}

impl Survey {
    fn add(
        &mut self,
        found: Found,
        selectors: &Selectors,
        detail: Detail,
        tables: &mut Tables,
        each: &mut dyn FnMut(&Subject, Match),
    ) {
        if let Some(chosen) = &mut tables.chosen {
            return self.add_of_namespaces(found, selectors, detail, chosen, each);
        }
        let Found { subject, matches, instances, .. } = found;
        // A socket whose lock somebody hangs with answers nothing.
        let _watched = watchdog::over(subject.process.pid());
        let sockets: Vec<(Fd, Inode)> =
            matches.iter().filter_map(|(fd, identity, _)| Some((*fd, socket_inode(identity)?))).collect();
        let one_by_one = detail != Detail::All && sockets.len() <= ASK_ONE_BY_ONE;
        let mut known = if one_by_one { ask(&subject, &sockets, tables) } else { HashMap::new() };
        let unknown: Vec<(Fd, Inode)> =
            sockets.into_iter().filter(|(_, inode)| !known.contains_key(inode)).collect();
        let (takes_missing, wants_idle) = (tables.wanted.takes_missing(), tables.wanted.info);
        let mut table = tables.with(&subject, &unknown);
        if !one_by_one && takes_missing {
            // A socket that is in no table, such as one whose connection has ended, or that listens in another network
            // namespace, still tells of itself.
            let in_none = |(_, inode): &&(Fd, Inode)| table.is_none_or(|table| !table.has(*inode));
            let nowhere: Vec<_> = unknown.iter().filter(in_none).copied().collect();
            known.extend(ask(&subject, &nowhere, tables));
            table = tables.with(&subject, &unknown);
        }
        let look_up = |inode| known.get(&inode).cloned().or_else(|| table.as_ref()?.get(inode));
        let (now, later) = instances.split(detail == Detail::Idle);
        let mut watches = Watches::new(&subject, now);
        let idle_times = IdleTimes::of(&subject);
        let mut matched = false;
        for (fd, identity, verdict) in matches {
            let socket = match socket_inode(&identity).and_then(look_up) {
                Some(socket) if wants_idle => match idle_times.complete(fd, socket) {
                    None => continue,
                    socket => socket,
                },
                socket => socket,
            };
            let is_selected = match verdict {
                Verdict::AskSocket => self.chooses(selectors, socket.as_ref()),
                Verdict::Yes => true,
                Verdict::No => false,
            };
            if is_selected {
                let mut found = Match::new(self.subjects.len(), fd, identity, socket, None);
                watches.mark(&mut found);
                each(&subject, found);
                matched = true;
            }
        }
        if matched {
            self.unmarked.extend(later.map(|instances| (self.subjects.len(), instances)));
            self.subjects.push(subject);
        }
    }

    /// As [`Self::add`], of sockets in chosen namespaces alone. One that is in another namespace than its process goes
    /// without its cookie: whoever looks for it by that would do so in the wrong place, and believe it gone.
    fn add_of_namespaces(
        &mut self,
        found: Found,
        selectors: &Selectors,
        detail: Detail,
        chosen: &mut Chosen,
        each: &mut dyn FnMut(&Subject, Match),
    ) {
        let Found { subject, matches, instances, .. } = found;
        let _watched = watchdog::over(subject.process.pid());
        let (now, later) = instances.split(detail == Detail::Idle);
        let mut watches = Watches::new(&subject, now);
        let mut matched = false;
        let only_tcp = bulk::only_tcp(selectors);
        for (fd, identity, _) in matches {
            let Some(inode) = socket_inode(&identity) else { continue };
            if !only_tcp {
                chosen.complete_for(inode);
            }
            let Some((number, socket)) = chosen.get(inode, subject.netns) else { continue };
            if self.chooses(selectors, Some(&socket)) {
                let cookie = socket.cookie.filter(|_| subject.netns == Some(number));
                let socket = Some(SocketInfo { cookie, ..socket });
                let mut found = Match::new(self.subjects.len(), fd, identity, socket, Some(number));
                watches.mark(&mut found);
                each(&subject, found);
                matched = true;
            }
        }
        if matched {
            self.unmarked.extend(later.map(|instances| (self.subjects.len(), instances)));
            self.subjects.push(subject);
        }
    }

    /// Whether a socket is selected by what is known of it; one of which not enough is known is counted.
    fn chooses(&mut self, selectors: &Selectors, socket: Option<&SocketInfo>) -> bool {
        let choice = select::by_socket(selectors, &facts(socket));
        self.idle_unknown += usize::from(choice == Choice::IdleUnknown);
        choice == Choice::Yes
    }

    /// Notes of each match what of its process still uses it, where that was left for later ([`Detail::Idle`]).
    pub fn mark(&mut self) {
        for (index, instances) in mem::take(&mut self.unmarked) {
            let mut matches = self.matches.iter_mut().filter(|found| found.subject == index).peekable();
            if let (Some(subject), true) = (self.subjects.get(index), matches.peek().is_some()) {
                let _watched = watchdog::over(subject.process.pid());
                let mut watches = Watches::new(subject, instances);
                matches.for_each(|found| watches.mark(found));
            }
        }
    }

    /// Leaves only the matches of which `keep` says so. The processes stay.
    pub fn retain(&mut self, mut keep: impl FnMut(&Match, &Subject) -> bool) {
        let Self { matches, subjects, .. } = self;
        matches.retain(|found| subjects.get(found.subject).is_some_and(|subject| keep(found, subject)));
    }

    /// Leaves only the sockets that `selectors` select, too.
    pub fn narrow(&mut self, selectors: &Selectors) {
        self.idle_for = selectors.idle_for;
        let mut unknown = 0;
        self.matches.retain(|found| {
            let choice = select::by_socket(selectors, &facts(found.socket.as_ref()));
            unknown += usize::from(choice == Choice::IdleUnknown);
            choice == Choice::Yes
        });
        self.idle_unknown += unknown;
    }

    /// Whether `selectors` select what was found by others, as far as that is known: not in which network namespace a
    /// socket is.
    #[must_use]
    pub fn selects(&self, selectors: &Selectors, found: &Match) -> bool {
        let subject = self.subject_of(found);
        select::by_process(selectors, subject.process.pid(), &subject.comm)
            && match select::by_descriptor(selectors, found.fd, &found.identity.target) {
                Verdict::No => false,
                Verdict::Yes => true,
                Verdict::AskSocket => {
                    select::by_socket(selectors, &facts(found.socket.as_ref())) == Choice::Yes
                }
            }
    }

    /// The process of a match.
    ///
    /// # Panics
    /// If the match is from another survey.
    #[must_use]
    pub fn subject_of(&self, found: &Match) -> &Subject {
        &self.subjects[found.subject]
    }
}

fn socket_inode(identity: &FdIdentity) -> Option<Inode> {
    match identity.target {
        FdTarget::Socket(inode) => Some(inode),
        _ => None,
    }
}

/// What the selectors may ask of a socket; of one that no table knows, only that it is one.
fn facts(socket: Option<&SocketInfo>) -> SocketFacts {
    match socket {
        Some(socket) => SocketFacts {
            kind: socket.kind,
            state: if socket.kind == Kind::Tcp { socket.state } else { None },
            local: socket.local.canonical(),
            peer: socket.peer.as_ref().and_then(crate::net::Endpoint::canonical),
            idle_ms: socket.idle_ms,
        },
        None => SocketFacts { kind: Kind::Socket, state: None, local: None, peer: None, idle_ms: None },
    }
}

/// What each of `sockets` says of itself; those that can't be asked are left out. Of a TCP connection then what the
/// kernel says, if it knows it in the network namespace of the process: that one can be found again when its
/// descriptor is closed. A socket may also have been brought along from another namespace.
fn ask(subject: &Subject, sockets: &[(Fd, Inode)], tables: &mut Tables) -> HashMap<Inode, SocketInfo> {
    if sockets.is_empty() {
        return HashMap::new();
    }
    let Some(copies) = Copies::of(&subject.process) else {
        host::fall_back(Fallback::SocketFromTable);
        return HashMap::new();
    };
    let describe = |(fd, inode): &(Fd, Inode)| {
        watchdog::beat();
        let said = copies.describe(*fd, *inode)?;
        // Where the kernel can't be asked, what the socket says will do.
        let known = tables.diags.of(subject).and_then(|diag| diag.again(&said).ok()?);
        let idle_ms = known.as_ref().and_then(|known| known.idle_ms).or(said.idle_ms);
        Some((*inode, SocketInfo { idle_ms, ..known.unwrap_or(said) }))
    };
    sockets.iter().filter_map(describe).collect()
}
