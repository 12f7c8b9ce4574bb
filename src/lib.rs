//! fdclose.
#![warn(missing_docs)]

pub mod apply;
pub mod arch;
pub mod cli;
pub mod error;
pub mod exit;
pub mod ids;
pub mod inject;
pub mod kind;
pub mod method;
pub mod net;
pub mod output;
pub mod plan;
pub mod proc;
pub mod report;
pub mod select;
pub mod selectors;
pub mod survey;
pub mod trace;
pub mod verify;
