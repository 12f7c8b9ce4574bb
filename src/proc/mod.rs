//! Readers of `/proc`. Parsing is pure, from bytes to values; the root can be another directory in tests.
//!
//! Everything a target can influence (names, paths, lengths) is taken as bytes, bounded, and never trusted to
//! be text.

mod attributes;
mod auxv;
mod dirents;
mod error;
mod fd_dir;
mod fd_target;
mod fdinfo;
mod file;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod holders;
mod identity;
mod maps;
mod name;
mod process;
mod procfs;
mod stat;
mod status;
mod sys;
mod syscall;
mod tables;
pub(crate) mod text;

pub use auxv::WordSize;
pub use error::{Malformed, ProcError};
pub use fd_dir::FdDir;
pub use fd_target::FdTarget;
pub use fdinfo::{FdInfo, Watched};
pub use holders::{Holder, Holders};
pub use identity::FdIdentity;
pub use maps::Mapping;
pub use process::Process;
pub use procfs::Procfs;
pub use stat::Stat;
pub use status::{Seccomp, SignalMasks, Status, Uids};
pub use syscall::InSyscall;
pub(crate) use tables::same_descriptor_table;

#[cfg(test)]
mod fake_tests;
#[cfg(test)]
mod live_tests;
