//! What a descriptor refers to, read from the text of its link in `/proc/PID/fd` (proc_pid_fd(5)).

use super::text::decimal;
use crate::ids::Inode;
use crate::kind::Kind;

const DELETED: &[u8] = b" (deleted)";
const MEMFD: &[u8] = b"/memfd:";
const ANON: &[u8] = b"anon_inode:";

/// What a descriptor refers to, as its link names it.
///
/// Two equal values need not be one file: every eventfd has the same name, a path may be opened anew, and the
/// kernel's counter for socket and pipe inodes has 32 bits and wraps.
///
/// A file whose name really ends in ` (deleted)` can't be told from a deleted one, nor a deleted file
/// `/memfd:x` in the root directory from a memfd: the kernel writes the same text for both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FdTarget {
    /// `socket:[N]`
    Socket(Inode),
    /// `pipe:[N]`: an unnamed pipe.
    Pipe(Inode),
    /// `anon_inode:NAME`, with the brackets where the kernel writes them: `[eventfd]`, but `inotify`.
    Anon(Vec<u8>),
    /// `net:[N]` and the like (namespaces(7)).
    Namespace {
        /// `net`, `mnt`, `user`, ...
        kind: Vec<u8>,
        /// Number of the namespace, in nsfs.
        inode: Inode,
    },
    /// memfd_create(2), with the name its maker gave it.
    Memfd(Vec<u8>),
    /// Anything with a path.
    Path {
        /// The path, as the target's mount namespace has it where it can be expressed from here.
        path: Vec<u8>,
        /// Whether the name is no more (the last link, or this one, was removed).
        deleted: bool,
    },
    /// A path of more than 4,095 bytes, which the kernel does not tell (ENAMETOOLONG).
    TooLong,
    /// A form this version does not know.
    Other(Vec<u8>),
}

impl FdTarget {
    /// Reads the text of a link. Never fails: an unknown form is [`FdTarget::Other`].
    #[must_use]
    pub fn parse(link: &[u8]) -> Self {
        // Every file with a name has an absolute one, so `/tmp/socket:[5]` can't pass for a socket: the
        // kernel's own names do not start with a slash, memfd's apart.
        if link.starts_with(b"/") {
            return match link.strip_suffix(DELETED) {
                Some(path) => match path.strip_prefix(MEMFD) {
                    Some(name) => Self::Memfd(name.to_vec()),
                    None => Self::Path { path: path.to_vec(), deleted: true },
                },
                None => Self::Path { path: link.to_vec(), deleted: false },
            };
        }
        if let Some(name) = link.strip_prefix(ANON) {
            return Self::Anon(name.to_vec());
        }
        match numbered(link) {
            Some((b"socket", inode)) => Self::Socket(inode),
            Some((b"pipe", inode)) => Self::Pipe(inode),
            // pidfs had its own name for a short while (6.9).
            Some((b"pidfd", _)) => Self::Other(link.to_vec()),
            Some((kind, inode)) if is_namespace(kind) => Self::Namespace { kind: kind.to_vec(), inode },
            _ => Self::Other(link.to_vec()),
        }
    }

    /// Whether `link` is the text of exactly this target; what [`FdTarget::parse`] and `==` would say, without
    /// an allocation.
    #[must_use]
    pub fn matches(&self, link: &[u8]) -> bool {
        match self {
            Self::Socket(inode) => numbered(link) == Some((b"socket", *inode)),
            Self::Pipe(inode) => numbered(link) == Some((b"pipe", *inode)),
            Self::Namespace { kind, inode } => numbered(link) == Some((kind, *inode)),
            Self::Anon(name) => link.strip_prefix(ANON) == Some(name),
            Self::Memfd(name) => {
                let inner = link.strip_prefix(MEMFD).and_then(|rest| rest.strip_suffix(DELETED));
                inner == Some(name)
            }
            Self::Path { path, deleted: true } => {
                !link.starts_with(MEMFD) && link.strip_suffix(DELETED) == Some(path)
            }
            Self::Path { path, deleted: false } => link == path && !link.ends_with(DELETED),
            Self::TooLong => false,
            Self::Other(text) => link == text,
        }
    }

    /// The text this was read from; `None` if the kernel gave none.
    #[must_use]
    pub fn link(&self) -> Option<Vec<u8>> {
        Some(match self {
            Self::Socket(inode) => format!("socket:[{inode}]").into_bytes(),
            Self::Pipe(inode) => format!("pipe:[{inode}]").into_bytes(),
            Self::Namespace { kind, inode } => [kind, format!(":[{inode}]").as_bytes()].concat(),
            Self::Anon(name) => [ANON, name].concat(),
            Self::Memfd(name) => [MEMFD, name, DELETED].concat(),
            Self::Path { path, deleted: true } => [path, DELETED].concat(),
            Self::Path { path, deleted: false } => path.clone(),
            Self::Other(text) => text.clone(),
            Self::TooLong => return None,
        })
    }

    /// What sort of thing it is. Of a socket the link tells no more than [`Kind::Socket`].
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Socket(_) => Kind::Socket,
            Self::Pipe(_) => Kind::Pipe,
            Self::Anon(name) => anon_kind(name),
            Self::Namespace { .. } => Kind::Namespace,
            Self::Memfd(_) => Kind::Memfd,
            Self::Path { .. } | Self::TooLong => Kind::File,
            Self::Other(text) if text.starts_with(b"pidfd:[") => Kind::Pidfd,
            Self::Other(_) => Kind::Anon,
        }
    }

    /// The inode number of a socket or pipe; `None` for anything else.
    #[must_use]
    pub fn inode(&self) -> Option<Inode> {
        match self {
            Self::Socket(inode) | Self::Pipe(inode) => Some(*inode),
            _ => None,
        }
    }

    /// Whether it is a file whose name was removed. A memfd never had one and is none.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Path { deleted: true, .. })
    }
}

/// `NAME:[N]`, N as the kernel writes it, without leading zeros.
fn numbered(link: &[u8]) -> Option<(&[u8], Inode)> {
    let open = link.iter().position(|byte| *byte == b':')?;
    let digits = link[open + 1..].strip_prefix(b"[")?.strip_suffix(b"]")?;
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    Some((&link[..open], Inode(decimal(digits)?)))
}

/// The file systems nsfs names this way today: cgroup, ipc, mnt, net, pid, time, user, uts. Another short word
/// of small letters can only be a new one.
fn is_namespace(kind: &[u8]) -> bool {
    !kind.is_empty() && kind.len() <= 8 && kind.iter().all(u8::is_ascii_lowercase)
}

fn anon_kind(name: &[u8]) -> Kind {
    let bare = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(name);
    match bare {
        b"eventfd" => Kind::Eventfd,
        b"eventpoll" => Kind::Epoll,
        b"timerfd" => Kind::Timerfd,
        b"signalfd" => Kind::Signalfd,
        b"inotify" => Kind::Inotify,
        b"fanotify" => Kind::Fanotify,
        b"io_uring" => Kind::IoUring,
        b"pidfd" => Kind::Pidfd,
        b"userfaultfd" => Kind::Userfaultfd,
        b"perf_event" => Kind::PerfEvent,
        b"btf" => Kind::Bpf,
        _ if bare.starts_with(b"bpf") => Kind::Bpf,
        _ => Kind::Anon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(path: &[u8], deleted: bool) -> FdTarget {
        FdTarget::Path { path: path.to_vec(), deleted }
    }

    #[test]
    fn reads_every_form() {
        let anon = |name: &[u8]| FdTarget::Anon(name.to_vec());
        let net = FdTarget::Namespace { kind: b"net".to_vec(), inode: Inode(4_026_531_840) };
        for (link, target, kind) in [
            (&b"socket:[43000]"[..], FdTarget::Socket(Inode(43000)), Kind::Socket),
            (b"pipe:[18446744073709551615]", FdTarget::Pipe(Inode(u64::MAX)), Kind::Pipe),
            (b"net:[4026531840]", net, Kind::Namespace),
            (b"anon_inode:[eventfd]", anon(b"[eventfd]"), Kind::Eventfd),
            (b"anon_inode:[eventpoll]", anon(b"[eventpoll]"), Kind::Epoll),
            (b"anon_inode:[timerfd]", anon(b"[timerfd]"), Kind::Timerfd),
            (b"anon_inode:[signalfd]", anon(b"[signalfd]"), Kind::Signalfd),
            (b"anon_inode:inotify", anon(b"inotify"), Kind::Inotify),
            (b"anon_inode:[fanotify]", anon(b"[fanotify]"), Kind::Fanotify),
            (b"anon_inode:[io_uring]", anon(b"[io_uring]"), Kind::IoUring),
            (b"anon_inode:[pidfd]", anon(b"[pidfd]"), Kind::Pidfd),
            (b"anon_inode:[userfaultfd]", anon(b"[userfaultfd]"), Kind::Userfaultfd),
            (b"anon_inode:[perf_event]", anon(b"[perf_event]"), Kind::PerfEvent),
            (b"anon_inode:bpf-map", anon(b"bpf-map"), Kind::Bpf),
            (b"anon_inode:bpf_link", anon(b"bpf_link"), Kind::Bpf),
            (b"anon_inode:btf", anon(b"btf"), Kind::Bpf),
            (b"anon_inode:kvm-vm", anon(b"kvm-vm"), Kind::Anon),
            (b"anon_inode:", anon(b""), Kind::Anon),
            (b"pidfd:[7]", FdTarget::Other(b"pidfd:[7]".to_vec()), Kind::Pidfd),
            (b"/memfd:jit cache (deleted)", FdTarget::Memfd(b"jit cache".to_vec()), Kind::Memfd),
            (b"/memfd:x", path(b"/memfd:x", false), Kind::File),
            (b"/dev/null", path(b"/dev/null", false), Kind::File),
            (b"/", path(b"/", false), Kind::File),
            (b"/var/log/a b.log (deleted)", path(b"/var/log/a b.log", true), Kind::File),
            (b"/tmp/\x1b[2J\xff\n (deleted)", path(b"/tmp/\x1b[2J\xff\n", true), Kind::File),
            (b"", FdTarget::Other(vec![]), Kind::Anon),
        ] {
            let read = FdTarget::parse(link);
            assert_eq!(read, target);
            assert_eq!(read.kind(), kind, "{link:?}");
            assert!(read.matches(link), "{link:?}");
        }
    }

    #[test]
    fn a_file_can_not_pass_for_a_socket() {
        for link in [
            &b"/tmp/socket:[5]"[..],
            b"/socket:[5]",
            b"/socket:[5] (deleted)",
            b"socket:[5] (deleted)",
            b"socket:[05]",
            b"socket:[+5]",
            b"socket:[]",
            b"socket:[5",
            b"socket:5",
            b"socket:[18446744073709551616]",
            b"xsocket:[5]",
            b"anon_inode:socket:[5]",
        ] {
            assert_eq!(FdTarget::parse(link).inode(), None, "{link:?}");
            assert!(!FdTarget::Socket(Inode(5)).matches(link), "{link:?}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_tell_matches_nothing() {
        assert_eq!(FdTarget::TooLong.link(), None);
        assert!(!FdTarget::TooLong.matches(b""));
        assert!(!FdTarget::TooLong.is_deleted());
    }

    /// Texts near the forms the kernel writes, and any others.
    fn link() -> impl Strategy<Value = Vec<u8>> {
        let tail = prop::collection::vec(any::<u8>(), 0..12);
        let heads: [&[u8]; 6] = [b"socket:[", b"pipe:[", b"/memfd:", b"/", b"anon_inode:", b""];
        let ends: [&[u8]; 4] = [b"", b"]", b" (deleted)", b"17]"];
        (prop::sample::select(heads.to_vec()), tail, prop::sample::select(ends.to_vec()))
            .prop_map(|(head, tail, end)| [head, &tail, end].concat())
    }

    proptest! {
        #[test]
        fn every_text_reads_back(link in link()) {
            let target = FdTarget::parse(&link);
            prop_assert_eq!(target.link(), Some(link.clone()));
            prop_assert!(target.matches(&link));
        }

        #[test]
        fn matches_is_equality(one in link(), other in link()) {
            let target = FdTarget::parse(&one);
            prop_assert_eq!(target.matches(&other), target == FdTarget::parse(&other));
        }
    }
}
