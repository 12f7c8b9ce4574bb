//! The lines of `watch`.

use serde::Serialize;

use super::{SCHEMA, TargetReport};
use crate::method::Method;

/// What became of one connection, in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchLine<'a> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `watch`.
    pub command: &'static str,
    /// When, as RFC 3339 has it.
    pub time: &'a str,
    /// Whether nothing was to be touched.
    pub dry_run: bool,
    /// How.
    pub method: Method,
    /// For how many milliseconds it had been idle when it was found.
    pub idle_ms: Option<u64>,
    /// What and how, as in the document of the action.
    #[serde(flatten)]
    pub target: &'a TargetReport,
}

impl<'a> WatchLine<'a> {
    /// The line about `target`.
    #[must_use]
    pub fn new(
        time: &'a str,
        dry_run: bool,
        method: Method,
        idle_ms: Option<u64>,
        target: &'a TargetReport,
    ) -> Self {
        Self { schema: SCHEMA, command: "watch", time, dry_run, method, idle_ms, target }
    }
}
