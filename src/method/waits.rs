//! Threads that wait in a call on the very descriptors that are to be closed.
//!
//! A close(2) by another thread wakes nobody, and the file lives until the call returns. But the stop ends the wait: the
//! kernel lets go of the file, to start the call anew afterwards. By then the descriptor is closed, and the call fails
//! with EBADF; or its number is another file's already, and the call reads or writes there. Checked on 6.18 with sockets,
//! pipes, terminals and eventfds: a `recv` that had its number taken returned the other socket's data. So these calls
//! are ended in the stop itself, with the same EBADF.

use std::collections::HashMap;

use super::Item;
use crate::arch::{self, Abi, On, Registers};
use crate::error::TraceError;
use crate::ids::{Fd, RemoteAddr, Tid};
use crate::inject::restart;
use crate::trace::{MOST_POLLED, Selected, Stopped, polled, read_memory};

/// How a thread waits on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// In a call on it, which fails without it.
    Call,
    /// In select(2) on it and maybe others, which fails without it.
    Select,
    /// In poll(2) on it and maybe others, which tells of a closed one by POLLNVAL.
    Poll,
    /// In epoll_wait(2) on what watches it, which forgets a closed one.
    Epoll,
}

/// A thread that waits on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) tid: Tid,
    pub(super) fd: Fd,
    /// The call's number.
    pub(super) number: u64,
    /// The call's name.
    pub(super) call: &'static str,
    pub(super) manner: Manner,
    /// Whether the end of what comes in ends the wait.
    pub(super) for_input: bool,
}

impl Waiter {
    /// Whether an argument of a call names what is waited on.
    pub(super) fn is_named_by(&self, arg: u64) -> bool {
        descriptor(arg) == Some(self.fd)
    }
}

/// The threads that a stop found in calls.
#[derive(Debug, Default)]
pub(super) struct Waits {
    seen: HashMap<Tid, (&'static Abi, Registers)>,
}

impl Waits {
    /// Forgets the last stop.
    pub(super) fn begin(&mut self) {
        self.seen.clear();
    }

    /// Hides the stop of `thread` from its call, and notes the call.
    pub(super) fn see(&mut self, thread: &mut Stopped) -> Result<(), TraceError> {
        let (abi, registers) = restart::hide_interruption(thread)?;
        if may_wait(abi, &registers) {
            self.seen.insert(thread.tid(), (abi, registers));
        } else {
            self.seen.remove(&thread.tid());
        }
        Ok(())
    }

    /// Who waits on one of `items`, in the descriptor table that `shares_table` knows.
    pub(super) fn on(&self, items: &[Item], shares_table: impl Fn(Tid) -> bool) -> Vec<Waiter> {
        if self.seen.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (tid, (abi, registers)) in &self.seen {
            // Which of them it is costs a look at memory: not unless it matters.
            let by_each = arch::ABIS.map(|abi| (abi, waits_of(*tid, abi, registers, items)));
            if by_each.iter().all(|(_, waiters)| waiters.is_empty()) || !shares_table(*tid) {
                continue;
            }
            let made_by = restart::abi_of_call(*tid, abi, registers);
            found.extend(by_each.into_iter().filter(|(abi, _)| *abi == made_by).flat_map(|(_, found)| found));
        }
        found
    }
}

fn may_wait(abi: &'static Abi, registers: &Registers) -> bool {
    let known = |number| arch::ABIS.iter().any(|abi| abi.waiting_call(number).is_some());
    registers.interrupted(abi).is_some_and(|call| known(call.number))
}

/// Whether `fd` is one of `wanted`, which are in order. A set made of them in each stop would be a tenth of the pause.
fn is_among(wanted: &[Item], fd: Fd) -> bool {
    wanted.binary_search_by_key(&fd, |item| item.fd).is_ok()
}

/// On which of `wanted` the thread waits, if it calls the kernel by `abi`.
fn waits_of(tid: Tid, abi: &Abi, registers: &Registers, wanted: &[Item]) -> Vec<Waiter> {
    let Some(interrupted) = registers.interrupted(abi) else { return Vec::new() };
    let Some(call) = abi.waiting_call(interrupted.number) else { return Vec::new() };
    let (number, args) = (interrupted.number, interrupted.args);
    let single = |name, on, args: &[u64]| {
        let waiter = |arg: usize, for_input| {
            let fd = descriptor(*args.get(arg)?).filter(|fd| is_among(wanted, *fd))?;
            Some(Waiter { tid, fd, number, call: name, manner: Manner::Call, for_input })
        };
        match on {
            On::In(arg) => waiter(arg, true).into_iter().collect(),
            On::Out(arg) => waiter(arg, false).into_iter().collect(),
            On::Between(from, to) => waiter(from, true).into_iter().chain(waiter(to, false)).collect(),
            _ => Vec::new(),
        }
    };
    match call.on {
        On::In(_) | On::Out(_) | On::Between(..) => single(call.name, call.on, &args),
        On::Epoll => single(call.name, On::In(0), &args),
        On::SocketCall => {
            let mut first = [0; 4];
            let named = arch::socket_call(args[0]);
            match (named, read_memory(tid, RemoteAddr(args[1]), &mut first)) {
                (Some((name, on)), Ok(4)) => single(name, on, &[u64::from(u32::from_ne_bytes(first))]),
                _ => Vec::new(),
            }
        }
        On::Select => {
            let waiter = |(fd, for_input)| Waiter {
                tid,
                fd,
                number,
                call: call.name,
                manner: Manner::Select,
                for_input,
            };
            let selected = Selected::read(tid, args);
            let awaited = wanted.iter().filter_map(|Item { fd, .. }| Some((*fd, selected.awaits(*fd)?)));
            awaited.map(waiter).collect()
        }
        On::Poll | On::Restarted => {
            let name = if call.on == On::Poll { call.name } else { "poll" };
            let waiter =
                |(fd, for_input)| Waiter { tid, fd, number, call: name, manner: Manner::Poll, for_input };
            let mut found = Vec::new();
            polled(tid, args, MOST_POLLED, call.on == On::Restarted, |fd, for_input| {
                found.extend(is_among(wanted, fd).then(|| waiter((fd, for_input))));
            });
            found
        }
    }
}

/// The kernel looks at the lower half of an argument that is a descriptor.
fn descriptor(arg: u64) -> Option<Fd> {
    let [a, b, c, d, ..] = arg.to_le_bytes();
    Fd::new(i32::from_le_bytes([a, b, c, d]))
}
