//! Sockets without their holders: packed, in the order in which they are shown.

use std::cmp::Reverse;

use super::packed::Packed;
use super::row::SocketInfo;

/// Sockets, packed; they come out as they went in.
#[derive(Debug, Clone, Default)]
pub struct SocketRows(Vec<Packed>);

impl SocketRows {
    /// Adds one.
    pub fn push(&mut self, socket: SocketInfo) {
        self.0.push(Packed::new(socket));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = SocketInfo> + Clone {
        self.0.iter().map(Packed::unpack)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the longest idle first.
    pub(crate) fn sort(&mut self) {
        self.0.sort_unstable_by_key(|row| Reverse((row.idle_ms(), row.inode())));
    }
}
