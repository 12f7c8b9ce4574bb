//! What a process was like before fdclose came, to compare with afterwards.

use std::collections::BTreeMap;

use super::evidence::{self, Status};
use super::wait_until;

/// A process's descriptors and its threads' states.
#[derive(Debug)]
pub(crate) struct Before {
    pid: u32,
    descriptors: BTreeMap<i32, String>,
    threads: BTreeMap<u32, Status>,
}

impl Before {
    /// Looks at a process.
    #[track_caller]
    pub(crate) fn of(pid: u32) -> Self {
        let threads = evidence::threads(pid);
        let threads =
            threads.into_iter().filter_map(|tid| Some((tid, evidence::status(pid, tid)?))).collect();
        Self { pid, descriptors: evidence::descriptors(pid), threads }
    }

    /// Proves that the process lost these descriptors and nothing else: the others refer to what they did, no thread
    /// is traced or ended, signal masks and pending signals are as they were, a stopped process is stopped.
    #[track_caller]
    pub(crate) fn assert_lost_only(&self, lost: &[i32]) {
        let mut expected = self.descriptors.clone();
        for fd in lost {
            assert!(expected.remove(fd).is_some(), "descriptor {fd} was not there before");
        }
        assert_eq!(evidence::descriptors(self.pid), expected, "descriptors of {}", self.pid);
        self.assert_undisturbed();
    }

    /// The same where these refer to something else now.
    #[track_caller]
    pub(crate) fn assert_changed_only(&self, changed: &[i32]) {
        let now = evidence::descriptors(self.pid);
        assert!(now.keys().eq(self.descriptors.keys()), "{now:?}, not {:?}", self.descriptors);
        for (fd, target) in &self.descriptors {
            assert_eq!(now.get(fd) != Some(target), changed.contains(fd), "descriptor {fd}: {now:?}");
        }
        self.assert_undisturbed();
    }

    #[track_caller]
    fn assert_undisturbed(&self) {
        evidence::assert_untraced(self.pid);
        for (tid, before) in &self.threads {
            let read = || evidence::status(self.pid, *tid).unwrap_or_else(|| panic!("thread {tid} is gone"));
            // A thread let go by its tracer in a group-stop runs a few instructions of the kernel to stop again.
            wait_until("the thread's stop again", || before.state != 'T' || read().state == 'T');
            let now = read();
            assert_eq!((now.masks, now.pending), (before.masks, before.pending), "signals of thread {tid}");
            assert!(before.state == 'T' || now.state != 'T', "thread {tid} was left stopped");
        }
    }

    /// The same where nothing may be lost.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        self.assert_lost_only(&[]);
    }
}

/// Proves that a connection is gone from the tables, whoever held it. Its last segments may take a moment.
#[track_caller]
pub(crate) fn assert_connection_ended(pid: u32, was: evidence::TcpRow) {
    wait_until("the end of the connection", || {
        !evidence::tcp_rows(pid).iter().any(|row| row.local == was.local && row.peer == was.peer)
    });
}
