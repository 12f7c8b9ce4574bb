//! Asking the kernel about sockets by sock_diag(7): one by its ends, or all of a protocol.
//!
//! Asking for one costs the same however many sockets there are. `/proc/net/tcp` takes the lock of every chain
//! of the kernel's hash table, and `tcp6` once more: 10 ms and more on a machine with 24 GB, even with few
//! sockets. A dump looks which chains are empty first: 0.2 ms.
//!
//! `netlink-packet-sock-diag` builds the requests and reads the heads of rows, `netlink-packet-core` cuts
//! datagrams and attributes. They check lengths before they cut, so no bytes make them panic. Done here is what
//! they can't: the request for TCP of both families at once (`inet::AllTcp`), and rows' attributes, of which the
//! crate takes all or gives nothing of the row, copies each, and wants `struct tcp_info` at the length of one
//! kernel version.

mod channel;
mod destroy;
mod dump;
mod error;
mod exact;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod inet;
mod message;
mod netns;
mod unix;

use channel::Channel;
pub use dump::Dumped;
pub use error::DiagError;

/// A way to ask the kernel about the sockets of one network namespace. Needs no privilege.
#[derive(Debug)]
pub struct Diag {
    channel: Channel,
    /// Whether it is known that this kernel answers about TCP: it says ENOENT for both a socket that is not
    /// there and a part of its own that is not there (the module `tcp_diag`).
    knows_tcp: bool,
}

impl Diag {
    /// Opens one on the network namespace of the calling thread; it stays on that one.
    ///
    /// # Errors
    /// [`DiagError::Refused`] where the kernel has no netlink or no sock_diag, or a filter on system calls
    /// forbids it.
    pub fn open() -> Result<Self, DiagError> {
        Ok(Self { channel: Channel::open()?, knows_tcp: false })
    }
}

#[cfg(test)]
mod dump_tests;
#[cfg(test)]
mod exact_tests;
