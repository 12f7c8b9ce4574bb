//! What must hold of the parsers of target-controlled bytes, whatever the bytes. Only for `fuzz/`: compiled with
//! `--cfg fuzzing`, which cargo-fuzz sets, and no part of the library otherwise.
//!
//! Each function gives its bytes to one group of parsers and panics where a result is not what it may be.

pub use crate::inject::fuzzing::{code, frames, stacks};
pub use crate::net::fuzzing::{datagram, packet, table};
pub use crate::proc::fuzzing::{auxv, descriptor, entries, thread};
pub use crate::trace::fuzzing::wait_status;

/// A report on a file, for reports with other names in them.
#[must_use]
pub fn file_target() -> crate::report::TargetReport {
    crate::report::sample::file_target()
}
