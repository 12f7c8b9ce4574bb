//! fdclose.
#![warn(missing_docs)]

pub mod ids;
pub mod kind;
pub mod net;
pub mod proc;
