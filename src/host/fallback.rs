//! What is done where the kernel lacks something, and for tests a record of what was.

use std::fs::File;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Feature;

/// Where to leave a file for each fallback that is taken. Looked at under [`super::assume`] alone: otherwise a root
/// process would write where a stranger's environment says.
const RECORD: &str = "FDCLOSE_TEST_FALLBACKS";

static RECORDS: OnceLock<PathBuf> = OnceLock::new();
/// Those that have been recorded, a bit each.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Defines the fallbacks: each with its name, what is lacking, and what is done.
macro_rules! fallbacks {
    ($($fallback:ident = $name:literal, $feature:ident, $what:literal;)*) => {
        /// What is done where the kernel lacks something: another way, or a refusal that says what is lacking.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fallback {
            $(#[doc = $what] $fallback,)*
        }

        impl Fallback {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$fallback),*];

            /// Its name in records.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fallback => $name),* }
            }

            /// What is lacking where it is taken.
            #[must_use]
            pub const fn feature(self) -> Feature {
                match self { $(Self::$fallback => Feature::$feature),* }
            }

            /// What is done.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$fallback => $what),* }
            }
        }
    };
}

fallbacks! {
    OwnThreadAlone = "own-thread-alone", Kcmp, "the thread whose descriptors were read makes the call, and no other";
    SharersUnknown = "sharers-unknown", Kcmp, "no process is taken to share another's descriptor table";
    WatchedUnknown = "watched-unknown", EpollInFdinfo, "no descriptor is taken to be watched by epoll";
    MaskFromStatus = "mask-from-status", SignalMask, "the blocked signals are read in /proc";
    NamespaceInProcfs = "namespace-in-procfs", Nsfs, "a file of procfs may be a namespace: that shows when it is entered";
    SeccompRefused = "seccomp-refused", SuspendSeccomp, "a process with a seccomp filter is refused";
    Shutdown32Refused = "shutdown-32-refused", SocketCalls32, "--method shutdown refuses 32-bit processes";
    Replace32Refused = "replace-32-refused", SocketCalls32, "--method replace refuses 32-bit processes";
    DestroyRefused = "destroy-refused", SockDestroy, "--method destroy is refused";
    WatchedOnRecord = "watched-on-record", EpollCompare, "what an epoll instance watches is read in its fdinfo";
    WatchedByNumber = "watched-by-number", EpollInodes, "what an epoll instance watches is told by its number alone";
    ProcessByStatus = "process-by-status", PidfdOpen, "a process is told from a thread by its status";
    SignalToNumber = "signal-to-number", PidfdOpen, "a signal goes to a number, looked at right before";
    EndByLooking = "end-by-looking", PidfdOpen, "the end of a process is looked for again and again";
    SocketFromTable = "socket-from-table", PidfdGetfd, "what a socket is, the tables of all sockets tell";
    CloseWithoutCopies = "close-without-copies", PidfdGetfd, "descriptors are compared by their links, and closed one by one";
    WaitersNotWoken = "waiters-not-woken", PidfdGetfd, "who waits on a socket is not woken, but gets EBADF with the close";
    ShutdownInTarget = "shutdown-in-target", PidfdGetfd, "the process itself makes the call shutdown(2)";
    KeepaliveRefused = "keepalive-refused", PidfdGetfd, "keepalive is refused";
    NumberByChallenge = "number-by-challenge", PidfdGetfd, "a connection is asked for its number by a segment";
    LeaderNotCopied = "leader-not-copied", PidfdThread, "of a process whose main thread has ended, no copies are made";
    QueuedUnknown = "queued-unknown", QueuedDescriptors, "where there is a Unix socket, not all is taken to be seen";
    SequenceInTls = "sequence-in-tls", RseqConfiguration, "a restartable sequence is looked for beside the thread pointer";
    FileByName = "file-by-name", InodeInFdinfo, "a file is known by its path, not by its inode";
    CountByListing = "count-by-listing", DescriptorCount, "descriptors are listed to be counted";
    DispatchUnknown = "dispatch-unknown", UserDispatch, "no thread is taken to have its system calls dispatched back to it";
    ParentFromStat = "parent-from-stat", PidfdInfo, "the parent of a process is read in /proc";
}

/// From now on, fallbacks are recorded, if that is asked for.
pub(super) fn record() {
    if let Some(directory) = std::env::var_os(RECORD) {
        let _ = RECORDS.set(directory.into());
    }
}

/// Records that `fallback` is taken, once in this process and its workers.
pub(super) fn note(fallback: Fallback) {
    let Some(records) = RECORDS.get() else { return };
    let bit = 1 << fallback as u32;
    if TAKEN.fetch_or(bit, Relaxed) & bit == 0 {
        // A record that can't be made is lacking in the count, which is for that test to judge.
        let _ = File::create_new(records.join(format!("{}.{}", fallback.name(), std::process::id())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_bit_and_a_name_of_its_own() {
        assert!(Fallback::ALL.len() <= 64);
        let mut names: Vec<_> = Fallback::ALL.iter().map(|fallback| fallback.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Fallback::ALL.len());
    }
}
