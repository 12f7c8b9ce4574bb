//! What a connection is reached by: a wire and a sock_diag(7) in its network namespace, which is not always the one that
//! its process is in (setns(2), or a socket that came over a Unix socket).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::AsFd as _;

use nix::errno::Errno;

use super::{Obstacle, Ours};
use crate::method::Job;
use crate::net::{Diag, DiagError, NetError, SocketInfo, Stack, Wire};

/// Into one network namespace.
pub(super) struct Line {
    pub(super) diag: Result<Diag, NetError>,
    pub(super) wire: Wire,
}

impl Line {
    fn open(stack: Stack) -> Result<Self, NetError> {
        let diag = Diag::open_in(&stack);
        Ok(Self { diag, wire: Wire::open(stack).map_err(DiagError::from)? })
    }
}

/// Into all that are needed.
pub(super) struct Lines<'a> {
    job: &'a Job<'a>,
    home: Line,
    elsewhere: HashMap<u64, Line>,
}

impl<'a> Lines<'a> {
    /// Opens the one into the namespace of the process.
    pub(super) fn open(job: &'a Job<'a>) -> Result<Self, NetError> {
        let home = Line::open(Stack::of_process(job.process, job.netns)?)?;
        Ok(Self { job, home, elsewhere: HashMap::new() })
    }

    /// The one to `socket`. What the kernel knew in the namespace of the process, which alone tells cookies, is there.
    pub(super) fn to(&mut self, socket: &SocketInfo, ours: Option<&Ours>) -> Result<&mut Line, Obstacle> {
        let Some(ours) = ours.filter(|_| socket.cookie.is_none()) else { return Ok(&mut self.home) };
        let own = self.job.process.procfs().own_netns().ok();
        let (number, stack) = match Stack::of_socket(ours.copy.as_fd(), own) {
            Ok((number, _)) if self.job.netns == Some(number) => return Ok(&mut self.home),
            Ok(found) => found,
            // A kernel that does not tell (before 4.10).
            Err(Errno::ENOTTY | Errno::EINVAL) => return Ok(&mut self.home),
            Err(Errno::EPERM) => {
                return Err(Obstacle::Refused {
                    why: "it is not known in the network namespace of its process, and to find its own takes CAP_NET_ADMIN",
                    hint: "run fdclose as root",
                });
            }
            Err(errno) => return Err(Obstacle::of(errno, "asking the socket for its network namespace")),
        };
        match self.elsewhere.entry(number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => match Line::open(stack) {
                Ok(line) => Ok(entry.insert(line)),
                Err(NetError::Diag(DiagError::Refused(errno))) => {
                    Err(Obstacle::of(errno, "entering the network namespace of the connection"))
                }
                Err(error) => Err(Obstacle::Failed(error.to_string())),
            },
        }
    }
}
