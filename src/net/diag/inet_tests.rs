use super::*;
use proptest::prelude::*;

/// `struct inet_diag_msg`, then attributes.
fn row(family: u8, state: u8, ends: [(&str, u16); 2], interface: u32, attributes: &[u8]) -> Vec<u8> {
    let mut row = vec![family, state, 0, 0];
    for (_, port) in ends {
        row.extend(port.to_be_bytes());
    }
    for (ip, _) in ends {
        let mut room = [0; 16];
        match ip.parse().unwrap() {
            IpAddr::V4(ip) => room[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => room = ip.octets(),
        }
        row.extend(room);
    }
    row.extend(interface.to_ne_bytes());
    row.extend(0x0123_4567_89ab_cdef_u64.to_ne_bytes());
    for word in [0, 5, 6, 33, 43000_u32] {
        row.extend(word.to_ne_bytes());
    }
    assert_eq!(row.len(), HEAD);
    row.extend(attributes);
    row
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

const ENDS: [(&str, u16); 2] = [("127.0.0.1", 8888), ("127.0.0.1", 49416)];

#[test]
fn reads_a_row() {
    let mut info = vec![0; 104];
    info[52..56].copy_from_slice(&7000u32.to_ne_bytes());
    info[56..60].copy_from_slice(&6000u32.to_ne_bytes());
    let attributes = [attribute(8, &[1]), attribute(INET_DIAG_INFO, &info)].concat();
    let wanted = SocketInfo {
        inode: Inode(43000),
        kind: Kind::Tcp,
        state: Some(TcpState::CloseWait),
        local: Endpoint::Inet("127.0.0.1:8888".parse().unwrap()),
        peer: Some(Endpoint::Inet("127.0.0.1:49416".parse().unwrap())),
        recv_q: 5,
        send_q: 6,
        uid: Some(33),
        idle_ms: Some(6000),
        cookie: Some(0x0123_4567_89ab_cdef),
        interface: Some(0),
    };
    assert_eq!(parse(&row(AF_INET, 8, ENDS, 0, &attributes), Kind::Tcp), Some(wanted.clone()));
    let udp = SocketInfo { kind: Kind::Udp, idle_ms: None, ..wanted };
    assert_eq!(parse(&row(AF_INET, 8, ENDS, 0, &attributes), Kind::Udp), Some(udp));
}

#[test]
fn a_broken_attribute_costs_only_what_follows_it() {
    let info = attribute(INET_DIAG_INFO, &[0; 104]);
    for broken in [&[3, 0, 1, 0][..], &[0xff, 0xff, 1, 0], &[8, 0], &attribute(INET_DIAG_INFO, &[0; 59])] {
        let found = parse(&row(AF_INET, 1, ENDS, 0, &[broken, &info].concat()), Kind::Tcp).unwrap();
        assert_eq!((found.inode, found.idle_ms), (Inode(43000), None), "{broken:?}");
        let found = parse(&row(AF_INET, 1, ENDS, 0, &[&info, broken].concat()), Kind::Tcp).unwrap();
        assert_eq!(found.idle_ms, Some(0), "{broken:?}");
    }
}

#[test]
fn reads_what_is_special() {
    let listening = parse(&row(AF_INET6, 10, [("::", 80), ("::", 0)], 0, &[]), Kind::Tcp).unwrap();
    assert_eq!((listening.peer, listening.local.to_string()), (None, "*:80".to_owned()));
    let waiting = parse(&row(AF_INET, 6, ENDS, 0, &[]), Kind::Tcp).unwrap();
    assert_eq!((waiting.state, waiting.uid), (Some(TcpState::TimeWait), None));
    let local = parse(&row(AF_INET6, 1, [("fe80::1", 80), ("fe80::2", 5)], 3, &[]), Kind::Tcp).unwrap();
    assert_eq!(local.local.to_string(), "[fe80::1%3]:80");
    assert_eq!((local.peer.unwrap().to_string(), local.interface), ("[fe80::2%3]:5".to_owned(), Some(3)));
    assert_eq!(parse(&row(AF_INET, 99, ENDS, 0, &[]), Kind::Tcp).unwrap().state, None);
    assert_eq!(parse(&row(1, 1, ENDS, 0, &[]), Kind::Tcp), None);
    assert_eq!(parse(&row(AF_INET, 1, ENDS, 0, &[])[..HEAD - 1], Kind::Tcp), None);
}

#[test]
fn asks_in_the_family_the_kernel_keeps_it_in() {
    let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
    let family = |local, peer| match exact_tcp(addr(local), addr(peer), 0) {
        Some(SockDiagMessage::InetRequest(request)) => {
            Some((request.family, request.socket_id.source_address))
        }
        Some(other) => panic!("{other:?}"),
        None => None,
    };
    let v4 = Some((AF_INET, "10.0.0.1".parse().unwrap()));
    assert_eq!(family("10.0.0.1:1", "10.0.0.2:2"), v4);
    assert_eq!(family("[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.2]:2"), v4);
    assert_eq!(family("[::ffff:10.0.0.1]:1", "10.0.0.2:2"), v4);
    assert_eq!(family("[::1]:1", "[::2]:2"), Some((AF_INET6, "::1".parse().unwrap())));
    assert_eq!(family("[::1]:1", "10.0.0.2:2"), None);
}

#[test]
fn the_request_for_both_families_is_laid_out_as_the_kernel_wants_it() {
    let mut bytes = [0xff; 60];
    AllTcp { states: 0x1234, want_info: true }.serialize(&mut bytes);
    // AF_UNSPEC, two prefix lengths, INET_DIAG_INFO (2) as bit 1; 48 bytes of ends and cookie; states; dbs.
    let mut wanted = [0; 60];
    wanted[3] = 2;
    wanted[52..56].copy_from_slice(&0x1234u32.to_ne_bytes());
    assert_eq!(bytes, wanted);
}

proptest! {
    #[test]
    fn never_panics(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        family in prop::sample::select(vec![AF_INET, AF_INET6]),
    ) {
        let _ = parse(&bytes, Kind::Tcp);
        if let Some(first) = bytes.first_mut() {
            *first = family;
        }
        prop_assert_eq!(parse(&bytes, Kind::Tcp).is_some(), bytes.len() >= HEAD);
    }

    #[test]
    fn never_panics_on_attributes(
        kind in 0u16..20,
        length in any::<u16>(),
        value in prop::collection::vec(any::<u8>(), 0..260),
    ) {
        let attribute = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat();
        prop_assert!(parse(&row(AF_INET, 1, ENDS, 0, &attribute), Kind::Tcp).is_some());
    }
}
