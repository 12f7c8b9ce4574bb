//! What the benchmarks share.

pub(crate) mod cc;
pub(crate) mod peers;
pub(crate) mod report;
pub(crate) mod start;
pub(crate) mod stats;
mod sys;
pub(crate) mod timed;
pub(crate) mod victim;
