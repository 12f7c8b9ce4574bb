//! Descriptors that are no TCP sockets, closed by number.

mod common;

use common::evidence;
use common::{Before, Need, Victim, fdclose, lacks, outcome};

const ALL: [&str; 14] = [
    "pipe_r", "pipe_w", "unix_a", "unix_b", "client", "server", "udp", "file", "deleted", "eventfd", "epoll",
    "timerfd", "signalfd", "memfd",
];

#[test]
fn each_kind_is_freed_by_its_number_and_its_neighbours_stay() {
    let mut victim = Victim::spawn("kinds", &[]);
    for name in ALL {
        let fd: i32 = victim.value(name);
        let before = Before::of(victim.pid());
        let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--json"]).exits(0);
        before.assert_lost_only(&[fd]);
        let open = victim.ask_fields("check").remove("open").expect("a list");
        assert!(!open.split(',').any(|open| open == name), "{name} in {open}");
        let document = run.json();
        assert_eq!(outcome(&document, fd)["outcome"], "done", "{name}");
        assert_eq!(outcome(&document, fd)["fd_freed"], true, "{name}");
    }
}

#[test]
fn each_kind_is_called_by_its_name() {
    let victim = Victim::spawn("kinds", &[]);
    let named = [
        ("pipe_r", "pipe"),
        ("unix_a", "unix"),
        ("server", "tcp"),
        ("udp", "udp"),
        ("file", "file"),
        ("deleted", "file"),
        ("eventfd", "eventfd"),
        ("epoll", "epoll"),
        ("timerfd", "timerfd"),
        ("signalfd", "signalfd"),
        ("inotify", "inotify"),
        ("memfd", "memfd"),
    ];
    for (name, kind) in named {
        let fd: i32 = victim.value(name);
        let run =
            fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--dry-run", "--json"]).exits(0);
        assert_eq!(outcome(&run.json(), fd)["kind"], kind, "{name}");
    }
}

#[test]
fn what_is_no_connection_has_none_to_end() {
    let victim = Victim::spawn("kinds", &[]);
    let fd: i32 = victim.value("eventfd");
    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--json"]).exits(0);
    assert_eq!(evidence::link(victim.pid(), fd), None);
    assert_eq!(outcome(&run.json(), fd)["connection"], "not-applicable");
    assert_eq!(outcome(&run.json(), fd)["local"], serde_json::Value::Null);
}

#[test]
fn a_range_of_numbers_frees_all_within_it() {
    let mut victim = Victim::spawn("kinds", &[]);
    // These were opened in a row.
    let (first, last): (i32, i32) = (victim.value("eventfd"), victim.value("memfd"));
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg(), "--fd", &format!("{first}-{last}"), "--yes"]).exits(0);
    before.assert_lost_only(&(first..=last).collect::<Vec<_>>());
    let open = victim.ask("check");
    assert!(!open.contains("eventfd") && open.contains("deleted") && open.contains("udp"), "{open}");
}

#[test]
fn a_kind_selects_only_its_own() {
    let victim = Victim::spawn("kinds", &[]);
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg(), "--kind", "timerfd", "--yes"]).exits(0);
    before.assert_lost_only(&[victim.value("timerfd")]);
}

#[test]
fn deleted_selects_files_without_a_name() {
    let victim = Victim::spawn("kinds", &[]);
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg(), "--deleted", "--kind", "file", "--yes"]).exits(0);
    before.assert_lost_only(&[victim.value("deleted")]);
}

#[test]
fn an_ipv6_connection_is_found_by_its_address() {
    if lacks(&[Need::Ipv6]) {
        return;
    }
    let victim = Victim::spawn("kinds", &[]);
    let fd: i32 = victim.value("server6");
    let row = evidence::tcp_of(victim.pid(), evidence::socket_inode(victim.pid(), fd)).expect("a row");
    let before = Before::of(victim.pid());
    let run =
        fdclose(&["--pid", &victim.pid_arg(), "--peer", &row.peer.to_string(), "--yes", "--json"]).exits(0);
    before.assert_lost_only(&[fd]);
    assert_eq!(outcome(&run.json(), fd)["local"], row.local.to_string());
}
