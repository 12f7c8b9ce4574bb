//! Connections of a process whose main thread has ended while others go on. Copies of descriptors come from a living
//! thread there, and before Linux 6.9 there are none: nothing may be taken for gone because of that.

mod common;

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use common::kernel::{is_before, runs_before};
use common::{Need, Run, Victim, evidence, fdclose, fdclose_denied, lacks, outcome, wait_until};

/// `include/net/tcp_states.h`
const ESTABLISHED: u8 = 1;
const FIN_WAIT_2: u8 = 5;
const CLOSE_WAIT: u8 = 8;

/// The last kernel that makes copies for main threads alone.
const BEFORE: [&str; 2] = ["--assume-kernel", "6.8"];

/// Those to be tested: the own kernel, and one that has no pidfds of threads.
const KERNELS: [&[&str]; 2] = [&[], &BEFORE];

struct Held {
    victim: Victim,
    client: TcpStream,
    fd: i32,
    inode: u64,
}

impl Held {
    /// A connection of a victim whose main thread has ended.
    #[track_caller]
    fn new() -> Self {
        let mut victim = Victim::spawn("ends", &["--leaderless"]);
        wait_until("the leader's end", || evidence::state(victim.pid()) == 'Z');
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
        let client = TcpStream::connect(address).expect("the victim listens");
        let answer = victim.ask_fields("accept");
        let (fd, inode) =
            (answer["fd"].parse().expect("a number"), answer["inode"].parse().expect("a number"));
        Self { victim, client, fd, inode }
    }

    /// Its state by the kernel's number; `None` if no table has it any more. A leader that has ended is in no network
    /// namespace, and the victim's is the test's.
    fn state(&self) -> Option<u8> {
        evidence::tcp_of(std::process::id(), self.inode).map(|row| row.state)
    }

    /// The kind of timer that runs for it (2 is keepalive).
    fn timer(&self) -> String {
        let inode = self.inode.to_string();
        let table = std::fs::read_to_string("/proc/self/net/tcp").expect("there is a table");
        let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row.get(9) == Some(&inode.as_str())).expect("it is there");
        row[5].split(':').next().expect("a timer").to_owned()
    }

    #[track_caller]
    fn run(&self, kernel: &[&str], more: &[&str]) -> Run {
        let (pid, fd) = (self.victim.pid_arg(), self.fd.to_string());
        fdclose(&[kernel, more, &["--pid", &pid, "--fd", &fd]].concat())
    }
}

/// Whether descriptors are copied from main threads alone.
fn without_threads() -> bool {
    is_before(6, 9) || runs_before(6, 9)
}

#[test]
fn shutdown_ends_it() {
    for kernel in KERNELS {
        let mut held = Held::new();
        assert_eq!(held.state(), Some(ESTABLISHED));
        let run = held.run(kernel, &["--method", "shutdown", "--json"]).exits(0);
        assert_eq!(outcome(&run.json(), held.fd)["outcome"], "done", "{run:#?}");
        assert_eq!(held.state(), Some(FIN_WAIT_2), "{run:#?}");
        assert_eq!(held.client.read(&mut [0; 8]).expect("it reads"), 0, "the peer sees the end");
        let fd = held.fd;
        assert_eq!(held.victim.ask(&format!("recv {fd}")), "value=0");
        evidence::assert_untraced(held.victim.pid());
    }
}

#[test]
fn shutdown_ends_what_the_peer_has_closed() {
    for kernel in KERNELS {
        let held = Held::new();
        held.client.shutdown(std::net::Shutdown::Both).expect("it is connected");
        wait_until("CLOSE-WAIT", || held.state() == Some(CLOSE_WAIT));
        held.run(kernel, &["--method", "shutdown"]).exits(0);
        wait_until("its end", || held.state().is_none());
    }
}

#[test]
fn reset_ends_it() {
    if lacks(&[Need::Root]) {
        return;
    }
    for (kernel, way) in KERNELS.into_iter().zip(["repair", "challenge"]) {
        let held = Held::new();
        let run = held.run(kernel, &["--method", "reset", "--json"]).exits(0);
        let document = run.json();
        assert_eq!(outcome(&document, held.fd)["outcome"], "done", "{run:#?}");
        assert_eq!(held.state(), None, "{run:#?}");
        if !without_threads() {
            assert_eq!(outcome(&document, held.fd)["number_by"], way, "{run:#?}");
        }
    }
}

#[test]
fn keepalive_is_switched_on_or_refused_with_the_reason() {
    let held = Held::new();
    if is_before(5, 6) {
        return;
    }
    let run = held.run(&BEFORE, &["keepalive", "--idle", "100s"]).exits(2);
    run.one_error().says(&["the main thread of the process has ended", "(PIDFD_THREAD, Linux 6.9)"]);
    assert_eq!(held.timer(), "00");
    if without_threads() {
        return;
    }
    held.run(&[], &["keepalive", "--idle", "100s"]).exits(0);
    assert_eq!(held.timer(), "02");
}

/// The tables of /proc tell no idle times, and the sockets do only where they can be copied.
#[test]
fn it_is_listed_where_sock_diag_is_not_to_be_had() {
    if lacks(&[Need::Root]) {
        return;
    }
    let held = Held::new();
    thread::sleep(Duration::from_millis(50));
    let (pid, fd) = (held.victim.pid_arg(), i64::from(held.fd));
    let list =
        |more: &[&str]| fdclose_denied("netlink", &[more, &["list", "--pid", &pid, "--json"]].concat());
    let row = |run: Run| {
        let document = run.exits(0).json();
        let mut rows = document["fds"].as_array().expect("a list").clone().into_iter();
        rows.find(|row| row["fd"] == fd).unwrap_or_else(|| panic!("it is not listed: {document:#}"))
    };
    let without = row(list(&BEFORE));
    assert_eq!((&without["state"], &without["idle_ms"]), (&"ESTAB".into(), &serde_json::Value::Null));
    let idle_for = ["list", "--pid", &pid, "--idle-for", "10ms", "--json"];
    fdclose_denied("netlink", &[&BEFORE[..], &idle_for].concat()).exits(1).says(&["1 connection left out"]);
    if without_threads() {
        return;
    }
    assert!(row(list(&[]))["idle_ms"].as_u64() >= Some(50));
    assert_eq!(row(fdclose_denied("netlink", &idle_for))["fd"], fd);
}
