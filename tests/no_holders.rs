//! `list --no-holders`: the sockets of a network namespace as the kernel has them, against `ss`.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use common::{Need, Victim, fdclose, lacks, victim_path, wait_until};
use serde_json::Value;

/// Inode (0 for none), state, both ends and both queues.
type Row = (u64, String, String, Option<String>, u64, u64);

fn by_ss(namespace: &str) -> Vec<Row> {
    let output = Command::new("nsenter").arg(format!("--net={namespace}")).args(["ss", "-Hatne"]).output();
    let output = output.expect("nsenter runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("ss writes text");
    let mut rows: Vec<Row> = text.lines().map(row_of_ss).collect();
    rows.sort_unstable();
    rows
}

fn row_of_ss(line: &str) -> Row {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text} in {line}"));
    let inode = words.iter().find_map(|word| word.strip_prefix("ino:")).map_or(0, number);
    let [state, recv_q, send_q, local, peer] = words[..5] else { panic!("too short: {line}") };
    let local = end(local).unwrap_or_else(|| panic!("{local} in {line}"));
    (inode, state.to_owned(), local, end(peer), number(recv_q), number(send_q))
}

/// As fdclose writes it; `ss` has `*` for every address of both families, and `:*` for no port.
fn end(text: &str) -> Option<String> {
    let (address, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let address = if address == "*" { "[::]" } else { address };
    let end: SocketAddr = format!("{address}:{port}").parse().ok()?;
    Some(SocketAddr::new(end.ip().to_canonical(), end.port()).to_string())
}

fn by_fdclose(args: &[&str]) -> Vec<Row> {
    let document = fdclose(&[&["list", "--no-holders", "--json"], args].concat()).exits(0).json();
    let mut rows: Vec<Row> = sockets(&document).iter().map(row).collect();
    let states = document["states"].as_object().expect("states").values();
    assert_eq!(states.filter_map(Value::as_u64).sum::<u64>(), rows.len() as u64);
    rows.sort_unstable();
    rows
}

fn sockets(document: &Value) -> &Vec<Value> {
    document["sockets"].as_array().expect("a list")
}

fn row(row: &Value) -> Row {
    let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} of {row}"));
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    (
        row["inode"].as_u64().unwrap_or(0),
        text("state").expect("a state"),
        text("local").expect("an address"),
        text("peer"),
        number("recv_q"),
        number("send_q"),
    )
}

#[test]
fn the_sockets_of_a_namespace_are_those_that_ss_shows() {
    let needs = [Need::Root, Need::Program("unshare"), Need::Program("ip"), Need::Program("ss")];
    if lacks(&needs) {
        return;
    }
    let run = format!("ip link set lo up && exec {} --count 160", victim_path("mixed").display());
    let victim = Victim::spawn_program(Path::new("unshare"), &["--net", "sh", "-c", &run]);
    let path = format!("/proc/{}/ns/net", victim.pid());
    // The loopback's last acknowledgements may be delayed.
    let on_its_way =
        |row: &Row| row.5 != 0 && row.1 != "LISTEN" || ["FIN-WAIT-1", "LAST-ACK"].contains(&row.1.as_str());
    wait_until("the acknowledgements", || !by_ss(&path).iter().any(on_its_way));
    let all = by_ss(&path);
    assert!(all.len() >= 160, "{}", all.len());

    assert_eq!(by_fdclose(&["--netns", &path]), all);
    let mut waiting = all.clone();
    waiting.retain(|(_, state, ..)| state == "CLOSE-WAIT");
    assert!(!waiting.is_empty());
    assert_eq!(by_fdclose(&["--netns", &path, "--state", "close-wait"]), waiting);
    let (inode, _, local, ..) = &waiting[0];
    assert_eq!(by_fdclose(&["--netns", &path, "--inode", &inode.to_string()]), waiting[..1]);
    assert!(by_fdclose(&["--netns", &path, "--local", local]).contains(&waiting[0]));

    let document = fdclose(&["list", "--no-holders", "--netns", &path, "--json"]).exits(0).json();
    let rows = sockets(&document);
    assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse(row["idle_ms"].as_u64())), "{document:#}");
    assert!(rows.iter().all(|row| row["netns"] == rows[0]["netns"] && row["netns"].is_u64()));
    let longest = rows.iter().filter_map(|row| row["idle_ms"].as_u64()).max();
    assert_eq!(document["idle_ms_max"].as_u64(), longest);
}

#[test]
fn what_nobody_holds_is_listed_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address").to_string();
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("loopback");
    let peer = client.local_addr().expect("an address").to_string();

    // It is a connection, and nobody has accepted it yet.
    let document = fdclose(&["list", "--no-holders", "--local", &address, "--peer", &peer, "--json"]);
    let document = document.exits(0).json();
    let [row] = sockets(&document).as_slice() else { panic!("{document:#}") };
    assert_eq!((&row["inode"], &row["state"]), (&Value::Null, &"ESTAB".into()));
    assert_eq!((&row["local"], &row["peer"]), (&address.as_str().into(), &peer.as_str().into()));

    let shown = fdclose(&["list", "--no-holders", "--local", &address]).exits(0).stdout;
    // The user may be anyone: its column is as wide as the number.
    assert!(
        shown.trim_start().starts_with("UID ") && shown.contains("2 sockets: 1 ESTAB, 1 LISTEN"),
        "{shown}"
    );
    assert!(!fdclose(&["list", "--local", &address]).exits(0).stdout.contains("ESTAB"));
}

#[test]
fn nothing_there_and_what_takes_a_process() {
    fdclose(&["list", "--no-holders", "--local", "192.0.2.1"]).exits(1).one_error();
    for more in [["--pid", "1"], ["--fd", "3"], ["--comm", "x"], ["--kind", "udp"], ["--watch", "1s"]] {
        let run = fdclose(&[&["list", "--no-holders"], &more[..]].concat()).exits(2);
        run.one_error().says(&["--no-holders", more[0]]);
    }
}

/// What no process holds is not found with a process: it is told where it is found, and that there is nothing to close.
#[test]
fn who_looks_for_what_nobody_holds_is_told_where_it_is() {
    let victim = Victim::spawn("close_wait", &[]);
    let pid = victim.pid_arg();
    for (args, words) in [
        (
            &["list", "--pid", &pid, "--state", "time-wait"][..],
            &["no process holds sockets in TIME-WAIT", "fdclose list --no-holders --state time-wait shows"][..],
        ),
        (
            &["list", "--comm", "close_wait", "--state", "fin-wait-2,last-ack"],
            &[
                "that no process holds any more",
                "fdclose list --no-holders --state fin-wait-2,last-ack shows",
            ],
        ),
        (
            &["--comm", "close_wait", "--state", "time-wait", "--yes"],
            &["no process holds sockets in TIME-WAIT", "there is nothing to close", "--no-holders"],
        ),
        (
            &["--pid", &pid, "--state", "closing,listen,time-wait", "--peer", "192.0.2.1"],
            &["end by themselves", "fdclose list --no-holders --state closing,time-wait shows"],
        ),
    ] {
        let run = fdclose(args).exits(1);
        for word in words {
            run.one_error().says(&[word]);
        }
    }
    // Others are where they were looked for.
    let run = fdclose(&["list", "--pid", &pid, "--state", "syn-sent"]).exits(1);
    assert!(!run.one_error().stderr.contains("--no-holders"), "{run:#?}");
}
