//! Restartable sequences (rseq(2)): stretches of user code that must not be left and come back to.
//!
//! A thread registers `struct rseq`; its field `rseq_cs` points to the description of the sequence it is in, or was
//! in last: it is cleared late. When the kernel lets a thread go on somewhere else (as an injected call does), it
//! clears that field, and a thread that was inside would afterwards finish its sequence unprotected. So another thread
//! is chosen.

use crate::ids::{RemoteAddr, Tid};
use crate::trace::{Stopped, read_memory};

/// `offsetof(struct rseq, rseq_cs)`
const RSEQ_CS: u64 = 8;

/// Whether `thread` is inside a restartable sequence. Where it registered an area that can't be read this says yes.
#[must_use]
pub fn is_inside(thread: &Stopped) -> bool {
    let Some((area, _)) = thread.rseq_area() else { return false };
    match sequence(thread.tid(), area) {
        Sequence::None => false,
        Sequence::Of { start, len } => {
            thread.registers().map_or(true, |registers| registers.ip().0.wrapping_sub(start) < len)
        }
        Sequence::Unreadable => true,
    }
}

/// What `struct rseq` names.
enum Sequence {
    None,
    Of { start: u64, len: u64 },
    Unreadable,
}

fn sequence(tid: Tid, area: u64) -> Sequence {
    let field = |base: u64, offset: u64| word(tid, base.checked_add(offset)?);
    match field(area, RSEQ_CS) {
        None => Sequence::Unreadable,
        Some(0) => Sequence::None,
        // struct rseq_cs: version and flags, 4 bytes each; start_ip; post_commit_offset; abort_ip.
        Some(described) => match (field(described, 8), field(described, 16)) {
            (Some(start), Some(len)) => Sequence::Of { start, len },
            _ => Sequence::Unreadable,
        },
    }
}

fn word(tid: Tid, at: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    (read_memory(tid, RemoteAddr(at), &mut bytes) == Ok(bytes.len())).then(|| u64::from_ne_bytes(bytes))
}
