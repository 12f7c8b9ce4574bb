//! Keepalive in another process's socket, seen by the kernel's own timers.

mod common;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use common::kernel::is_before;
use common::{Before, Need, Victim, evidence, fdclose, fdclose_as, lacks};

/// A victim with one connection, the descriptor of that, and the test's end of it.
fn connected() -> (Victim, i32, TcpStream) {
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let client = TcpStream::connect(address).expect("the victim listens");
    let answer = victim.ask("accept");
    let fd = answer.split(' ').find_map(|pair| pair.strip_prefix("fd=")).expect("a descriptor");
    let fd = fd.parse().expect("a number");
    (victim, fd, client)
}

/// Which timer of a connection runs, by the number in `/proc/net/tcp` (2 is keepalive), and in how many ticks it ends.
fn timer(pid: u32, fd: i32) -> (u8, u64) {
    let inode = evidence::socket_inode(pid, fd).to_string();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("there is a table");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.get(9) == Some(&inode.as_str())).expect("it is there");
    let (kind, when) = row[5].split_once(':').expect("a timer");
    (u8::from_str_radix(kind, 16).expect("a number"), u64::from_str_radix(when, 16).expect("ticks"))
}

/// Where the kernel makes no copies of descriptors, that is said, and nothing is done.
#[track_caller]
fn is_refused(args: &[&str], (pid, fd): (u32, i32)) -> bool {
    let refused = is_before(5, 6);
    if refused {
        fdclose(args).exits(2).one_error().says(&["makes no copies of descriptors (pidfd_getfd, Linux 5.6)"]);
        assert_eq!(timer(pid, fd).0, 0);
    }
    refused
}

#[test]
fn it_is_switched_on_and_the_kernel_counts() {
    let (mut victim, fd, _client) = connected();
    assert_eq!(timer(victim.pid(), fd).0, 0, "no timer runs");
    let before = Before::of(victim.pid());

    let (pid, inode) = (victim.pid_arg(), evidence::socket_inode(victim.pid(), fd).to_string());
    let set = ["--idle", "100s", "--interval", "7s", "--count", "3", "--user-timeout", "90s"];
    let args = [&["keepalive", "--pid", &pid, "--inode", &inode], &set[..]].concat();
    if is_refused(&args, (victim.pid(), fd)) {
        return before.assert_untouched();
    }
    let run = fdclose(&args).exits(0);

    assert!(
        run.stdout.contains("keepalive off -> on (after 100s, then every 7s, 3 times; user timeout 90s)"),
        "{run:#?}"
    );
    let (kind, ticks) = timer(victim.pid(), fd);
    assert_eq!(kind, 2, "the keepalive timer runs");
    // USER_HZ is 100 on every Linux.
    assert!((80 * 100..=100 * 100).contains(&ticks), "{ticks}");
    before.assert_untouched();
    assert_eq!(victim.ask(&format!("send {fd}")), "value=1");
}

#[test]
fn a_dry_run_shows_and_changes_nothing() {
    let (victim, fd, _client) = connected();
    let (pid, fd_arg) = (victim.pid_arg(), fd.to_string());
    if is_refused(&["keepalive", "--pid", &pid, "--fd", &fd_arg, "--dry-run"], (victim.pid(), fd)) {
        return;
    }
    let args = ["keepalive", "--pid", &pid, "--fd", &fd_arg, "--idle", "60s", "--json", "--dry-run"];
    let document = fdclose(&args).exits(0).json();
    let target = &document["targets"][0];
    assert_eq!(target["outcome"], "would-do", "{document:#}");
    assert_eq!((&target["before"]["enabled"], &target["after"]["enabled"]), (&false.into(), &true.into()));
    assert_eq!(target["after"]["idle_s"], 60);
    assert_eq!(target["after"]["interval_s"], target["before"]["interval_s"]);
    assert_eq!(timer(victim.pid(), fd).0, 0);
}

#[test]
fn listeners_and_other_files_are_refused() {
    let (victim, _, _client) = connected();
    let (pid, listener): (String, String) = (victim.pid_arg(), victim.value("listener"));
    let run = fdclose(&["keepalive", "--pid", &pid, "--fd", &listener]).exits(2);
    run.one_error().says(&["listening socket"]);
    let run = fdclose(&["keepalive", "--pid", &pid, "--fd", "0"]).exits(2);
    run.one_error().says(&["for TCP connections"]);
}

#[test]
fn a_broad_selection_is_asked_about_and_all_of_the_host_is_not_meant() {
    let (victim, fd, _client) = connected();
    let pid = victim.pid_arg();
    fdclose(&["keepalive", "--yes"]).exits(2).says(&["nothing is selected"]);
    let all = ["keepalive", "--pid", &pid, "--state", "established", "--yes"];
    if is_refused(&all, (victim.pid(), fd)) {
        return;
    }
    fdclose(&["keepalive", "--pid", &pid, "--state", "established"]).exits(2).says(&["--yes"]);
    assert_eq!(timer(victim.pid(), fd).0, 0);
    fdclose(&all).exits(0);
    assert_eq!(timer(victim.pid(), fd).0, 2);
}

#[test]
fn another_users_socket_is_out_of_reach() {
    if lacks(&[Need::Root]) {
        return;
    }
    let (victim, fd, _client) = connected();
    let (pid, fd_arg) = (victim.pid_arg(), fd.to_string());
    fdclose_as(65534, &["keepalive", "--pid", &pid, "--fd", &fd_arg]).exits(2).one_error();
    assert_eq!(timer(victim.pid(), fd).0, 0);
}
