//! What must hold of the readers of socket tables; see [`crate::fuzzing`].
#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::io::Read;

pub use super::diag::fuzzing::datagram;
use super::lines::each_line;
use super::row::{SocketInfo, parse_inet, parse_unix};
use super::{Endpoint, UnixName};
use crate::kind::Kind;

/// A reader that gives no more than a few bytes at a time.
struct Crumbs<'a> {
    rest: &'a [u8],
    size: usize,
}

impl Read for Crumbs<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = self.size.min(self.rest.len()).min(into.len());
        let (now, rest) = self.rest.split_at(len);
        into[..len].copy_from_slice(now);
        self.rest = rest;
        Ok(len)
    }
}

/// A table in `/proc/PID/net`: `tcp`, `udp` and their like, and `unix`.
pub fn table(text: &[u8]) {
    let size = 1 + usize::from(text.first().copied().unwrap_or_default());
    let mut lines: Vec<Option<Vec<u8>>> = Vec::new();
    let read = each_line(Crumbs { rest: text, size }, |line| lines.push(line.map(<[u8]>::to_vec)));
    assert!(read.is_ok());
    let mut expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        // Only what is too long to be a row may be dropped.
        assert!(line.as_deref().map_or(expected.len() >= 64 << 10, |line| line == expected));
    }
    for line in lines.iter().flatten() {
        for kind in [Kind::Tcp, Kind::Udp] {
            assert!(parse_inet(line, kind).is_none_or(|row| is_sane(&row, kind, line.len())));
        }
        assert!(parse_unix(line).is_none_or(|row| is_sane(&row, Kind::Unix, line.len())));
    }
}

/// Whether a row of `len` bytes may say this.
pub(super) fn is_sane(row: &SocketInfo, kind: Kind, len: usize) -> bool {
    let fits = |end: &Endpoint| match end {
        Endpoint::Inet(_) => kind != Kind::Unix,
        Endpoint::Unix(UnixName::Unnamed) => kind == Kind::Unix,
        Endpoint::Unix(UnixName::Path(name) | UnixName::Abstract(name)) => {
            kind == Kind::Unix && name.len() <= len
        }
    };
    let is_tame = |end: &Endpoint| !end.to_string().contains(char::is_control);
    let mut ends = std::iter::once(&row.local).chain(&row.peer);
    row.kind == kind && ends.all(|end| fits(end) && is_tame(end))
}
