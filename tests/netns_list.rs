//! `--netns`: sockets by their network namespace, against `ss` run in each.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use common::{Before, Need, Victim, evidence, fdclose, lacks, victim_path, wait_until};
use serde_json::Value;

const NEEDS: [Need; 4] = [Need::Root, Need::Program("unshare"), Need::Program("ip"), Need::Program("ss")];

/// A holder of a descriptor to a socket, and the socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    netns: u64,
    pid: u64,
    fd: u64,
    inode: u64,
    state: String,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    recv_q: u64,
    send_q: u64,
}

/// `mixed` through `PROGRAM ARGS`, which puts it into a network namespace whose loopback interface is up then.
fn mixed(program: &str, args: &[&str], own: &str) -> Victim {
    let run = format!("ip link set lo up && exec {} {own}", victim_path("mixed").display());
    Victim::spawn_program(Path::new(program), &[args, &["sh", "-c", &run]].concat())
}

fn netns(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/net")).expect("the process lives").ino()
}

/// What `ss` tells of the sockets there that somebody holds.
fn by_ss(namespace: &str, number: u64) -> BTreeSet<Row> {
    let output = Command::new("nsenter").arg(format!("--net={namespace}")).args(["ss", "-Hatnpe"]).output();
    let output = output.expect("nsenter runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("ss writes text");
    text.lines().flat_map(|line| holders(line, number)).collect()
}

/// `ESTAB 0 17 127.0.0.1:1 127.0.0.1:2 users:(("mixed",pid=5,fd=3)) ino:7 sk:1 ...`, a row for each of the users.
fn holders(line: &str, netns: u64) -> Vec<Row> {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("too short: {line}"));
    let (state, recv_q, send_q, local, peer) = (next(), next(), next(), next(), next());
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text} in {line}"));
    let inode = words.clone().find_map(|word| word.strip_prefix("ino:")).map_or(0, number);
    let users = line.split_once("users:(").map_or("", |(_, rest)| rest);
    let fields = |name: &str| {
        let rest = users.split(name).skip(1);
        rest.map(|rest| number(rest.split([',', ')']).next().unwrap_or_default())).collect::<Vec<_>>()
    };
    let row = |(pid, fd)| Row {
        netns,
        pid,
        fd,
        inode,
        state: state.to_owned(),
        local: endpoint(local).unwrap_or_else(|| panic!("{local} in {line}")),
        peer: endpoint(peer),
        recv_q: number(recv_q),
        send_q: number(send_q),
    };
    fields("pid=").into_iter().zip(fields("fd=")).map(row).collect()
}

/// As `ss` writes it: `*` for every address of both families, `:*` for no port.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let address = match address {
        "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        address => address.trim_matches(['[', ']']).parse().ok()?,
    };
    Some(SocketAddr::new(address.to_canonical(), port))
}

fn by_fdclose(args: &[&str]) -> BTreeSet<Row> {
    let document = fdclose(&[&["list", "--kind", "tcp", "--json"], args].concat()).exits(0).json();
    let rows = document["fds"].as_array().expect("a list");
    let unique: BTreeSet<Row> = rows.iter().map(row).collect();
    assert_eq!(unique.len(), rows.len(), "each once");
    unique
}

fn row(row: &Value) -> Row {
    let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} of {row}"));
    let end = |name: &str| row[name].as_str().map(|text| text.parse().expect("an address"));
    Row {
        netns: number("netns"),
        pid: number("pid"),
        fd: number("fd"),
        inode: number("inode"),
        state: row["state"].as_str().expect("a state").to_owned(),
        local: end("local").expect("an address"),
        peer: end("peer"),
        recv_q: number("recv_q"),
        send_q: number("send_q"),
    }
}

#[test]
fn five_hundred_sockets_in_three_namespaces_are_those_that_ss_shows() {
    if lacks(&NEEDS) {
        return;
    }
    let victims = [(); 3].map(|()| mixed("unshare", &["--net"], "--count 160"));
    // One that left its sockets behind, in the first of the three.
    let first = format!("/proc/{}/ns/net", victims[0].pid());
    let away = mixed("nsenter", &[&format!("--net={first}")], "--count 40 --leave");
    let numbers = [0, 1, 2].map(|at| netns(victims[at].pid()));
    assert_ne!(netns(away.pid()), numbers[0]);
    let paths = victims.each_ref().map(|victim| format!("/proc/{}/ns/net", victim.pid()));

    let by_ss: [BTreeSet<Row>; 3] = [0, 1, 2].map(|at| by_ss(&paths[at], numbers[at]));
    let all: BTreeSet<Row> = by_ss.iter().flatten().cloned().collect();
    assert!(all.len() >= 500, "{}", all.len());
    for state in ["ESTAB", "CLOSE-WAIT", "FIN-WAIT-2", "LISTEN"] {
        assert!(all.iter().filter(|row| row.state == state).count() >= 12, "{state}");
    }
    assert!(all.iter().any(|row| row.pid == u64::from(away.pid())));

    // By path, by process, by several at once, and among all there are.
    for (at, victim) in victims.iter().enumerate() {
        assert_eq!(by_fdclose(&["--netns", &paths[at]]), by_ss[at]);
        assert_eq!(by_fdclose(&["--netns", &victim.pid_arg()]), by_ss[at]);
    }
    assert_eq!(by_fdclose(&["--netns", &paths.join(",")]), all);
    let everywhere = by_fdclose(&["--netns", "all"]);
    let ours = everywhere.into_iter().filter(|row| numbers.contains(&row.netns));
    assert_eq!(ours.collect::<BTreeSet<_>>(), all);

    let args = ["--netns", paths[1].as_str(), "--state", "close-wait"];
    let waiting = by_ss[1].iter().filter(|row| row.state == "CLOSE-WAIT").cloned().collect::<BTreeSet<_>>();
    assert_eq!(by_fdclose(&args), waiting);
}

#[test]
fn what_is_closed_is_in_that_namespace_and_who_left_it_is_found() {
    if lacks(&NEEDS) {
        return;
    }
    let near = mixed("unshare", &["--net"], "--count 20");
    let path = format!("/proc/{}/ns/net", near.pid());
    let away = mixed("nsenter", &[&format!("--net={path}")], "--count 20 --leave");
    let other = mixed("unshare", &["--net"], "--count 20");
    let [near_before, away_before, other_before] =
        [&near, &away, &other].map(|victim| Before::of(victim.pid()));
    let waiting = |victim: &Victim| -> Vec<i32> {
        let rows = by_ss(&path, 0);
        let own = rows.iter().filter(|row| row.pid == u64::from(victim.pid()) && row.state == "CLOSE-WAIT");
        own.map(|row| i32::try_from(row.fd).expect("a descriptor")).collect()
    };
    let (near_fds, away_fds) = (waiting(&near), waiting(&away));
    assert!(!near_fds.is_empty() && !away_fds.is_empty());

    let args = ["--netns", path.as_str(), "--state", "close-wait", "--yes", "--json"];
    let document = fdclose(&args).exits(0).json();

    assert_eq!(document["summary"]["done"], near_fds.len() + away_fds.len(), "{document:#}");
    for target in document["targets"].as_array().expect("a list") {
        assert_eq!(target["connection"], "ended", "{target:#}");
    }
    near_before.assert_lost_only(&near_fds);
    away_before.assert_lost_only(&away_fds);
    other_before.assert_untouched();
    wait_until("the end of the connections", || waiting(&near).is_empty() && waiting(&away).is_empty());
}

#[test]
fn what_is_no_namespace_is_refused() {
    let victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    for (given, said) in [
        ("/proc/self/stat", "no network namespace"),
        ("/no/such/file", "can't open"),
        ("no-such-name", "can't open /run/netns/no-such-name"),
        ("/proc/self/ns/uts", "is no network namespace"),
        ("2147483647", "can't tell"),
        ("", "is no network namespace"),
    ] {
        let run = fdclose(&["--netns", given, "--state", "close-wait", "--yes"]).exits(2);
        run.one_error().says(&[said]);
        fdclose(&["list", "--netns", given]).exits(2).one_error();
    }
    before.assert_untouched();
    let own = std::process::id().to_string();
    let document = fdclose(&["list", "--netns", &own, "--pid", &victim.pid_arg(), "--json"]).exits(0).json();
    let inode = evidence::socket_inode(victim.pid(), victim.list("fds")[0]);
    assert!(
        document["fds"].as_array().expect("a list").iter().any(|row| row["inode"] == inode),
        "{document:#}"
    );
}
