//! `list`: its order, its summary, and its forecast, against the kernel's own numbers.

mod common;

use std::io::{BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use common::{Need, Victim, evidence, fdclose, lacks, wait_until};
use serde_json::{Value, json};

/// The soft limit of descriptors, as /proc shows it.
fn limit(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("the process lives");
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// How many numbers are taken: what the kernel says (Linux 6.2), the one reserved by a waiting accept(2) included.
fn taken(pid: u32) -> u64 {
    match std::fs::metadata(format!("/proc/{pid}/fd")).expect("the process lives").len() {
        count if count == 0 || common::kernel::is_before(6, 2) => {
            u64::try_from(evidence::descriptors(pid).len()).expect("not so many")
        }
        count => count,
    }
}

/// Sets it.
fn set_limit(pid: u32, soft: u64) {
    let set =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]).status();
    assert!(set.expect("prlimit runs").success());
}

#[test]
fn rows_come_by_process_and_the_longest_idle_first() {
    let victims = [(); 2].map(|()| Victim::spawn("close_wait", &["--count", "5"]));
    let pids = victims.iter().map(Victim::pid_arg).collect::<Vec<_>>().join(",");
    let document = fdclose(&["list", "--pid", &pids, "--kind", "any", "--json"]).exits(0).json();
    let key = |row: &Value| (row["pid"].as_u64(), std::cmp::Reverse(row["idle_ms"].as_u64()));
    let rows = document["fds"].as_array().expect("a list");
    assert!(rows.is_sorted_by_key(key), "{document:#}");
    assert!(rows.iter().filter(|row| row["idle_ms"].is_u64()).count() >= 10, "{document:#}");
}

#[test]
fn the_summary_has_the_kernels_numbers() {
    if lacks(&[Need::Program("prlimit")]) {
        return;
    }
    let victim = Victim::spawn("close_wait", &["--count", "7"]);
    set_limit(victim.pid(), 321);
    let pid = victim.pid_arg();
    let document = fdclose(&["list", "--pid", &pid, "--json"]).exits(0).json();
    let process = &document["processes"][0];
    assert_eq!(process["pid"], victim.pid());
    assert_eq!(process["comm"], "close_wait");
    assert_eq!(process["descriptors"].as_u64(), Some(taken(victim.pid())));
    assert_eq!((process["descriptors_limit"].as_u64(), limit(victim.pid())), (Some(321), 321));
    assert_eq!(process["listed"], document["fds"].as_array().expect("a list").len());
    assert_eq!(process["states"]["CLOSE-WAIT"], 7);
    assert_eq!(process["runs_out_in_s"], Value::Null, "one look shows no growth");
    let longest =
        document["fds"].as_array().expect("a list").iter().filter_map(|row| row["idle_ms"].as_u64()).max();
    assert_eq!(process["idle_ms_max"].as_u64(), longest);

    let limits = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").unwrap_or_default();
    let limits: Vec<u64> =
        limits.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    let memory = &document["tcp_memory"];
    let told = ["min_pages", "pressure_pages", "max_pages"].map(|name| memory[name].as_u64());
    assert_eq!(told.into_iter().flatten().collect::<Vec<_>>(), limits);
    assert!(memory["used_pages"].is_u64() && memory["state"].is_string(), "{memory}");

    let shown = fdclose(&["list", "--pid", &pid]).exits(0).stdout;
    let open = taken(victim.pid());
    assert!(shown.contains(&format!("{open} of 321 descriptors")), "{shown}");
    assert!(shown.contains("7 CLOSE-WAIT"), "{shown}");
    assert!(
        shown.lines().last().is_some_and(|line| line.starts_with("TCP memory of this host: ")),
        "{shown}"
    );
}

/// Two sockets with two descriptors each are two in CLOSE-WAIT, as they are for `ss` and for `fdclose_connections`.
#[test]
fn the_summary_counts_sockets_and_not_their_descriptors() {
    let victims = [(); 2].map(|()| Victim::spawn("dup_holder", &["--dups", "2"]));
    let pids = victims.iter().map(Victim::pid_arg).collect::<Vec<_>>().join(",");
    let document = fdclose(&["list", "--pid", &pids, "--state", "close-wait", "--json"]).exits(0).json();
    let processes = document["processes"].as_array().expect("a list");
    assert_eq!(processes.len(), 2, "{document:#}");
    for process in processes {
        assert_eq!(process["states"], serde_json::json!({"CLOSE-WAIT": 1}), "{process:#}");
        assert_eq!((&process["listed"], &process["tcp"]), (&3.into(), &3.into()), "{process:#}");
    }
    let shown = fdclose(&["list", "--pid", &victims[0].pid_arg()]).exits(0).stdout;
    assert!(shown.contains("): 1 CLOSE-WAIT (by 3 descriptors), "), "{shown}");
}

#[test]
fn a_watch_says_when_there_will_be_none_left_and_ends_with_the_process() {
    if lacks(&[Need::Program("prlimit")]) {
        return;
    }
    let mut victim = Victim::spawn("close_wait", &[]);
    set_limit(victim.pid(), 5000);
    let (mut watch, lines) = watch(&victim);
    let mut before: Option<Value> = None;
    let mut forecasts = 0;
    for document in lines {
        let process = document["processes"][0].clone();
        match before.as_ref().and_then(|before| before["descriptors"].as_u64()) {
            None => assert_eq!(process["runs_out_in_s"], Value::Null, "{process}"),
            Some(few) if process["descriptors"].as_u64() > Some(few) => {
                forecasts += 1;
                assert!(process["runs_out_in_s"].is_u64(), "{process}");
            }
            Some(_) => {}
        }
        if forecasts == 3 {
            break;
        }
        victim.ask("leak");
        before = Some(process);
    }
    assert_eq!(forecasts, 3);
    // Nobody reads its output any more: it ends by itself.
    wait_until("the end of the watch", || watch.try_wait().expect("it is ours").is_some());
    assert_eq!(watch.wait().expect("it is ours").code(), Some(0));
}

#[test]
fn a_watch_ends_when_the_process_is_gone() {
    for waited_for in [false, true] {
        let mut victim = Victim::spawn("close_wait", &[]);
        let (watch, mut lines) = watch(&victim);
        assert_eq!(lines.next().expect("a first list")["processes"][0]["pid"], victim.pid());
        victim.kill();
        // Until its parent waits for it, it is a zombie.
        let zombie = (!waited_for).then_some(victim);
        for document in lines {
            assert!(document["fds"].is_array());
        }
        let output = watch.wait_with_output().expect("it is ours");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_zombie = said.contains("has no descriptors");
        assert!(is_zombie || waited_for && said.contains("there is no process"), "{said}");
        drop(zombie);
    }
}

/// Watches a victim's list, ten times a second; each list as it comes.
fn watch(victim: &Victim) -> (Child, impl Iterator<Item = Value> + use<>) {
    let mut watch = common::command()
        .args(["list", "--pid", &victim.pid_arg(), "--watch", "100ms", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("fdclose starts");
    let lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let documents =
        lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("a document a line"));
    (watch, documents)
}

#[test]
fn a_unix_socket_is_listed_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a\tname.sock");
    let at_path = UnixListener::bind(&path).expect("a path");
    let name = format!("fdclose-list-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let abstract_one = UnixListener::bind_addr(&address).expect("it is free");
    let (unnamed, _other) = UnixStream::pair().expect("a pair");
    let pid = std::process::id().to_string();
    let document = fdclose(&["list", "--pid", &pid, "--kind", "unix", "--json"]).exits(0).json();
    let shown = fdclose(&["list", "--pid", &pid, "--kind", "unix"]).exits(0).stdout;
    let rows = document["fds"].as_array().expect("a list");
    for (fd, expected) in [
        (at_path.as_raw_fd(), Some(path.to_str().expect("text").to_owned())),
        (abstract_one.as_raw_fd(), Some(format!("@{name}"))),
        (unnamed.as_raw_fd(), None),
    ] {
        let row = rows.iter().find(|row| row["fd"] == fd).expect("a row");
        assert_eq!(row["unix_name"], json!(expected), "{row:#}");
        assert!(row["name"].as_str().is_some_and(|name| name.starts_with("socket:[")), "{row:#}");
        let link = evidence::link(std::process::id(), fd).expect("it is open");
        let name = expected.map_or(link, |name| name.replace('\t', "\\t"));
        assert!(shown.lines().any(|line| line.ends_with(&name)), "{name}: {shown}");
    }
}
