//! The netlink messages in one datagram (netlink(7)). Pure.

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP,
    NLMSG_OVERRUN, NetlinkBuffer,
};
use nix::errno::Errno;

use super::error::DiagError;

/// Messages start at multiples of this.
const ALIGN: usize = 4;

/// One message of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The number of the request it answers.
    pub(super) sequence: u32,
    /// Whether more follow, up to [`Body::End`].
    pub(super) multipart: bool,
    /// Whether the kernel noticed that what it lists changed meanwhile.
    pub(super) interrupted: bool,
    pub(super) body: Body<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// What was asked for.
    Row(&'a [u8]),
    /// Nothing more comes: all was well, or the reason why not.
    End(Result<(), Errno>),
    /// Nothing.
    Noop,
}

/// The messages of one datagram, up to and with the first that is broken.
pub(super) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(super) fn of(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DiagError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return None;
        }
        Some(NetlinkBuffer::new_checked(rest).map_err(|_| DiagError::Malformed("message length")).and_then(
            |message| {
                let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
                self.rest = rest.get(length.saturating_add(ALIGN - 1) & !(ALIGN - 1)..).unwrap_or_default();
                parse(&message)
            },
        ))
    }
}

fn parse<'a>(message: &NetlinkBuffer<&'a [u8]>) -> Result<Message<'a>, DiagError> {
    let payload = message.payload();
    let body = match message.message_type() {
        NLMSG_NOOP => Body::Noop,
        NLMSG_OVERRUN => return Err(DiagError::Malformed("overrun")),
        NLMSG_ERROR => {
            let error = ErrorBuffer::new_checked(payload);
            let code = error.map_err(|_| DiagError::Malformed("error length"))?.code();
            Body::End(result(code.map_or(0, i32::from)))
        }
        NLMSG_DONE => {
            let done = DoneBuffer::new_checked(payload);
            Body::End(result(done.map_err(|_| DiagError::Malformed("end length"))?.code()))
        }
        _ => Body::Row(payload),
    };
    Ok(Message {
        sequence: message.sequence_number(),
        multipart: message.flags() & NLM_F_MULTIPART != 0,
        interrupted: message.flags() & NLM_F_DUMP_INTR != 0,
        body,
    })
}

/// Errors come negated.
fn result(code: i32) -> Result<(), Errno> {
    match code.checked_neg() {
        Some(raw) if raw > 0 => Err(Errno::from_raw(raw)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn bodies(datagram: &[u8]) -> Vec<Result<Body<'_>, DiagError>> {
        Messages::of(datagram).map(|message| message.map(|message| message.body)).collect()
    }

    #[test]
    fn a_datagram_may_hold_several() {
        let datagram =
            [message(20, 2, b"one"), message(1, 0, b""), message(20, 0x12, b"four"), message(3, 2, &[0; 4])]
                .concat();
        let all: Vec<_> = Messages::of(&datagram).map(Result::unwrap).collect();
        let row =
            |interrupted, row| Message { sequence: 7, multipart: true, interrupted, body: Body::Row(row) };
        assert_eq!(all[0], row(false, b"one"));
        assert_eq!(all[1].body, Body::Noop);
        assert_eq!(all[2], row(true, b"four"));
        assert_eq!(all[3].body, Body::End(Ok(())));
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn errors_are_told_by_number() {
        let no = |code: i32| code.to_ne_bytes();
        assert_eq!(bodies(&message(2, 0, &no(-2))), [Ok(Body::End(Err(Errno::ENOENT)))]);
        assert_eq!(bodies(&message(3, 2, &no(-95))), [Ok(Body::End(Err(Errno::EOPNOTSUPP)))]);
        assert_eq!(bodies(&message(2, 0, &no(0))), [Ok(Body::End(Ok(())))]);
        assert_eq!(bodies(&message(3, 0, &no(i32::MIN))), [Ok(Body::End(Ok(())))]);
        assert_eq!(bodies(&message(2, 0, b"xyz")), [Err(DiagError::Malformed("error length"))]);
        assert_eq!(bodies(&message(3, 0, b"")), [Err(DiagError::Malformed("end length"))]);
        assert_eq!(bodies(&message(4, 0, b"")), [Err(DiagError::Malformed("overrun"))]);
    }

    #[test]
    fn a_wrong_length_ends_it() {
        for length in [0u32, 15, 25, u32::MAX] {
            let mut datagram = [message(20, 2, b"good"), message(20, 2, b"evil")].concat();
            datagram[20..24].copy_from_slice(&length.to_ne_bytes());
            let wanted = [Ok(Body::Row(b"good".as_slice())), Err(DiagError::Malformed("message length"))];
            assert_eq!(bodies(&datagram), wanted);
        }
        assert_eq!(bodies(&[0; 5]), [Err(DiagError::Malformed("message length"))]);
        assert_eq!(bodies(&[]), []);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0u32..64) {
            let steps = |bytes: &[u8]| Messages::of(bytes).count();
            prop_assert!(steps(&bytes) <= bytes.len());
            if let Some(field) = bytes.get_mut(..4) {
                field.copy_from_slice(&length.to_ne_bytes());
            }
            prop_assert!(steps(&bytes) <= bytes.len());
        }
    }
}
