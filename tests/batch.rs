//! Thousands of descriptors at once, in slices with the target running in between.

mod common;

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use common::evidence;
use common::{Before, PATIENCE, Victim, fdclose, fdclose_through, fdclose_while, sys, wait_until};

/// The one process of the document.
fn process(document: &serde_json::Value) -> &serde_json::Value {
    let processes = document["processes"].as_array().expect("a list");
    assert_eq!(processes.len(), 1, "{document:#}");
    &processes[0]
}

#[test]
fn two_thousand_leaks_go_and_nothing_else() {
    let mut victim = Victim::spawn("close_wait", &["--count", "2000"]);
    let fds: Vec<i32> = victim.list("fds");
    let before = Before::of(victim.pid());
    let run = fdclose(&["--pid", &victim.pid_arg(), "--state", "close-wait", "--yes", "--json"]).exits(0);
    before.assert_lost_only(&fds);
    let document = run.json();
    assert_eq!(document["summary"]["done"], 2000);
    let stops = process(&document)["stops"].as_u64().expect("a number");
    assert!((2..500).contains(&stops), "in slices, but not one by one: {stops}");
    assert_eq!(victim.ask("check"), "open=0");
    victim.serves();
}

/// A thread that was asked to stop while it took the signal of a timer has to be asked again.
#[test]
fn timers_do_not_keep_a_process_from_being_stopped() {
    let mut victim = Victim::spawn("close_wait", &["--count", "1000", "--tick-us", "200"]);
    let args = ["--state", "close-wait", "--yes", "--json", "--max-pause", "100us"];
    let run = fdclose(&[&["--pid", &victim.pid_arg()], &args[..]].concat()).exits(0);
    let document = run.json();
    assert_eq!(document["summary"]["done"], 1000);
    assert_eq!(victim.ask("check"), "open=0");
    victim.serves();
}

#[test]
fn every_other_one_goes_and_the_rest_stays() {
    let mut victim = Victim::spawn("close_wait", &["--count", "600"]);
    let fds: Vec<i32> = victim.list("fds");
    let odd: Vec<i32> = fds.iter().copied().filter(|fd| fd % 2 == 1).collect();
    let list = odd.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg(), "--fd", &list]).exits(0);
    before.assert_lost_only(&odd);
    assert_eq!(victim.ask("check"), format!("open={}", fds.len() - odd.len()));
    victim.serves();
}

#[test]
fn a_tiny_longest_pause_means_many_small_slices() {
    let victim = Victim::spawn("close_wait", &["--count", "60"]);
    let before = Before::of(victim.pid());
    let run = fdclose(&[
        "--pid",
        &victim.pid_arg(),
        "--state",
        "close-wait",
        "--yes",
        "--json",
        "--max-pause",
        "10us",
    ])
    .exits(0);
    before.assert_lost_only(&victim.list("fds"));
    assert!(process(&run.json())["stops"].as_u64() >= Some(20), "{run:#?}");
    victim.serves();
}

#[test]
fn a_busy_process_loses_a_whole_batch_without_a_slip() {
    let mut victim = Victim::spawn("busy", &["--threads", "8"]);
    for _ in 0..5 {
        let leaks: Vec<(i32, u64)> = (0..40).map(|_| victim.leak("leak socket")).collect();
        let inodes = leaks.iter().map(|(_, inode)| inode.to_string()).collect::<Vec<_>>().join(",");
        fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes]).exits(0);
        for (_, inode) in leaks {
            assert_eq!(evidence::numbers_of(victim.pid(), inode), [0_i32; 0]);
        }
        victim.ask("check");
        victim.serves();
    }
}

/// The last close of a lingering socket waits for its peer: neither the process nor fdclose is to wait for that, nor are
/// the other connections.
#[test]
fn sockets_that_linger_hold_nothing_up() {
    let mut victim = Victim::spawn("ends", &[]);
    let (mut peers, mut fds) = (Vec::new(), Vec::new());
    for index in 0..12 {
        peers.push(TcpStream::connect((Ipv4Addr::LOCALHOST, victim.value("port"))).expect("a listener"));
        let fd: i32 = victim.ask_fields("accept")["fd"].parse().expect("a number");
        victim.ask(&format!("forget {fd}"));
        if index % 4 == 0 {
            victim.ask(&format!("linger {fd}"));
        }
        fds.push(fd);
    }
    let before = Before::of(victim.pid());
    let list = fds.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let begun = Instant::now();
    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &list, "--json"]).exits(0);
    let took = begun.elapsed();
    assert_eq!(run.json()["summary"]["done"], 12);
    before.assert_lost_only(&fds);
    assert!(took < Duration::from_secs(5), "{took:?}");
    for (_, peer) in peers.iter_mut().enumerate().filter(|(index, _)| index % 4 != 0) {
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
    }
}

/// What copies take of fdclose's own descriptors, it lacks for looking into /proc.
#[test]
fn few_descriptors_of_its_own_are_enough() {
    for limit in ["20", "64", "100", "200"] {
        let mut victim = Victim::spawn("close_wait", &["--count", "300"]);
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let args = ["--pid", &victim.pid_arg(), "--state", "close-wait", "--yes"];
        fdclose_through(&["sh", "-c", &script, "sh"], &args).exits(0);
        assert_eq!(victim.ask("check"), "open=0", "{limit}");
        victim.serves();
    }
}

/// A process that was stopped may be left stopped all the time; once it was told to go on, no pause may be longer than
/// any other's.
#[test]
fn a_process_that_is_continued_in_the_middle_runs_between_slices() {
    let mut victim = Victim::spawn("close_wait", &["--count", "3000"]);
    let pid = victim.pid();
    sys::kill(pid, libc::SIGSTOP);
    wait_until("the stop", || evidence::state(pid) == 'T');
    let first: i32 = victim.list("fds")[0];
    let mut left = 0;
    let args = ["--state", "close-wait", "--yes", "--json", "--max-pause", "1ms"];
    let run = fdclose_while(&[&["--pid", &victim.pid_arg()], &args[..]].concat(), || {
        wait_until("the first slice", || evidence::link(pid, first).is_none());
        sys::kill(pid, libc::SIGCONT);
        left = evidence::descriptors(pid).len();
    });
    let stops = process(&run.exits(0).json())["stops"].as_u64().expect("a number");
    assert!(stops > 1 || left < 100, "{left} were left when it was to go on, and it was stopped once");
    assert_eq!(victim.ask("check"), "open=0");
    victim.serves();
}
