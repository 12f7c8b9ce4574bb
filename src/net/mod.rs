//! Sockets as the kernel tells of them: states, endpoints, tables.

mod copy;
mod diag;
mod endpoint;
mod error;
mod filter;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod keepalive;
mod lines;
mod row;
mod state;
mod sys;
mod table;

pub use copy::{Copies, peer_is_gone, shut_down};
pub use diag::{Diag, DiagError, Dumped};
pub use endpoint::{Endpoint, UnixName};
pub use error::NetError;
pub use filter::{AddrFilter, ParseAddrError};
pub use keepalive::{Keepalive, KeepaliveWish};
pub use row::SocketInfo;
pub use state::{ParseStateError, TcpState};
pub use table::{Protocols, SocketTable};
