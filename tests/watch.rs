//! `watch`: a leak stays bounded, nobody who is served suffers, and what is told agrees with the kernel.

mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::evidence::{self, CLOSE_WAIT, ESTABLISHED, LISTEN};
use common::watching::Watching;
use common::{Before, Ending, NOBODY, Need, PATIENCE, Victim, fdclose, lacks, victim_path, wait_until};
use serde_json::Value;

/// How many of the victim's sockets are in each state, by the kernel's table.
fn states(pid: u32) -> BTreeMap<u8, usize> {
    let rows = evidence::tcp_rows(pid);
    let held = evidence::descriptors(pid);
    let mut states = BTreeMap::new();
    for row in rows.iter().filter(|row| held.values().any(|link| *link == format!("socket:[{}]", row.inode)))
    {
        *states.entry(row.state).or_default() += 1;
    }
    states
}

fn open_leaks(victim: &mut Victim) -> usize {
    victim.ask("check").strip_prefix("open=").expect("a count").parse().expect("a number")
}

/// A count as metrics have it.
fn number(count: usize) -> Option<f64> {
    u32::try_from(count).ok().map(f64::from)
}

fn done(lines: &[Value]) -> usize {
    lines.iter().filter(|line| line["outcome"] == "done").count()
}

/// A client like any other: connects, asks, is answered, hangs up.
fn ask_once(address: SocketAddr) {
    let mut client = TcpStream::connect(address).expect("it accepts");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    client.write_all(b"ping").expect("it takes the question");
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"ping");
}

#[test]
fn a_leak_under_load_stays_bounded_and_the_numbers_agree() {
    const A_ROUND: usize = 20;
    // 20 a second for ten minutes in the long form.
    let long = std::env::var_os("FDCLOSE_TEST_LONG").is_some_and(|value| value == "1");
    let rounds = if long { 600 } else { 8 };
    let (every, idle_for) = if long { ("1s", "2s") } else { ("100ms", "200ms") };
    // What leaks in the time it takes to be idle and to be found, and two rounds more; in the short form less than that.
    let bound = if long { 5 * A_ROUND } else { 2 * A_ROUND };
    let mut victim = Victim::spawn("close_wait", &["--count", "1"]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let pid = victim.pid_arg();
    let args = ["--pid", &pid, "--state", "close-wait", "--idle-for", idle_for, "--every", every];
    let watch = Watching::start(&args);
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut most = 0;
    thread::scope(|scope| {
        let _clients_end = Ending(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ask_once(address);
                    served.fetch_add(1, Ordering::Relaxed);
                    // Not so many that the ports of the closed ones run out.
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        for _ in 0..rounds {
            let begun = Instant::now();
            for _ in 0..A_ROUND {
                victim.ask("leak");
            }
            // However slow the machine is, no more come before those that had their time are closed.
            wait_until("most of the leaks are closed", || open_leaks(&mut victim) <= bound);
            most = most.max(open_leaks(&mut victim));
            if long {
                thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
            }
        }
    });
    wait_until("the last leak is closed", || open_leaks(&mut victim) == 0);
    watch.wait_for_a_look();

    let leaked = rounds * A_ROUND + 1;
    let metrics = watch.scrape();
    let kernel = states(victim.pid());
    for (name, state) in [("CLOSE-WAIT", CLOSE_WAIT), ("ESTAB", ESTABLISHED), ("LISTEN", LISTEN)] {
        let told = watch.metric(&format!("fdclose_connections{{state=\"{name}\"}}"));
        let there = kernel.get(&state).copied().unwrap_or(0);
        assert_eq!(told, number(there), "{name}: {metrics}");
    }
    assert_eq!(watch.metric("fdclose_closed_total"), number(leaked), "{metrics}");
    assert_eq!(watch.metric("fdclose_failed_total"), Some(0.0), "{metrics}");
    assert_eq!(watch.metric("fdclose_failed_runs_total"), Some(0.0), "{metrics}");
    let pauses = watch.metric("fdclose_pause_seconds_count").expect("a count");
    assert!(pauses >= 1.0 && watch.metric("fdclose_pause_seconds_sum") > Some(0.0), "{metrics}");
    assert_eq!(watch.metric("fdclose_pause_seconds_bucket{le=\"+Inf\"}"), Some(pauses), "{metrics}");
    assert!(served.load(Ordering::Relaxed) > 0);
    println!(
        "{leaked} leaked, at most {most} open at once, {} requests served",
        served.load(Ordering::Relaxed)
    );

    watch.signal("TERM");
    let (status, lines) = watch.finish();
    assert_eq!(status, Some(0), "a signal is a clean end");
    assert_eq!(done(&lines), leaked);
    for line in lines {
        assert_eq!((&line["command"], &line["schema"]), (&"watch".into(), &1.into()));
        assert_eq!((&line["pid"], &line["connection"]), (&victim.pid().into(), &"ended".into()), "{line:#}");
        assert!(line["idle_ms"].as_u64() >= Some(200) && line["time"].is_string(), "{line:#}");
    }
}

/// So many sockets of one process are no longer asked one by one.
#[test]
fn a_large_leak_that_was_there_before_is_closed() {
    const LEAKED: usize = 600;
    let mut victim = Victim::spawn("close_wait", &["--count", &LEAKED.to_string()]);
    let pid = victim.pid_arg();
    let watch =
        Watching::start(&["--pid", &pid, "--state", "close-wait", "--idle-for", "1ms", "--every", "100ms"]);
    wait_until("all are closed", || open_leaks(&mut victim) == 0);
    watch.wait_for_a_look();
    assert_eq!(watch.metric("fdclose_closed_total"), number(LEAKED));
    watch.signal("TERM");
    let (status, lines) = watch.finish();
    assert_eq!((status, done(&lines)), (Some(0), LEAKED));
    assert!(lines.iter().all(|line| line["idle_ms"].is_u64()), "{:#?}", lines.first());
}

#[test]
fn who_has_too_few_is_left_alone_and_a_run_is_bounded() {
    let mut victim = Victim::spawn("close_wait", &["--count", "3"]);
    let before = Before::of(victim.pid());
    let pid = victim.pid_arg();
    let args =
        ["--pid", &pid, "--idle-for", "1ms", "--every", "100ms", "--min-count", "4", "--max-per-run", "1"];
    let watch = Watching::start(&args);
    watch.wait_for_a_look();
    assert_eq!(watch.metric("fdclose_idle_connections"), Some(3.0));
    before.assert_untouched();
    assert!(watch.lines().is_empty());
    victim.ask("leak");
    wait_until("the fourth makes one too many", || open_leaks(&mut victim) == 3);
    watch.wait_for_a_look();
    assert_eq!(open_leaks(&mut victim), 3, "one, and then they are too few again");
    assert_eq!(done(&watch.lines()), 1);
    watch.signal("INT");
    assert_eq!(watch.finish().0, Some(0));
}

#[test]
fn a_dry_run_tells_and_touches_nothing() {
    let victim = Victim::spawn("close_wait", &["--count", "2"]);
    let before = Before::of(victim.pid());
    let pid = victim.pid_arg();
    let watch = Watching::start(&["--pid", &pid, "--idle-for", "1ms", "--every", "100ms", "-n"]);
    watch.wait_for_a_look();
    watch.signal("TERM");
    let (status, lines) = watch.finish();
    assert_eq!(status, Some(0));
    assert!(lines.len() >= 2 && lines.iter().all(|line| line["outcome"] == "would-do"), "{lines:#?}");
    before.assert_untouched();
}

#[test]
fn what_an_event_loop_watches_can_be_shut_down_instead() {
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let mut client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let fd = victim.ask_fields("accept")["fd"].clone();
    let before = Before::of(victim.pid());
    let pid = victim.pid_arg();
    let args = ["--pid", &pid, "--state", "established", "--idle-for", "1ms", "--every", "100ms"];
    let watch = Watching::start(&[&args[..], &["--method", "shutdown"]].concat());
    assert_eq!(client.read(&mut [0; 4]).expect("an orderly end"), 0, "the peer sees the end");
    watch.wait_for_a_look();
    watch.signal("TERM");
    let (status, lines) = watch.finish();
    assert_eq!((status, done(&lines)), (Some(0), 1), "{lines:#?}");
    assert_eq!((&lines[0]["method"], &lines[0]["fd_freed"]), (&"shutdown".into(), &false.into()));
    assert_eq!(lines[0]["watched_by"].as_array().map(Vec::len), Some(1));
    before.assert_untouched();
    assert_ne!(victim.ask(&format!("events {fd}")), "events=0", "its event loop is told");
}

#[test]
fn a_process_that_ends_does_not_end_the_watch_over_others() {
    let (one, mut other) = (Victim::spawn("close_wait", &[]), Victim::spawn("close_wait", &[]));
    let pids = format!("{},{}", one.pid(), other.pid());
    let watch = Watching::start(&["--pid", &pids, "--idle-for", "1ms", "--every", "100ms"]);
    drop(one);
    watch.wait_for_a_look();
    other.ask("leak");
    wait_until("the leaks are closed", || open_leaks(&mut other) == 0);
    drop(other);
    assert_eq!(watch.finish().0, Some(1), "nothing is left to be watched");
}

#[test]
fn a_watch_needs_to_know_what_is_idle() {
    fdclose(&["watch", "--state", "close-wait"]).exits(2).one_error().says(&["--idle-for"]);
    fdclose(&["watch", "--pid", "1", "--idle-for", "1s", "--metrics", "192.0.2.1:1"]).exits(2).one_error();
}

/// What can't be told of the first connection that comes is told of, though all was well before.
#[test]
fn a_watch_that_sees_less_than_before_says_so() {
    let mut victim = Victim::spawn("close_wait", &["--count", "0"]);
    let mut command = Command::new(victim_path("denied"));
    command.arg("netlink,pidfd_getfd").arg(env!("CARGO_BIN_EXE_fdclose"));
    let watch = Watching::start_through(
        command,
        &["--pid", &victim.pid_arg(), "--idle-for", "1ms", "--every", "100ms"],
    );
    watch.wait_for_a_look();
    assert_eq!(watch.metric("fdclose_failed_runs_total"), Some(0.0));
    victim.ask("leak");
    wait_until("a run that failed", || watch.metric("fdclose_failed_runs_total") > Some(0.0));
    assert_eq!(victim.ask("check"), "open=1");
    watch.signal("TERM");
    assert_eq!(watch.finish().0, Some(0));
}

/// Whatever gets a number later is not meant: a watch for what is not there would act on a stranger's connections.
#[test]
fn a_watch_over_the_namespace_of_a_process_is_over_with_that() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn("close_wait", &["--count", "1"]);
    let (pid, open) = (victim.pid_arg(), victim.pid());
    let watch =
        Watching::start(&["--netns", &pid, "--state", "close-wait", "--idle-for", "1h", "--every", "100ms"]);
    watch.wait_for_a_look();
    assert_eq!(watch.metric("fdclose_failed_runs_total"), Some(0.0));
    let before = Before::of(open);
    watch.wait_for_a_look();
    before.assert_untouched();
    victim.end();
    assert_eq!(watch.finish().0, Some(1));

    let run = fdclose(&["watch", "--netns", &pid, "--state", "close-wait", "--idle-for", "1h"]).exits(1);
    run.one_error().says(&[&pid]).says(&["network namespace"]);
}

/// Processes that were asked for by name, and can't be looked into, were not seen to have no leaks.
#[test]
fn a_watch_that_may_not_look_into_who_is_named_is_no_success() {
    if lacks(&[Need::Root]) {
        return;
    }
    let _victim = Victim::spawn("close_wait", &["--count", "1"]);
    for (selected, fails) in [(&["--comm", "close_wait"][..], true), (&["--state", "close-wait"], false)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fdclose"));
        command.uid(NOBODY).gid(NOBODY);
        let watch =
            Watching::start_through(command, &[selected, &["--idle-for", "1h", "--every", "100ms"]].concat());
        watch.wait_for_a_look();
        let failed = watch.metric("fdclose_failed_runs_total").expect("a number");
        assert_eq!(failed > 0.0, fails, "{selected:?}");
        watch.signal("TERM");
        assert_eq!(watch.finish().0, Some(0));
    }
}
