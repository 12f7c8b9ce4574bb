//! A netlink socket to the kernel's sock_diag(7), and one request at a time over it.

use libc::MSG_TRUNC;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::error::DiagError;
use super::message::{Body, Messages};
use crate::watchdog;

/// The longest datagram: the kernel builds dumps in buffers of at most 32 KiB (`netlink_dump`,
/// net/netlink/af_netlink.c).
const ROOM: usize = 32 << 10;
/// How long to wait for a datagram. The kernel has answered when `send` returns, and makes the next part of a
/// dump while the one before is read, so there is nothing to wait for unless something is wrong.
const PATIENCE_SECS: i64 = 2;
/// How many datagrams in a row may be none of ours, or no datagram at all for a signal, before it is given up.
const STRAYS: usize = 64;

/// What is asked for: one row, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    One,
    All,
    /// Something is to be done.
    Do,
}

#[derive(Debug)]
pub(super) struct Channel {
    socket: Socket,
    buf: Vec<u8>,
    sequence: u32,
}

impl Channel {
    /// Opens one in the network namespace of the calling thread, where it stays.
    pub(super) fn open() -> Result<Self, DiagError> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECS))?;
        // From here on nobody but the kernel can put a datagram into it.
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, buf: Vec::with_capacity(ROOM), sequence: 0 })
    }

    /// Sends a request and hands every row of the answer to `each`. Returns whether what was listed changed
    /// meanwhile. After an error other than [`DiagError::Refused`] part of the answer may not have been read,
    /// and the kernel refuses to list anything else (EBUSY) until it has been.
    pub(super) fn request(
        &mut self,
        request: impl NetlinkSerializable,
        ask: Ask,
        mut each: impl FnMut(&[u8]),
    ) -> Result<bool, DiagError> {
        self.send(request, ask)?;
        let sequence = self.sequence;
        let mut interrupted = false;
        let mut strays = 0;
        while strays < STRAYS {
            strays += 1;
            let Some(datagram) = self.receive()? else { continue };
            for message in Messages::of(datagram) {
                let message = message?;
                // Something else is what is left of an answer that was not read to its end.
                if message.sequence != sequence {
                    continue;
                }
                strays = 0;
                interrupted |= message.interrupted;
                match message.body {
                    Body::Row(row) => each(row),
                    Body::End(end) => return end.map(|()| interrupted).map_err(DiagError::from),
                    Body::Noop => continue,
                }
                if ask == Ask::One && !message.multipart {
                    return Ok(interrupted);
                }
            }
        }
        Err(DiagError::NoAnswer)
    }

    fn send(&mut self, request: impl NetlinkSerializable, ask: Ask) -> Result<(), DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = match ask {
            Ask::One => NLM_F_REQUEST,
            Ask::All => NLM_F_REQUEST | NLM_F_DUMP,
            Ask::Do => NLM_F_REQUEST | NLM_F_ACK,
        };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        loop {
            match self.socket.send(&bytes, 0).map_err(DiagError::from) {
                Ok(_) => return Ok(()),
                Err(DiagError::Refused(Errno::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next datagram; `None` if a signal came instead.
    fn receive(&mut self) -> Result<Option<&[u8]>, DiagError> {
        watchdog::beat();
        self.buf.clear();
        match self.socket.recv(&mut self.buf, MSG_TRUNC).map_err(DiagError::from) {
            Ok(length) if length > self.buf.len() => Err(DiagError::Malformed("datagram length")),
            Ok(_) => Ok(Some(&self.buf)),
            Err(DiagError::Refused(Errno::EINTR)) => Ok(None),
            Err(DiagError::Refused(Errno::EAGAIN)) => Err(DiagError::NoAnswer),
            Err(error) => Err(error),
        }
    }
}
