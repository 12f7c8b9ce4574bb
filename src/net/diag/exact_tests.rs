use super::*;
use crate::ids::Inode;
use crate::kind::Kind;
use crate::net::{SocketInfo, TcpState};
use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};
use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

pub(super) fn inode_of(socket: &impl AsRawFd) -> Inode {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    let text = link.to_str().unwrap().strip_prefix("socket:[").unwrap();
    text.strip_suffix(']').unwrap().parse().unwrap()
}

/// Client and accepted server, and what they are called.
fn pair(listen: &str, connect: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind(listen).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect((connect, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    (listener, client, server)
}

fn ask(diag: &mut Diag, socket: &TcpStream) -> Option<SocketInfo> {
    diag.tcp(socket.local_addr().unwrap(), socket.peer_addr().unwrap()).unwrap()
}

#[test]
fn a_connection_is_found_by_its_ends() {
    let (_listener, client, server) = pair("127.0.0.1:0", "127.0.0.1");
    let mut diag = Diag::open().unwrap();
    let found = ask(&mut diag, &server).unwrap();
    assert_eq!((found.inode, found.kind), (inode_of(&server), Kind::Tcp));
    assert_eq!(found.state, Some(TcpState::Established));
    assert_eq!(found.uid, Some(nix::unistd::geteuid().as_raw()));
    assert_eq!(found.interface, Some(0));
    assert!(found.idle_ms.is_some_and(|idle| idle < 60_000), "{found:?}");
    assert_eq!(ask(&mut diag, &client).unwrap().inode, inode_of(&client));
}

#[test]
fn the_end_of_the_peer_shows_as_close_wait() {
    let (_listener, client, mut server) = pair("127.0.0.1:0", "127.0.0.1");
    let (local, peer) = (server.local_addr().unwrap(), server.peer_addr().unwrap());
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0, "the FIN has arrived");
    let mut diag = Diag::open().unwrap();
    let found = ask(&mut diag, &server).unwrap();
    assert_eq!((found.state, found.inode), (Some(TcpState::CloseWait), inode_of(&server)));

    // The orphan that its close leaves behind has no inode; sooner or later there is nothing, or TIME-WAIT.
    drop(server);
    let left = diag.tcp(local, peer).unwrap();
    assert!(left.as_ref().is_none_or(|left| left.inode == Inode(0)), "{left:?}");
}

#[test]
fn a_listener_on_the_port_is_not_taken_for_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let mut diag = Diag::open().unwrap();
    assert_eq!(diag.tcp(local, "127.0.0.1:1".parse().unwrap()).unwrap(), None);
    drop(listener);
    assert_eq!(diag.tcp(local, "127.0.0.1:1".parse().unwrap()).unwrap(), None);
}

#[test]
fn ends_of_two_families_belong_to_no_socket() {
    let mut diag = Diag::open().unwrap();
    assert_eq!(diag.tcp("[::1]:1".parse().unwrap(), "127.0.0.1:1".parse().unwrap()).unwrap(), None);
}

#[test]
fn v6_sockets_are_found_also_by_the_v4_addresses_they_stand_for() {
    let mut diag = Diag::open().unwrap();
    if let Err(error) = TcpListener::bind("[::1]:0") {
        return println!("skipped: no IPv6 here: {error}");
    }
    let (_listener, client, server) = pair("[::1]:0", "::1");
    assert_eq!(ask(&mut diag, &server).unwrap().inode, inode_of(&server));
    assert_eq!(ask(&mut diag, &client).unwrap().inode, inode_of(&client));

    let (_listener, client, server) = pair("[::]:0", "127.0.0.1");
    assert!(server.local_addr().unwrap().to_string().starts_with("[::ffff:127.0.0.1]:"));
    let (local, peer) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    let by_v4 = diag.tcp(local, peer).unwrap().unwrap();
    assert_eq!(by_v4.inode, inode_of(&server));
    assert_eq!(by_v4.local.to_string(), format!("[::ffff:127.0.0.1]:{}", local.port()));
    assert_eq!(ask(&mut diag, &server).unwrap().inode, inode_of(&server));
    // The v4 end of the same connection, asked for in v6's clothes.
    let mapped = |addr: SocketAddr| match addr {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 @ SocketAddr::V6(_) => v6,
    };
    assert_eq!(diag.tcp(mapped(peer), mapped(local)).unwrap().unwrap().inode, inode_of(&client));
}

#[test]
fn a_connection_bound_to_an_interface_is_only_found_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client: OwnedFd =
        socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    if let Err(errno) = socket::setsockopt(&client, BindToDevice, &"lo".into()) {
        return println!("skipped: SO_BINDTODEVICE needs Linux 5.7 or CAP_NET_RAW: {errno}");
    }
    let at = SockaddrIn::new(127, 0, 0, 1, listener.local_addr().unwrap().port());
    socket::connect(client.as_raw_fd(), &at).unwrap();
    let client = TcpStream::from(client);
    let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    assert_eq!(local.ip(), Ipv4Addr::LOCALHOST);
    let lo = nix::net::if_::if_nametoindex("lo").unwrap();

    let mut diag = Diag::open().unwrap();
    assert_eq!(diag.tcp(local, peer).unwrap(), None);
    assert_eq!(diag.tcp_bound(local, peer, lo + 1).unwrap(), None);
    let found = diag.tcp_bound(local, peer, lo).unwrap().unwrap();
    assert_eq!((found.inode, found.interface), (inode_of(&client), Some(lo)));
}
