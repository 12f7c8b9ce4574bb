//! What must hold of the readers of netlink messages; see [`crate::fuzzing`].
#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use super::message::{Body, Message, Messages};
use super::{inet, unix};
use crate::kind::Kind;
use crate::net::fuzzing::is_sane;

/// A datagram from sock_diag(7), and any bytes as a row in one.
pub fn datagram(bytes: &[u8]) {
    let (mut count, mut broken) = (0, 0);
    for message in Messages::of(bytes) {
        count += 1;
        match message {
            Ok(Message { body: Body::Row(bytes), .. }) => row(bytes),
            Ok(_) => {}
            Err(_) => broken += 1,
        }
    }
    // A head is 16 bytes; what is left over is one broken message.
    assert!(count <= bytes.len() / 16 + 1 && broken <= count);
    row(bytes);
}

fn row(bytes: &[u8]) {
    for kind in [Kind::Tcp, Kind::Udp] {
        assert!(inet::parse(bytes, kind).is_none_or(|row| is_sane(&row, kind, bytes.len())));
    }
    assert!(unix::parse(bytes).is_none_or(|row| is_sane(&row, Kind::Unix, bytes.len())));
}
