//! Which of the matches are registered with an io_uring(7) instance of their own process: those live on there when their
//! descriptor is closed, and may be in use.

use std::cell::OnceCell;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use super::{Match, Subject, socket_inode};
use crate::host;
use crate::ids::{Fd, Inode};
use crate::proc::FdInfo;
use crate::trace::Deadline;

/// An instance that is in use tells nothing (`mutex_trylock` in `io_uring_show_fdinfo`, io_uring/fdinfo.c), which mostly
/// lasts microseconds. Those of a process are asked again for so long together.
const PATIENCE: Duration = Duration::from_millis(50);

/// From one question to the next.
const PAUSE: Duration = Duration::from_micros(100);

/// What has not been asked by then stays unknown: a process may have instances without number.
const LIMIT: Duration = Duration::from_millis(500);

/// The io_uring instances of a process, each read when it is first asked for.
pub(super) struct Rings<'a> {
    subject: &'a Subject,
    instances: Vec<(Fd, OnceCell<Registered>)>,
    limit: OnceCell<Deadline>,
    patience: OnceCell<Deadline>,
}

/// What is registered with an instance.
enum Registered {
    /// These sockets, in order, as far as the kernel tells them.
    Sockets(Vec<Inode>),
    /// That could not be told.
    Unknown,
}

impl<'a> Rings<'a> {
    pub(super) fn new(subject: &'a Subject, rings: Vec<Fd>) -> Self {
        let instances = rings.into_iter().map(|fd| (fd, OnceCell::new())).collect();
        Self { subject, instances, limit: OnceCell::new(), patience: OnceCell::new() }
    }

    /// Notes it for a match of this process.
    pub(super) fn mark(&self, found: &mut Match) {
        let Some(inode) = socket_inode(&found.identity) else { return };
        for (ring, registered) in &self.instances {
            match registered.get_or_init(|| self.read(*ring)) {
                Registered::Sockets(sockets) if sockets.binary_search(&inode).is_ok() => {
                    found.registered_with.push(*ring);
                }
                Registered::Sockets(_) => {}
                Registered::Unknown => {
                    found.perhaps_registered_with.get_or_insert(*ring);
                }
            }
        }
    }

    fn read(&self, ring: Fd) -> Registered {
        if self.limit.get_or_init(|| Deadline::after(LIMIT)).remaining().is_none() {
            return Registered::Unknown;
        }
        loop {
            let info = match self.subject.process.fd_dir(self.subject.table).and_then(|dir| dir.fdinfo(ring))
            {
                Ok(Some(info)) => info,
                // It has been closed meanwhile.
                Ok(None) => return Registered::Sockets(Vec::new()),
                Err(error) if error.is_gone() => return Registered::Sockets(Vec::new()),
                Err(_) => return Registered::Unknown,
            };
            if info.tells_registered() {
                return Registered::sockets(info);
            }
            if self.patience.get_or_init(|| Deadline::after(PATIENCE)).remaining().is_none() {
                // A number without a list is that of places without files (Linux 6.13), or of an instance in use (before).
                let is_known = info.user_files.is_some() || !kernel_tells();
                return if is_known { Registered::sockets(info) } else { Registered::Unknown };
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Registered {
    fn sockets(info: FdInfo) -> Self {
        let mut sockets = info.registered;
        sockets.sort_unstable();
        Self::Sockets(sockets)
    }
}

/// Whether the kernel tells at all what is registered with an instance that is not in use (Linux 5.6). One that allows
/// fdclose no instance of its own is taken to.
fn kernel_tells() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let Ok(ring) = host::io_uring() else { return true };
        let info = fs::read(format!("/proc/self/fdinfo/{}", ring.as_raw_fd()));
        info.ok().and_then(|info| FdInfo::parse(&info).ok()).is_none_or(|info| info.user_files.is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_tells() {
        if host::io_uring().is_ok() {
            assert!(kernel_tells());
        }
    }
}
