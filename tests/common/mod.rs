//! What the end-to-end tests share: victims, the tool under test, and the kernel's evidence, which is read here and
//! not with fdclose's own code.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

mod alone;
pub(crate) mod before;
mod binaries;
pub(crate) mod calls;
pub(crate) mod cc;
pub(crate) mod cgroup;
pub(crate) mod confined;
pub(crate) mod connection;
pub(crate) mod evidence;
pub(crate) mod instants;
pub(crate) mod kernel;
mod lag;
mod needs;
pub(crate) mod net;
pub(crate) mod server;
pub(crate) mod sys;
mod tool;
mod victim;
mod wait;
pub(crate) mod watching;

pub(crate) use alone::alone;
pub(crate) use before::Before;
pub(crate) use binaries::victim as victim_path;
pub(crate) use lag::with_lag;
pub(crate) use needs::{Need, lacks, skip};
pub(crate) use tool::{
    Run, Started, command, fdclose, fdclose_as, fdclose_before_5_6, fdclose_denied, fdclose_dying_at,
    fdclose_through, fdclose_unshared, fdclose_while, fdclose_without, outcome, start_fdclose,
    start_fdclose_into, start_fdclose_with,
};
pub(crate) use victim::Victim;
pub(crate) use wait::{Ending, PATIENCE, wait_until};

/// The user nobody, for tests of what an ordinary user may do.
pub(crate) const NOBODY: u32 = 65534;
