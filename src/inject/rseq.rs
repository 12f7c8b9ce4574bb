//! Restartable sequences (rseq(2)): stretches of user code that must not be left and come back to.
//!
//! A thread registers `struct rseq`; its field `rseq_cs` points to the description of the sequence it is in. When
//! the kernel lets such a thread go on somewhere else (as an injected call does), it clears that field, and the
//! thread would afterwards finish its sequence unprotected. So another thread is chosen.

use crate::ids::{Pid, RemoteAddr};
use crate::trace::{Stopped, read_memory};

/// `offsetof(struct rseq, rseq_cs)`.
const RSEQ_CS: u64 = 8;

/// Whether `thread` may be inside a restartable sequence: where it is unknown, this says yes only if the thread
/// registered an area that can't be read.
#[must_use]
pub fn is_inside(pid: Pid, thread: &Stopped) -> bool {
    let Some((area, _)) = thread.rseq_area() else { return false };
    let Some(field) = RemoteAddr(area).checked_add(RSEQ_CS) else { return true };
    let mut pointer = [0; 8];
    let read = read_memory(pid, field, &mut pointer);
    read != Ok(pointer.len()) || u64::from_ne_bytes(pointer) != 0
}
