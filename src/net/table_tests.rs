use super::*;
use crate::ids::{Fd, Pid};
use crate::net::TcpState;
use crate::proc::Procfs;
use std::collections::HashMap;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

const STAT: &str = "100 (x) S 1 100 100 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0\n";
const TCP: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
    \x20  0: 0100007F:22B8 0100007F:C108 08 00000000:00000001 00:00000000 00000000    33        0 43000 1 0 20\n\
    \x20  1: broken\n\
    \x20  2: 0100007F:22B8 0100007F:C10A 06 00000000:00000000 03:00001706 00000000     0        0 0 3 0\n\
    \x20  3: 0100007F:22B8 0100007F:C10C 01 00000000:00000000 00:00000000 00000000    33        0 43001 1 0 20\n";

/// A process 100 whose network namespace has these tables.
fn fake(tables: &[(&str, &[u8])]) -> (tempfile::TempDir, Process) {
    let root = tempfile::tempdir().unwrap();
    let thread = root.path().join("100/task/100");
    std::fs::create_dir_all(thread.join("net")).unwrap();
    std::fs::write(root.path().join("100/comm"), "x\n").unwrap();
    std::fs::write(thread.join("stat"), STAT).unwrap();
    for (name, text) in tables {
        std::fs::write(thread.join("net").join(name), text).unwrap();
    }
    let process = Procfs::at(root.path()).open_listed(Pid::new(100).unwrap()).unwrap();
    (root, process)
}

fn local(table: &SocketTable, inode: u64) -> String {
    table.get(Inode(inode)).unwrap().local.to_string()
}

#[test]
fn one_broken_line_costs_only_itself() {
    let (_root, process) = fake(&[("tcp", TCP)]);
    let table = SocketTable::read(&process, Protocols::ALL).unwrap();
    assert_eq!((table.iter().count(), table.skipped()), (3, 1));
    assert_eq!(table.get(Inode(43000)).unwrap().state, Some(TcpState::CloseWait));
    assert_eq!(table.get(Inode(43001)).unwrap().state, Some(TcpState::Established));
    assert_eq!(table.get(Inode(0)), None);
    assert_eq!(table.get(Inode(42999)), None);
    assert_eq!(table.get(Inode(50000)), None);
}

#[cfg(target_endian = "little")]
#[test]
fn a_connection_without_a_descriptor_is_still_found() {
    let (_root, process) = fake(&[("tcp", TCP)]);
    let table = SocketTable::read(&process, Protocols::TCP).unwrap();
    let end = |text: &str| Endpoint::Inet(text.parse().unwrap());
    let states = |local, peer| {
        let found = table.connections(Kind::Tcp, &end(local), &end(peer));
        found.map(|row| row.state).collect::<Vec<_>>()
    };
    assert_eq!(states("127.0.0.1:8888", "127.0.0.1:49418"), [Some(TcpState::TimeWait)]);
    assert_eq!(states("[::ffff:127.0.0.1]:8888", "127.0.0.1:49418"), [Some(TcpState::TimeWait)]);
    assert_eq!(states("127.0.0.1:8888", "127.0.0.1:1"), []);
    let unnamed = Endpoint::Unix(UnixName::Unnamed);
    assert_eq!(table.connections(Kind::Tcp, &unnamed, &unnamed).count(), 0);
}

#[test]
fn only_the_tables_asked_for_are_read() {
    let unix: &[u8] = b"Num\n0: 2 0 0 1 01 7 /x\n";
    let (_root, process) = fake(&[("tcp", TCP), ("unix", unix)]);
    assert!(SocketTable::read(&process, Protocols::TCP).unwrap().get(Inode(7)).is_none());
    let table = SocketTable::read(&process, Protocols { tcp: false, ..Protocols::ALL }).unwrap();
    assert_eq!((table.iter().count(), local(&table, 7)), (1, "/x".to_owned()));
}

#[test]
fn a_made_up_row_is_not_believed() {
    // Socket 8 is bound to a path with two rows in it: one about the TCP socket 43000, one about socket 7.
    let unix: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
        0: 00000002 00000000 00000000 0001 01     7 /run/true.sock\n\
        0: 00000002 00000000 00000000 0001 01     8 /tmp/x\n\
        0: 00000002 00000000 00010000 0001 01 43000 /run/lie\n\
        0: 00000002 00000000 00010000 0001 01 7 /run/lie\n\
        rest\n";
    let (_root, process) = fake(&[("tcp", TCP), ("unix", unix)]);
    let table = SocketTable::read(&process, Protocols::ALL).unwrap();
    assert_eq!(table.get(Inode(43000)).unwrap().kind, Kind::Tcp);
    let row = table.get(Inode(7)).unwrap();
    assert_eq!((row.kind, row.state, local(&table, 7)), (Kind::Unix, None, "*".to_owned()));
    assert_eq!(local(&table, 8), "/tmp/x");
    assert_eq!(table.skipped(), 2);
}

#[test]
fn missing_tables_are_no_error_but_a_missing_thread_is() {
    let (root, process) = fake(&[]);
    assert_eq!(SocketTable::read(&process, Protocols::ALL).unwrap().iter().count(), 0);
    std::fs::remove_dir_all(root.path().join("100/task/100")).unwrap();
    std::fs::create_dir_all(root.path().join("100/task/101")).unwrap();
    let error = SocketTable::read_thread(&process, Pid::new(100).unwrap().leader(), Protocols::TCP);
    assert!(matches!(error, Err(NetError::Proc(ProcError::Gone { .. }))), "{error:?}");
    assert!(SocketTable::read(&process, Protocols::TCP).is_err());
}

/// This test's own sockets, as the kernel lists them.
struct Own {
    table: SocketTable,
    inodes: HashMap<i32, Inode>,
}

impl Own {
    fn read() -> Self {
        Self::read_by(SocketTable::read_thread)
    }

    /// Without sock_diag(7).
    fn read_proc() -> Self {
        Self::read_by(SocketTable::read_proc)
    }

    fn read_by(read: fn(&Process, Tid, Protocols) -> Result<SocketTable, NetError>) -> Self {
        let process = Procfs::host().open(Pid::new(std::process::id().cast_signed()).unwrap()).unwrap();
        let dir = process.fd_dir_of_process().unwrap();
        let inode = |fd: Fd| Some((fd.as_raw(), dir.read(fd).unwrap()?.inode()?));
        let inodes = dir.list().unwrap().into_iter().filter_map(inode).collect();
        Self { table: read(&process, process.pid().leader(), Protocols::ALL).unwrap(), inodes }
    }

    fn get(&self, socket: &impl AsRawFd) -> SocketInfo {
        self.table.get(self.inodes[&socket.as_raw_fd()]).unwrap()
    }
}

#[test]
fn own_inet_sockets_are_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let queued = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0, "the FIN has arrived");

    let own = Own::read();
    let row = own.get(&listener);
    assert_eq!((row.kind, row.state, &row.peer), (Kind::Tcp, Some(TcpState::Listen), &None));
    assert_eq!((row.local.canonical(), row.recv_q), (Some(listener.local_addr().unwrap()), 1));
    assert_eq!(row.uid, Some(nix::unistd::geteuid().as_raw()));
    let row = own.get(&server);
    assert_eq!(row.state, Some(TcpState::CloseWait));
    assert_eq!(row.peer.as_ref().and_then(Endpoint::canonical), Some(peer));
    // Whether the server's kernel has acknowledged it yet is up to the delayed ACK.
    assert!(matches!(own.get(&client).state, Some(TcpState::FinWait1 | TcpState::FinWait2)));
    let row = own.get(&udp);
    assert_eq!((row.kind, row.state), (Kind::Udp, Some(TcpState::Close)));
    assert_eq!(row.local.canonical(), Some(udp.local_addr().unwrap()));
    drop(queued);
}

#[test]
fn own_v6_sockets_are_found_where_there_is_v6() {
    let listener = match TcpListener::bind("[::]:0") {
        Ok(listener) => listener,
        Err(error) => return println!("skipped: no IPv6 here: {error}"),
    };
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (server, _) = listener.accept().unwrap();

    let own = Own::read();
    assert_eq!(own.get(&listener).local.to_string(), format!("*:{port}"));
    let row = own.get(&server);
    assert_eq!(row.local.to_string(), format!("[::ffff:127.0.0.1]:{port}"));
    assert_eq!(row.local.canonical(), Some(client.peer_addr().unwrap()));
}

#[test]
fn own_unix_sockets_are_found_whatever_they_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(std::ffi::OsStr::from_bytes(b"a \x1b[2J\xff "));
    let listener = UnixListener::bind(&path).unwrap();
    let (one, _other) = UnixStream::pair().unwrap();
    let name = [b"fdclose\xfe test ", std::process::id().to_string().as_bytes()].concat();
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    // The rest of this name would be a row of its own, about the listener.
    let own = Own::read();
    let forged = format!("\n0: 2 0 0 1 03 {} /lie", own.inodes[&listener.as_raw_fd()]);
    let row = own.get(&listener);
    assert_eq!((row.kind, row.state), (Kind::Unix, Some(TcpState::Listen)));
    assert_eq!(row.local, Endpoint::Unix(UnixName::Path(path.as_os_str().as_bytes().to_vec())));
    assert_eq!(own.get(&one).local, Endpoint::Unix(UnixName::Unnamed));
    assert_eq!(own.get(&one).state, Some(TcpState::Established));
    assert_eq!(own.get(&hidden).local, Endpoint::Unix(UnixName::Abstract(name)));

    let _liar = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&forged).unwrap()).unwrap();
    assert_eq!(Own::read_proc().get(&listener).local, Endpoint::Unix(UnixName::Unnamed));
    let own = Own::read();
    assert_eq!(
        own.get(&listener).local,
        Endpoint::Unix(UnixName::Path(path.as_os_str().as_bytes().to_vec()))
    );
}

/// What both sock_diag(7) and `/proc` tell.
fn common(row: &SocketInfo) -> SocketInfo {
    let mut row = SocketInfo { idle_ms: None, cookie: None, interface: None, ..row.clone() };
    if row.kind == Kind::Unix {
        (row.recv_q, row.send_q, row.uid) = (0, 0, None);
    } else if row.state == Some(TcpState::Listen) {
        row.send_q = 0;
    }
    row
}

#[test]
fn sock_diag_and_proc_agree() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut client, b"unread").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    let open = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(udp.local_addr().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(dir.path().join("x")).unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let loose = UnixDatagram::unbound().unwrap();
    let name = format!("fdclose agree {}", std::process::id());
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let mut all = vec![
        listener.as_raw_fd(),
        client.as_raw_fd(),
        server.as_raw_fd(),
        open.as_raw_fd(),
        udp.as_raw_fd(),
        connected.as_raw_fd(),
        unix.as_raw_fd(),
        one.as_raw_fd(),
        other.as_raw_fd(),
        loose.as_raw_fd(),
        hidden.as_raw_fd(),
    ];
    // Where there is IPv6, also a v6 connection and one between a v6 socket and a v4 one.
    let mut v6: Vec<OwnedFd> = Vec::new();
    for (here, there) in [("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
        let Ok(listener) = TcpListener::bind(here) else { continue };
        let client = TcpStream::connect((there, listener.local_addr().unwrap().port())).unwrap();
        v6.extend([listener.accept().unwrap().0.into(), client.into(), listener.into()]);
        v6.push(UdpSocket::bind(here).unwrap().into());
    }
    all.extend(v6.iter().map(AsRawFd::as_raw_fd));

    // States and queues settle when the loopback's last acknowledgement has come. Two readings of /proc that
    // agree say that nothing changed between them.
    let agreed = (0..1000).any(|_| {
        let [before, asked, after] = [Own::read_proc(), Own::read(), Own::read_proc()];
        let find = |own: &Own, fd: &RawFd| own.table.get(own.inodes[fd]);
        let still = all.iter().all(|fd| find(&before, fd).is_some() && find(&before, fd) == find(&after, fd));
        for fd in all.iter().filter(|_| still) {
            assert!(asked.get(fd).cookie.is_some(), "the kernel was asked");
            assert_eq!(common(&asked.get(fd)), common(&after.get(fd)));
        }
        still
    });
    assert!(agreed);
}
