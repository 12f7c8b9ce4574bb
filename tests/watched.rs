//! Descriptors that an epoll instance of their process still watches: shown, and warned of before they are closed.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use common::server::{Server, exchange};
use common::{Need, Victim, evidence, fdclose, fdclose_denied, lacks, wait_until};
use serde_json::Value;

/// A victim that watches its connections, and the test's ends of these.
fn watching(connections: usize) -> (Victim, Vec<i32>, Vec<TcpStream>) {
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let (mut fds, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        clients.push(TcpStream::connect(address).expect("the victim listens"));
        fds.push(victim.ask_fields("accept")["fd"].parse().expect("a number"));
    }
    (victim, fds, clients)
}

/// What each epoll instance watches, by the kernel's word.
fn watched(pid: u32) -> BTreeMap<i32, Vec<i32>> {
    let epolls = evidence::descriptors(pid).into_iter().filter(|(_, link)| link == "anon_inode:[eventpoll]");
    let info = |fd| fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).expect("it is open");
    let numbers = |text: String| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("tfd:")).map(str::to_owned);
        lines
            .map(|line| line.split_whitespace().next().expect("a number").parse().expect("a number"))
            .collect()
    };
    epolls.map(|(fd, _)| (fd, numbers(info(fd)))).collect()
}

/// The descriptors that `list` says are watched, and by which instance.
fn listed(document: &Value) -> BTreeMap<i64, Vec<i64>> {
    let rows = document["fds"].as_array().expect("a list").iter();
    let instances = |row: &Value| -> Vec<i64> {
        row["watched_by"].as_array().expect("a list").iter().filter_map(Value::as_i64).collect()
    };
    let rows = rows.map(|row| (row["fd"].as_i64().expect("a number"), instances(row)));
    rows.filter(|(_, instances)| !instances.is_empty()).collect()
}

#[test]
fn list_tells_what_the_kernel_tells_however_it_is_asked() {
    // One by one, and by reading what each instance watches.
    for connections in [3, 90] {
        let (victim, fds, _clients) = watching(connections);
        let by_kernel = watched(victim.pid());
        let (epoll, numbers) = by_kernel.iter().find(|(_, fds)| !fds.is_empty()).expect("it watches");
        assert_eq!(numbers.len(), fds.len());
        let wanted: BTreeMap<i64, Vec<i64>> =
            numbers.iter().map(|fd| (i64::from(*fd), vec![i64::from(*epoll)])).collect();
        let pid = victim.pid_arg();
        let args = ["list", "--pid", &pid, "--json"];
        let document = fdclose(&args).exits(0).json();
        assert_eq!(listed(&document), wanted);
        assert_eq!(document["processes"][0]["watched"], connections);
        assert_eq!(listed(&fdclose_denied("kcmp", &args).exits(0).json()), wanted, "without kcmp(2)");
        let shown = fdclose(&["list", "--pid", &pid]).exits(0).stdout;
        assert!(shown.contains(&format!("; {connections} watched by epoll;")), "{shown}");
    }
}

#[test]
fn a_close_is_warned_of_and_done() {
    let (victim, fds, _clients) = watching(3);
    let pid = victim.pid_arg();
    let inode = evidence::socket_inode(victim.pid(), fds[0]).to_string();
    let warning = format!("still watches fd {}", fds[0]);
    let run = fdclose(&["--pid", &pid, "--inode", &inode, "-n"]).exits(0);
    run.says(&[&warning]).says(&["--method shutdown"]);
    // By number alone: the others are looked at for instances.
    fdclose(&["--pid", &pid, "--fd", &fds[0].to_string(), "-n"]).exits(0).says(&[&warning]);
    let quiet = fdclose(&["--pid", &pid, "--inode", &inode, "-n", "-q"]).exits(0);
    assert!(quiet.stderr.is_empty(), "{quiet:#?}");
    let run = fdclose(&["--pid", &pid, "--inode", &inode, "--json"]).exits(0);
    run.says(&[&warning]);
    let target = &run.json()["targets"][0];
    assert_eq!(
        (&target["outcome"], target["watched_by"].as_array().map(Vec::len)),
        (&"done".into(), Some(1))
    );
    let run = fdclose(&["--pid", &pid, "--state", "established", "--yes"]).exits(0);
    run.says(&["still watches 2 descriptors of these by epoll"]);
}

#[test]
fn a_leak_is_closed_without_a_word() {
    let victim = Victim::spawn("close_wait", &["--count", "2"]);
    let inodes: Vec<u64> = victim.list("inodes");
    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes[0].to_string(), "--json"]).exits(0);
    assert!(run.stderr.is_empty(), "{run:#?}");
    assert_eq!(run.json()["targets"][0]["watched_by"], serde_json::json!([]));
    // What is shut down is told so by epoll itself.
    let (victim, fds, _clients) = watching(1);
    let inode = evidence::socket_inode(victim.pid(), fds[0]).to_string();
    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode, "--method", "shutdown"]);
    assert!(!run.stderr.contains("still watches"), "{run:#?}");
}

#[test]
fn redis_is_warned_of_and_closes_by_itself_what_was_shut_down() {
    if lacks(&[Need::Program("redis-server"), Need::TraceOthers]) {
        return;
    }
    let server = Server::start(|directory, port| {
        let (port, directory) = (port.to_string(), directory.to_string_lossy().into_owned());
        let words = ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--dir", &directory];
        let quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"];
        words.iter().chain(&quiet).map(|word| (*word).to_owned()).collect()
    });
    let mut client = server.client();
    exchange(&mut client, "PING\r\n", "+PONG\r\n");
    let row = server.held_end(server.pid, client.local_addr().expect("it is connected"));
    let fd = evidence::numbers_of(server.pid, row.inode)[0];
    let (pid, inode) = (server.pid.to_string(), row.inode.to_string());
    let run = fdclose(&["--pid", &pid, "--inode", &inode, "--dry-run"]).exits(0);
    run.says(&[&format!("still watches fd {fd}")]).says(&["--method shutdown"]);
    assert_eq!(fdclose(&["doctor", "--pid", &pid, "--json"]).exits(0).json()["advice"]["method"], "shutdown");

    fdclose(&["--pid", &pid, "--inode", &inode, "--method", "shutdown"]).exits(0);

    wait_until("redis closes it", || evidence::link(server.pid, fd).is_none());
    // The next client gets that number, and redis knows it: had it been closed behind its back, it would not.
    let mut next = server.client();
    exchange(&mut next, "PING\r\n", "+PONG\r\n");
    let row = server.held_end(server.pid, next.local_addr().expect("it is connected"));
    assert_eq!(evidence::numbers_of(server.pid, row.inode), [fd]);
}
