use super::*;
use crate::ids::{Fd, Pid};
use crate::report::sample::tcp_target;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

fn own() -> Subject {
    let process = Procfs::host().open(Pid::new(std::process::id().cast_signed()).unwrap()).unwrap();
    let table = process.pid().leader();
    let (comm, netns) = (process.comm().unwrap(), process.netns().ok());
    Subject { comm, uid: None, netns, process, table, is_private: false }
}

/// The report on a descriptor of this process, as if it had been freed.
fn target(subject: &Subject, socket: &impl AsRawFd) -> TargetReport {
    let fd = Fd::new(socket.as_raw_fd()).unwrap();
    let inode = subject.process.fd_dir_of_process().unwrap().read(fd).unwrap().unwrap().inode();
    TargetReport { pid: subject.process.pid(), fd, inode, ..tcp_target() }
}

fn find(subject: &Subject, target: &TargetReport) -> SocketInfo {
    let table = SocketTable::read(&subject.process, Protocols::TCP).unwrap();
    table.get(target.inode.unwrap()).unwrap().clone()
}

fn fate(subject: &Subject, socket: Option<&SocketInfo>, target: &TargetReport) -> TargetReport {
    let mut target = target.clone();
    connections(
        &Procfs::host(),
        &mut Diags::default(),
        subject,
        Method::Close,
        std::iter::once((socket, &mut target)),
    );
    target
}

/// Both ends of a connection that the client has given up.
fn leak(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0, "the FIN has arrived");
    (client, server)
}

#[test]
fn a_connection_remains_as_long_as_somebody_holds_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_client, server) = leak(&listener);
    let subject = own();
    let target = target(&subject, &server);
    let socket = find(&subject, &target);
    // As sock_diag told of it, and as /proc alone would have.
    let by_proc = SocketInfo { idle_ms: None, cookie: None, interface: None, ..socket.clone() };
    for known in [Some(&socket), Some(&by_proc), None] {
        let report = fate(&subject, known, &target);
        assert_eq!(report.connection, ConnectionFate::Remains, "{known:?}");
        assert!(report.holders.iter().any(|holder| holder.pid == target.pid && holder.fd == target.fd));
    }
    drop(server);
    for known in [Some(&socket), Some(&by_proc), None] {
        assert_eq!(fate(&subject, known, &target).connection, ConnectionFate::Ended, "{known:?}");
    }
}

#[test]
fn many_are_looked_up_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let subject = own();
    let (_kept, kept) = leak(&listener);
    let (_gone, gone) = leak(&listener);
    let [kept_target, gone_target] = [&kept, &gone].map(|socket| target(&subject, socket));
    let [kept_socket, gone_socket] = [&kept_target, &gone_target].map(|target| find(&subject, target));
    drop(gone);
    let mut all = vec![kept_target];
    all.resize(MOST_ASKED + 1, gone_target);
    let with_sockets = all.iter_mut().enumerate().map(|(at, target)| {
        let socket = if at == 0 { &kept_socket } else { &gone_socket };
        (Some(socket), target)
    });
    connections(&Procfs::host(), &mut Diags::default(), &subject, Method::Close, with_sockets);
    assert_eq!(all[0].connection, ConnectionFate::Remains);
    assert!(all[1..].iter().all(|target| target.connection == ConnectionFate::Ended));
}

#[test]
fn a_socket_no_table_lists_remains_while_it_is_held() {
    // Bound and no more: the kernel has it in none of its tables, as one of another network namespace.
    let bound: OwnedFd =
        socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::bind(bound.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let subject = own();
    let target = target(&subject, &bound);
    assert_eq!(fate(&subject, None, &target).connection, ConnectionFate::Remains);
    drop(bound);
    assert_eq!(fate(&subject, None, &target).connection, ConnectionFate::Ended);
}
