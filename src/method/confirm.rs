//! Seeing, after a batch, that what was closed by chains of calls is closed.
//!
//! That a chain has come to its end says that its calls were made, not what they answered. Looking at each descriptor in
//! the stop would be half of the pause. One list of all that is open, read while the process runs, tells as well:
//! a socket that is no longer behind its number does not come back there.

use std::collections::HashSet;

use super::{Item, ItemOutcome};
use crate::ids::Fd;
use crate::proc::{FdDir, FdTarget, ProcError};

/// Corrects `outcomes` where a socket among `items` that should be closed is still open.
///
/// # Errors
/// If the descriptors can't be listed.
pub(super) fn confirm(dir: &FdDir, items: &[Item], outcomes: &mut [ItemOutcome]) -> Result<(), ProcError> {
    let listed = match dir.list() {
        Ok(listed) => listed,
        // The thread, or the process, has ended since, and its descriptors with it.
        Err(error) if error.is_gone() => return Ok(()),
        Err(error) => return Err(error),
    };
    if listed.is_empty() {
        return Ok(());
    }
    let open: HashSet<Fd> = listed.into_iter().collect();
    for (item, outcome) in items.iter().zip(outcomes) {
        let is_socket = matches!(item.expected.target, FdTarget::Socket(_));
        if *outcome != ItemOutcome::Done(None) || !is_socket || !open.contains(&item.fd) {
            continue;
        }
        if dir.is(item.fd, &item.expected.target)? {
            *outcome = ItemOutcome::Failed("close succeeded, but the descriptor is still open".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Pid;
    use crate::proc::Procfs;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_socket_that_is_still_there_is_not_called_closed() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let dir = Procfs::host().open(own).unwrap().fd_dir_of_process().unwrap();
        let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (open, other) = (socket(), socket());
        let item = |socket: &UdpSocket| {
            let fd = Fd::new(socket.as_raw_fd()).unwrap();
            Item { fd, expected: dir.identity(fd).unwrap().unwrap() }
        };
        let unused = Item { fd: Fd::new(1_000_000).unwrap(), ..item(&other) };
        let taken_by_another = Item { fd: item(&other).fd, ..item(&open) };
        let items = [item(&open), unused, taken_by_another, item(&other)];
        let done = ItemOutcome::Done(None);
        let mut outcomes = [done.clone(), done.clone(), done.clone(), ItemOutcome::NotTried];
        confirm(&dir, &items, &mut outcomes).unwrap();
        assert!(matches!(outcomes[0], ItemOutcome::Failed(_)), "{outcomes:?}");
        assert_eq!(outcomes[1..], [done.clone(), done, ItemOutcome::NotTried]);
    }
}
