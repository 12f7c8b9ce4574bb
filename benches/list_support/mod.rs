//! What the benchmark of lists consists of.

#[path = "../support/cc.rs"]
pub(crate) mod cc;
pub(crate) mod peers;
pub(crate) mod report;
#[path = "../support/start.rs"]
pub(crate) mod start;
#[path = "../support/stats.rs"]
pub(crate) mod stats;
#[path = "../support/sys.rs"]
mod sys;
#[path = "../support/timed.rs"]
mod timed;
pub(crate) mod victim;
