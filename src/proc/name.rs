//! Short paths below `/proc/PID`, built on the stack: the descriptor scan makes one per descriptor.

use crate::ids::{Fd, Tid};

/// Longest: `task/2147483647/` and a file name of ours, or `../fdinfo/2147483647`.
const ROOM: usize = 32;

/// A path relative to a directory of a process.
pub(super) struct Name {
    bytes: [u8; ROOM],
    len: usize,
}

impl Name {
    /// `task/TID/LEAF`; the leaf is one of ours, 15 bytes at most.
    pub(super) fn of_task(tid: Tid, leaf: &'static [u8]) -> Self {
        Self::start(b"task/").number(tid.as_raw()).push(b"/").push(leaf)
    }

    /// A descriptor in an open `fd` directory.
    pub(super) fn of_fd(fd: Fd) -> Self {
        Self::start(b"").number(fd.as_raw())
    }

    /// The same descriptor's `fdinfo`, also from the open `fd` directory.
    pub(super) fn of_fdinfo(fd: Fd) -> Self {
        Self::start(b"../fdinfo/").number(fd.as_raw())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn start(text: &'static [u8]) -> Self {
        Self { bytes: [0; ROOM], len: 0 }.push(text)
    }

    fn push(mut self, text: &[u8]) -> Self {
        debug_assert!(self.len + text.len() <= ROOM, "a name of ours outgrew its room");
        for (slot, byte) in self.bytes[self.len..].iter_mut().zip(text) {
            *slot = *byte;
            self.len += 1;
        }
        self
    }

    fn number(self, number: i32) -> Self {
        let mut digits = [0u8; 10];
        let mut rest = number.unsigned_abs();
        let mut first = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
            first = at;
            if rest == 0 {
                break;
            }
        }
        self.push(&digits[first..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_the_smallest_and_the_largest() {
        let (zero, top) = (Fd::new(0).unwrap(), Fd::new(i32::MAX).unwrap());
        assert_eq!(Name::of_fd(zero).as_bytes(), b"0");
        assert_eq!(Name::of_fd(top).as_bytes(), b"2147483647");
        assert_eq!(Name::of_fdinfo(top).as_bytes(), b"../fdinfo/2147483647");
        let tid = Tid::new(i32::MAX).unwrap();
        assert_eq!(Name::of_task(tid, b"fifteen-letters").as_bytes(), b"task/2147483647/fifteen-letters");
        assert_eq!(Name::of_task(Tid::new(10).unwrap(), b"fd").as_bytes(), b"task/10/fd");
    }
}
