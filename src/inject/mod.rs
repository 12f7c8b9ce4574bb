//! Running system calls inside the target, and leaving no trace of it.

pub mod fdops;
pub mod gadget;
mod remote;
pub mod restart;
pub mod rseq;

pub use gadget::{Origin, Site};
pub use remote::Remote;
