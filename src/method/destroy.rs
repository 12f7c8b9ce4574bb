//! `destroy`: the kernel is asked to end a connection (SOCK_DESTROY, sock_diag(7), Linux 4.5), as `ss --kill` does.
//!
//! It acts on the connection, named by its cookie, which the kernel never gives to another: so there is nothing to be
//! mistaken about, and nobody is stopped. The peer gets a RST, every holder the error ECONNABORTED at its next call, and
//! the descriptors stay.

use nix::errno::Errno;

use super::{ItemOutcome, Job, Operation};
use crate::host::{self, Fallback, Feature};
use crate::net::{Diag, DiagError, NetError, SocketInfo};

/// Does `job`.
pub(super) fn destroy(job: &Job<'_>) -> Operation {
    let mut operation = Operation::new(job.items.len());
    let mut diag = Diag::of_process(job.process, job.netns);
    operation.outcomes = job
        .sockets
        .iter()
        .map(|socket| match (&mut diag, socket) {
            (Ok(diag), Some(socket)) => one(diag, socket),
            (Err(error), _) => failed(error),
            (_, None) => ItemOutcome::Failed("the kernel's socket tables do not have it".to_owned()),
        })
        .collect();
    operation
}

fn one(diag: &mut Diag, socket: &SocketInfo) -> ItemOutcome {
    match diag.destroy(socket) {
        Ok(true) => ItemOutcome::Done(None),
        // Without a cookie nobody has seen it there before either.
        Ok(false) if socket.cookie.is_none() => ItemOutcome::Failed(
            "it is not in the network namespace of its process: it may be from another, where --method reset finds \
             it, or have ended"
                .to_owned(),
        ),
        Ok(false) => ItemOutcome::Gone,
        Err(DiagError::Refused(Errno::EOPNOTSUPP | Errno::EINVAL)) => {
            host::fall_back(Fallback::DestroyRefused);
            let since = Feature::SockDestroy.since();
            ItemOutcome::Refused {
                why: format!("not supported by this kernel (Linux {since} and CONFIG_INET_DIAG_DESTROY needed)"),
                hint: "--method close frees the descriptor, too; --method reset ends the connection alone"
                    .to_owned(),
            }
        }
        Err(DiagError::Refused(Errno::EPERM | Errno::EACCES)) => ItemOutcome::Refused {
            why: "it takes CAP_NET_ADMIN in the network namespace of the connection".to_owned(),
            hint: "run fdclose as root".to_owned(),
        },
        Err(error) => ItemOutcome::Failed(error.to_string()),
    }
}

/// Why the network namespace could not be asked.
pub(super) fn failed(error: &NetError) -> ItemOutcome {
    match error {
        NetError::Diag(DiagError::Refused(Errno::EPERM)) => ItemOutcome::Refused {
            why: "to enter the network namespace of the process takes CAP_SYS_ADMIN".to_owned(),
            hint: "run fdclose as root".to_owned(),
        },
        error => ItemOutcome::Failed(error.to_string()),
    }
}
