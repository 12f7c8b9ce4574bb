//! The descriptors of one slice: what can be done about them before the stop, and their turn within it.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::surgeon::{Candidate, Surgeon, Table};
use super::waits::{Waiter, Waits};
use super::{Item, ItemOutcome, Job, pace, release, replace, shutdown};
use crate::error::TraceError;
use crate::host::{self, Fallback};
use crate::ids::Fd;
use crate::inject::{ChainEnd, fdops};
use crate::net::{self, Copies, SocketInfo};
use crate::proc::{FdTarget, ProcError, Process};

/// Fewer are closed one at a time: setting a chain up costs about as much as three stops.
pub(super) const SHORTEST_CHAIN: usize = 4;

/// More are closed by several chains in one stop. If fdclose is killed in the middle of a chain, the rest of it runs without
/// anyone looking again: this is how much that can be.
const LONGEST_CHAIN: usize = 64;

/// So many descriptors are not used for copies: /proc has to be read meanwhile.
const RESERVE: u64 = 64;

/// So many signals may come between the closes of one slice before it goes on one at a time.
const MOST_INTERRUPTIONS: u32 = 10;

/// When to stop within a slice. Both are the brakes for when things go slower than the last time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Nothing more is looked at: closing takes no longer than looking.
    pub(super) looking: Instant,
    /// Nothing more is closed.
    pub(super) closing: Instant,
}

/// What is done to the descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// They are closed.
    Close,
    /// A dead socket takes their place.
    Replace,
    /// They are shut down.
    Shutdown,
}

/// The descriptors of one slice.
///
/// Of each socket a copy is taken before the stop. It is what the descriptor is compared with in the stop, which is
/// surer and five times cheaper than reading its link. And it keeps the connection alive: the target's own close is
/// a mere decrement, and the expensive end of the connection comes when the copy is dropped, while the target runs.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    items: &'a [Item],
    sockets: &'a [Option<&'a SocketInfo>],
    copies: Vec<Option<OwnedFd>>,
    waiters: Vec<Waiter>,
}

impl<'a> Batch<'a> {
    /// Readies those of `job` in `range`. Where copies can't be had (Linux 5.6), all is done without.
    pub(super) fn prepare(copies: Option<&Copies>, job: &Job<'a>, range: Range<usize>) -> Self {
        let items = job.items.get(range.clone()).unwrap_or_default();
        let sockets = job.sockets.get(range.clone()).unwrap_or_default();
        let watched = job.watched.get(range).unwrap_or_default();
        let copies = match copies {
            // A single one is compared by its link: a copy would cost more than it saves.
            Some(copies) if items.len() >= SHORTEST_CHAIN => copies_for(copies, items, watched),
            _ => items.iter().map(|_| None).collect(),
        };
        Self { items, sockets, copies, waiters: Vec::new() }
    }

    /// Notes who of those that a stop found waiting waits on one of these.
    pub(super) fn notice(&mut self, waits: &Waits, candidate: &Candidate) {
        self.waiters = waits.on(self.items, |tid| candidate.shares_table(tid));
    }

    /// Who waits on one of these.
    pub(super) fn waiters(&self) -> &[Waiter] {
        &self.waiters
    }

    /// What is in it.
    pub(super) fn items(&self) -> &'a [Item] {
        self.items
    }

    /// The same, with the copies given up.
    pub(super) fn into_waiters(self) -> Vec<Waiter> {
        self.waiters
    }

    /// Does `act` to as many as fit until `limits` are reached, at least one. What has not had its turn by then has
    /// no outcome.
    pub(super) fn act(
        &self,
        act: Act,
        surgeon: &mut Surgeon<'_>,
        outcomes: &mut [ItemOutcome],
        limits: Limits,
    ) -> Result<(), TraceError> {
        if act == Act::Shutdown {
            let shut_down = |surgeon: &mut Surgeon<'_>, _, item: &Item| shutdown::injected(surgeon, item);
            return self.one_by_one(surgeon, outcomes, limits.looking, shut_down);
        }
        if act == Act::Replace {
            let replace = |surgeon: &mut Surgeon<'_>, index: usize, item: &Item| {
                replace::one(surgeon, item, self.sockets.get(index).copied().flatten())
            };
            return self.one_by_one(surgeon, outcomes, limits.looking, replace);
        }
        if self.items.len() < SHORTEST_CHAIN || self.copies.iter().all(Option::is_none) {
            return self
                .one_by_one(surgeon, outcomes, limits.looking, |surgeon, _, item| close_one(surgeon, item));
        }
        let to_close = self.look(surgeon.table(), outcomes, limits.looking);
        // A close that may block, of a file on a network file system, has no place in a chain: it could run on long after
        // everything else has changed. A socket that has a copy can't block.
        let (sockets, mut alone): (Vec<usize>, Vec<usize>) =
            to_close.into_iter().partition(|index: &usize| matches!(self.copies.get(*index), Some(Some(_))));
        // What a chain left open is tried alone: it will have its own answer.
        alone.extend(self.chains(surgeon, outcomes, sockets, limits.closing)?);
        for index in alone {
            if Instant::now() >= limits.closing && !is_open_question(outcomes, 0) {
                break;
            }
            let Some(item) = self.items.get(index) else { continue };
            settle(outcomes, index, close_one(surgeon, item)?);
        }
        Ok(())
    }

    /// Closes the items `indices` by chains, or some of them until `end_at`; returns those that are to be tried alone.
    fn chains(
        &self,
        surgeon: &mut Surgeon<'_>,
        outcomes: &mut [ItemOutcome],
        indices: Vec<usize>,
        end_at: Instant,
    ) -> Result<Vec<usize>, TraceError> {
        let table = surgeon.table();
        let is_over = || Instant::now() >= end_at;
        let (mut waiting, mut running, mut alone) = (VecDeque::from(indices), Vec::new(), Vec::new());
        for _ in 0..=MOST_INTERRUPTIONS {
            let mut before = None;
            let ended = surgeon.close_chains(&mut || {
                let (count, is_first) = (table.count(), running.is_empty());
                self.settle_closed(table, outcomes, &mut running, (before, count), &mut alone);
                before = count;
                if waiting.len() < SHORTEST_CHAIN || (is_over() && !is_first) {
                    return None;
                }
                running.extend(waiting.drain(..waiting.len().min(LONGEST_CHAIN)));
                Some(running.iter().filter_map(|index| Some(self.items.get(*index)?.fd)).collect())
            });
            // One that was cut short, also by an error.
            let mut open = Vec::new();
            self.settle_closed(table, outcomes, &mut running, (None, None), &mut open);
            match ended? {
                ChainEnd::Interrupted => open.into_iter().rev().for_each(|index| waiting.push_front(index)),
                ChainEnd::Through | ChainEnd::NotHere => {
                    alone.append(&mut open);
                    break;
                }
            }
            if is_over() {
                break;
            }
        }
        alone.extend(waiting);
        Ok(alone)
    }

    /// Settles those of `tried` that are closed, and moves the others to `open`. Given is how many descriptors
    /// were open before and are now, where the kernel tells.
    fn settle_closed(
        &self,
        table: Table<'_>,
        outcomes: &mut [ItemOutcome],
        tried: &mut Vec<usize>,
        (before, now): (Option<usize>, Option<usize>),
        open: &mut Vec<usize>,
    ) {
        // All were open, and in a stop nobody else opens or closes anything: if as many fewer are open, all are closed.
        // To look at each, where the kernel does not count, is a third of the pause.
        let fewer = before.zip(now).and_then(|(before, now)| before.checked_sub(now));
        if fewer == Some(tried.len()) {
            tried.drain(..).for_each(|index| settle(outcomes, index, ItemOutcome::Done(None)));
        }
        // What a chain has done is seen, not assumed. With everything stopped, what is not open was closed.
        for index in tried.drain(..) {
            match self.is_open(table, index) {
                Some(Ok(false)) => settle(outcomes, index, ItemOutcome::Done(None)),
                Some(Ok(true)) | None => open.push(index),
                Some(Err(error)) => {
                    settle(outcomes, index, ItemOutcome::Failed(format!("closed, but not seen: {error}")));
                }
            }
        }
    }

    /// Whether an item's descriptor is open, by the cheapest way there is.
    fn is_open(&self, table: Table<'_>, index: usize) -> Option<Result<bool, ProcError>> {
        let item = self.items.get(index)?;
        if let Some(copy) = self.copies.get(index)?
            && let Err(Errno::EBADF) = table.same_file(copy.as_fd(), item.fd)
        {
            return Some(Ok(false));
        }
        Some(table.is_open(item.fd))
    }

    /// Looks at each in turn while time allows; those that are to be closed.
    fn look(&self, table: Table<'_>, outcomes: &mut [ItemOutcome], end_at: Instant) -> Vec<usize> {
        let mut to_close = Vec::with_capacity(self.items.len());
        for (index, (item, copy)) in self.items.iter().zip(&self.copies).enumerate() {
            if !is_open_question(outcomes, index) {
                continue;
            }
            match table.compare(item, copy.as_ref()) {
                Ok(Comparison::Same) => to_close.push(index),
                Ok(Comparison::Gone) => settle(outcomes, index, ItemOutcome::Gone),
                Ok(Comparison::Changed) => settle(outcomes, index, ItemOutcome::Changed),
                Err(error) => settle(outcomes, index, ItemOutcome::Failed(error.to_string())),
            }
            if index % 16 == 15 && Instant::now() >= end_at {
                break;
            }
        }
        to_close
    }

    fn one_by_one(
        &self,
        surgeon: &mut Surgeon<'_>,
        outcomes: &mut [ItemOutcome],
        end_at: Instant,
        mut one: impl FnMut(&mut Surgeon<'_>, usize, &Item) -> Result<ItemOutcome, TraceError>,
    ) -> Result<(), TraceError> {
        for (index, item) in self.items.iter().enumerate() {
            if !is_open_question(outcomes, index) {
                continue;
            }
            settle(outcomes, index, one(surgeon, index, item)?);
            if Instant::now() >= end_at {
                break;
            }
        }
        Ok(())
    }

    /// The copies, to be given back once the target runs.
    pub(super) fn into_copies(self) -> impl Iterator<Item = OwnedFd> {
        self.copies.into_iter().flatten()
    }
}

/// For copies of the sockets of a batch. Room for them is made now, as far as the hard limit allows: for a process with
/// several threads, the kernel waits 10 to 20 ms whenever its table of descriptors has to grow (`synchronize_rcu` in
/// `expand_fdtable`, fs/file.c).
pub(super) fn copies_of(process: &Process, items: usize) -> Option<Copies> {
    let Some(copies) = Copies::of(process) else {
        host::fall_back(Fallback::CloseWithoutCopies);
        return None;
    };
    let room = items.min(release::MOST_HELD + 2 * pace::MOST);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = (room as u64).saturating_add(soft).min(hard);
        if wanted > soft {
            // Copies that find no room are done without.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        }
    }
    copies.make_room(room);
    Some(copies)
}

/// Copies of the sockets among `items`, which the epoll instances `watched` watch; none of those that had better be closed
/// without.
fn copies_for(copies: &Copies, items: &[Item], watched: &[&[Fd]]) -> Vec<Option<OwnedFd>> {
    // Copies take the lowest numbers that are free: one above this says that few are left.
    let highest = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft.saturating_sub(RESERVE));
    let leaves_room = |copy: &OwnedFd| u64::try_from(copy.as_raw_fd()).is_ok_and(|number| number < highest);
    // The last close of a socket that lingers would wait, with all that are given back behind it; the target's own
    // close can be interrupted.
    let may_keep = |copy: &OwnedFd| leaves_room(copy) && !net::lingers(copy.as_fd());
    // An epoll instance goes on telling of a file whose descriptor is closed, as long as there is a copy.
    let is_watched = |index: usize| watched.get(index).is_some_and(|instances| !instances.is_empty());
    let copy = |(index, item): (usize, &Item)| match item.expected.target {
        FdTarget::Socket(inode) if !is_watched(index) => copies.copy(item.fd, inode).filter(may_keep),
        _ => None,
    };
    items.iter().enumerate().map(copy).collect()
}

/// Whether the item has not had its turn: one slice can settle an item and leave one before it for the next.
fn is_open_question(outcomes: &[ItemOutcome], index: usize) -> bool {
    outcomes.get(index) == Some(&ItemOutcome::NotTried)
}

fn settle(outcomes: &mut [ItemOutcome], index: usize, outcome: ItemOutcome) {
    if let Some(place) = outcomes.get_mut(index) {
        *place = outcome;
    }
}

/// What a descriptor is, held against what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// The same file.
    Same,
    /// Another one.
    Changed,
    /// Not open.
    Gone,
}

/// The promise of the right descriptor or none: same stop, same table as the close right below.
fn close_one(surgeon: &mut Surgeon<'_>, item: &Item) -> Result<ItemOutcome, TraceError> {
    let compared: Result<Comparison, ProcError> = surgeon.table().compare(item, None);
    match compared {
        Ok(Comparison::Gone) => return Ok(ItemOutcome::Gone),
        Ok(Comparison::Changed) => return Ok(ItemOutcome::Changed),
        Err(error) => return Ok(ItemOutcome::Failed(error.to_string())),
        Ok(Comparison::Same) => {}
    }
    let answer: Result<(), Errno> = fdops::close(surgeon.remote()?, item.fd)?;
    // The kernel frees the number before it answers, and answers an error if flushing failed. Whether it did is seen,
    // not believed: a seccomp filter can answer in its place.
    Ok(match (surgeon.table().is_open(item.fd), answer) {
        (Ok(false), answer) => ItemOutcome::Done(answer.err()),
        (Ok(true), Ok(())) => ItemOutcome::Failed("close succeeded, but the descriptor is still open".into()),
        (Ok(true), Err(errno)) => ItemOutcome::Failed(format!("close in the target: {}", errno.desc())),
        (Err(error), _) => ItemOutcome::Failed(format!("closed, but not seen: {error}")),
    })
}

impl Table<'_> {
    /// What the item's descriptor is now.
    pub(super) fn compare(self, item: &Item, copy: Option<&OwnedFd>) -> Result<Comparison, ProcError> {
        if let Some(copy) = copy {
            match self.same_file(copy.as_fd(), item.fd) {
                Ok(true) => return Ok(Comparison::Same),
                Ok(false) => return Ok(Comparison::Changed),
                Err(Errno::EBADF) => return Ok(Comparison::Gone),
                // A kernel without kcmp: the link tells.
                Err(_) => {}
            }
        }
        Ok(match self.look(item.fd)? {
            None => Comparison::Gone,
            Some(now) if now != item.expected => Comparison::Changed,
            Some(_) => Comparison::Same,
        })
    }
}
