use super::*;
use proptest::prelude::*;

fn inet(text: &str) -> Endpoint {
    Endpoint::Inet(text.parse().unwrap())
}

/// The tables of a little-endian machine; elsewhere the words are written the other way round.
#[cfg(target_endian = "little")]
#[test]
fn reads_tcp_rows() {
    // 6.x
    let row = parse_inet(
        b"   1: 0100007F:22B8 0100007F:C108 08 00000000:00000001 00:00000000 00000000    33        0 43000 1 \
          0000000000000000 20 4 30 10 -1                 ",
        Kind::Tcp,
    );
    assert_eq!(
        row,
        Some(SocketInfo {
            inode: Inode(43000),
            kind: Kind::Tcp,
            state: Some(TcpState::CloseWait),
            local: inet("127.0.0.1:8888"),
            peer: Some(inet("127.0.0.1:49416")),
            recv_q: 1,
            send_q: 0,
            uid: Some(33),
            idle_ms: None,
            cookie: None,
            interface: None,
        })
    );
    // 3.10, listening
    let row = parse_inet(
        b"   0: 00000000:0016 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 7710 1 \
          ffff88003d0a8000 100 0 0 10 -1",
        Kind::Tcp,
    );
    let row = row.unwrap();
    assert_eq!((row.state, row.peer, row.recv_q), (Some(TcpState::Listen), None, 3));
    assert_eq!(row.local.to_string(), "0.0.0.0:22");
    // TIME-WAIT ends after the pointer and has neither inode nor owner.
    let row = parse_inet(
        b"   5: 0100007F:22B8 0100007F:C10A 06 00000000:00000000 03:00001706 00000000     0        0 0 3 \
          0000000000000000",
        Kind::Tcp,
    );
    let row = row.unwrap();
    assert_eq!((row.inode, row.uid, row.state), (Inode(0), None, Some(TcpState::TimeWait)));
}

#[cfg(target_endian = "little")]
#[test]
fn reads_v6_and_udp_rows() {
    let row = parse_inet(
        b"   0: B80D01200000000000000000010000FF:0050 0000000000000000FFFF00000100007F:FFFF 01 \
          0000000A:000000FF 01:00000014 00000000  1000        0 99 2 0000000000000000 20 4 1 10 -1",
        Kind::Tcp,
    );
    let row = row.unwrap();
    assert_eq!(row.local, inet("[2001:db8::ff00:1]:80"));
    assert_eq!(row.peer, Some(inet("[::ffff:127.0.0.1]:65535")));
    assert_eq!((row.send_q, row.recv_q), (10, 255));

    let row = parse_inet(
        b"  412: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 1811 2 \
          0000000000000000 0",
        Kind::Udp,
    );
    let row = row.unwrap();
    assert_eq!((row.kind, row.state), (Kind::Udp, Some(TcpState::Close)));
    assert_eq!(row.local, inet("127.0.0.53:53"));
}

#[test]
fn refuses_what_is_no_row() {
    for line in [
        &b""[..],
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        b"   1: 0100007F:22B8",
        b"   1: 0100007F22B8 0100007F:C108 08 0:0 00:0 0 33 0 43000",
        b"   1: 0100007:22B8 0100007F:C108 08 0:0 00:0 0 33 0 43000",
        b"   1: 0100007F:122B8 0100007F:C108 08 0:0 00:0 0 33 0 43000",
        b"   1: 0100007F:22B8 0100007F:C108 108 0:0 00:0 0 33 0 43000",
        b"   1: 0100007F:22B8 0100007F:C108 08 0:0 00:0 0 33 0 x",
        b"   1  0100007F:22B8 0100007F:C108 08 0:0 00:0 0 33 0 43000",
    ] {
        assert_eq!(parse_inet(line, Kind::Tcp), None, "{line:?}");
    }
    // A state no kernel has yet is no reason to lose the row.
    let row = parse_inet(b"1: 0100007F:22B8 0100007F:C108 0F 0:0 00:0 0 33 0 43000", Kind::Tcp);
    assert_eq!(row.unwrap().state, None);
}

fn unix(line: &[u8]) -> Option<(u64, Option<TcpState>, UnixName)> {
    let row = parse_unix(line)?;
    match row.local {
        Endpoint::Unix(name) => Some((row.inode.0, row.state, name)),
        Endpoint::Inet(_) | Endpoint::Other => None,
    }
}

#[test]
fn reads_unix_rows() {
    let path = |path: &[u8]| UnixName::Path(path.to_vec());
    for (line, inode, state, name) in [
        (
            &b"000000002278a4c7: 00000003 00000000 00000000 0001 03  1077"[..],
            1077,
            TcpState::Established,
            UnixName::Unnamed,
        ),
        (
            b"ffff88003d0a8000: 00000002 00000000 00010000 0001 01  9912 /run/a b.sock",
            9912,
            TcpState::Listen,
            path(b"/run/a b.sock"),
        ),
        (
            b"00000000: 00000002 00000000 00000000 0002 01 123456 @/org/x@@",
            123_456,
            TcpState::Close,
            UnixName::Abstract(b"/org/x@@".to_vec()),
        ),
        (b"0: 2 0 0 5 02     7  \xff\x1b ", 7, TcpState::SynSent, path(b" \xff\x1b ")),
    ] {
        assert_eq!(unix(line), Some((inode, Some(state), name)));
    }
    for line in [
        &b""[..],
        b"Num       RefCount Protocol Flags    Type St Inode Path",
        b"rest of a name",
        b"0: 2 0 0 1 01",
        b"0: 2 0 0 1 01 x",
        b"0: 2 0 0 1 zz 5",
        b"0 2 0 0 1 01 5",
    ] {
        assert_eq!(unix(line), None, "{line:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _row_or_none = parse_inet(&line, Kind::Tcp);
        let _row_or_none = parse_unix(&line);
    }

    /// Written as the kernel does (`tcp4_seq_show`, `tcp6_seq_show`), every address comes back.
    #[test]
    fn addresses_read_back(addr in any::<SocketAddr>()) {
        let words: Vec<u8> = match addr.ip() {
            std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let word = |four: &[u8]| format!("{:08X}", u32::from_ne_bytes(four.try_into().unwrap()));
        let text = format!("{}:{:04X}", words.chunks_exact(4).map(word).collect::<String>(), addr.port());
        prop_assert_eq!(address(text.as_bytes()), Some(SocketAddr::new(addr.ip(), addr.port())));
    }

    #[test]
    fn unix_names_are_kept(name in prop::collection::vec(any::<u8>(), 0..108)) {
        prop_assume!(!name.starts_with(b"@"));
        let line = [&b"0: 00000002 00000000 00000000 0001 01   512 "[..], &name].concat();
        prop_assert_eq!(unix(&line), Some((512, Some(TcpState::Close), UnixName::Path(name))));
    }
}
