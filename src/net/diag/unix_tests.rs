use super::*;
use proptest::prelude::*;

fn row(state: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut row = vec![AF_UNIX, 1, state, 0];
    row.extend(43000u32.to_ne_bytes());
    row.extend(9u64.to_ne_bytes());
    for (kind, value) in attributes {
        row.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        row.extend(kind.to_ne_bytes());
        row.extend(*value);
        row.resize(row.len().next_multiple_of(4), 0);
    }
    row
}

fn local(name: &[u8]) -> Endpoint {
    parse(&row(1, &[(UNIX_DIAG_NAME, name)])).unwrap().local
}

#[test]
fn reads_a_row() {
    let queues = [3u32.to_ne_bytes(), 128u32.to_ne_bytes()].concat();
    let attributes: [(u16, &[u8]); 4] =
        [(UNIX_DIAG_NAME, b"/run/x\0"), (6, &[0]), (UNIX_DIAG_RQLEN, &queues), (UID, &33u32.to_ne_bytes())];
    let wanted = SocketInfo {
        inode: Inode(43000),
        kind: Kind::Unix,
        state: Some(TcpState::Listen),
        local: Endpoint::Unix(UnixName::Path(b"/run/x".to_vec())),
        peer: None,
        recv_q: 3,
        send_q: 128,
        uid: Some(33),
        idle_ms: None,
        cookie: Some(9),
        interface: None,
    };
    assert_eq!(parse(&row(10, &attributes)), Some(wanted));
}

#[test]
fn reads_names_as_they_are() {
    let path = |text: &[u8]| Endpoint::Unix(UnixName::Path(text.to_vec()));
    let hidden = |text: &[u8]| Endpoint::Unix(UnixName::Abstract(text.to_vec()));
    assert_eq!(local(b"@x\n0: 2 \xff\0"), path(b"@x\n0: 2 \xff"));
    assert_eq!(local(b"/no/end"), path(b"/no/end"));
    assert_eq!(local(b"/a\0b\0"), path(b"/a"));
    assert_eq!(local(b"\0name\0with\0"), hidden(b"name\0with\0"));
    assert_eq!(local(b"\0"), hidden(b""));
    assert_eq!(local(b""), Endpoint::Unix(UnixName::Unnamed));
    assert_eq!(parse(&row(1, &[])).unwrap().local, Endpoint::Unix(UnixName::Unnamed));
}

#[test]
fn short_attributes_tell_nothing() {
    let found = parse(&row(1, &[(UNIX_DIAG_RQLEN, &[1, 0, 0, 0, 5]), (UID, &[1, 2, 3])])).unwrap();
    assert_eq!((found.send_q, found.uid), (0, None));
    assert_eq!(parse(&row(1, &[])[..HEAD - 1]), None);
    let mut other = row(1, &[]);
    other[0] = 2;
    assert_eq!(parse(&other), None);
}

proptest! {
    #[test]
    fn never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = AF_UNIX;
        }
        prop_assert_eq!(parse(&bytes).is_some(), bytes.len() >= HEAD);
    }
}
