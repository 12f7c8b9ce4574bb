use super::*;
use crate::ids::{Inode, Pid, Tid};
use crate::kind::Kind;
use crate::net::diag::exact_tests::inode_of;
use crate::net::{Protocols, SocketInfo, SocketTable, TcpState};
use crate::proc::Procfs;
use nix::sched::{CloneFlags, unshare};
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

fn tcp(states: &[TcpState], want_info: bool) -> Vec<SocketInfo> {
    let mut rows = Vec::new();
    let dumped = Diag::open().unwrap().dump_tcp(states, want_info, |row| rows.push(row)).unwrap();
    assert_eq!(dumped.skipped, 0);
    rows
}

#[test]
fn only_the_states_asked_for_are_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0, "the FIN has arrived");

    let rows = tcp(&[TcpState::CloseWait], true);
    let leaked = rows.iter().find(|row| row.inode == inode_of(&server)).unwrap();
    assert_eq!((leaked.kind, leaked.state), (Kind::Tcp, Some(TcpState::CloseWait)));
    assert!(leaked.idle_ms.is_some_and(|idle| idle < 60_000), "{leaked:?}");
    assert!(!rows.iter().any(|row| row.inode == inode_of(&listener)));

    let rows = tcp(&[TcpState::CloseWait, TcpState::Listen], false);
    assert!(rows.iter().all(|row| row.idle_ms.is_none()));
    for wanted in [inode_of(&server), inode_of(&listener)] {
        assert_eq!(rows.iter().filter(|row| row.inode == wanted).count(), 1);
    }
    assert_eq!(tcp(&[], true), []);
}

#[test]
fn more_than_one_datagram_full_is_listed() {
    // Rows are some 100 bytes, datagrams at most 32 KiB.
    let listeners: Vec<_> = (0..500).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut found: Vec<Inode> = tcp(&[TcpState::Listen], true).iter().map(|row| row.inode).collect();
    found.sort_unstable();
    for listener in &listeners {
        assert!(found.binary_search(&inode_of(listener)).is_ok());
    }
}

#[test]
fn one_way_to_ask_serves_for_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut diag = Diag::open().unwrap();
    let mut found = Vec::new();
    for _ in 0..2 {
        diag.dump_unix(|_| {}).unwrap();
        diag.dump_tcp(TcpState::ALL, true, |row| found.push(row.inode)).unwrap();
        diag.dump_udp(|_| {}).unwrap();
        let again = diag.tcp(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap().unwrap();
        assert_eq!(diag.again(&again).unwrap().unwrap().inode, inode_of(&client));
    }
    assert_eq!(found.iter().filter(|inode| **inode == inode_of(&client)).count(), 2);
}

/// A thread in a network namespace of its own, with a listener in it; the namespace ends with `end`.
struct Elsewhere {
    tid: Tid,
    listener: Inode,
    end: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Elsewhere {
    fn make() -> Result<Self, nix::errno::Errno> {
        let (tell, hear) = mpsc::channel();
        let (end, wait) = mpsc::channel();
        let thread = thread::spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET).map(|()| {
                let listener = TcpListener::bind("0.0.0.0:0").unwrap();
                (Tid::new(nix::unistd::gettid().as_raw()).unwrap(), listener)
            });
            let (keep, told) = match made {
                Ok((tid, listener)) => {
                    let inode = inode_of(&listener);
                    (Some(listener), Ok((tid, inode)))
                }
                Err(errno) => (None, Err(errno)),
            };
            tell.send(told).unwrap();
            // Whether told to end or left alone.
            let _ = wait.recv();
            drop(keep);
        });
        let (tid, listener) = hear.recv().unwrap()?;
        Ok(Self { tid, listener, end, thread })
    }
}

#[test]
fn another_network_namespace_is_entered() {
    let elsewhere = match Elsewhere::make() {
        Ok(elsewhere) => elsewhere,
        Err(errno) => return println!("skipped: no network namespace may be made here: {errno}"),
    };
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    let process = Procfs::host().open(Pid::new(std::process::id().cast_signed()).unwrap()).unwrap();
    let theirs = SocketTable::read_thread(&process, elsewhere.tid, Protocols::ALL).unwrap();
    let row = theirs.get(elsewhere.listener).unwrap();
    assert_eq!((row.state, row.cookie.is_some()), (Some(TcpState::Listen), true));
    assert_eq!(theirs.get(inode_of(&here)), None);

    // This thread stayed where it was.
    let ours = SocketTable::read(&process, Protocols::TCP).unwrap();
    assert!(ours.get(inode_of(&here)).is_some());
    assert_eq!(ours.get(elsewhere.listener), None);
    elsewhere.end.send(()).unwrap();
    elsewhere.thread.join().unwrap();
}
