//! The metrics of `watch` against clients that mean no good.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use common::watching::{Watching, get};
use common::{Need, PATIENCE, Victim, evidence, lacks, wait_until};

fn watching(victim: &Victim) -> Watching {
    Watching::start(&["--pid", &victim.pid_arg(), "--idle-for", "1h", "--every", "100ms"])
}

#[test]
fn many_slow_and_long_winded_clients_keep_nobody_out() {
    let victim = Victim::spawn("close_wait", &[]);
    let watch = watching(&victim);
    watch.wait_for_a_look();
    let exporter = watch.exporter();
    let mut held: Vec<TcpStream> = Vec::new();
    for turn in 0..300 {
        let mut client = TcpStream::connect(watch.address).expect("it listens");
        // Some ask by halves, some not at all.
        if turn % 2 == 0 {
            client.write_all(b"GET /metrics HTTP/1.1\r\nX: ").expect("it takes it");
        }
        held.push(client);
        if turn % 50 == 0 {
            assert!(watch.scrape().contains("fdclose_runs_total"));
        }
    }
    assert!(watch.scrape().contains("fdclose_runs_total"));
    let open = evidence::descriptors(exporter).len();
    assert!(open <= 64 + 16, "{open} descriptors");

    // The newest of them are let go when their time is over.
    let begun = Instant::now();
    let last = held.last_mut().expect("there are some");
    last.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    assert!(matches!(last.read(&mut [0; 16]), Ok(0)), "it is closed");
    assert!(begun.elapsed() <= Duration::from_secs(20), "{:?}", begun.elapsed());
    wait_until("all of them are gone", || evidence::descriptors(exporter).len() <= 16);

    // More than anybody has to ask. The rest of it may be met with a reset.
    let mut endless = TcpStream::connect(watch.address).expect("it listens");
    endless.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    endless.write_all(&[b'x'; 8 * 1024]).expect("it takes so much");
    let mut answer = String::new();
    endless.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn only_metrics_are_there() {
    let victim = Victim::spawn("close_wait", &[]);
    let watch = watching(&victim);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        ("HEAD /metrics HTTP/1.0\r\n\r\n", "200"),
    ] {
        let response = get(watch.address, request);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {response}");
    }
}

#[test]
fn who_answers_has_no_privileges_and_is_made_anew_and_ends_with_the_watch() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn("close_wait", &[]);
    let mut watch = watching(&victim);
    watch.wait_for_a_look();
    let first = watch.exporter();
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).expect("it lives");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "65534 65534 65534 65534");
    assert_eq!(field("Gid:"), "65534 65534 65534 65534");
    assert_eq!((field("Groups:").as_str(), field("NoNewPrivs:").as_str()), ("", "1"));
    for set in ["CapInh:", "CapPrm:", "CapEff:"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0), "{set}");
    }
    common::sys::Pidfd::open(first).kill();
    wait_until("another one", || watch.exporter() != first);
    watch.wait_for_a_look();
    let second = watch.exporter();
    watch.kill();
    wait_until("its end", || evidence::status(second, second).is_none_or(|status| status.state == 'Z'));
}

#[test]
fn who_answers_gets_no_capabilities_from_the_file_either() {
    if lacks(&[Need::Root, Need::Program("setcap"), Need::Program("setpriv")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let copy = directory.path().join("fdclose");
    fs::copy(env!("CARGO_BIN_EXE_fdclose"), &copy).expect("it can be copied");
    let set = Command::new("setcap").arg("cap_sys_ptrace,cap_dac_read_search+ep").arg(&copy).status();
    if !set.expect("setcap runs").success() {
        return common::skip("this file system keeps no capabilities");
    }
    let victim = Victim::spawn("close_wait", &[]);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    let args = ["--pid", &victim.pid_arg(), "--idle-for", "1h", "--every", "100ms"];
    let watch = Watching::start_through(command, &args);
    watch.wait_for_a_look();
    let capabilities = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a mask");
        u64::from_str_radix(mask.trim(), 16).expect("a number in hex")
    };
    assert_ne!(capabilities(watch.pid()), 0, "the watch itself has them");
    assert_eq!(capabilities(watch.exporter()), 0);
}
