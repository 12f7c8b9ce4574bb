//! The options of `keepalive` that no other command has.

use clap::Args;

use super::super::values;
use crate::net::KeepaliveWish;

#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Keepalive")]
pub(in crate::cli) struct RawWish {
    /// Ask the peer after so long without a word from it
    ///
    /// A time in whole seconds, up to 32767s. What is not given stays as the socket has it: 2 hours, 75
    /// seconds and 9 times, unless the system or the application has others.
    #[arg(long, value_name = "TIME", value_parser = values::keepalive_time(), allow_hyphen_values = true)]
    idle: Option<u32>,
    /// Ask again every so often
    #[arg(long, value_name = "TIME", value_parser = values::keepalive_time(), allow_hyphen_values = true)]
    interval: Option<u32>,
    /// End the connection after so many questions without an answer, 1 to 127
    #[arg(long, value_name = "N", value_parser = values::keepalive_count(), allow_hyphen_values = true)]
    count: Option<u32>,
    /// End it after so long without an acknowledgement (TCP_USER_TIMEOUT)
    ///
    /// This ends connections with data on the way, too, for which the kernel asks no keepalive questions.
    #[arg(long, value_name = "TIME", value_parser = values::user_timeout(), allow_hyphen_values = true)]
    user_timeout: Option<u32>,
    /// Touch nothing, show what would be done
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Do not ask before acting on a broad selection
    #[arg(short, long)]
    pub(super) yes: bool,
}

impl From<RawWish> for KeepaliveWish {
    fn from(raw: RawWish) -> Self {
        Self {
            idle_s: raw.idle,
            interval_s: raw.interval,
            count: raw.count,
            user_timeout_ms: raw.user_timeout,
        }
    }
}
