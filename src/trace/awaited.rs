//! What poll(2) and select(2) wait for, as it stands in the memory of the thread that called them.
//!
//! The thread, or another one, may write there what it likes at any moment: so much is read, and no more, and what comes
//! of it is a set of numbers.

use super::read_memory;
use crate::ids::{Fd, RemoteAddr, Tid};

/// No more descriptors of one poll(2) need be looked at.
pub const MOST_POLLED: u64 = 16_384;

/// So many at a time.
const PIECE: usize = 512;

/// `sizeof(struct pollfd)`
const POLLFD: usize = 8;

/// What ends with the end of what comes in. Any other event of poll(2) waits for room.
const INPUT: i16 = libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP | libc::POLLRDNORM | libc::POLLRDBAND;

/// Every bit that has a meaning for poll(2).
const EVENTS: i16 = 0x3fff;

/// Calls `each` with the descriptors in an array of `struct pollfd`, and whether they are polled for input; the first
/// `most` of them. `args` are those of the call.
///
/// After a restart it may be no poll(2) at all, and the array anything; then, `in_doubt`, an entry must look as the
/// kernel leaves it, which has cleared what came of it.
pub fn polled(tid: Tid, args: [u64; 6], most: u64, in_doubt: bool, mut each: impl FnMut(Fd, bool)) {
    let mut piece = [0; PIECE * POLLFD];
    let (mut at, mut left) = (RemoteAddr(args[0]), args[1]);
    // More than there can be descriptors is no number of them.
    if left > u64::from(u32::MAX) {
        return;
    }
    left = left.min(most);
    while left > 0 {
        let entries = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let Some(piece) = piece.get_mut(..entries * POLLFD) else { break };
        let Ok(got) = read_memory(tid, at, piece) else { break };
        for entry in piece.get(..got).unwrap_or_default().chunks_exact(POLLFD) {
            let Some((fd, rest)) = entry.split_first_chunk() else { continue };
            let Some((events, rest)) = rest.split_first_chunk() else { continue };
            let (fd, events) = (i32::from_ne_bytes(*fd), i16::from_ne_bytes(*events));
            let results = rest.first_chunk().map_or(0, |results| i16::from_ne_bytes(*results));
            let is_entry = !in_doubt || (results == 0 && events & !EVENTS == 0 && events != 0);
            if let Some(fd) = Fd::new(fd).filter(|_| is_entry) {
                each(fd, events & INPUT != 0);
            }
        }
        let Some(next) = at.checked_add((entries * POLLFD) as u64) else { break };
        at = next;
        left -= entries as u64;
    }
}

/// The sets of a select(2), as long as libc's.
#[derive(Debug)]
pub struct Selected {
    below: u64,
    sets: [[u8; libc::FD_SETSIZE / 8]; 3],
}

impl Selected {
    /// Those of the call with `args`. One that can't be read is empty, as a null pointer is.
    #[must_use]
    pub fn read(tid: Tid, args: [u64; 6]) -> Self {
        let sets = [args[1], args[2], args[3]].map(|at| {
            let mut set = [0; libc::FD_SETSIZE / 8];
            if read_memory(tid, RemoteAddr(at), &mut set).is_err() {
                set.fill(0);
            }
            set
        });
        Self { below: args[0], sets }
    }

    /// Whether `fd` is waited for, and if so, whether for input.
    #[must_use]
    pub fn awaits(&self, fd: Fd) -> Option<bool> {
        let number = u32::try_from(fd.as_raw()).ok().filter(|number| u64::from(*number) < self.below)?;
        let number = usize::try_from(number).ok()?;
        // The kernel's sets are made of words; on a little-endian machine these are bytes in a row.
        let is_in = |set: &[u8]| set.get(number / 8).is_some_and(|byte| byte >> (number % 8) & 1 == 1);
        let [reading, writing, exceptional] = &self.sets;
        let for_input = is_in(reading) || is_in(exceptional);
        (for_input || is_in(writing)).then_some(for_input)
    }
}
