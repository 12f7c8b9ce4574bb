//! What each method does to a connection, as the kernel, the application and the peer see it: the table in the README.

mod common;

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};

use common::evidence::{self, LISTEN};
use common::kernel::is_before;
use common::net::Net;
use common::{
    Before, Need, Run, Victim, fdclose, fdclose_as, fdclose_before_5_6, lacks, outcome, wait_until,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CloseWait,
    Established,
    /// The same, with a peer that has vanished without a word.
    DeadPeer,
    FinWait2,
    Listen,
}

/// What the application is told by calls on its descriptor.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    recv: String,
    send: String,
    events: String,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    connection: String,
    fd_freed: bool,
    /// The state of the socket that the descriptor refers to, by the kernel's number; `None` if it is in no table.
    state: Option<u8>,
    /// `None` if the descriptor is gone.
    told: Option<Told>,
    /// What the peer's next read gives: `FIN`, `RST` or `nothing`.
    peer: &'static str,
}

/// One of the ways to run fdclose.
type Tool = fn(&[&str]) -> Run;

fn run(tool: Tool, method: &str, state: State, v6: bool, net: Option<&Net>) -> Seen {
    let family: &[&str] = if v6 { &["--v6"] } else { &[] };
    let mut victim = match net {
        Some(net) => net.spawn("ends", &[family, &["--any"]].concat()),
        None => Victim::spawn("ends", family),
    };
    let address = if v6 {
        SocketAddr::from((Ipv6Addr::LOCALHOST, victim.value("port")))
    } else {
        SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")))
    };
    let mut peer = None;
    let (fd, inode): (i32, u64) = if state == State::Listen {
        (victim.value("listener"), victim.value("inode"))
    } else {
        let client = match net {
            Some(net) => net.connect(v6, address.port()),
            None => TcpStream::connect(address).expect("the victim listens"),
        };
        let (fd, inode) = accepted(&victim.ask("accept"));
        match state {
            State::CloseWait => client.shutdown(Shutdown::Write).expect("it is connected"),
            State::FinWait2 => assert_eq!(victim.ask(&format!("finish {fd}")), "value=0"),
            State::DeadPeer => net.expect("it has one").cut(),
            State::Established | State::Listen => {}
        }
        peer = Some(client);
        (fd, inode)
    };
    let number = match state {
        State::CloseWait => 8,
        State::Established | State::DeadPeer => 1,
        State::FinWait2 => 5,
        State::Listen => LISTEN,
    };
    let there = || evidence::tcp_of(victim.pid(), inode).is_some_and(|row| row.state == number);
    wait_until("the connection is in its state", there);
    // The peer of one in FIN-WAIT-2 has its FIN already.
    if state == State::FinWait2 {
        assert_eq!(next(peer.as_mut().expect("there is a peer")), "FIN");
    }

    let force: &[&str] = if state == State::Listen { &["--force"] } else { &[] };
    let (pid, fd_arg) = (victim.pid_arg(), fd.to_string());
    let method: Vec<&str> = method.split(' ').collect();
    let args =
        [&["--pid", &pid, "--fd", &fd_arg, "--json", "--yes", "--method"], &method[..], force].concat();
    let document = tool(&args).exits(0).json();
    let report = outcome(&document, fd);
    assert_eq!(report["outcome"], "done", "{document:#}");
    assert_eq!(document["method"], method[0]);
    let open = evidence::link(victim.pid(), fd).is_some();
    Seen {
        connection: report["connection"].as_str().expect("a word").to_owned(),
        fd_freed: report["fd_freed"].as_bool().expect("yes or no"),
        state: evidence::tcp_of(victim.pid(), inode).map(|row| row.state),
        told: open.then(|| Told {
            recv: victim.ask(&format!("{} {fd}", if state == State::Listen { "accept-now" } else { "recv" })),
            send: victim.ask(&format!("send {fd}")),
            events: victim.ask(&format!("events {fd}")),
        }),
        peer: peer.as_mut().map_or("", next),
    }
}

fn accepted(answer: &str) -> (i32, u64) {
    let value = |key: &str| answer.split(' ').find_map(|pair| pair.strip_prefix(key)).expect("a pair");
    (value("fd=").parse().expect("a number"), value("inode=").parse().expect("a number"))
}

/// What the peer's next read gives. Whatever was sent over loopback has arrived when the call that sent it returns.
fn next(peer: &mut TcpStream) -> &'static str {
    peer.set_nonblocking(true).expect("a socket can be");
    match peer.read(&mut [0]) {
        Ok(0) => "FIN",
        Ok(_) => "data",
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "RST",
        Err(error) if error.kind() == ErrorKind::WouldBlock => "nothing",
        Err(error) => panic!("{error}"),
    }
}

/// EPOLLIN, EPOLLHUP and EPOLLRDHUP.
const HANGUP: &str = "events=8209";
const NOTHING: &str = "events=0";
const EOF: &str = "value=0";
const EINVAL: &str = "errno=22";
const EPIPE: &str = "errno=32";
const ECONNRESET: &str = "errno=104";
const ECONNABORTED: &str = "errno=103";

/// One row of the table in the README.
struct Row {
    method: &'static str,
    state: State,
    connection: &'static str,
    state_after: Option<u8>,
    /// What recv (or accept), send and epoll give afterwards; `None` where the descriptor is freed.
    told: Option<[&'static str; 3]>,
    peer: &'static str,
}

const FIN_WAIT_1: Option<u8> = Some(4);
const FIN_WAIT_2: Option<u8> = Some(5);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { method: "close", state: State::CloseWait, connection: "ended", state_after: None, told: None, peer: "FIN" },
    Row { method: "close", state: State::Established, connection: "ended", state_after: None, told: None, peer: "FIN" },
    Row { method: "close", state: State::DeadPeer, connection: "ended", state_after: None, told: None, peer: "nothing" },
    Row { method: "close", state: State::FinWait2, connection: "ended", state_after: None, told: None, peer: "FIN" },
    Row { method: "close", state: State::Listen, connection: "ended", state_after: None, told: None, peer: "" },
    Row { method: "replace", state: State::CloseWait, connection: "ended", state_after: None, told: Some([EOF, EPIPE, NOTHING]), peer: "FIN" },
    Row { method: "replace", state: State::Established, connection: "ended", state_after: None, told: Some([EOF, EPIPE, NOTHING]), peer: "FIN" },
    Row { method: "replace", state: State::DeadPeer, connection: "ended", state_after: None, told: Some([EOF, EPIPE, NOTHING]), peer: "nothing" },
    Row { method: "replace", state: State::FinWait2, connection: "ended", state_after: None, told: Some([EOF, EPIPE, NOTHING]), peer: "FIN" },
    Row { method: "replace", state: State::Listen, connection: "ended", state_after: None, told: Some([EINVAL, EPIPE, NOTHING]), peer: "" },
    Row { method: "shutdown", state: State::CloseWait, connection: "ended", state_after: None, told: Some([EOF, EPIPE, HANGUP]), peer: "FIN" },
    Row { method: "shutdown", state: State::Established, connection: "remains", state_after: FIN_WAIT_2, told: Some([EOF, EPIPE, HANGUP]), peer: "FIN" },
    Row { method: "shutdown", state: State::DeadPeer, connection: "remains", state_after: FIN_WAIT_1, told: Some([EOF, EPIPE, HANGUP]), peer: "nothing" },
    Row { method: "shutdown", state: State::FinWait2, connection: "remains", state_after: FIN_WAIT_2, told: Some([EOF, EPIPE, HANGUP]), peer: "FIN" },
    Row { method: "shutdown", state: State::Listen, connection: "ended", state_after: None, told: Some([EINVAL, EPIPE, NOTHING]), peer: "" },
    Row { method: "destroy", state: State::CloseWait, connection: "ended", state_after: None, told: Some([EOF, ECONNABORTED, HANGUP]), peer: "RST" },
    Row { method: "destroy", state: State::Established, connection: "ended", state_after: None, told: Some([ECONNABORTED, EPIPE, HANGUP]), peer: "RST" },
    Row { method: "destroy", state: State::DeadPeer, connection: "ended", state_after: None, told: Some([ECONNABORTED, EPIPE, HANGUP]), peer: "nothing" },
    Row { method: "destroy", state: State::FinWait2, connection: "ended", state_after: None, told: Some([ECONNABORTED, EPIPE, HANGUP]), peer: "FIN" },
    Row { method: "destroy", state: State::Listen, connection: "ended", state_after: None, told: Some([EINVAL, ECONNABORTED, NOTHING]), peer: "" },
    Row { method: "reset", state: State::CloseWait, connection: "ended", state_after: None, told: Some([EOF, EPIPE, HANGUP]), peer: "nothing" },
    Row { method: "reset", state: State::Established, connection: "ended", state_after: None, told: Some([ECONNRESET, EPIPE, HANGUP]), peer: "nothing" },
    Row { method: "reset", state: State::DeadPeer, connection: "ended", state_after: None, told: Some([ECONNRESET, EPIPE, HANGUP]), peer: "nothing" },
    Row { method: "reset", state: State::FinWait2, connection: "ended", state_after: None, told: Some([ECONNRESET, EPIPE, HANGUP]), peer: "FIN" },
    Row { method: "reset --both-ends", state: State::CloseWait, connection: "ended", state_after: None, told: Some([EOF, EPIPE, HANGUP]), peer: "RST" },
    Row { method: "reset --both-ends", state: State::Established, connection: "ended", state_after: None, told: Some([ECONNRESET, EPIPE, HANGUP]), peer: "RST" },
    Row { method: "reset --both-ends", state: State::DeadPeer, connection: "ended", state_after: None, told: Some([ECONNRESET, EPIPE, HANGUP]), peer: "nothing" },
    Row { method: "reset --both-ends", state: State::FinWait2, connection: "ended", state_after: None, told: Some([ECONNRESET, EPIPE, HANGUP]), peer: "FIN" },
];

/// Holds `rows` to what happens.
#[track_caller]
fn hold(tool: Tool, rows: &[&Row]) {
    let families: &[bool] = if lacks(&[Need::Ipv6]) { &[false] } else { &[false, true] };
    let mut wrong = Vec::new();
    for row in rows {
        for &v6 in families {
            let expected = Seen {
                connection: row.connection.to_owned(),
                fd_freed: row.told.is_none(),
                state: row.state_after,
                told: row.told.map(|[recv, send, events]| Told {
                    recv: recv.to_owned(),
                    send: send.to_owned(),
                    events: events.to_owned(),
                }),
                peer: row.peer,
            };
            // Each its own, as it is cut.
            let net = if row.state == State::DeadPeer { Net::new() } else { None };
            if row.state == State::DeadPeer && net.is_none() {
                continue;
            }
            let seen = run(tool, row.method, row.state, v6, net.as_ref());
            if seen != expected {
                wrong.push(format!("{} {:?} v6={v6}: {seen:?}, not {expected:?}", row.method, row.state));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{} rows, each over {} families", rows.len(), families.len());
}

#[test]
fn each_method_does_what_the_table_says() {
    // CAP_NET_ADMIN for one method, CAP_NET_RAW for another.
    if lacks(&[Need::Root]) {
        return;
    }
    hold(fdclose, &TABLE.iter().filter(|row| is_possible(row)).collect::<Vec<_>>());
}

/// The process itself makes the calls then, and the number for a RST is asked for by a segment.
#[test]
fn and_on_a_kernel_without_copies_of_descriptors() {
    if lacks(&[Need::Root]) {
        return;
    }
    let rows = TABLE.iter().filter(|row| is_possible(row) && is_heard(row));
    hold(fdclose_before_5_6, &rows.collect::<Vec<_>>());
}

/// The answer may not leave for a peer that is dead.
fn is_heard(row: &Row) -> bool {
    row.state != State::DeadPeer || !row.method.starts_with("reset")
}

/// On the kernel that is to be assumed. What is refused there is tried in `old_kernels.rs`.
fn is_possible(row: &Row) -> bool {
    (!is_before(4, 5) || row.method != "destroy") && (!is_before(5, 6) || is_heard(row))
}

#[test]
fn kill_ends_the_process_and_with_it_the_connection() {
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let mut client = TcpStream::connect(address).expect("the victim listens");
    let (fd, _) = accepted(&victim.ask("accept"));
    let (pid, fd) = (victim.pid_arg(), fd.to_string());
    let args = ["--pid", &pid, "--fd", &fd, "--method", "kill"];

    let asked = fdclose(&args).exits(2);
    asked.one_error().says(&["--yes"]);
    assert_eq!(next(&mut client), "nothing");
    let run = fdclose(&[&args[..], &["--yes"]].concat()).exits(0);

    assert!(run.stdout.starts_with("killed the holders of 1 of 1"), "{run:#?}");
    assert_eq!(evidence::state(victim.pid()), 'Z', "it has ended");
    assert_eq!(next(&mut client), "FIN");
}

#[test]
fn kill_says_when_the_process_does_not_end() {
    let mut victim = Victim::spawn("ends", &[]);
    let fd: i32 = victim.value("listener");
    let (pid, fd) = (victim.pid_arg(), fd.to_string());
    let args = ["--pid", &pid, "--fd", &fd, "--force", "--yes", "--timeout", "50ms", "--method", "kill"];
    let run = fdclose(&[&args[..], &["--signal", "WINCH"]].concat()).exits(3);
    run.says(&["still runs"]);
    assert_eq!(victim.ask(&format!("events {fd}")), "events=0", "it serves on");
}

#[test]
fn what_a_method_can_do_nothing_for_is_refused() {
    let victim = Victim::spawn("kinds", &[]);
    let pipe: String = victim.value("pipe_r");
    let unix: String = victim.value("unix_a");
    let pid = victim.pid_arg();
    let before = Before::of(victim.pid());
    for method in ["replace", "shutdown", "destroy", "reset"] {
        let run = fdclose(&["--pid", &pid, "--fd", &pipe, "--method", method, "--force"]).exits(2);
        run.one_error().says(&["works on sockets only"]);
    }
    let run = fdclose(&["--pid", &pid, "--fd", &unix, "--method", "destroy"]).exits(2);
    run.one_error().says(&["works on TCP and UDP only"]);
    let run = fdclose(&["--pid", &pid, "--fd", &unix, "--method", "replace"]).exits(2);
    run.one_error().says(&["works on TCP only"]);
    before.assert_untouched();

    let victim = Victim::spawn("ends", &[]);
    let (pid, listener): (String, String) = (victim.pid_arg(), victim.value("listener"));
    let before = Before::of(victim.pid());
    let run = fdclose(&["--pid", &pid, "--fd", &listener, "--method", "reset", "--force"]).exits(2);
    run.one_error().says(&["it is not connected"]);
    before.assert_untouched();
}

#[test]
fn destroy_needs_a_privilege_and_says_so() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(65534, "ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let mut client = TcpStream::connect(address).expect("the victim listens");
    let (fd, _) = accepted(&victim.ask("accept"));
    let (pid, fd) = (victim.pid_arg(), fd.to_string());
    let run = fdclose_as(65534, &["--pid", &pid, "--fd", &fd, "--method", "destroy"]).exits(2);
    run.one_error().says(&[if is_before(4, 5) { "not supported by this kernel" } else { "CAP_NET_ADMIN" }]);
    assert_eq!(next(&mut client), "nothing");
    // The same user may shut it down.
    fdclose_as(65534, &["--pid", &pid, "--fd", &fd, "--method", "shutdown"]).exits(0);
    assert_eq!(next(&mut client), "FIN");
}
