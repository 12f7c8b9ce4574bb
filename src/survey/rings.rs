//! Which of the matches are registered with an io_uring(7) instance of their own process: those live on there when their
//! descriptor is closed, and may be in use.

mod kernel;
mod told;

use std::cell::OnceCell;
use std::thread;
use std::time::Duration;

pub use self::told::Untold;
use self::told::{Told, told};
use super::{Match, Subject, socket_inode};
use crate::ids::{Fd, Inode};
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

/// The sockets that are registered with an instance, in order, or why they can't be told.
type Registered = Result<Vec<Inode>, Untold>;

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
                Ok(sockets) if sockets.binary_search(&inode).is_ok() => found.registered_with.push(*ring),
                Ok(_) => {}
                Err(untold) => {
                    found.perhaps_registered_with.get_or_insert((*ring, *untold));
                }
            }
        }
    }

    fn read(&self, ring: Fd) -> Registered {
        if self.limit.get_or_init(|| Deadline::after(LIMIT)).remaining().is_none() {
            return Err(Untold::NotAsked);
        }
        loop {
            let info = match self.subject.process.fd_dir(self.subject.table).and_then(|dir| dir.fdinfo(ring))
            {
                Ok(Some(info)) => info,
                // It has been closed meanwhile.
                Ok(None) => return Ok(Vec::new()),
                Err(error) if error.is_gone() => return Ok(Vec::new()),
                Err(_) => return Err(Untold::Unreadable),
            };
            let prints = kernel::prints();
            let mut found = told(&info, prints, kernel::protocols);
            if matches!(found, Told::Not(Untold::EmptyOrInUse)) {
                let all_or_nothing = kernel::prints_all_or_nothing();
                let prints = prints.map(|prints| kernel::Prints { all_or_nothing, ..prints });
                found = told(&info, prints, kernel::protocols);
            }
            match found {
                Told::Sockets(mut sockets) => {
                    sockets.sort_unstable();
                    return Ok(sockets);
                }
                Told::Not(untold) => {
                    let patience = self.patience.get_or_init(|| Deadline::after(PATIENCE));
                    if !untold.may_pass() || patience.remaining().is_none() {
                        return Err(untold);
                    }
                }
            }
            thread::sleep(PAUSE);
        }
    }
}
