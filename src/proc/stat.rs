//! `/proc/PID/stat` and `/proc/PID/task/TID/stat`: the few fields needed of the fifty-two.

use super::error::Malformed;
use super::text::{decimal, words};
use crate::ids::Pid;

/// PF_EXITING of include/linux/sched.h; unchanged since 2.6.12.
const PF_EXITING: u32 = 0x0000_0004;

/// PF_KTHREAD of include/linux/sched.h; unchanged since 2.6.27.
const PF_KTHREAD: u32 = 0x0020_0000;

/// What `stat` says about a process or thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The state letter, as in [`Status::state`](super::Status::state).
    pub state: char,
    /// Its parent; `None` if it has none, or none in this pid namespace (field 4).
    pub ppid: Option<Pid>,
    /// The kernel's flags word (field 9).
    pub flags: u32,
    /// When it was started, in clock ticks after boot (field 22; `sysconf(_SC_CLK_TCK)` ticks a second).
    pub start_time: u64,
}

impl Stat {
    /// Reads the text of a `stat` file.
    ///
    /// # Errors
    /// If a field is missing or no number.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        // The name in field 2 stands in parentheses but may itself contain them, blanks and newlines. No
        // field after it can contain a ')', so the last one ends it.
        let name_end = text.iter().rposition(|byte| *byte == b')').ok_or(Malformed("no name in stat"))?;
        let rest = text[name_end + 1..].trim_ascii_end();
        let mut fields = words(rest);
        let state = match fields.next() {
            Some([letter]) if letter.is_ascii_alphabetic() => char::from(*letter),
            _ => return Err(Malformed("no state in stat")),
        };
        let ppid = fields.next().and_then(decimal).and_then(Pid::new);
        // Fields 5 to 8 lie between.
        let flags = fields.nth(4).and_then(decimal).ok_or(Malformed("no flags in stat"))?;
        // Fields 10 to 21 lie between.
        let start_time = fields.nth(12).and_then(decimal).ok_or(Malformed("no start time in stat"))?;
        Ok(Self { state, ppid, flags, start_time })
    }

    /// Whether it has ended and only waits to be reaped (`Z`), or is ending (`X`, `x`).
    #[must_use]
    pub fn is_dead(&self) -> bool {
        is_dead(self.state)
    }

    /// Whether it has ended or is about to: it may have let go of its descriptors.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_dead() || self.flags & PF_EXITING != 0
    }

    /// Whether it is a thread of the kernel: it has no memory of its own and no descriptors.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

/// Whether a state letter is that of something that runs no more.
pub(super) fn is_dead(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: &[u8] = b" S 1 4242 4242 0 -1 4194560 1201 0 0 0 3 5 0 0 20 0 4 0 987654 31457280 512 \
        18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    fn named(name: &[u8]) -> Vec<u8> {
        [b"4242 (", name, b")", REST].concat()
    }

    #[test]
    fn names_can_not_shift_the_fields() {
        for name in
            [&b"nginx"[..], b"", b"a) R 1 2 3 4 5 6 7", b"(sd-pam)", b"a\nb) Z", b"\xff\xfe", b" ) ) ", b"))"]
        {
            let stat = Stat::parse(&named(name)).unwrap();
            assert_eq!(
                stat,
                Stat { state: 'S', ppid: Pid::new(1), flags: 4_194_560, start_time: 987_654 },
                "{name:?}"
            );
            assert!(!stat.is_dead() && !stat.is_kernel_thread());
        }
    }

    #[test]
    fn kernel_threads_and_the_dead_show() {
        let text = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0";
        assert!(Stat::parse(text).unwrap().is_kernel_thread());
        let text = b"9 (x) Z 1 9 9 0 -1 4228108 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0";
        assert!(Stat::parse(text).unwrap().is_dead());
    }

    #[test]
    fn cut_short_is_an_error() {
        assert_eq!(Stat::parse(b""), Err(Malformed("no name in stat")));
        assert_eq!(Stat::parse(b"1 (x)"), Err(Malformed("no state in stat")));
        assert_eq!(Stat::parse(b"1 (x) S 1 1 1"), Err(Malformed("no flags in stat")));
        assert_eq!(Stat::parse(b"1 (x) S 1 1 1 0 -1 0 1 1 1"), Err(Malformed("no start time in stat")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _parsed_or_refused = Stat::parse(&bytes);
        }

        #[test]
        fn any_name_is_survived(name in prop::collection::vec(any::<u8>(), 0..16)) {
            prop_assert_eq!(Stat::parse(&named(&name)).unwrap().start_time, 987_654);
        }
    }
}
