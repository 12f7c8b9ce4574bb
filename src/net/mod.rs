//! Sockets as the kernel tells of them: states, endpoints, tables.

mod state;

pub use state::{ParseStateError, TcpState};
