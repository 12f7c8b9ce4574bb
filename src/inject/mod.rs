//! Running system calls inside the target, and leaving no trace of it.

pub mod deathpoint;
mod dispatch;
pub mod fdops;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub mod gadget;
mod landmarks;
mod lifeline;
mod mask;
mod remote;
pub mod restart;
pub mod rseq;

pub use dispatch::Dispatch;
pub use gadget::{Origin, Site};
pub use landmarks::Landmarks;
pub use remote::{ChainEnd, Remote, end_signal};
