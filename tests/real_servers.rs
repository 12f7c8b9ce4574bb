//! Real servers lose exactly the named connection and go on serving everybody else under load.

mod common;

use std::fs;
use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Output;

use common::before::assert_connection_ended;
use common::evidence::{self, CLOSE_WAIT, ESTABLISHED, TcpRow};
use common::server::{Load, Server, exchange};
use common::{Need, fdclose, lacks, outcome, wait_until};

/// For so many seconds `ab` runs at the most: it is ended when the closes are done, however long they take beside the
/// thousands of connections it leaves in TIME-WAIT.
const AB_SECONDS: &str = "120";

/// So many requests are made one by one after the closes, while the load goes on.
const AFTERWARDS: usize = 200;

fn address_of(client: &TcpStream) -> SocketAddr {
    client.local_addr().expect("a connected socket has an address")
}

/// Closes the socket of `row` in `pid` while `load` runs, and sees exactly that go.
#[track_caller]
fn close_named(pid: u32, row: TcpRow, load: &mut Load) {
    let number = evidence::numbers_of(pid, row.inode);
    let [fd] = number[..] else { panic!("held as {number:?}") };
    let run = fdclose(&["--pid", &pid.to_string(), "--inode", &row.inode.to_string(), "--json"]).exits(0);
    assert!(load.runs(), "the load was over too early to show anything");
    assert_eq!(evidence::numbers_of(pid, row.inode), [0_i32; 0]);
    evidence::assert_untraced(pid);
    let document = run.json();
    let target = outcome(&document, fd);
    assert_eq!((&target["outcome"], &target["fd_freed"]), (&"done".into(), &true.into()), "{target:#}");
    assert_eq!(document["summary"]["done"], 1);
}

/// Proves that `ab` had requests answered and none failed.
#[track_caller]
fn assert_ab_is_happy(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let figure = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.trim().parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name} in {said}"))
    };
    assert_eq!(figure("Failed requests"), 0, "{said}");
    assert!(figure("Complete requests") > 0, "{said}");
    assert!(!said.contains("Non-2xx"), "{said}");
}

#[test]
fn python_frees_leaked_sockets_and_serves_on() {
    if lacks(&[Need::Program("python3"), Need::Program("ab"), Need::TraceOthers]) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/leaker.py");
    let server = Server::start(|_, port| {
        vec!["python3".into(), script.to_string_lossy().into_owned(), port.to_string()]
    });
    // The bug: clients that go away without a word.
    let leaks: Vec<TcpRow> = (0..4)
        .map(|_| {
            let client = server.client();
            let address = address_of(&client);
            drop(client);
            let mut row = server.held_end(server.pid, address);
            wait_until("CLOSE-WAIT", || {
                row = server.held_end(server.pid, address);
                row.state == CLOSE_WAIT
            });
            row
        })
        .collect();
    let url = format!("http://{}/", server.address);
    let mut load = Load::start(&server, "ab", &["-t", AB_SECONDS, "-n", "1000000", "-c", "4", &url]);

    for row in &leaks[..3] {
        close_named(server.pid, *row, &mut load);
        assert_connection_ended(server.pid, *row);
    }

    for _ in 0..AFTERWARDS {
        exchange(&mut server.client(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "hello");
    }
    assert_ab_is_happy(&load.interrupt());
    assert_eq!(
        evidence::tcp_of(server.pid, leaks[3].inode).map(|row| row.state),
        Some(CLOSE_WAIT),
        "not asked for"
    );
    let mut client = server.client();
    exchange(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "hello");
}

#[test]
fn nginx_loses_one_idle_client_and_serves_on() {
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    if lacks(&[Need::Program("nginx"), Need::Program("ab"), Need::TraceOthers]) {
        return;
    }
    let server = Server::start(|directory, port| {
        let path = directory.join("nginx.conf");
        fs::write(&path, nginx_configuration(directory, port)).expect("the configuration can be written");
        let nginx = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let words = [nginx, "-p", &directory.to_string_lossy(), "-c", &path.to_string_lossy()];
        words.map(str::to_owned).to_vec()
    });
    let mut workers = Vec::new();
    wait_until("the worker", || {
        workers = evidence::children(server.pid);
        workers.len() == 1
    });
    let worker = workers[0];

    // Two clients that keep their connections open and say nothing more.
    let [mut named, mut other] = [server.client(), server.client()];
    exchange(&mut named, REQUEST, "hello");
    exchange(&mut other, REQUEST, "hello");
    let row = server.held_end(worker, address_of(&named));
    assert_eq!(row.state, ESTABLISHED);
    let other_inode = server.held_end(worker, address_of(&other)).inode;
    let url = format!("http://{}/", server.address);
    let mut load = Load::start(&server, "ab", &["-k", "-t", AB_SECONDS, "-n", "100000000", "-c", "4", &url]);

    close_named(worker, row, &mut load);

    assert_eq!(named.read(&mut [0; 16]).expect("an orderly end"), 0, "the client sees the end");
    assert_eq!(evidence::numbers_of(worker, other_inode).len(), 1);
    exchange(&mut other, REQUEST, "hello");
    for _ in 0..AFTERWARDS {
        exchange(&mut server.client(), REQUEST, "hello");
    }
    assert_ab_is_happy(&load.interrupt());
    exchange(&mut other, REQUEST, "hello");
    assert_eq!(evidence::children(server.pid), [worker], "the master has replaced its worker");
    drop(named.shutdown(Shutdown::Both));
}

fn nginx_configuration(directory: &Path, port: u16) -> String {
    let directory = directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {directory}/{name};"))
        .join("\n");
    format!(
        "daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    {temporary}
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 \"hello\\n\"; }}
    }}
}}
"
    )
}

fn redis() -> Server {
    Server::start(|directory, port| {
        let (port, directory) = (port.to_string(), directory.to_string_lossy().into_owned());
        let words = ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--dir", &directory];
        let quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"];
        words.iter().chain(&quiet).map(|word| (*word).to_owned()).collect()
    })
}

/// It tracks its clients by number, and would ignore a new one under the number of one that was closed behind its back.
/// No other client gets the number of one that is replaced.
#[test]
fn redis_serves_whoever_comes_after_one_that_is_replaced() {
    if lacks(&[Need::Program("redis-server"), Need::TraceOthers]) {
        return;
    }
    let server = redis();
    let mut named = server.client();
    exchange(&mut named, "PING\r\n", "+PONG\r\n");
    let row = server.held_end(server.pid, address_of(&named));
    let (pid, inode) = (server.pid.to_string(), row.inode.to_string());
    fdclose(&["--pid", &pid, "--inode", &inode, "--method", "replace"]).exits(0);
    assert_eq!(named.read(&mut [0; 16]).expect("an orderly end"), 0, "the client sees the end");
    for _ in 0..3 {
        let mut next = server.client();
        exchange(&mut next, "PING\r\n", "+PONG\r\n");
    }
}

#[test]
fn redis_loses_one_client_and_serves_on() {
    if lacks(&[Need::Program("redis-server"), Need::Program("redis-benchmark"), Need::TraceOthers]) {
        return;
    }
    let server = redis();
    let [mut named, mut other] = [server.client(), server.client()];
    exchange(&mut named, "PING\r\n", "+PONG\r\n");
    exchange(&mut other, "SET kept 1\r\n", "+OK\r\n");
    let row = server.held_end(server.pid, address_of(&named));
    let other_inode = server.held_end(server.pid, address_of(&other)).inode;
    let port = server.address.port().to_string();
    // One test only: between two it would connect anew, and redis, which tracks clients by descriptor number, would
    // not know a client under the number of one that was closed behind its back.
    let mut load = Load::start(
        &server,
        "redis-benchmark",
        &["-p", &port, "-t", "set", "-n", "200000", "-c", "8", "--csv"],
    );
    // Before its clients it sends one to ask for the configuration.
    let clients = || evidence::tcp_rows(server.pid).iter().filter(|row| row.peer == server.address).count();
    wait_until("the benchmark's clients", || clients() >= 2 + 8);

    close_named(server.pid, row, &mut load);

    assert_eq!(named.read(&mut [0; 16]).expect("an orderly end"), 0, "the client sees the end");
    assert_eq!(evidence::numbers_of(server.pid, other_inode).len(), 1);
    exchange(&mut other, "GET kept\r\n", "$1\r\n1\r\n");
    let output = load.finish();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("\"SET\","), "{said}");
    assert!(!format!("{said}{complained}").to_lowercase().contains("error"), "{said}{complained}");
    exchange(&mut other, "GET kept\r\n", "$1\r\n1\r\n");
}
