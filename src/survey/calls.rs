//! Threads in system calls that wait for a descriptor, as /proc shows them: nobody is stopped.

use std::collections::BTreeSet;

use crate::arch::{On, native_abi};
use crate::ids::{Fd, RemoteAddr, Tid};
use crate::proc::{InSyscall, ProcError, Process};
use crate::trace::{MOST_POLLED, Selected, polled, same_descriptor_table};
use crate::watchdog;

/// So many entries of the arrays of poll(2) are read in a process: 8 MiB. It may have tens of thousands of threads.
const MOST_READ: u64 = 1 << 20;

/// A thread in a call on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallOn {
    /// The thread.
    pub tid: Tid,
    /// The call's name.
    pub call: &'static str,
    /// The number that it was made with.
    pub fd: Fd,
    /// Whether it waits for what that one watches, an epoll instance.
    pub for_watched: bool,
}

/// Every call of a thread of `process` that names descriptors in its arguments. Calls of 32-bit programs, which have other
/// numbers, may be taken for others.
///
/// # Errors
/// [`ProcError::Gone`] if it has ended. Of threads that may not be looked at nothing is known.
pub fn calls_of(process: &Process) -> Result<Vec<CallOn>, ProcError> {
    let mut calls = Vec::new();
    for tid in process.threads()? {
        if let Some((call, on, args)) = call_of(process, tid) {
            calls.extend(named(on, args).map(|fd| CallOn { tid, call, fd, for_watched: on == On::Epoll }));
        }
    }
    Ok(calls)
}

/// As [`calls_of`], those on one of `fds` in the descriptor table of `table`. What poll(2) and select(2) wait for is
/// read from the memory of `process`: the caller has to see to it that this may [hang](watchdog).
///
/// # Errors
/// As [`calls_of`].
pub fn waits_on(process: &Process, table: Tid, fds: &BTreeSet<Fd>) -> Result<Vec<CallOn>, ProcError> {
    let (mut waits, mut left) = (Vec::new(), MOST_READ);
    for tid in process.threads()? {
        watchdog::beat();
        let Some((call, on, args)) = call_of(process, tid) else { continue };
        let (mut awaited, mut call) = (BTreeSet::new(), call);
        match on {
            On::Poll | On::Restarted => {
                let in_doubt = on == On::Restarted;
                call = if in_doubt { "poll" } else { call };
                let most = left.min(MOST_POLLED);
                left -= most.min(args[1]);
                polled(tid, args, most, in_doubt, |fd, _| {
                    awaited.extend(fds.contains(&fd).then_some(fd));
                });
            }
            On::Select => {
                let selected = Selected::read(tid, args);
                awaited.extend(fds.iter().filter(|fd| selected.awaits(**fd).is_some()));
            }
            _ => awaited.extend(named(on, args).filter(|fd| fds.contains(fd))),
        }
        if awaited.is_empty() {
            continue;
        }
        // It may have gone on while its memory was read, which then was no array for the kernel; and where it has, the
        // number may be another thread's.
        let goes_on = !matches!(on, On::Poll | On::Restarted | On::Select)
            || call_of(process, tid).is_some_and(|(_, now, its)| (now, its) == (on, args));
        if goes_on && same_descriptor_table(table, tid) != Ok(false) {
            let for_watched = on == On::Epoll;
            waits.extend(awaited.into_iter().map(|fd| CallOn { tid, call, fd, for_watched }));
        }
    }
    Ok(waits)
}

/// The call that a thread waits in, if it may be one on descriptors: its name, what for, and its arguments.
fn call_of(process: &Process, tid: Tid) -> Option<(&'static str, On, [u64; 6])> {
    let Ok(InSyscall::Call { number, args, sp, .. }) = process.syscall(tid) else { return None };
    let call = native_abi().waiting_call(number)?;
    // The kernel's own threads, and those that it makes for an io_uring, call nothing: all is 0.
    (sp != RemoteAddr(0)).then_some((call.name, call.on, args))
}

/// The descriptors that the arguments themselves name.
fn named(on: On, args: [u64; 6]) -> impl Iterator<Item = Fd> {
    let places = match on {
        On::In(place) | On::Out(place) => [Some(place), None],
        On::Between(from, to) => [Some(from), Some(to)],
        On::Epoll => [Some(0), None],
        _ => [None, None],
    };
    // The kernel looks at the lower half of such an argument.
    places.into_iter().flatten().filter_map(move |place| {
        let [a, b, c, d, ..] = args.get(place)?.to_le_bytes();
        Fd::new(i32::from_le_bytes([a, b, c, d]))
    })
}
