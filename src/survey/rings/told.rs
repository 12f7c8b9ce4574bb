//! What the text about an io_uring(7) instance tells of the sockets registered with it, and what not. Pure.

use std::collections::BTreeSet;
use std::fmt;

use super::kernel::Prints;
use crate::ids::Inode;
use crate::proc::FdInfo;
use crate::proc::text::{lines, words};

/// Protocols that have sockets, but are not registered (drivers/isdn/mISDN/socket.c, net/caif/caif_socket.c).
const UNREGISTERED: [&[u8]; 2] = [b"misdn", b"PF_CAIF"];

/// What an instance tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// All sockets that are registered with it.
    Sockets(Vec<Inode>),
    /// Not which.
    Not(Untold),
}

/// Why it can't be told what is registered with an io_uring instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// A call was being made on it whenever it was asked.
    InUse,
    /// That, or none of its places has a file, which Linux 6.13 to about 6.16 prints alike.
    EmptyOrInUse,
    /// It may name a socket, but this kernel does not tell one from another there (until 6.12), or prints nothing at all
    /// (until 5.5).
    Kernel,
    /// It says nothing, and fdclose may have no instance of its own to find out what this kernel prints.
    Nothing,
    /// It names files, and fdclose may have no instance of its own to find out what this kernel prints of a socket.
    Untried,
    /// What the kernel says of it could not be read.
    Unreadable,
    /// The process has so many that there was no time for it.
    NotAsked,
}

impl Untold {
    /// Whether it may be told at another time.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::InUse | Self::EmptyOrInUse | Self::Nothing)
    }

    /// Whether it may never be told.
    #[must_use]
    pub const fn may_last(self) -> bool {
        !matches!(self, Self::InUse)
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "that was in use all the time",
            Self::EmptyOrInUse => "that was in use all the time, or has only empty places, and does not tell which",
            Self::Kernel => "this kernel does not tell which sockets are",
            Self::Nothing => "that was in use all the time, or this kernel does not tell which sockets are",
            Self::Untried => {
                "that names files, but fdclose may have no io_uring of its own to see what this kernel calls a socket"
            }
            Self::Unreadable => "what the kernel tells of that could not be read",
            Self::NotAsked => "the process has too many of them to ask all",
        })
    }
}

/// What `info` tells, on a kernel that prints so; `None` if that is not known. `protocols` gives `/proc/net/protocols` as it
/// is after that.
pub(super) fn told(
    info: &FdInfo,
    prints: Option<Prints>,
    protocols: impl FnOnce() -> Option<Vec<u8>>,
) -> Told {
    let sockets = || Told::Sockets(info.registered.clone());
    let names_no_socket = || protocols().is_some_and(|protocols| names_no_socket(info, &protocols));
    match info.user_files {
        None => Told::Not(match prints {
            None => Untold::Nothing,
            Some(prints) if prints.number => Untold::InUse,
            Some(_) => Untold::Kernel,
        }),
        // Read without the lock, too.
        Some(0) => sockets(),
        // A list is whole, as it is written with the lock held.
        Some(_) if info.listed_files > 0 => match prints {
            Some(prints) if prints.inodes => sockets(),
            // One that it names shows that it does.
            None if !info.registered.is_empty() => sockets(),
            // A file may be called as a socket is where there are paths.
            _ if names_no_socket() => Told::Sockets(Vec::new()),
            Some(_) => Told::Not(Untold::Kernel),
            None => Told::Not(Untold::Untried),
        },
        Some(_) if info.empty_places > 0 => sockets(),
        Some(_) => match prints {
            Some(prints) if prints.empty_places => Told::Not(Untold::InUse),
            Some(prints) if prints.all_or_nothing => sockets(),
            _ if info.is_whole => sockets(),
            _ => Told::Not(Untold::EmptyOrInUse),
        },
    }
}

/// Whether none of the names that are listed can be that of a socket: it is empty, or its protocol's (`sock_alloc_file`,
/// net/socket.c).
fn names_no_socket(info: &FdInfo, protocols: &[u8]) -> bool {
    let mut rows = lines(protocols).filter_map(|row| words(row).next());
    if rows.next() != Some(b"protocol") {
        return false;
    }
    let known: BTreeSet<_> = rows.chain(UNREGISTERED).collect();
    // A path that names a socket: what is known of this kernel is wrong.
    info.registered.is_empty()
        && info.names.as_ref().is_some_and(|names| lines(names).all(|name| !known.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL_5_5: Prints =
        Prints { number: false, inodes: false, empty_places: false, all_or_nothing: false };
    const UNTIL_6_12: Prints = Prints { number: true, empty_places: true, ..UNTIL_5_5 };
    const UNTIL_6_16: Prints = Prints { number: true, inodes: true, ..UNTIL_5_5 };
    const SINCE: Prints = Prints { all_or_nothing: true, ..UNTIL_6_16 };

    /// What every kernel writes of a descriptor, here of 5.4, and that of 5.14.
    const HEAD: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t14\n";
    const HEAD_5_14: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1058\n";
    /// What stands before the files since 5.19, abridged, and since 6.9.
    const QUEUES: &str = "SqMask:\t0x0\nSqHead:\t0\nSqTail:\t1\nCachedSqHead:\t0\nCqMask:\t0x1\nCqHead:\t0\nCqTail:\t1\n\
        CachedCqTail:\t1\nSQEs:\t1\n    0: opcode:NOP, fd:0, flags:0, off:0, addr:0x0, rw_flags:0x0, buf_index:0 user_data:0\n\
        CQEs:\t1\n    0: user_data:7, res:0, flag:0\nSqThread:\t-1\nSqThreadCpu:\t-1\n";
    const TIMES: &str = "SqTotalTime:\t0\nSqWorkTime:\t0\n";

    const PROTOCOLS: &str = "protocol  size sockets  memory press maxhdr  slab module     cl co\n\
        UNIX-STREAM 1024     21      -1   NI       0   yes  kernel      y  n\n\
        UNIX      1024      4      -1   NI       0   yes  kernel      y  n\n\
        TCP       2304      1       0   no     192   yes  kernel      y  y\n";

    fn with(parts: &[&str], prints: Option<Prints>, protocols: Option<&str>) -> Told {
        let info = FdInfo::parse(parts.concat().as_bytes()).unwrap();
        told(&info, prints, || protocols.map(|protocols| protocols.as_bytes().to_vec()))
    }

    fn of(parts: &[&str], prints: Option<Prints>) -> Told {
        with(parts, prints, Some(PROTOCOLS))
    }

    fn sockets(inodes: &[u64]) -> Told {
        Told::Sockets(inodes.iter().copied().map(Inode).collect())
    }

    /// What is told where the file list is the last argument but one, with what follows it in that version.
    #[track_caller]
    fn check(head: &[&str], tail: &str, prints: Prints, rows: &[(&str, Told)]) {
        for (files, expected) in rows {
            let parts = [head, &[*files, tail]].concat();
            assert_eq!(of(&parts, Some(prints)), *expected, "{files:?} with {prints:?}");
        }
    }

    #[test]
    fn before_5_6_nothing_is_told() {
        assert_eq!(of(&[HEAD], Some(UNTIL_5_5)), Told::Not(Untold::Kernel));
    }

    #[test]
    fn until_6_12_a_name_is_perhaps_that_of_the_socket() {
        let rows = || {
            [
                ("UserFiles:\t0\n", sockets(&[])),
                ("UserFiles:\t3\n    0: <none>\n    1: TCP\n    2: <none>\n", Told::Not(Untold::Kernel)),
                ("UserFiles:\t1\n    0: \n", Told::Not(Untold::Kernel)),
                ("UserFiles:\t1\n    0: UNIX\n", Told::Not(Untold::Kernel)),
                ("UserFiles:\t2\n    0: <none>\n    1: <none>\n", sockets(&[])),
                // In use. Before 5.10 the kernel waits for the lock.
                ("UserFiles:\t3\n", Told::Not(Untold::InUse)),
                ("UserFiles:\t3\n    0: sda\n    1: <none>\n    2: [eventfd]\n", sockets(&[])),
                ("UserFiles:\t2\n    0: sda\n    1: UNIX-STREAM\n", Told::Not(Untold::Kernel)),
                ("UserFiles:\t2\n    0: sda\n    1: misdn\n", Told::Not(Untold::Kernel)),
                // A file may be called that, or on several lines.
                ("UserFiles:\t1\n    0: protocol\n", sockets(&[])),
                ("UserFiles:\t1\n    0: socket:[4711]\n", Told::Not(Untold::Kernel)),
                ("UserFiles:\t2\n    0: a\nUserBufs:\t0\n    1: TCP\n", Told::Not(Untold::Kernel)),
                ("UserFiles:\t2\n    0: a\n    1: b\nc\n    1: TCP\n", Told::Not(Untold::Kernel)),
            ]
        };
        let poll = "UserBufs:\t1\n    0: 0x7f1c2c000000/4096\nPollList:\n  op=6, task_works=0\n";
        // 5.6 to 5.9, 5.10, 5.15, 6.1, 6.12.
        check(&[HEAD], "UserBufs:\t0\n", UNTIL_6_12, &rows());
        check(&[HEAD, "SqThread:\t-1\nSqThreadCpu:\t-1\n"], poll, UNTIL_6_12, &rows());
        check(&[HEAD_5_14, "SqThread:\t-1\nSqThreadCpu:\t-1\n"], poll, UNTIL_6_12, &rows());
        let poll = format!("{poll}CqOverflowList:\n");
        check(&[HEAD_5_14, QUEUES], &poll, UNTIL_6_12, &rows());
        check(&[HEAD_5_14, QUEUES, TIMES], &poll, UNTIL_6_12, &rows());
    }

    #[test]
    fn names_say_nothing_where_it_is_not_known_which_are_sockets() {
        for protocols in [None, Some(""), Some("TCP 1 2\nUNIX 3 4\n")] {
            let files = "UserFiles:\t1\n    0: sda\nUserBufs:\t0\n";
            for (prints, untold) in [(Some(UNTIL_6_12), Untold::Kernel), (None, Untold::Untried)] {
                assert_eq!(with(&[HEAD, files], prints, protocols), Told::Not(untold), "{protocols:?}");
            }
        }
    }

    const TAIL: &str = "UserBufs:\t1\nPollList:\nCqOverflowList:\nNAPI:\tdisabled\n";

    #[test]
    fn since_6_13_sockets_are_told_by_inode() {
        for prints in [UNTIL_6_16, SINCE] {
            let rows = [
                ("UserFiles:\t0\n", sockets(&[])),
                ("UserFiles:\t3\n    1: socket:[4711]\n", sockets(&[4711])),
                ("UserFiles:\t3\n    0: /srv/a\\012b:\n    2: anon_inode:[eventfd]\n", sockets(&[])),
            ];
            check(&[HEAD_5_14, QUEUES, TIMES], TAIL, prints, &rows);
        }
    }

    #[test]
    fn only_empty_places_are_told_from_use_where_that_prints_nothing() {
        let empty = "UserFiles:\t3\n";
        let unclear = [(empty, Told::Not(Untold::EmptyOrInUse))];
        check(&[HEAD_5_14, QUEUES, TIMES], TAIL, UNTIL_6_16, &unclear);
        check(&[HEAD_5_14, QUEUES, TIMES], TAIL, SINCE, &[(empty, sockets(&[]))]);
        // These are printed with the lock held.
        let buffer = "UserBufs:\t2\n    0: <none>\n    1: 0x7f1c2c000000/4096\nPollList:\n";
        let polled = QUEUES.replace("SqThread:\t-1", "SqThread:\t4711");
        for prints in [Some(UNTIL_6_16), None] {
            assert_eq!(of(&[HEAD_5_14, QUEUES, TIMES, empty, buffer], prints), sockets(&[]));
            assert_eq!(of(&[HEAD_5_14, &polled, TIMES, empty, TAIL], prints), sockets(&[]));
        }
        for prints in [UNTIL_6_16, SINCE] {
            assert_eq!(of(&[HEAD_5_14], Some(prints)), Told::Not(Untold::InUse));
        }
    }

    #[test]
    fn where_it_is_not_known_what_is_printed_nothing_is_taken_for_granted() {
        let files = |files| of(&[HEAD_5_14, QUEUES, TIMES, files, TAIL], None);
        assert_eq!(of(&[HEAD_5_14], None), Told::Not(Untold::Nothing));
        assert_eq!(files("UserFiles:\t0\n"), sockets(&[]));
        assert_eq!(files("UserFiles:\t2\n"), Told::Not(Untold::EmptyOrInUse));
        assert_eq!(files("UserFiles:\t2\n    0: <none>\n    1: <none>\n"), sockets(&[]));
        assert_eq!(files("UserFiles:\t2\n    0: TCP\n    1: <none>\n"), Told::Not(Untold::Untried));
        assert_eq!(files("UserFiles:\t2\n    0: /a\n    1: socket:[7]\n"), sockets(&[7]));
        // No socket, whichever is printed; in the second, places are left out.
        assert_eq!(files("UserFiles:\t2\n    0: a\n    1: <none>\n"), sockets(&[]));
        assert_eq!(files("UserFiles:\t2\n    0: /a\n"), Told::Not(Untold::Untried));
    }

    #[test]
    fn only_what_may_pass_is_worth_another_try() {
        use Untold::{EmptyOrInUse, InUse, Kernel, NotAsked, Nothing, Unreadable, Untried};
        for untold in [InUse, EmptyOrInUse, Nothing, Kernel, Untried, Unreadable, NotAsked] {
            let said = untold.to_string();
            assert_eq!(untold.may_pass(), said.contains("in use"), "{untold}");
            assert_eq!(untold.may_last(), !untold.may_pass() || said.contains(", or "), "{untold}");
        }
    }
}
