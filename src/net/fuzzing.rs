//! What must hold of the readers of socket tables; see [`crate::fuzzing`].
#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::io::Read;
use std::net::{IpAddr, SocketAddr};

pub use super::diag::fuzzing::datagram;
use super::lines::each_line;
use super::row::{SocketInfo, parse_inet, parse_unix};
use super::segment::{Ends, numbers_in};
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

/// An IP packet, heard on the wire, of the connections that its own ends would make.
pub fn packet(bytes: &[u8]) {
    let end = |at: usize, len: usize| {
        let address = bytes.get(at..at + len)?;
        let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from)).ok()
    };
    let port = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    for (from, to, len, ports) in [(12, 16, 4, 20), (8, 24, 16, 40)] {
        let ends = || {
            let local = SocketAddr::new(end(from, len)?, port(ports)?);
            Ends::new(local, SocketAddr::new(end(to, len)?, port(ports + 2)?))
        };
        let Some(ends) = ends() else { continue };
        if let Some(numbers) = numbers_in(bytes, ends) {
            let sent = numbers.next_out.wrapping_sub(numbers.unacknowledged);
            assert!(usize::try_from(sent).is_ok_and(|sent| sent <= bytes.len()));
            assert_eq!(
                numbers_in(bytes, Ends { local: ends.peer, peer: ends.local }).is_some(),
                ends.local == ends.peer
            );
        }
    }
}

/// Whether a row of `len` bytes may say this.
pub(super) fn is_sane(row: &SocketInfo, kind: Kind, len: usize) -> bool {
    let fits = |end: &Endpoint| match end {
        Endpoint::Inet(_) => kind != Kind::Unix,
        Endpoint::Other => false,
        Endpoint::Unix(UnixName::Unnamed) => kind == Kind::Unix,
        Endpoint::Unix(UnixName::Path(name) | UnixName::Abstract(name)) => {
            kind == Kind::Unix && name.len() <= len
        }
    };
    let is_tame = |end: &Endpoint| !end.to_string().contains(char::is_control);
    let mut ends = std::iter::once(&row.local).chain(&row.peer);
    row.kind == kind && ends.all(|end| fits(end) && is_tame(end))
}
