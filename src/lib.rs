//! fdclose.
#![warn(missing_docs)]

pub mod arch;
pub mod cli;
pub mod error;
pub mod exit;
pub mod ids;
pub mod inject;
pub mod kind;
pub mod net;
pub mod output;
pub mod proc;
pub mod report;
pub mod selectors;
pub mod trace;
