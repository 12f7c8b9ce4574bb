//! The options of `--method reset`.

use clap::Args;

use super::{UsageError, values};
use crate::method::ResetWish;

#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Conduct")]
pub(super) struct RawReset {
    /// The sequence number that the connection expects next
    ///
    /// For --method reset of one connection. It is found by fdclose otherwise.
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = values::seq(), allow_hyphen_values = true)]
    seq: Option<u32>,
    /// Send the RST of --method reset to the peer, too
    #[arg(long, hide_short_help = true)]
    both_ends: bool,
}

impl RawReset {
    /// Options that would be ignored without a word, or of which one makes the other impossible.
    pub(super) fn contradiction(self, is_method: bool) -> Option<UsageError> {
        let error = |message: &str| Some(UsageError { message: message.to_owned(), hint: None });
        match self {
            Self { seq: Some(_), both_ends: true } => {
                error("--both-ends takes the numbers of both ends, and --seq gives one: leave out --seq")
            }
            Self { seq: Some(_), .. } if !is_method => error("--seq has a meaning for --method reset only"),
            Self { both_ends: true, .. } if !is_method => {
                error("--both-ends has a meaning for --method reset only")
            }
            _ => None,
        }
    }
}

impl From<RawReset> for ResetWish {
    fn from(raw: RawReset) -> Self {
        Self { number: raw.seq, both_ends: raw.both_ends }
    }
}
