//! fdclose.
#![warn(missing_docs)]

pub mod exit;
pub mod ids;
pub mod kind;
pub mod net;
pub mod proc;
pub mod output;
pub mod report;
pub mod selectors;
