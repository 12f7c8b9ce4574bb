//! `--method replace`: what is put over a descriptor, what whoever waits on it is told, and what a process is left with in
//! the worst case. What the application is told afterwards is in `methods`.

mod common;

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use common::calls::POLL;
use common::cc::compile;
use common::kernel::is_before;
use common::{
    Before, NOBODY, Need, Run, Victim, alone, fdclose, fdclose_as, fdclose_dying_at, lacks, outcome,
};
use common::{confined, evidence};
use common::{sys, wait_until};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;

/// Descriptors of a victim, whose sockets the test remembers.
struct Sockets {
    pid: u32,
    fds: Vec<i32>,
    inodes: Vec<u64>,
}

impl Sockets {
    fn of(victim: &Victim) -> Self {
        Self { pid: victim.pid(), fds: victim.list("fds"), inodes: victim.list("inodes") }
    }

    fn replace(&self) -> Run {
        let list: Vec<String> = self.fds.iter().map(ToString::to_string).collect();
        let pid = self.pid.to_string();
        fdclose(&["--pid", &pid, "--fd", &list.join(","), "--method", "replace", "--json"])
    }

    /// Proves that each is another socket now, one of its own, in no table, and that no other descriptor came or went.
    #[track_caller]
    fn assert_replaced(&self, before: &Before) {
        let mut seen = self.inodes.clone();
        for fd in &self.fds {
            let inode = evidence::socket_inode(self.pid, *fd);
            assert!(!seen.contains(&inode), "fd {fd} of {}", self.pid);
            seen.push(inode);
            assert_eq!(evidence::tcp_of(self.pid, inode), None, "it never was connected");
        }
        before.assert_changed_only(&self.fds);
        for inode in &self.inodes {
            assert_eq!(evidence::tcp_of(self.pid, *inode), None, "the old one has ended");
        }
    }
}

#[test]
fn each_of_many_gets_a_dead_socket_of_its_own() {
    for count in ["1", "3", "100"] {
        let mut victim = Victim::spawn("close_wait", &["--count", count]);
        let sockets = Sockets::of(&victim);
        let before = Before::of(victim.pid());
        let run = sockets.replace().exits(0);
        let document = run.json();
        for fd in &sockets.fds {
            let target = outcome(&document, *fd);
            assert_eq!(
                (&target["outcome"], &target["fd_freed"]),
                (&json!("done"), &json!(false)),
                "{target:#}"
            );
            assert_eq!(target["connection"], "ended", "{target:#}");
        }
        sockets.assert_replaced(&before);
        victim.serves();
        assert_eq!(victim.ask("check"), "open=0");
    }
}

#[test]
fn close_on_exec_and_nonblocking_are_kept() {
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    for loose in [false, true] {
        let _client = TcpStream::connect(address).expect("the victim listens");
        let fd = victim.ask_fields("accept")["fd"].clone();
        if loose {
            assert_eq!(victim.ask(&format!("loose {fd}")), "value=0");
        }
        let number: i32 = fd.parse().expect("a number");
        let (inode, flags) =
            (evidence::socket_inode(victim.pid(), number), evidence::flags(victim.pid(), number));
        fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd, "--method", "replace"]).exits(0);
        assert_ne!(evidence::socket_inode(victim.pid(), number), inode);
        assert_eq!(evidence::flags(victim.pid(), number), flags, "loose: {loose}");
        let expected = if loose { "04002" } else { "02000002" };
        assert_eq!(flags, expected, "the victim is what it is meant to be");
    }
}

/// Where every number is taken, which is what leaks lead to.
#[test]
fn a_process_without_a_free_number_is_helped() {
    let (victim, _clients, sockets) = connected(5);
    let before = Before::of(victim.pid());
    sys::limit_descriptors(victim.pid(), lowest_free(victim.pid()));
    sockets.replace().exits(0);
    sockets.assert_replaced(&before);
}

/// Its own number would not be given to it again.
#[test]
fn a_number_above_the_limit_is_left_alone() {
    let (victim, _clients, sockets) = connected(1);
    let before = Before::of(victim.pid());
    sys::limit_descriptors(victim.pid(), sockets.fds[0]);
    let document = sockets.replace().exits(2).json();
    let target = outcome(&document, sockets.fds[0]);
    assert_eq!(target["outcome"], "refused", "{target:#}");
    assert!(target["hint"].as_str().is_some_and(|hint| hint.contains("--method close")), "{target:#}");
    before.assert_untouched();
}

/// A victim with so many connections, one number after the other.
fn connected(count: usize) -> (Victim, Vec<TcpStream>, Sockets) {
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let mut sockets = Sockets { pid: victim.pid(), fds: Vec::new(), inodes: Vec::new() };
    let accept = |_| {
        let client = TcpStream::connect(address).expect("the victim listens");
        let accepted = victim.ask_fields("accept");
        sockets.fds.push(accepted["fd"].parse().expect("a number"));
        sockets.inodes.push(accepted["inode"].parse().expect("a number"));
        client
    };
    let clients = (0..count).map(accept).collect();
    (victim, clients, sockets)
}

fn lowest_free(pid: u32) -> i32 {
    let taken = evidence::descriptors(pid);
    (0..=i32::MAX).find(|fd| !taken.contains_key(fd)).expect("there are more numbers than descriptors")
}

/// Call and kind, what the call returns, its name in the report and what that says of its end.
type Row = (&'static str, (i64, i32), &'static str, &'static str);

const WAITERS: &[Row] = &[
    // Who can be woken is woken before, as for a close.
    ("recv@tcp4", (0, 0), "recvfrom", "woken"),
    ("connect@tcp4", (-1, libc::ECONNRESET), "connect", "woken"),
    // Others go on with what is there now.
    ("recv@tcp4+dup", (0, 0), "recvfrom", "replaced"),
    ("readv@tcp6+fork", (0, 0), "readv", "replaced"),
    ("recv_rcvtimeo@tcp4+dup", (0, 0), "recvfrom", "replaced"),
    ("accept@tcp4+dup", (-1, libc::EINVAL), "accept4", "replaced"),
    ("poll@tcp4+dup", ((libc::POLLIN | libc::POLLHUP) as i64, 0), POLL, "replaced"),
    ("poll_out@tcp4+dup", ((libc::POLLOUT | libc::POLLHUP) as i64, 0), POLL, "replaced"),
    ("select@tcp6+dup", (1, 0), "pselect6", "replaced"),
    // But SIGPIPE must not kill, and no connection begin.
    ("send@tcp4+sigpipe", (-1, libc::ECONNRESET), "sendto", "reset"),
    ("send@tcp4+dup", (-1, libc::ECONNRESET), "sendto", "reset"),
    ("write@tcp4+dup", (-1, libc::ECONNRESET), "write", "reset"),
];

#[test]
fn who_waits_on_it_is_told_of_its_end() {
    alone(|| {
        for (call, returned, name, end) in WAITERS {
            println!("{call}");
            // Without copies of descriptors (Linux 5.6) nobody is woken before.
            let end = if *end == "woken" && is_before(5, 6) { "replaced" } else { end };
            for args in [&[*call][..], &[call, "--aside"]] {
                replaces_under_a_call(args, *returned, name, end);
            }
        }
    });
}

fn replaces_under_a_call(args: &[&str], returned: (i64, i32), name: &str, end: &str) {
    let mut victim = blocked(args);
    let (tid, fd): (u32, i32) = (victim.value("tid"), victim.value("fd"));
    // A socket that is just being connected is refused unless it was not yet when it was looked at.
    let before = Before::of(victim.pid());
    let run = replace(&victim, fd);
    if args[0].starts_with("connect") {
        assert_eq!(run.status, Some(2), "{run:#?}");
        assert!(run.stdout.contains("just being connected"), "{run:#?}");
        return before.assert_untouched();
    }
    let document = run.exits(0).json();
    let target = outcome(&document, fd);
    assert_eq!(target["outcome"], "done", "{target:#}");
    assert_eq!(target["waiters"], json!([{"tid": tid, "call": name, "end": end}]), "{args:?}: {target:#}");
    let got = victim.wait_returned();
    assert_eq!((got.value, got.errno), returned, "{args:?}");
    assert_eq!(victim.ask("check"), "open=0", "{args:?}");
    before.assert_changed_only(&[fd]);
}

#[track_caller]
fn blocked(args: &[&str]) -> Victim {
    let victim = Victim::spawn("blocked", args);
    let (tid, nr): (u32, i64) = (victim.value("tid"), victim.value("nr"));
    wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
    let waits = |tid| evidence::current_call(victim.pid(), tid).is_some();
    wait_until("the others", || evidence::threads(victim.pid()).into_iter().all(waits));
    victim
}

fn replace(victim: &Victim, fd: i32) -> Run {
    let (pid, fd) = (victim.pid_arg(), fd.to_string());
    fdclose(&["--pid", &pid, "--fd", &fd, "--method", "replace", "--force", "--json"])
}

/// A loop that still has the connection is told by its own instance, and closes it itself.
#[test]
fn an_event_loop_closes_what_it_still_has() {
    alone(|| {
        let mut victim = blocked(&["epoll_wait@tcp4+close"]);
        let fd: i32 = victim.value("fd");
        let document = replace(&victim, fd).exits(0).json();
        let target = outcome(&document, fd);
        if is_before(5, 6) {
            // There nobody is told of it.
            assert_eq!((&target["outcome"], &target["closed_by_process"]), (&json!("done"), &json!(false)));
            victim.stays_blocked_for(Duration::from_millis(200));
            return assert!(evidence::link(victim.pid(), fd).is_some());
        }
        assert_eq!(
            (&target["closed_by_process"], &target["fd_freed"]),
            (&json!(true), &json!(true)),
            "{target:#}"
        );
        victim.wait_returned();
        assert_eq!(evidence::link(victim.pid(), fd), None);
    });
}

/// It knew, and did nothing about it: what it had for the connection may be freed by now. It hears nothing more.
#[test]
fn an_event_loop_is_not_told_twice() {
    alone(|| {
        let mut victim = blocked(&["epoll_wait@tcp4+told"]);
        let fd: i32 = victim.value("fd");
        let before = Before::of(victim.pid());
        let target = outcome(&replace(&victim, fd).exits(0).json(), fd).clone();
        assert_eq!((&target["outcome"], &target["waiters"]), (&json!("done"), &json!([])), "{target:#}");
        victim.stays_blocked_for(Duration::from_millis(200));
        before.assert_changed_only(&[fd]);
    });
}

/// Whatever fdclose dies in, the process goes on, with one unconnected socket too many at the worst.
#[test]
fn killed_in_the_middle() {
    for place in ["stopped", "loaded", "entered", "left", "restored"] {
        let mut victim = Victim::spawn("close_wait", &[]);
        let fds: Vec<i32> = victim.list("fds");
        let before = evidence::descriptors(victim.pid());
        let (pid, fd) = (victim.pid_arg(), fds[0].to_string());
        fdclose_dying_at(place, &["--pid", &pid, "--fd", &fd, "--method", "replace"]);
        wait_until("the end of all tracing", || {
            evidence::status(victim.pid(), victim.pid()).is_some_and(|status| status.tracer == 0)
        });
        // Whatever it died in, the thread finishes the one call that it was about to make or was making. On aarch64 it is about
        // to make another, that leaves nothing, until it is in it.
        let made = place != "stopped" && (place != "loaded" || cfg!(target_arch = "x86_64"));
        let expected = usize::from(made);
        let mut more = evidence::descriptors(victim.pid());
        wait_until("what the call leaves", || {
            more = evidence::descriptors(victim.pid());
            more.retain(|fd, target| before.get(fd) != Some(target));
            more.len() == expected
        });
        for fd in more.keys() {
            let inode = evidence::socket_inode(victim.pid(), *fd);
            assert_eq!(evidence::tcp_of(victim.pid(), inode), None, "{place}: it never was connected");
        }
        victim.serves();
        victim.ask("check");
        // And it can be tried again. What is replaced already is in no table, and without a copy nothing.
        let inode = evidence::socket_inode(victim.pid(), fds[0]);
        let is_known = !is_before(5, 6) || evidence::tcp_of(victim.pid(), inode).is_some();
        let again = fdclose(&["--pid", &pid, "--fd", &fd, "--method", "replace"]);
        again.exits(if is_known { 0 } else { 2 });
    }
}

#[test]
fn it_is_replaced_under_seccomp() {
    confined::acts_or_refuses("replace", |victim, _, fd| {
        assert_ne!(evidence::socket_inode(victim.pid(), fd), victim.value::<u64>("inode"));
    });
}

#[test]
fn an_ordinary_user_may_do_it_to_its_own() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn_as(NOBODY, "close_wait", &[]);
    let sockets = Sockets::of(&victim);
    let before = Before::of(victim.pid());
    let (pid, fd) = (victim.pid_arg(), sockets.fds[0].to_string());
    fdclose_as(NOBODY, &["--pid", &pid, "--fd", &fd, "--method", "replace"]).exits(0);
    sockets.assert_replaced(&before);
}

#[test]
fn in_32_bit_code_too() {
    if lacks(&[Need::Compiler32]) {
        return;
    }
    let (program, _directory) = compile(
        "gcc",
        &["-m32", "-fno-pie", "-nostdlib", "-static", "-fno-stack-protector", "-fno-builtin"],
        "bare",
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("it has one")).expect("a connection");
    let (mut peer, _) = listener.accept().expect("it is there");
    // For the victim to inherit.
    fcntl(&client, FcntlArg::F_SETFD(FdFlag::empty())).expect("it is open");
    let fd = client.as_raw_fd();
    let victim = Victim::spawn_program(&program, &["read", "own"]);
    wait_until("the call", || evidence::current_call(victim.pid(), victim.pid()).is_some());
    let inode = evidence::socket_inode(victim.pid(), fd);
    drop(client);
    let before = Before::of(victim.pid());
    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--method", "replace"]);
    if is_before(4, 3) {
        run.exits(2).one_error().says(&["no socket(2) of its own for 32-bit processes"]);
        return before.assert_untouched();
    }
    let run = run.exits(0);
    assert!(run.stdout.starts_with("replaced 1 of 1"), "{run:#?}");
    assert_ne!(evidence::socket_inode(victim.pid(), fd), inode);
    before.assert_changed_only(&[fd]);
    // Other tests' processes may have inherited it, too, for as long as they live.
    peer.set_read_timeout(Some(common::PATIENCE)).expect("it can be");
    assert_eq!(peer.read(&mut [0]).expect("the end comes"), 0);
}
