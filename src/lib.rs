//! fdclose.
#![warn(missing_docs)]

pub mod ids;
