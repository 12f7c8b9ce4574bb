//! The services of the kernel that came after Linux 3.4.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use nix::errno::Errno;

/// A version of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u16,
    minor: u16,
}

impl Version {
    const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (major, minor) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self::new(major.parse()?, minor.parse()?))
    }
}

/// Defines the features: each with its name, the first kernel that has it, and what earlier ones answer.
macro_rules! features {
    ($($(#[$doc:meta])* $feature:ident = $name:literal, ($major:literal, $minor:literal), $errno:ident;)*) => {
        /// A service of the kernel, from Linux 3.5 on.
        ///
        /// What lies behind another one and needs no way of its own is not here: pidfd_send_signal (5.1) is only used
        /// with a pidfd (5.3), and a socket's own options (TCP_REPAIR 3.5, SIOCGSKNS 4.10, SO_BINDTOIFINDEX 5.0) only
        /// through a copy of it (5.6).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Feature {
            $($(#[$doc])* $feature,)*
        }

        impl Feature {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$feature),*];

            /// The name by which administrators find it in manuals.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$feature => $name),* }
            }

            /// The first kernel that has it. Others may have it all the same.
            #[must_use]
            pub const fn since(self) -> Version {
                match self { $(Self::$feature => Version::new($major, $minor)),* }
            }

            /// What a kernel answers that does not have it.
            pub(super) const fn answer_without(self) -> Errno {
                match self { $(Self::$feature => Errno::$errno),* }
            }
        }
    };
}

features! {
    /// Comparing what two processes have (kcmp(2)).
    Kcmp = "kcmp", (3, 5), ENOSYS;
    /// What an epoll instance watches, in its fdinfo (`tfd`).
    EpollInFdinfo = "tfd in fdinfo", (3, 8), ENOENT;
    /// The blocked signals of a tracee. A request that ptrace(2) does not know answers EIO.
    SignalMask = "PTRACE_GETSIGMASK", (3, 11), EIO;
    /// The number of the mount that a file lies on, in its fdinfo.
    MountInFdinfo = "mnt_id in fdinfo", (3, 15), ENOENT;
    /// A file system of their own for namespaces. Before, their files were of procfs.
    Nsfs = "nsfs", (3, 19), ENOENT;
    /// The numbers of a thread in each pid namespace, in its status.
    PidsInNamespaces = "NSpid in status", (4, 1), ENOENT;
    /// Taking a tracee's seccomp filters out of force.
    SuspendSeccomp = "PTRACE_O_SUSPEND_SECCOMP", (4, 3), EINVAL;
    /// socket(2), shutdown(2) and their like as calls of their own for 32-bit x86 code, which had socketcall(2) alone.
    SocketCalls32 = "socket calls for 32-bit processes", (4, 3), ENOSYS;
    /// Ending a connection by sock_diag(7).
    SockDestroy = "SOCK_DESTROY", (4, 5), EINVAL;
    /// Asking whether an epoll instance watches a file (KCMP_EPOLL_TFD).
    EpollCompare = "KCMP_EPOLL_TFD", (4, 13), EINVAL;
    /// The inode numbers of what an epoll instance watches, in its fdinfo.
    EpollInodes = "ino of tfd in fdinfo", (4, 13), ENOENT;
    /// The number of an eventfd, in its fdinfo.
    EventfdNumber = "eventfd-id in fdinfo", (5, 2), ENOENT;
    /// Descriptors for processes.
    PidfdOpen = "pidfd_open", (5, 3), ENOSYS;
    /// Copies of other processes' descriptors.
    PidfdGetfd = "pidfd_getfd", (5, 6), ENOSYS;
    /// How many descriptors are on their way in the queue of a Unix socket, in its fdinfo.
    QueuedDescriptors = "scm_fds in fdinfo", (5, 6), ENOENT;
    /// Closing many descriptors at once.
    CloseRange = "close_range", (5, 9), ENOSYS;
    /// Where a tracee has its `struct rseq`.
    RseqConfiguration = "PTRACE_GET_RSEQ_CONFIGURATION", (5, 13), EIO;
    /// The inode number of a file, in its fdinfo.
    InodeInFdinfo = "ino in fdinfo", (5, 14), ENOENT;
    /// How many descriptors a process has, as the size of its directory of them.
    DescriptorCount = "size of /proc/PID/fd", (6, 2), ENOENT;
    /// Whether the system calls of a tracee are dispatched back to it.
    UserDispatch = "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG", (6, 4), EIO;
    /// Descriptors for threads. What is no such flag is a wrong use.
    PidfdThread = "PIDFD_THREAD", (6, 9), EINVAL;
    /// What a pidfd knows of its process (PIDFD_GET_INFO).
    PidfdInfo = "PIDFD_GET_INFO", (6, 13), ENOTTY;
}

impl Feature {
    pub(super) const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// As it is told of: `pidfd_getfd, Linux 5.6`.
impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Linux {}", self.name(), self.since())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_bit_and_a_name_of_its_own() {
        let bits = Feature::ALL.iter().fold(0, |bits, feature| bits | feature.bit());
        assert_eq!(bits.count_ones() as usize, Feature::ALL.len());
        let mut names: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Feature::ALL.len());
        assert!(Feature::ALL.is_sorted_by_key(|feature| feature.since()));
    }

    #[test]
    fn versions() {
        let version = |text: &str| text.parse::<Version>();
        assert_eq!(version("3.10"), Ok(Version::new(3, 10)));
        assert!(version("3.4").unwrap() < version("3.10").unwrap());
        assert_eq!(version("5.4").unwrap().to_string(), "5.4");
        for wrong in ["", "3", "3.", ".4", "3.10.108", "a.b", "-3.1", "3.99999"] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn they_are_told_with_their_kernel() {
        assert_eq!(Feature::PidfdGetfd.to_string(), "pidfd_getfd, Linux 5.6");
    }
}
