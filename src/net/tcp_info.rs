//! What `struct tcp_info` (linux/tcp.h, tcp(7)) says. Pure.
//!
//! The kernel has only ever added fields at its end (104 bytes on 3.10, 144 on RHEL 7 and 4.4, 232 on 6.1), so
//! a field is there if the structure is long enough for it.

use super::state::TcpState;

/// Where `tcpi_last_data_recv` and `tcpi_last_ack_recv` lie: milliseconds since then.
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;

/// So many bytes of it have all that is read here.
pub(super) const HEAD: usize = 60;

/// Its first byte, `tcpi_state`.
pub(super) fn state(info: &[u8]) -> Option<TcpState> {
    TcpState::from_kernel(*info.first()?)
}

/// For how long nothing has come from the peer, data or acknowledgement, in milliseconds. The counters have 32
/// bits: beyond 49 days they start again from 0.
///
/// What this end sends does not count: it goes on sending to a peer that is gone (retransmissions, keepalive
/// probes), and what a living peer receives it acknowledges. `None` in a state without a connection, where the
/// counters mean nothing.
pub(super) fn idle_ms(info: &[u8], state: TcpState) -> Option<u64> {
    if !state.is_connection() {
        return None;
    }
    Some(field(info, LAST_DATA_RECV)?.min(field(info, LAST_ACK_RECV)?).into())
}

fn field(info: &[u8], at: usize) -> Option<u32> {
    let bytes = info.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(length: usize, data: u32, ack: u32) -> Vec<u8> {
        let mut info = vec![0xaa; length.max(60)];
        info[52..56].copy_from_slice(&data.to_ne_bytes());
        info[56..60].copy_from_slice(&ack.to_ne_bytes());
        info.truncate(length);
        info
    }

    #[test]
    fn the_later_of_data_and_acknowledgement_counts() {
        for length in [60, 104, 144, 232, 300] {
            assert_eq!(idle_ms(&info(length, 700, 30), TcpState::CloseWait), Some(30));
            assert_eq!(idle_ms(&info(length, 30, u32::MAX), TcpState::Established), Some(30));
        }
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        for length in [0, 55, 59] {
            assert_eq!(idle_ms(&info(length, 1, 2), TcpState::Established), None);
        }
        assert_eq!(idle_ms(&info(104, 1, 2), TcpState::Listen), None);
        assert_eq!(idle_ms(&info(104, 1, 2), TcpState::SynSent), None);
    }
}
