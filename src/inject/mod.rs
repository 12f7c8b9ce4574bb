//! Running system calls inside the target, and leaving no trace of it.

mod chained;
pub mod deathpoint;
mod dispatch;
pub mod fdops;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub mod gadget;
mod landmarks;
mod lifeline;
mod remote;
pub mod restart;
pub mod rseq;

pub use chained::{ChainEnd, end_signal};
pub use dispatch::Dispatch;
pub use gadget::{Origin, Site};
pub use landmarks::Landmarks;
pub use remote::Remote;
