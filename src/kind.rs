//! What sort of thing a descriptor refers to: the values of `--kind`.

use std::fmt;
use std::str::FromStr;

macro_rules! kinds {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// What sort of thing a descriptor refers to, as far as `/proc/PID/fd` and the socket tables tell
        /// without touching the file itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Kind { $(#[doc = $doc] $variant,)* }

        impl Kind {
            /// Every kind, in the order help shows them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name users write and read.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    Tcp = "tcp", "A TCP socket, v4 or v6.";
    Udp = "udp", "A UDP socket, v4 or v6.";
    Unix = "unix", "A Unix-domain socket.";
    Socket = "socket", "A socket of any other family, or one the tables do not list. As a selector: every socket.";
    Pipe = "pipe", "An unnamed pipe.";
    File = "file", "Anything with a path: a file, directory, device or FIFO.";
    Memfd = "memfd", "Memory made by `memfd_create`.";
    Eventfd = "eventfd", "An eventfd(2) counter.";
    Epoll = "epoll", "An epoll(7) instance.";
    Timerfd = "timerfd", "A timerfd_create(2) timer.";
    Signalfd = "signalfd", "A signalfd(2).";
    Inotify = "inotify", "An inotify(7) instance.";
    Fanotify = "fanotify", "A fanotify(7) group.";
    IoUring = "io_uring", "An io_uring(7) instance.";
    Pidfd = "pidfd", "A pidfd_open(2) reference.";
    Userfaultfd = "userfaultfd", "A userfaultfd(2).";
    Bpf = "bpf", "A BPF map, program or link.";
    PerfEvent = "perf_event", "A perf_event_open(2) counter.";
    Namespace = "namespace", "A namespace file (namespaces(7)).";
    Anon = "anon", "Any other file without a path.";
}

impl Kind {
    /// Whether it is a socket of any family.
    #[must_use]
    pub const fn is_socket(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp | Self::Unix | Self::Socket)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A text that names no [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such kind")]
pub struct ParseKindError;

impl FromStr for Kind {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let same = |kind: &&Self| {
            text.len() == kind.name().len()
                && text
                    .bytes()
                    .zip(kind.name().bytes())
                    .all(|(given, want)| given.eq_ignore_ascii_case(&want) || (given == b'-' && want == b'_'))
        };
        Self::ALL.iter().find(same).copied().ok_or(ParseKindError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
            assert_eq!(kind.name().to_uppercase().replace('_', "-").parse(), Ok(*kind));
        }
        assert_eq!("tcpp".parse::<Kind>(), Err(ParseKindError));
        assert_eq!("".parse::<Kind>(), Err(ParseKindError));
    }
}
