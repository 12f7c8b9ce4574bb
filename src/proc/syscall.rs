//! `/proc/PID/task/TID/syscall`: the system call a thread is in (proc_pid_syscall(5)).

use super::error::Malformed;
use super::text::{decimal, number, words};
use crate::ids::RemoteAddr;

/// Where a thread is, as far as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InSyscall {
    /// On a CPU, or ready for one: the kernel does not look.
    Running,
    /// Asleep or stopped, but in no system call (a page fault, a stop in user code).
    Elsewhere {
        /// Stack pointer.
        sp: RemoteAddr,
        /// Instruction pointer.
        pc: RemoteAddr,
    },
    /// Asleep or stopped in a system call.
    Call {
        /// Its number in the thread's own ABI.
        number: u64,
        /// Its arguments.
        args: [u64; 6],
        /// Stack pointer.
        sp: RemoteAddr,
        /// Instruction pointer.
        pc: RemoteAddr,
    },
}

impl InSyscall {
    /// Reads the text of a `syscall` file.
    ///
    /// # Errors
    /// If it has none of the three known forms.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let text = text.trim_ascii_end();
        if text == b"running" {
            return Ok(Self::Running);
        }
        Self::parse_words(text).ok_or(Malformed("not a system call"))
    }

    fn parse_words(text: &[u8]) -> Option<Self> {
        let mut words = words(text);
        let first = words.next()?;
        let mut next = || number(words.next()?.strip_prefix(b"0x")?, 16);
        if first == b"-1" {
            return Some(Self::Elsewhere { sp: RemoteAddr(next()?), pc: RemoteAddr(next()?) });
        }
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = next()?;
        }
        Some(Self::Call { number: decimal(first)?, args, sp: RemoteAddr(next()?), pc: RemoteAddr(next()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_its_three_forms() {
        assert_eq!(InSyscall::parse(b"running\n"), Ok(InSyscall::Running));
        assert_eq!(
            InSyscall::parse(b"-1 0x7ffd5b9efe88 0x7f1c1d000010\n"),
            Ok(InSyscall::Elsewhere { sp: RemoteAddr(0x7ffd_5b9e_fe88), pc: RemoteAddr(0x7f1c_1d00_0010) })
        );
        assert_eq!(
            InSyscall::parse(b"0 0x5 0x55d0c9b00000 0x400 0x0 0x0 0x0 0x7ffd5b9efe88 0x7f1c1d000010\n"),
            Ok(InSyscall::Call {
                number: 0,
                args: [5, 0x55d0_c9b0_0000, 0x400, 0, 0, 0],
                sp: RemoteAddr(0x7ffd_5b9e_fe88),
                pc: RemoteAddr(0x7f1c_1d00_0010),
            })
        );
        for wrong in [&b""[..], b"-1", b"0 0x1", b"0 1 2 3 4 5 6 7 8", b"runnin"] {
            assert!(InSyscall::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _parsed_or_refused = InSyscall::parse(&bytes);
        }
    }
}
