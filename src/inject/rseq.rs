//! Restartable sequences (rseq(2)): stretches of user code that must not be left and come back to.
//!
//! A thread registers `struct rseq`; its field `rseq_cs` points to the description of the sequence it is in, or was
//! in last: it is cleared late. When the kernel lets a thread go on somewhere else (as an injected call does), it
//! clears that field, and a thread that was inside would afterwards finish its sequence unprotected. So another thread
//! is chosen.

use crate::host::{self, Fallback};
use crate::ids::{RemoteAddr, Tid};
use crate::trace::{Stopped, read_memory};

/// `offsetof(struct rseq, rseq_cs)`
const RSEQ_CS: u64 = 8;
/// The alignment of `struct rseq`, and no less than its first size.
const ALIGNED: usize = 32;

/// How far from the thread pointer the variables of a thread are looked at: glibc 2.35 to 2.39 has its `struct rseq` some
/// 2,500 bytes above; what programs have themselves lies below.
const BELOW: u64 = 16 << 10;
const ABOVE: u64 = 4 << 10;
const PAGE: u64 = 4096;
/// RSEQ_SIG (sys/rseq.h).
#[cfg(target_arch = "x86_64")]
const SIGNATURE: u32 = 0x5305_3053;
#[cfg(target_arch = "aarch64")]
const SIGNATURE: u32 = 0xd428_bc00;

/// Whether `thread` is inside a restartable sequence. Where it registered an area that can't be read this says yes.
#[must_use]
pub fn is_inside(thread: &Stopped) -> bool {
    let area = match thread.rseq_area() {
        Ok(Some(area)) => area,
        Ok(None) => return false,
        Err(_) => {
            host::fall_back(Fallback::SequenceInTls);
            return seems_inside(thread);
        }
    };
    match sequence(thread.tid(), area) {
        Sequence::None => false,
        Sequence::Of { start, len } => {
            thread.registers().map_or(true, |registers| registers.ip().0.wrapping_sub(start) < len)
        }
        Sequence::Unreadable => true,
    }
}

/// The same where the kernel does not tell (it has had sequences since Linux 4.18). C libraries and allocators have
/// `struct rseq` among the variables of the thread, near its thread pointer: something there that looks like one, and
/// names a sequence around the place where the thread is, is taken for it.
fn seems_inside(thread: &Stopped) -> bool {
    let Ok(registers) = thread.registers() else { return true };
    let Some(pointer) = registers.thread_pointer() else { return false };
    let (tid, ip) = (thread.tid(), registers.ip().0);
    let first = pointer.0.saturating_sub(BELOW) / PAGE;
    let pages = first..=pointer.0.saturating_add(ABOVE) / PAGE;
    let mut page = [0; 4096];
    pages.into_iter().any(|number| {
        // The block of variables may begin or end here: what is not mapped has none.
        let is_there = number
            .checked_mul(PAGE)
            .is_some_and(|at| read_memory(tid, RemoteAddr(at), &mut page) == Ok(page.len()));
        is_there && described_in(&page).any(|described| is_around(tid, described, ip))
    })
}

/// What those places in a page that look like a `struct rseq` in use name as their sequence.
fn described_in(page: &[u8]) -> impl Iterator<Item = u64> {
    page.chunks_exact(ALIGNED).filter_map(|area| {
        let (start, cpu) = (area.get(..4)?, area.get(4..8)?);
        let described = u64::from_ne_bytes(area.get(8..16)?.try_into().ok()?);
        // cpu_id_start and cpu_id, which are the same from the registration on.
        (start == cpu && described != 0).then_some(described)
    })
}

/// Whether `described` describes a sequence around `ip`, with the mark in front of its abort handler.
fn is_around(tid: Tid, described: u64, ip: u64) -> bool {
    let field = |offset: u64| word(tid, described.checked_add(offset)?);
    let sequence = || {
        let (start, len) = (field(8)?, field(16)?);
        if ip.wrapping_sub(start) >= len {
            return None;
        }
        // The kernel accepts no handler without the signature; the low half of 8 bytes before the handler is not it.
        word(tid, field(24)?.checked_sub(8)?)
    };
    sequence().is_some_and(|word| word.to_ne_bytes()[4..] == SIGNATURE.to_ne_bytes())
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
