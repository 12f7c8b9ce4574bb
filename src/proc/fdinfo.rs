//! `/proc/PID/fdinfo/FD`: offset, flags, and what the file's own driver adds (proc_pid_fdinfo(5)).

use super::error::Malformed;
use super::fd_target::FdTarget;
use super::text::{decimal, lines, number, split_once, words};
use crate::host::{self, Feature};
use crate::ids::{Fd, Inode};

/// What `fdinfo` says about a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdInfo {
    /// Offset, in bytes; negative for some devices.
    pub pos: i64,
    /// Flags of open(2), O_CLOEXEC among them although it is the descriptor's own.
    pub flags: u32,
    /// Number of the mount the file lies on (3.15).
    pub mnt_id: Option<u64>,
    /// Inode number of the file, in its own file system (5.14).
    pub ino: Option<Inode>,
    /// Number of an eventfd, unlike for every other (5.2).
    pub eventfd_id: Option<u64>,
    /// Of an io_uring(7) instance: how many files are registered with it (`io_uring_show_fdinfo`, io_uring/fdinfo.c).
    pub user_files: Option<u64>,
    /// Of an io_uring instance: how many of them it lists. One that is in use lists none (`mutex_trylock`).
    pub listed_files: usize,
    /// Of an io_uring instance: how many places without a file it lists (until 6.12).
    pub empty_places: usize,
    /// Of an io_uring instance: the sockets among these files. Where the kernel gives only the name of the directory
    /// entry (`d_iname`, until 6.12), that is their protocol's, and there are none.
    pub registered: Vec<Inode>,
    /// Of an io_uring instance: whether it prints what it does only with the instance's lock held, so that its list of files
    /// is whole: a buffer or the thread that polls its queue.
    pub is_whole: bool,
    /// Of an io_uring instance: the names of these files, a line each; longer than any protocol's are left out. `None` if
    /// one is empty, or the list is not one line for each place: a name may contain line breaks (until 6.12).
    pub names: Option<Vec<u8>>,
    /// Of an io_uring instance: how many of its requests wait for a file to be ready, which keeps that open.
    pub polling: usize,
    /// Of a Unix socket: how many descriptors are on their way in its queue (5.6; SCM_RIGHTS in unix(7)).
    pub scm_fds: Option<u64>,
    /// What an epoll instance watches; empty for any other file.
    pub watched: Vec<Watched>,
}

/// More than the name of a protocol has, with its end (`struct proto`, include/net/sock.h).
const NAME_LEN: usize = 32;

/// The list of an io_uring instance in which the lines are. Those of files and of buffers look the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    None,
    Files,
    Buffers,
}

/// One descriptor an epoll(7) instance watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The number it had when it was added. If the file was then closed but lives on through a copy, the
    /// number may by now be free or another file's: `ino` tells.
    pub fd: Fd,
    /// Inode number of the watched file (4.13).
    pub ino: Option<Inode>,
}

impl FdInfo {
    /// Reads the text of an `fdinfo` file. Unknown lines are skipped.
    ///
    /// # Errors
    /// If the two lines every kernel writes, `pos` and `flags`, are missing, or a known line is broken.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let (mut pos, mut flags) = (None, None);
        let (mut mnt_id, mut ino, mut eventfd_id) = (None, None, None);
        let (mut user_files, mut scm_fds) = (None, None);
        let (mut listed_files, mut empty_places, mut polling) = (0, 0, 0);
        // A list goes on to the first line that is not of it.
        let mut list = List::None;
        let (mut is_whole, mut is_clear, mut ends, mut names) = (false, true, 0, Vec::new());
        let (mut registered, mut watched) = (Vec::new(), Vec::new());
        for line in lines(text) {
            let Some((key, value)) = split_once(line, b':') else {
                // `  op=27, task_works=0`, after `PollList:`.
                polling += usize::from(user_files.is_some() && line.starts_with(b"  op="));
                is_clear &= list != List::Files;
                list = List::None;
                continue;
            };
            let value = value.trim_ascii();
            if list != List::None && decimal::<u32>(key.trim_ascii_start()).is_some() {
                // `    1: socket:[4711]`, after `UserFiles`. The kernel escapes line breaks in paths (`seq_file_path`).
                if list == List::Buffers {
                    is_whole = true;
                } else if value == b"<none>" {
                    empty_places += 1;
                } else {
                    listed_files += 1;
                    is_clear &= !value.is_empty();
                    if value.len() < NAME_LEN {
                        names.extend_from_slice(value);
                        names.push(b'\n');
                    }
                    if let FdTarget::Socket(inode) = FdTarget::parse(value) {
                        registered.push(inode);
                    }
                }
                continue;
            }
            is_clear &= list != List::Files || key == b"UserBufs";
            list = List::None;
            match key {
                // The driver's lines come after the kernel's own and may carry names; the first of a key counts.
                b"pos" if pos.is_none() => pos = Some(signed(value).ok_or(Malformed("pos"))?),
                b"flags" if flags.is_none() => {
                    let octal = number(value, 8).and_then(|flags| flags.try_into().ok());
                    flags = Some(octal.ok_or(Malformed("flags"))?);
                }
                b"mnt_id" if mnt_id.is_none() => {
                    mnt_id = Some(decimal(value).ok_or(Malformed("mnt_id"))?);
                }
                b"ino" if ino.is_none() => ino = Some(Inode(decimal(value).ok_or(Malformed("ino"))?)),
                b"eventfd-id" if eventfd_id.is_none() => {
                    eventfd_id = Some(decimal(value).ok_or(Malformed("eventfd-id"))?);
                }
                b"UserFiles" if user_files.is_none() => {
                    user_files = Some(decimal(value).ok_or(Malformed("UserFiles"))?);
                    list = List::Files;
                }
                // What comes before the files is the kernel's alone.
                b"SqThread" if user_files.is_none() => is_whole |= !value.starts_with(b"-"),
                b"UserBufs" if user_files.is_some() => {
                    // A name may pretend to be one; then there is another.
                    ends += 1;
                    list = List::Buffers;
                }
                b"scm_fds" if scm_fds.is_none() => {
                    scm_fds = Some(decimal(value).ok_or(Malformed("scm_fds"))?);
                }
                b"tfd" => watched.push(Watched::parse(value).ok_or(Malformed("tfd"))?),
                _ => {}
            }
        }
        let places = u64::try_from(listed_files + empty_places).ok();
        is_clear &= ends == 1 && places == user_files;
        Ok(Self {
            pos: pos.ok_or(Malformed("no pos line"))?,
            flags: flags.ok_or(Malformed("no flags line"))?,
            mnt_id,
            ino,
            eventfd_id,
            user_files,
            listed_files,
            empty_places,
            registered,
            is_whole,
            names: is_clear.then_some(names),
            polling,
            scm_fds,
            watched,
        })
    }
}

impl FdInfo {
    /// Without what the kernel is known not to tell, which is something under [`host::assume`] alone.
    #[must_use]
    pub(super) fn told(mut self) -> Self {
        if host::has(Feature::InodeInFdinfo) {
            return self;
        }
        self.ino = None;
        self.eventfd_id = self.eventfd_id.filter(|_| host::has(Feature::EventfdNumber));
        self.mnt_id = self.mnt_id.filter(|_| host::has(Feature::MountInFdinfo));
        if !host::has(Feature::QueuedDescriptors) {
            self.scm_fds = None;
        }
        if !host::has(Feature::EpollInodes) {
            self.watched.iter_mut().for_each(|watched| watched.ino = None);
        }
        if !host::has(Feature::EpollInFdinfo) {
            self.watched.clear();
        }
        self
    }
}

impl Watched {
    /// `5 events: 19 data: 5  pos:0 ino:61af sdev:7`, the last three since 4.13, in hexadecimal.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut rest = words(value);
        let fd = Fd::new(decimal(rest.next()?)?)?;
        let ino = match rest.find_map(|word| word.strip_prefix(b"ino:")) {
            Some(hex) => Some(Inode(number(hex, 16)?)),
            None => None,
        };
        Some(Self { fd, ino })
    }
}

fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(decimal(digits)?),
        None => decimal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watched(fd: i32, ino: Option<u64>) -> Watched {
        Watched { fd: Fd::new(fd).unwrap(), ino: ino.map(Inode) }
    }

    #[test]
    fn reads_what_kernels_write() {
        let info = FdInfo::parse(
            b"pos:\t-1\nflags:\t02004002\nmnt_id:\t15\nino:\t1057\neventfd-count: 7\n\
            eventfd-id: 21\neventfd-semaphore: 0\n",
        );
        let info = info.unwrap();
        assert_eq!((info.pos, info.flags, info.mnt_id), (-1, 0o2_004_002, Some(15)));
        assert_eq!((info.ino, info.eventfd_id), (Some(Inode(1057)), Some(21)));

        let info = FdInfo::parse(
            b"pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1057\n\
            tfd:        5 events:       19 data:                5  pos:0 ino:61af sdev:7\n\
            tfd:       12 events: 80000001 data: ffffffffffffffff  pos:0 ino:a7f8 sdev:8\n",
        );
        assert_eq!(info.unwrap().watched, [watched(5, Some(0x61af)), watched(12, Some(0xa7f8))]);

        let old = FdInfo::parse(b"pos:\t0\nflags:\t02\ntfd:        5 events:       19 data:      5\n");
        let old = old.unwrap();
        assert_eq!((old.watched, old.mnt_id, old.ino), (vec![watched(5, None)], None, None));
    }

    #[test]
    fn what_is_kept_out_of_sight_is_told() {
        // As Linux 6.18 writes it, abridged.
        let ring = FdInfo::parse(
            b"pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t35933638\nSqMask:\t0x3\nSQEs:\t1\n\
            \x20   0: opcode:RECV, fd:5, flags:0, off:0, addr:0x0, rw_flags:0x0, buf_index:0 user_data:0\n\
            UserFiles:\t3\n    1: socket:[35933631]\n    2: /srv/a\\040b\nUserBufs:\t0\n\
            PollList:\n  op=27, task_works=0\n  op=6, task_works=0\nCqOverflowList:\n  user_data=1, res=2, flags=0\n",
        )
        .unwrap();
        assert_eq!((ring.user_files, ring.registered, ring.polling), (Some(3), vec![Inode(35_933_631)], 2));
        let socket = FdInfo::parse(b"pos:\t0\nflags:\t02\nmnt_id:\t10\nino:\t7\nscm_fds: 12\n").unwrap();
        assert_eq!((socket.scm_fds, socket.user_files, socket.polling), (Some(12), None, 0));
    }

    #[test]
    fn registered_buffers_are_no_files() {
        let text = b"pos:\t0\nflags:\t02\nUserFiles:\t2\n    0: <none>\n    1: TCP\nUserBufs:\t2\n    0: 0x7f00/4096\n\
            \x20   1: <none>\nPersonalities:\n    1\n\tUid:\t0\t\t0\t\t0\t\t0\nPollList:\n    2: socket:[9]\n";
        let ring = FdInfo::parse(text).unwrap();
        assert_eq!((ring.user_files, ring.listed_files, ring.empty_places), (Some(2), 1, 1));
        assert_eq!(ring.registered, []);
    }

    #[test]
    fn what_needs_the_lock_shows_that_the_list_is_whole() {
        for (text, is_whole) in [
            ("SqThread:\t-1\nUserFiles:\t2\nUserBufs:\t0\n", false),
            ("SqThread:\t-1\nUserFiles:\t2\nUserBufs:\t1\nPollList:\n", false),
            ("SqThread:\t-1\nUserFiles:\t2\nUserBufs:\t1\n    0: <none>\n", true),
            ("SqThread:\t-1\nUserFiles:\t2\nUserBufs:\t1\n    0: 0x7f1c2c000000/4096\n", true),
            ("SqThread:\t4711\nUserFiles:\t2\nUserBufs:\t0\n", true),
            ("UserFiles:\t2\nSqThread:\t4711\nUserBufs:\t0\n", false),
        ] {
            let ring = FdInfo::parse(format!("pos:\t0\nflags:\t02\n{text}").as_bytes()).unwrap();
            assert_eq!(ring.is_whole, is_whole, "{text}");
        }
    }

    #[test]
    fn names_are_told_where_each_is_a_line() {
        for (files, names) in [
            ("3\n    0: sda\n    1: <none>\n    2: TCP\nUserBufs:\t0\n", Some("sda\nTCP\n")),
            ("1\n    0: a-name-that-is-longer-than-a-protocol\nUserBufs:\t0\n", Some("")),
            ("0\nUserBufs:\t0\n", Some("")),
            ("1\n    0: \nUserBufs:\t0\n", None),
            ("1\n    0: a\n", None),
            ("2\nUserBufs:\t0\n", None),
            // "a\n    1: b"
            ("2\n    0: a\n    1: b\n    1: TCP\nUserBufs:\t0\n", None),
            // "a\n    1: b\nc", "a\n    1: b\nc:", and "a\n    1: b\nUserBufs:\t0"
            ("2\n    0: a\n    1: b\nc\n    1: TCP\nUserBufs:\t0\n", None),
            ("2\n    0: a\n    1: b\nc:\n    1: TCP\nUserBufs:\t0\n", None),
            ("2\n    0: a\n    1: b\nUserBufs:\t0\n    1: TCP\nUserBufs:\t0\n", None),
        ] {
            let ring = FdInfo::parse(format!("pos:\t0\nflags:\t02\nUserFiles:\t{files}").as_bytes()).unwrap();
            assert_eq!(ring.names.as_deref(), names.map(str::as_bytes), "{files}");
        }
    }

    #[test]
    fn broken_lines_are_named() {
        for (text, what) in [
            (&b"flags:\t02\n"[..], "no pos line"),
            (b"pos:\t0\n", "no flags line"),
            (b"pos:\t-\nflags:\t02\n", "pos"),
            (b"pos:\t9223372036854775808\nflags:\t02\n", "pos"),
            (b"pos:\t0\nflags:\t08\n", "flags"),
            (b"pos:\t0\nflags:\t02\ntfd: -1 events: 1\n", "tfd"),
            (b"pos:\t0\nflags:\t02\ntfd: 1 ino:xyz\n", "tfd"),
        ] {
            assert_eq!(FdInfo::parse(text), Err(Malformed(what)));
        }
        assert_eq!(FdInfo::parse(b"pos:\t-9223372036854775808\nflags:\t0\n").unwrap().pos, i64::MIN);
    }

    #[test]
    fn a_drivers_line_can_not_replace_the_kernels() {
        let info = FdInfo::parse(b"pos:\t0\nflags:\t02\nino:\t1\nino:\t2\nflags:\tx\n").unwrap();
        assert_eq!((info.ino, info.flags), (Some(Inode(1)), 2));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _parsed_or_refused = FdInfo::parse(&[b"pos:\t0\nflags:\t02\n", &bytes[..]].concat());
            let _parsed_or_refused = FdInfo::parse(&bytes);
        }
    }
}
