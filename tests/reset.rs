//! `--method reset`: each way to find the number that a connection takes a RST with, and that no socket is ever left in
//! repair (TCP_REPAIR), judged through a copy of its descriptor. What the application and the peer are told is in `methods`.

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use common::connection::{CLOSE, Connection, ESTABLISHED, TCP_REPAIR_OFF_NO_WP, TCP_REPAIR_ON};
use common::kernel::is_before;
use common::net::Net;
use common::{
    Need, Run, Victim, fdclose, fdclose_as, fdclose_dying_at, lacks, outcome, start_fdclose_with, sys,
    wait_until,
};
use serde_json::json;

fn families() -> &'static [bool] {
    if lacks(&[Need::Ipv6]) { &[false] } else { &[false, true] }
}

/// A connection of each family, open and closed by its peer, is reset, and the number found `by` this way. Numbers move on
/// with what is sent, and with a FIN.
#[track_caller]
fn each_is_reset(by: &str, reset: impl Fn(&Connection) -> Run) {
    for &v6 in families() {
        for half_closed in [false, true] {
            let mut connection = Connection::new(v6);
            connection.assert_alive();
            if half_closed {
                connection.client.shutdown(Shutdown::Write).expect("it is connected");
            }
            connection.assert_reset(reset(&connection), by);
        }
    }
}

/// How a number is found: where there are no copies of descriptors (Linux 5.6), no socket tells it.
fn best_way() -> &'static str {
    if is_before(5, 6) { "challenge" } else { "repair" }
}

#[test]
fn the_socket_tells_its_number() {
    if lacks(&[Need::Root]) {
        return;
    }
    each_is_reset(best_way(), |connection| connection.reset(&[]));
}

#[test]
fn the_kernel_tells_the_number_when_asked_by_a_segment() {
    if lacks(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    each_is_reset("challenge", |connection| connection.reset_without_repair(&[]));
}

/// A RST with a wrong number has drawn an answer; for `tcp_invalid_ratelimit` the kernel gives no other.
#[test]
fn a_kernel_that_has_just_answered_is_asked_again() {
    if lacks(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let connection = Connection::new(false);
    let beside = connection.expected_next().wrapping_add(1000).to_string();
    connection.reset(&["--seq", &beside]).exits(3);
    connection.assert_reset(connection.reset_without_repair(&[]), "challenge");
}

#[test]
fn the_number_can_be_given() {
    if lacks(&[Need::Root]) {
        return;
    }
    for &v6 in families() {
        let mut connection = Connection::new(v6);
        let next = connection.expected_next();
        // A number in the window, but not the next one, is not taken.
        let document = connection.reset(&["--seq", &next.wrapping_add(1).to_string()]).exits(3).json();
        let target = outcome(&document, connection.fd);
        assert_eq!(
            (&target["outcome"], &target["number_by"]),
            (&json!("failed"), &json!(null)),
            "{target:#}"
        );
        connection.assert_alive();
        let next = connection.expected_next();
        connection.assert_reset(connection.reset(&["--seq", &next.to_string()]), "given");
    }
}

#[test]
fn one_number_is_for_one_connection() {
    let mut connection = Connection::new(false);
    let fd = connection.fd.to_string();
    let (pid, port): (String, u16) = (connection.victim.pid_arg(), connection.victim.value("port"));
    let _other = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the victim listens");
    let other = connection.victim.ask_fields("accept")["fd"].clone();
    let both = format!("{fd},{other}");
    let run = fdclose(&["--pid", &pid, "--fd", &both, "--method", "reset", "--seq", "1"]).exits(2);
    run.one_error().says(&["--seq is the number of one connection"]);
    connection.assert_alive();
    for wrong in [&["--seq", "1", "--both-ends"][..], &["--seq", "4294967296"]] {
        connection.reset(wrong).exits(2).one_error();
    }
    let run = fdclose(&["--pid", &pid, "--fd", &fd, "--seq", "1"]).exits(2);
    run.one_error().says(&["--method reset only"]);
}

#[test]
fn the_peer_gets_one_too_if_that_is_asked_for() {
    if lacks(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    for without_repair in [false, true] {
        let mut connection = Connection::new(false);
        connection.assert_alive();
        if without_repair {
            connection.assert_reset(connection.reset_without_repair(&["--both-ends"]), "challenge");
        } else {
            connection.assert_reset(connection.reset(&["--both-ends"]), best_way());
        }
        let told = connection.client.read(&mut [0]).expect_err("it is reset");
        assert_eq!(told.kind(), ErrorKind::ConnectionReset);
    }
}

/// Many, and two descriptors of one connection.
#[test]
fn many_are_reset_at_once() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn("close_wait", &["--count", "300"]);
    let fds: Vec<i32> = victim.list("fds");
    let range = format!("{}-{}", fds[0], fds[fds.len() - 1]);
    let pid = victim.pid_arg();
    let run = fdclose(&[
        "--pid",
        &pid,
        "--fd",
        &range,
        "--state",
        "close-wait",
        "--method",
        "reset",
        "--json",
        "--yes",
    ]);
    let document = run.exits(0).json();
    assert_eq!(document["summary"]["done"], 300);
    for fd in fds {
        let copy = sys::copy_of(victim.pid(), fd);
        assert_eq!(common::evidence::tcp_info_state(&copy), CLOSE);
    }
    assert_eq!(victim.ask("check"), "open=300", "the descriptors stay");
    victim.serves();
}

#[test]
fn two_descriptors_of_one_connection_are_one() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn("dup_holder", &[]);
    let (pid, inode): (String, String) = (victim.pid_arg(), victim.value("inode"));
    let document =
        fdclose(&["--pid", &pid, "--inode", &inode, "--method", "reset", "--json"]).exits(0).json();
    let targets = document["targets"].as_array().expect("a list");
    assert!(targets.len() > 1, "{document:#}");
    assert!(
        targets.iter().all(|target| target["outcome"] == "done" && target["number_by"] == best_way()),
        "{document:#}"
    );
}

const PLACES: [&str; 3] = ["repairing", "numbered", "mended"];

/// Whatever the worker dies in, the command mends the socket.
#[test]
fn a_worker_killed_in_the_middle_leaves_no_socket_in_repair() {
    if lacks(&[Need::Root]) {
        return;
    }
    for place in PLACES {
        for reuse in [0, 1] {
            let mut connection = Connection::new(false);
            if best_way() != "repair" {
                connection.assert_reset(connection.reset(&[]), best_way());
                continue;
            }
            sys::set_int_option(&connection.copy, libc::SOL_SOCKET, libc::SO_REUSEADDR, reuse);
            fdclose_dying_at(place, &connection.args(&[], &mut Vec::new()));
            assert!(!connection.is_in_repair(), "{place}");
            let reuses = sys::int_option(&connection.copy, libc::SOL_SOCKET, libc::SO_REUSEADDR);
            assert_eq!(reuses, reuse, "{place}");
            connection.assert_alive();
        }
    }
}

/// Whatever the worker is doing when the command dies, it ends it.
#[test]
fn a_command_killed_in_the_middle_leaves_no_socket_in_repair() {
    if lacks(&[Need::Root]) {
        return;
    }
    for place in PLACES {
        let connection = Connection::new(false);
        if best_way() != "repair" {
            connection.assert_reset(connection.reset(&[]), best_way());
            continue;
        }
        let mut texts = Vec::new();
        let args = connection.args(&[], &mut texts);
        let mut started = start_fdclose_with(&args, &[("FDCLOSE_TEST_STOP_AT", place)]);
        let worker = started.wait_until_stopped().expect("it comes by");
        assert_ne!(worker, started.pid());
        assert_eq!(connection.is_in_repair(), place != "mended", "the test is where it means to be");
        let held = sys::Pidfd::open(worker);
        started.kill();
        wait_until("the command's end", || started.is_over());
        sys::kill(worker, libc::SIGCONT);
        held.wait_for_end();
        assert!(started.ended_by(libc::SIGKILL));
        assert!(!connection.is_in_repair(), "{place}");
    }
}

/// As CRIU would have it.
#[test]
fn a_socket_that_somebody_else_repairs_is_left_alone() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut connection = Connection::new(false);
    sys::set_int_option(&connection.copy, libc::IPPROTO_TCP, libc::TCP_REPAIR, TCP_REPAIR_ON);
    if best_way() != "repair" {
        // There it can't be known.
        let document = connection.reset(&[]).exits(0).json();
        return assert_eq!(outcome(&document, connection.fd)["number_by"], best_way());
    }
    let document = connection.reset(&[]).exits(2).json();
    assert_eq!(outcome(&document, connection.fd)["outcome"], "refused");
    assert!(connection.is_in_repair());
    sys::set_int_option(&connection.copy, libc::IPPROTO_TCP, libc::TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
    connection.assert_alive();
}

/// Whatever the machine thinks of segments that come in by another way than answers would take.
#[test]
fn a_peer_elsewhere_is_no_obstacle() {
    let Some(net) = Net::new() else { return };
    if lacks(&[Need::Program("setpriv")]) {
        return;
    }
    for reverse_path_filter in [0, 1, 2] {
        net.filter_reverse_paths(reverse_path_filter);
        // The last is v4 on a socket of IPv6.
        for (listens, v6) in
            [(&["--any"][..], false), (&["--any", "--v6"], true), (&["--any", "--v6"], false)]
        {
            for without_repair in [false, true] {
                let victim = net.spawn("ends", listens);
                let client = net.connect(v6, victim.value("port"));
                let mut connection = Connection::of(victim, client);
                connection.assert_alive();
                let (run, by) = if without_repair {
                    (connection.reset_without_repair(&["--both-ends"]), "challenge")
                } else {
                    (connection.reset(&["--both-ends"]), best_way())
                };
                connection.assert_reset(run, by);
                let told = connection.client.read(&mut [0]).expect_err("it is reset");
                assert_eq!(told.kind(), ErrorKind::ConnectionReset, "{listens:?} {v6} {without_repair}");
            }
        }
    }
}

/// A process that has gone on to another network namespace has left its connections where they were.
#[test]
fn a_connection_is_reset_in_its_own_network_namespace() {
    if lacks(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    for without_repair in [false, true] {
        let mut connection = Connection::new(false);
        connection.assert_alive();
        assert_eq!(connection.victim.ask("leave-net"), "value=0");
        if best_way() != "repair" {
            // In the tables of its process it is not, and it can't be asked itself.
            connection.reset(&[]).exits(2);
            connection.assert_alive();
        } else if without_repair {
            // To ask a socket for its namespace takes the same privilege as its repair.
            let run = connection.reset_without_repair(&[]).exits(2);
            let document = run.json();
            let error = outcome(&document, connection.fd)["error"].as_str().expect("a reason").to_owned();
            assert!(error.contains("CAP_NET_ADMIN"), "{error}");
            connection.assert_alive();
        } else {
            connection.assert_reset(connection.reset(&["--both-ends"]), "repair");
            let told = connection.client.read(&mut [0]).expect_err("it is reset");
            assert_eq!(told.kind(), ErrorKind::ConnectionReset);
        }
    }
}

/// The kernel's answer is for the peer, and does not leave the machine: there is nothing to hear.
#[test]
fn a_dead_peer_is_no_obstacle_if_the_socket_tells_its_number() {
    let Some(net) = Net::new() else { return };
    if lacks(&[Need::Program("setpriv")]) {
        return;
    }
    let victim = net.spawn("ends", &["--any"]);
    let client = net.connect(false, victim.value("port"));
    let connection = Connection::of(victim, client);
    net.cut();
    net.forget_neighbour();
    let document = connection.reset_without_repair(&[]).exits(3).json();
    let error = outcome(&document, connection.fd)["error"].as_str().expect("a reason").to_owned();
    assert!(error.contains("could not be found"), "{error}");
    assert_eq!(connection.state(), ESTABLISHED);
    if best_way() == "repair" {
        connection.assert_reset(connection.reset(&[]), "repair");
    } else {
        connection.reset(&[]).exits(3);
    }
}

#[test]
fn it_takes_a_privilege_and_says_so() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(common::NOBODY, "ends", &[]);
    let port: u16 = victim.value("port");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the victim listens");
    let fd = victim.ask_fields("accept")["fd"].clone();
    let run =
        fdclose_as(common::NOBODY, &["--pid", &victim.pid_arg(), "--fd", &fd, "--method", "reset"]).exits(2);
    run.one_error().says(&["CAP_NET_RAW"]);
    client.write_all(b"x").expect("it is connected");
    wait_until("what was sent", || victim.ask(&format!("recv {fd}")) == "value=1");
}
