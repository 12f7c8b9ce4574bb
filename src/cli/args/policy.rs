//! The options of `watch` that no other command has.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::values;
use crate::method::Method;
use crate::policy::{MinCount, Policy};

#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Conduct")]
pub(in crate::cli) struct RawPolicy {
    /// Look every so often
    ///
    /// A time from 100ms to 1day.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::period())]
    #[arg(allow_hyphen_values = true)]
    pub(super) every: Duration,
    /// Close no more than so many at once, the longest idle first
    #[arg(long, value_name = "N", value_parser = values::count(), allow_hyphen_values = true)]
    max_per_run: Option<usize>,
    /// Only in processes with so many idle connections, or N%
    ///
    /// At least N of them, or more of them than N per cent of the descriptors the process may have (RLIMIT_NOFILE).
    #[arg(long, value_name = "N", value_parser = values::min_count(), allow_hyphen_values = true)]
    min_count: Option<MinCount>,
    /// Serve metrics for Prometheus here
    ///
    /// By HTTP under /metrics, from a process of its own without privileges. There is no password: choose an address
    /// that only those reach who may know.
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::listen_on(), allow_hyphen_values = true)]
    pub(super) metrics: Option<SocketAddr>,
    /// How: close, shutdown or destroy
    ///
    /// As for the main action. What an event loop of the process still watches is better shut down than closed.
    #[arg(long, value_name = "METHOD", value_enum, default_value_t)]
    #[arg(hide_possible_values = true, allow_hyphen_values = true)]
    pub(super) method: RawWatchMethod,
    /// Touch nothing, tell what would be done
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Act even on what is refused as risky
    #[arg(long)]
    pub(super) force: bool,
    /// The longest single pause of a process, 1us to 1min
    #[arg(long, value_name = "TIME", default_value = "10ms", hide_short_help = true)]
    #[arg(value_parser = values::max_pause(), allow_hyphen_values = true)]
    pub(super) max_pause: Duration,
    /// Give up on a process that does not stop
    #[arg(long, value_name = "TIME", default_value = "5s", hide_short_help = true)]
    #[arg(value_parser = values::timeout(), allow_hyphen_values = true)]
    pub(super) timeout: Duration,
}

/// The methods that nobody has to be asked about.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(in crate::cli) enum RawWatchMethod {
    #[default]
    Close,
    Shutdown,
    Destroy,
}

impl From<RawWatchMethod> for Method {
    fn from(raw: RawWatchMethod) -> Self {
        match raw {
            RawWatchMethod::Close => Self::Close,
            RawWatchMethod::Shutdown => Self::Shutdown,
            RawWatchMethod::Destroy => Self::Destroy,
        }
    }
}

impl From<RawPolicy> for Policy {
    fn from(raw: RawPolicy) -> Self {
        Self { min_count: raw.min_count, max_per_run: raw.max_per_run }
    }
}
