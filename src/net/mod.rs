//! Sockets as the kernel tells of them: states, endpoints, tables.

mod class;
mod copy;
mod diag;
mod endpoint;
mod error;
mod filter;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod keepalive;
mod lines;
mod memory;
mod namespace;
mod packed;
mod repair;
mod row;
mod rows;
mod segment;
mod stack;
mod state;
mod sys;
mod table;
mod tcp_info;
mod wire;

pub use copy::{Copies, NoCopies, idle_ms, lingers, peer_is_gone, shut_down, tcp_state};
pub use diag::{Diag, DiagError, Dumped};
pub use endpoint::{Endpoint, UnixName};
pub use error::NetError;
pub use filter::{AddrFilter, ParseAddrError};
pub use keepalive::{Keepalive, KeepaliveWish};
pub use memory::{Shortage, TcpMemory, TcpMemoryLimits};
pub use namespace::Namespace;
pub(crate) use packed::PackedEnds;
pub use repair::{Mender, Repair};
pub use row::SocketInfo;
pub use rows::SocketRows;
pub use segment::{Ends, Numbers};
pub use stack::Stack;
pub use state::{ParseStateError, TcpState};
pub use table::{Protocols, SocketTable};
pub use wire::{Challenge, Wire};
