//! What this kernel prints of an io_uring(7) instance, found out on one of fdclose's own: distributions move it between
//! versions.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::thread;

use nix::poll::{PollFd, PollFlags, poll};

use crate::host;
use crate::ids::Inode;
use crate::proc::FdInfo;

/// More than a thread needs to be in a call.
const LIMIT: u16 = 500;

/// What a kernel prints of an instance (`io_uring_show_fdinfo`).
#[expect(clippy::struct_excessive_bools, reason = "distributions may have any of them without the others")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prints {
    /// How many places for files it has (Linux 5.6).
    pub(super) number: bool,
    /// Paths, thus inodes of sockets (6.13); before, names that don't tell one socket from another.
    pub(super) inodes: bool,
    /// Places without a file (until 6.12).
    pub(super) empty_places: bool,
    /// Nothing at all of one that is in use; before, the number without the list.
    pub(super) all_or_nothing: bool,
}

/// That of this kernel, but for `all_or_nothing`, which is not looked for. `None` where fdclose may have no instance.
pub(super) fn prints() -> Option<Prints> {
    static PRINTS: OnceLock<Option<Prints>> = OnceLock::new();
    *PRINTS.get_or_init(|| {
        let (ring, inode) = ring_with_socket()?;
        let info = read(ring.as_fd())?;
        Some(Prints {
            number: info.user_files.is_some(),
            inodes: info.registered == [inode],
            empty_places: info.empty_places > 0,
            all_or_nothing: false,
        })
    })
}

/// `/proc/net/protocols`: one row for each kind of socket, in all namespaces. Read anew each time, as modules bring more.
pub(super) fn protocols() -> Option<Vec<u8>> {
    fs::read("/proc/self/net/protocols").ok()
}

/// Whether this kernel is seen to print nothing at all of an instance that is in use.
pub(super) fn prints_all_or_nothing() -> bool {
    static SEEN: OnceLock<bool> = OnceLock::new();
    *SEEN.get_or_init(|| in_use_prints_number() == Some(false))
}

/// `None` where fdclose may have none in use: there the kernel is made to wait for memory in a call on it.
fn in_use_prints_number() -> Option<bool> {
    let ring = ring_with_socket()?.0;
    let (page, faults) = host::MissingPage::new().ok()?;
    thread::scope(|scope| {
        // Dropped before the thread is waited for.
        let faults = faults;
        thread::Builder::new().spawn_scoped(scope, || page.use_ring(ring.as_fd())).ok()?;
        let mut polled = [PollFd::new(faults.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, LIMIT).ok()?;
        let is_in_use = polled[0].revents()?.contains(PollFlags::POLLIN);
        // Not in use, it lists the socket.
        let info = read(ring.as_fd()).filter(|info| is_in_use && info.listed_files == 0)?;
        Some(info.user_files.is_some())
    })
}

/// An instance with a place for a socket and an empty one, and the socket's inode.
fn ring_with_socket() -> Option<(OwnedFd, Inode)> {
    let ring = host::io_uring().ok()?;
    let socket = File::from(OwnedFd::from(UnixDatagram::unbound().ok()?));
    let inode = Inode(socket.metadata().ok()?.ino());
    // Kernels that print nothing of it may not do it. Of any other that is then seen which prints no inodes.
    let _ = host::register_files(ring.as_fd(), &[socket.as_raw_fd(), -1]);
    Some((ring, inode))
}

fn read(ring: BorrowedFd<'_>) -> Option<FdInfo> {
    FdInfo::parse(&fs::read(format!("/proc/self/fdinfo/{}", ring.as_raw_fd())).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn an_own_instance_shows_what_this_kernel_prints() {
        let Some(prints) = prints() else { return };
        // Since the one commit there are paths, and no empty places any more.
        assert!(!prints.number || prints.inodes != prints.empty_places, "{prints:?}");
        assert!(!prints_all_or_nothing() || prints.number, "{prints:?}");
    }

    #[test]
    fn an_own_instance_can_be_in_use() {
        if prints().is_some_and(|prints| prints.number) && host::MissingPage::new().is_ok() {
            let begun = Instant::now();
            // Before Linux 5.12 the memory of an instance counts for the user until some time after its end. And a busy
            // machine may take longer.
            while in_use_prints_number().is_none() {
                assert!(begun.elapsed() < Duration::from_secs(20), "it never could");
                thread::yield_now();
            }
        }
    }
}
