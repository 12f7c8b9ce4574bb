//! The last column: both ends of a connection, or a name.

use std::borrow::Cow;

use super::super::digits::push_address;
use super::super::sanitize::{columns, keep_end};
use super::row::Row;

/// A column is not squeezed below this: `-> 255.255.255.255:65535`.
pub(super) const LEAST: usize = 24;

/// How the last column of a row is laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// On the row.
    Beside(Cow<'a, str>),
    /// The near end on the row, the far end under it.
    Stacked(String, String),
    /// On lines of its own.
    Below(Vec<String>),
}

impl<'a> Shown<'a> {
    /// Lays out the last column of `row`, which starts at column `before` of a terminal `width` wide.
    pub(super) fn new(row: &'a Row, width: Option<usize>, before: usize, indent: usize) -> Self {
        let text = whole(row);
        let Some(width) = width else { return Self::Beside(text) };
        let room = width.saturating_sub(before);
        if columns(&text) <= room {
            return Self::Beside(text);
        }
        let own_line = width.saturating_sub(indent).max(LEAST);
        match (row.local, row.peer) {
            (Some(local), Some(peer)) => {
                let (near, far) = (local.to_string(), format!("-> {peer}"));
                if near.len().max(far.len()) <= room {
                    Self::Stacked(near, far)
                } else if text.len() <= own_line {
                    Self::Below(vec![text.into_owned()])
                } else {
                    Self::Below(vec![near, far])
                }
            }
            (Some(_), None) => Self::Below(vec![text.into_owned()]),
            (None, _) if room >= LEAST => Self::Beside(Cow::Owned(keep_end(&text, room).into_owned())),
            (None, _) => Self::Below(vec![keep_end(&text, own_line).into_owned()]),
        }
    }
}

/// The last column if there is room for all of it.
pub(super) fn whole(row: &Row) -> Cow<'_, str> {
    match (row.local, row.peer) {
        (Some(local), Some(peer)) => {
            // Two addresses and the arrow, most often.
            let mut text = String::with_capacity(48);
            push_address(&mut text, local);
            text.push_str(" -> ");
            push_address(&mut text, peer);
            text.into()
        }
        (Some(local), None) => local.to_string().into(),
        (None, _) if row.deleted => format!("{} (deleted)", row.shown_name()).into(),
        (None, _) => row.shown_name(),
    }
}
