//! What keeps a socket open that no descriptor on this host refers to, as far as the kernel shows it.
//!
//! A file registered with an io_uring(7) instance is named by its inode (`io_uring_show_fdinfo`, io_uring/fdinfo.c),
//! so that is certain. Of descriptors on their way over a Unix socket only the number is told (`unix_show_fdinfo`,
//! net/unix/af_unix.c), of the requests of an io_uring instance that wait only their kind, and of a thread in a call
//! only the number it was made with. Those are possible reasons. Not seen at all are an instance without a descriptor
//! (IORING_REGISTER_RING_FDS), the kernel's own uses of a socket, and other pid namespaces. Checked on 6.18.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::host::{self, Fallback};
use crate::ids::{Fd, Inode, Pid};
use crate::kind::Kind;
use crate::net::{Protocols, SocketTable};
use crate::proc::{FdDir, FdTarget, ProcError, Process, Procfs};
use crate::report::{KeeperReport, Keeping, Text};
use crate::survey::{CallOn, calls_of};
use crate::trace::Deadline;
use crate::watchdog;

/// So long is searched: a host may have descriptors without number, and 6 us each are spent on Unix sockets.
const LIMIT: Duration = Duration::from_secs(1);
/// More of them that are merely possible help nobody.
const MOST: usize = 32;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Keepers {
    certain: HashMap<Inode, Vec<KeeperReport>>,
    possible: Vec<KeeperReport>,
    /// Whether every process could be looked into in time.
    pub(super) complete: bool,
}

impl Keepers {
    /// What may keep `socket`; where the kernel names something, that alone.
    pub(super) fn of(&self, socket: Inode) -> Vec<KeeperReport> {
        self.certain.get(&socket).unwrap_or(&self.possible).clone()
    }

    /// Whether something is known to keep `socket`.
    pub(super) fn surely_keep(&self, socket: Inode) -> bool {
        self.certain.contains_key(&socket)
    }
}

/// Looks for what keeps one of `sockets`, first in the process `suspect`.
pub(super) fn look(procfs: &Procfs, sockets: &BTreeSet<Inode>, suspect: Pid) -> Keepers {
    let mut search = Search { sockets, tables: HashMap::new(), found: Keepers::default() };
    let deadline = Deadline::after(LIMIT);
    let Ok(mut pids) = procfs.pids() else { return search.found };
    pids.sort_by_key(|pid| *pid != suspect);
    // Where /proc hides the processes of other users (hidepid), the first of all is missing.
    search.found.complete = pids.iter().any(|pid| pid.as_raw() == 1);
    for pid in pids {
        if deadline.remaining().is_none() {
            search.found.complete = false;
            break;
        }
        let looked = procfs.open_listed(pid).and_then(|process| search.look_into(&process, deadline));
        search.found.complete &= looked.is_ok_and(|in_time| in_time)
            || procfs.open_listed(pid).and_then(|process| process.living_thread()).is_err();
    }
    search.found
}

struct Search<'a> {
    sockets: &'a BTreeSet<Inode>,
    /// The Unix sockets of each network namespace; `None` where they can't be told from others.
    tables: HashMap<Option<u64>, Option<SocketTable>>,
    found: Keepers,
}

impl Search<'_> {
    /// Whether there was time for all of it, and the kernel has told all.
    fn look_into(&mut self, process: &Process, deadline: Deadline) -> Result<bool, ProcError> {
        let dir = process.fd_dir_of_process()?;
        let (netns, mut open) = (process.netns().ok(), BTreeSet::new());
        let mut all_told = true;
        for fd in dir.list()? {
            if deadline.remaining().is_none() {
                return Ok(false);
            }
            watchdog::beat();
            open.insert(fd);
            match dir.read(fd)? {
                Some(target) if target.kind() == Kind::IoUring => self.look_at_ring(process, &dir, fd)?,
                Some(FdTarget::Socket(inode)) if self.may_be_unix(process, netns, inode) => {
                    let info = dir.fdinfo(fd)?;
                    if info.as_ref().is_some_and(|info| info.scm_fds.is_none()) {
                        host::fall_back(Fallback::QueuedUnknown);
                        all_told = false;
                    }
                    if info.and_then(|info| info.scm_fds).is_some_and(|queued| queued > 0) {
                        self.add_possible(keeper(process, Keeping::InFlight, fd));
                    }
                }
                _ => {}
            }
        }
        self.look_at_calls(process, &open)?;
        Ok(all_told)
    }

    fn look_at_ring(&mut self, process: &Process, dir: &FdDir, fd: Fd) -> Result<(), ProcError> {
        let Some(info) = dir.fdinfo(fd)? else { return Ok(()) };
        let mut registered = info.registered;
        registered.sort_unstable();
        registered.dedup();
        // A kernel that gives no inode, or a ring in use at that moment: it may be among them.
        if registered.is_empty() && info.user_files != Some(0) {
            self.add_possible(keeper(process, Keeping::IoUringFile, fd));
        }
        for inode in registered.into_iter().filter(|inode| self.sockets.contains(inode)) {
            let keeper = KeeperReport { certain: true, ..keeper(process, Keeping::IoUringFile, fd) };
            self.found.certain.entry(inode).or_default().push(keeper);
        }
        if info.polling > 0 {
            self.add_possible(keeper(process, Keeping::IoUringRequest, fd));
        }
        Ok(())
    }

    /// Threads in a call on a descriptor that is not `open` any more: what the call was made on lives until it returns.
    fn look_at_calls(&mut self, process: &Process, open: &BTreeSet<Fd>) -> Result<(), ProcError> {
        for CallOn { tid, call, fd, for_watched } in calls_of(process)? {
            // An epoll instance keeps nothing that it watches.
            if !for_watched && !open.contains(&fd) {
                let (tid, call) = (Some(tid), Some(call));
                self.add_possible(KeeperReport { tid, call, ..keeper(process, Keeping::Call, fd) });
            }
        }
        Ok(())
    }

    fn add_possible(&mut self, keeper: KeeperReport) {
        if self.found.possible.len() < MOST {
            self.found.possible.push(keeper);
        }
    }

    fn may_be_unix(&mut self, process: &Process, netns: Option<u64>, inode: Inode) -> bool {
        let only_unix = Protocols { tcp: false, udp: false, unix: true };
        let read = || SocketTable::read(process, only_unix).ok();
        self.tables.entry(netns).or_insert_with(read).as_ref().is_none_or(|table| table.get(inode).is_some())
    }
}

fn keeper(process: &Process, how: Keeping, fd: Fd) -> KeeperReport {
    let comm = Text::from(process.comm().unwrap_or_default());
    KeeperReport { how, certain: false, pid: process.pid(), comm, fd, tid: None, call: None }
}
