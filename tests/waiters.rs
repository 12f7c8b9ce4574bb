//! Threads that wait in a call on the very descriptor that is closed: what the call returns, what the other end sees, and
//! what fdclose says of it. Calls on other descriptors are in `restart_matrix`.

mod common;

use std::time::Duration;

use common::calls::{EPOLL_WAIT, POLL};
use common::kernel::is_before;
use common::{
    Before, NOBODY, Need, Run, Victim, alone, evidence, fdclose, fdclose_as, fdclose_before_5_6, lacks,
    outcome, wait_until,
};
use serde_json::{Value, json};

/// Whose calls fdclose makes.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// The waiting thread's own.
    Surgical,
    /// Another thread's.
    Bystander,
}

/// A victim whose thread sits in a call on the leaked descriptor.
struct Waiting {
    victim: Victim,
    tid: u32,
    fd: i32,
}

impl Waiting {
    #[track_caller]
    fn spawn(call: &str, role: Role) -> Self {
        match role {
            Role::Surgical => Self::spawn_with(call, &[]),
            Role::Bystander => Self::spawn_with(call, &["--aside"]),
        }
    }

    #[track_caller]
    fn spawn_with(call: &str, options: &[&str]) -> Self {
        let victim = Victim::spawn("blocked", &[&[call], options].concat());
        let (tid, nr): (u32, i64) = (victim.value("tid"), victim.value("nr"));
        wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
        // A thread that is still being made has other signals blocked. A taker never waits.
        let waits = |tid| evidence::current_call(victim.pid(), tid).is_some();
        wait_until("the others", || {
            call.contains("+taker") || evidence::threads(victim.pid()).into_iter().all(waits)
        });
        let fd = victim.value("fd");
        Self { victim, tid, fd }
    }

    #[track_caller]
    fn close(&self) -> Run {
        let fd = self.fd.to_string();
        fdclose(&["--pid", &self.victim.pid_arg(), "--fd", &fd, "--force", "--json"]).exits(0)
    }

    /// What became of the waiting thread, as fdclose has it.
    #[track_caller]
    fn waiter(&self, document: &Value) -> (String, String) {
        let target = outcome(document, self.fd);
        assert_eq!((&target["outcome"], &target["fd_freed"]), (&json!("done"), &json!(true)), "{target:#}");
        let [waiter] = target["waiters"].as_array().expect("a list").as_slice() else { panic!("{target:#}") };
        assert_eq!(waiter["tid"], self.tid, "{target:#}");
        let text = |key: &str| waiter[key].as_str().expect("a text").to_owned();
        (text("call"), text("end"))
    }

    /// The call's value and errno.
    #[track_caller]
    fn returned(&mut self) -> (i64, i32) {
        let returned = self.victim.wait_returned();
        (returned.value, returned.errno)
    }

    /// Proves that the other end has been told, if there is one.
    #[track_caller]
    fn assert_peer_told(&mut self) {
        wait_until("the other end's end", || self.victim.ask_fields("state")["peer"] != "open");
    }
}

const BAD: (i64, i32) = (-1, libc::EBADF);

/// Call and kind, what the call returns, its name in the report and what that says of its end.
type Row = (&'static str, (i64, i32), &'static str, &'static str);

/// What can't be woken.
const ENDED: &[Row] = &[
    ("read@pipe", BAD, "read", "ebadf"),
    ("readv@pipe", BAD, "readv", "ebadf"),
    ("write@pipe", BAD, "write", "ebadf"),
    ("select@pipe", BAD, "pselect6", "ebadf"),
    ("select_out@pipe", BAD, "pselect6", "ebadf"),
    ("poll@pipe", (libc::POLLNVAL as i64, 0), POLL, "pollnval"),
    ("read@tty", BAD, "read", "ebadf"),
    ("read@eventfd", BAD, "read", "ebadf"),
    ("connect@unix", BAD, "connect", "ebadf"),
    // The kernel tells select(2) nothing of a Unix socket's end but that there is nothing more to read.
    ("select_out@unix", BAD, "pselect6", "ebadf"),
    // SIGPIPE would kill the process.
    ("send@tcp4+sigpipe", BAD, "sendto", "ebadf"),
    ("send@unix+sigpipe", BAD, "sendto", "ebadf"),
    ("poll_out@tcp4+sigpipe", (libc::POLLNVAL as i64, 0), POLL, "pollnval"),
];

const WOKEN: &[Row] = &[
    ("read@tcp4", (0, 0), "read", "woken"),
    ("readv@tcp6", (0, 0), "readv", "woken"),
    ("recv@tcp4", (0, 0), "recvfrom", "woken"),
    ("recv@tcp4+sigpipe", (0, 0), "recvfrom", "woken"),
    ("recv@tcp6", (0, 0), "recvfrom", "woken"),
    ("recv_rcvtimeo@tcp4", (0, 0), "recvfrom", "woken"),
    ("recvmsg@tcp4", (0, 0), "recvmsg", "woken"),
    // One message, and nothing in it.
    ("recvmmsg@tcp4", (1, 0), "recvmmsg", "woken"),
    ("recv@udp4", (0, 0), "recvfrom", "woken"),
    ("recv@udp6", (0, 0), "recvfrom", "woken"),
    ("poll@udp4", (libc::POLLIN as i64, 0), POLL, "woken"),
    ("recv@unix", (0, 0), "recvfrom", "woken"),
    ("recv@datagrams", (0, 0), "recvfrom", "woken"),
    ("send@tcp4", (-1, libc::EPIPE), "sendto", "woken"),
    ("send@tcp6", (-1, libc::EPIPE), "sendto", "woken"),
    ("write@tcp4", (-1, libc::EPIPE), "write", "woken"),
    ("send@unix", (-1, libc::EPIPE), "sendto", "woken"),
    ("accept@tcp4", (-1, libc::EINVAL), "accept4", "woken"),
    ("accept@tcp6", (-1, libc::EINVAL), "accept4", "woken"),
    ("accept@unix", (-1, libc::EINVAL), "accept4", "woken"),
    ("connect@tcp4", (-1, libc::ECONNRESET), "connect", "woken"),
    ("connect@tcp6", (-1, libc::ECONNRESET), "connect", "woken"),
    ("poll@tcp4", (libc::POLLIN as i64, 0), POLL, "woken"),
    ("poll@unix", (libc::POLLIN as i64, 0), POLL, "woken"),
    ("poll_out@tcp4", ((libc::POLLOUT | libc::POLLHUP) as i64, 0), POLL, "woken"),
    ("poll_out@unix", (libc::POLLHUP as i64, 0), POLL, "woken"),
    ("select@tcp6", (1, 0), "pselect6", "woken"),
    ("select_out@tcp4", (1, 0), "pselect6", "woken"),
    ("epoll_wait@tcp4", (1, 0), EPOLL_WAIT, "woken"),
    ("epoll_wait@unix", (1, 0), EPOLL_WAIT, "woken"),
];

/// What becomes of a row where there are no copies of descriptors to shut down (Linux 5.6): the call fails instead.
/// `None` where it is not known to wait on that descriptor.
fn as_assumed(row: &Row) -> Option<Row> {
    let &(call, _, name, end) = row;
    if end != "woken" || !is_before(5, 6) {
        return Some(*row);
    }
    match name {
        EPOLL_WAIT => None,
        POLL => Some((call, (i64::from(libc::POLLNVAL), 0), name, "pollnval")),
        _ => Some((call, BAD, name, "ebadf")),
    }
}

#[track_caller]
fn closes_all(rows: &[Row]) {
    for (call, returned, name, end) in rows.iter().filter_map(as_assumed) {
        println!("{call}");
        for role in [Role::Surgical, Role::Bystander] {
            let mut waiting = Waiting::spawn(call, role);
            let before = Before::of(waiting.victim.pid());
            let run = waiting.close();
            assert_eq!(waiting.waiter(&run.json()), (name.into(), end.into()), "{call}, {role:?}");
            assert_eq!(waiting.returned(), returned, "{call}, {role:?}");
            before.assert_lost_only(&[waiting.fd]);
            waiting.assert_peer_told();
            assert_eq!(waiting.victim.ask("check"), "open=0");
        }
    }
    println!("{} rows", rows.len());
}

#[test]
fn what_can_not_be_woken_fails() {
    // Where the holders are known, it is not for want of that.
    alone(|| closes_all(ENDED));
}

#[test]
fn who_waits_on_a_socket_is_told_of_its_end() {
    alone(|| closes_all(WOKEN));
}

/// An application that is told of the end of a connection closes it, as it would if the peer had. That is no failure, and
/// what has the number by then is left alone.
#[test]
fn what_the_process_closes_when_woken_is_done() {
    alone(closes_itself);
}

fn closes_itself() {
    if is_before(5, 6) {
        // Nobody is woken there, and nothing closed but by fdclose.
        let mut waiting = Waiting::spawn("recv@tcp4+close", Role::Surgical);
        let document = waiting.close().json();
        assert_eq!(waiting.waiter(&document).1, "ebadf");
        assert_eq!(outcome(&document, waiting.fd)["closed_by_process"], false);
        return assert_eq!(waiting.returned(), BAD);
    }
    for (call, taken_by) in [
        ("recv@tcp4+close", None),
        ("recv@tcp6+replace", Some("anon_inode:[eventfd]")),
        ("send@unix+close", None),
        ("poll@tcp4+replace", Some("anon_inode:[eventfd]")),
        ("epoll_wait@tcp4+close", None),
    ] {
        let mut waiting = Waiting::spawn(call, Role::Surgical);
        let document = waiting.close().json();
        assert_eq!(waiting.waiter(&document).1, "woken", "{call}");
        let target = outcome(&document, waiting.fd);
        assert_eq!(target["closed_by_process"], true, "{call}: {target:#}");
        let is_tcp = call.contains("@tcp");
        assert_eq!(target["connection"], if is_tcp { "ended" } else { "not-applicable" }, "{target:#}");
        waiting.returned();
        let now = evidence::link(waiting.victim.pid(), waiting.fd);
        assert_eq!(now.as_deref(), taken_by, "{call}");
        waiting.assert_peer_told();
        evidence::assert_untraced(waiting.victim.pid());
    }
}

/// A shutdown would hit them, too.
#[test]
fn a_socket_that_others_hold_is_not_shut_down() {
    alone(closes_one);
}

fn closes_one() {
    for call in
        ["recv@tcp4+dup", "recv@tcp4+fork", "recv@unix+fork", "epoll_wait@tcp4+dup", "accept@tcp4+fork"]
    {
        let mut waiting = Waiting::spawn(call, Role::Surgical);
        let document = waiting.close().json();
        if call.starts_with("epoll_wait") {
            assert_eq!(outcome(&document, waiting.fd)["waiters"], json!([]), "{call}");
        } else {
            assert_eq!(waiting.waiter(&document).1, "ebadf", "{call}");
            assert_eq!(waiting.returned(), BAD, "{call}");
        }
        assert_eq!(waiting.victim.ask("check"), "open=0", "{call}");
        assert_ne!(waiting.victim.ask_fields("state")["peer"], "ended", "{call}");
        if call.contains("@tcp") {
            let target = outcome(&document, waiting.fd);
            assert_eq!(target["connection"], "remains", "{call}");
            assert_eq!(target["holders"].as_array().map(Vec::len), Some(1), "{call}: {target:#}");
        }
    }
}

/// Event loops may be started late, by a program with many threads.
#[test]
fn an_event_loop_in_the_last_of_many_threads_is_told() {
    alone(|| {
        let mut waiting = Waiting::spawn_with("epoll_wait@tcp4", &["--crowd", "40", "--aside"]);
        if is_before(5, 6) {
            // Nobody is woken there.
            return;
        }
        let document = waiting.close().json();
        assert_eq!(waiting.waiter(&document), (EPOLL_WAIT.to_owned(), "woken".to_owned()));
        assert_eq!(waiting.returned(), (1, 0));
        waiting.assert_peer_told();
    });
}

/// To ask each of the others whether it watches the connection would take longer than there is time.
#[test]
fn an_event_loop_is_told_beside_others_with_thousands_of_connections() {
    alone(|| {
        let crowd = ["--crowd", "60", "--crowd-watches", "20000", "--aside"];
        let mut waiting = Waiting::spawn_with("epoll_wait@tcp4", &crowd);
        if is_before(5, 6) {
            // Nobody is woken there.
            return;
        }
        let document = waiting.close().json();
        assert_eq!(waiting.waiter(&document), (EPOLL_WAIT.to_owned(), "woken".to_owned()));
        assert_eq!(waiting.returned(), (1, 0));
        waiting.assert_peer_told();
    });
}

/// It was told of the end of the connection when the peer ended it, and may have forgotten all about it.
#[test]
fn an_event_loop_is_not_told_twice() {
    alone(closes_what_was_told);
}

fn closes_what_was_told() {
    let mut waiting = Waiting::spawn("epoll_wait@tcp4+told", Role::Surgical);
    let document = waiting.close().json();
    let target = outcome(&document, waiting.fd);
    assert_eq!((&target["outcome"], &target["waiters"]), (&json!("done"), &json!([])), "{target:#}");
    assert_eq!(target["connection"], "ended");
    waiting.victim.stays_blocked_for(Duration::from_millis(200));
    waiting.assert_peer_told();
}

/// Its threads see the close of another process that shares the table with theirs.
#[test]
fn who_waits_in_a_process_that_shares_the_table_is_ended_too() {
    for call in ["recv@unix+share+taker", "read@pipe+share+taker", "select@pipe+share+taker"] {
        for _ in 0..RACES {
            let mut waiting = Waiting::spawn(call, Role::Surgical);
            let children = evidence::children(waiting.victim.pid());
            let [sharer] = children.as_slice() else { panic!("{call}: {children:?}") };
            let run =
                fdclose(&["--pid", &sharer.to_string(), "--fd", &waiting.fd.to_string(), "--json"]).exits(0);
            assert_eq!(waiting.waiter(&run.json()).1, "ebadf", "{call}");
            assert_eq!(waiting.returned(), BAD, "{call}");
            evidence::assert_untraced(waiting.victim.pid());
            evidence::assert_untraced(*sharer);
        }
    }
}

/// Any of those that can't be looked into may hold it.
#[test]
fn a_socket_whose_holders_are_not_known_is_not_shut_down() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(NOBODY, "blocked", &["recv@tcp4"]);
    let (tid, nr, fd): (u32, i64, i32) = (victim.value("tid"), victim.value("nr"), victim.value("fd"));
    wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
    let run = fdclose_as(NOBODY, &["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--json"]).exits(0);
    assert_eq!(outcome(&run.json(), fd)["waiters"][0]["end"], "ebadf");
    let returned = victim.wait_returned();
    assert_eq!((returned.value, returned.errno), BAD);
}

/// All descriptors of one socket are closed: nobody else has it.
#[test]
fn a_socket_whose_every_descriptor_is_meant_is_shut_down() {
    alone(closes_both);
}

fn closes_both() {
    let mut waiting = Waiting::spawn("recv@tcp4+dup", Role::Surgical);
    let inode: String = waiting.victim.value("inode");
    let run = fdclose(&["--pid", &waiting.victim.pid_arg(), "--inode", &inode, "--json"]).exits(0);
    let document = run.json();
    assert_eq!(document["summary"]["done"], 2);
    let (end, returned) = if is_before(5, 6) { ("ebadf", BAD) } else { ("woken", (0, 0)) };
    assert_eq!(waiting.waiter(&document).1, end);
    assert_eq!(waiting.returned(), returned);
    assert_eq!(outcome(&document, waiting.fd)["connection"], "ended");
    waiting.assert_peer_told();
}

/// Where the process itself has to make the call, in a stop that has ended these for a moment.
#[test]
fn who_waits_on_a_socket_that_is_shut_down_in_the_stop_is_told_of_its_end() {
    if lacks(&[Need::Root]) {
        return;
    }
    for (call, expected) in [
        ("recv@tcp4", (0, 0)),
        ("recv@unix+fork", (0, 0)),
        ("send@tcp4", (-1, libc::EPIPE)),
        ("accept@tcp6", (-1, libc::EINVAL)),
        ("poll@tcp4", (i64::from(libc::POLLIN | libc::POLLHUP), 0)),
        ("epoll_wait@tcp4", (1, 0)),
    ] {
        for role in [Role::Surgical, Role::Bystander] {
            let mut waiting = Waiting::spawn(call, role);
            let before = Before::of(waiting.victim.pid());
            let (pid, fd) = (waiting.victim.pid_arg(), waiting.fd.to_string());
            let args = ["--pid", &pid, "--fd", &fd, "--force", "--method", "shutdown", "--json"];
            let document = fdclose_before_5_6(&args).exits(0).json();
            assert_eq!(outcome(&document, waiting.fd)["outcome"], "done", "{call}: {document:#}");
            assert_eq!(document["processes"][0]["stops"], 1, "{call}: {document:#}");
            assert_eq!(waiting.returned(), expected, "{call}, {role:?}");
            assert_eq!(waiting.victim.ask("check"), "open=1", "{call}: it stays");
            before.assert_untouched();
        }
    }
}

/// How often the number is taken in each row.
const RACES: usize = 10;

/// The interrupted call would start anew, with a number that is another file's by then.
#[test]
fn no_call_goes_on_with_the_file_that_takes_the_number() {
    for call in ["read@pipe", "write@pipe", "select@pipe", "recv@unix+dup", "send@unix+dup"] {
        for _ in 0..RACES {
            let mut waiting = Waiting::spawn(&format!("{call}+taker"), Role::Surgical);
            waiting.close();
            assert_eq!(waiting.returned(), BAD, "{call}");
            wait_until("the taker", || waiting.victim.ask_fields("state")["taken"] == "1");
        }
    }
}
