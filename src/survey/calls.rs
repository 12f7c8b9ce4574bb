//! Threads in system calls that name a descriptor in an argument, as /proc shows them: nobody is stopped.
//!
//! What poll(2) and select(2) wait for is in the memory of the process, and is not looked at.

use crate::arch::{On, native_abi};
use crate::ids::{Fd, RemoteAddr, Tid};
use crate::proc::{InSyscall, ProcError, Process};

/// A thread in a call on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallOn {
    /// The thread.
    pub tid: Tid,
    /// The call's name.
    pub call: &'static str,
    /// The number that it was made with.
    pub fd: Fd,
}

/// Every one of `process`. Calls of 32-bit programs, which have other numbers, may be taken for others.
///
/// # Errors
/// [`ProcError::Gone`] if it has ended. Of threads that may not be looked at nothing is known.
pub fn calls_of(process: &Process) -> Result<Vec<CallOn>, ProcError> {
    let mut calls = Vec::new();
    for tid in process.threads()? {
        let Ok(InSyscall::Call { number, args, sp, .. }) = process.syscall(tid) else { continue };
        let Some(call) = native_abi().waiting_call(number) else { continue };
        // The kernel's own threads, and those that it makes for an io_uring, call nothing: all is 0.
        if sp == RemoteAddr(0) {
            continue;
        }
        let places = match call.on {
            On::In(place) | On::Out(place) => [Some(place), None],
            On::Between(from, to) => [Some(from), Some(to)],
            _ => [None, None],
        };
        // The kernel looks at the lower half of such an argument.
        let named = places.into_iter().flatten().filter_map(|place| {
            let [a, b, c, d, ..] = args.get(place)?.to_le_bytes();
            Fd::new(i32::from_le_bytes([a, b, c, d]))
        });
        calls.extend(named.map(|fd| CallOn { tid, call: call.name, fd }));
    }
    Ok(calls)
}
