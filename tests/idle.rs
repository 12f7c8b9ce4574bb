//! `--idle-for`: what is selected is what the kernel has not heard of for so long.

mod common;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::kernel::is_before;
use common::{Before, Ending, Need, Victim, evidence, fdclose, fdclose_denied, lacks};

/// How long a connection must have been silent in these tests.
const SILENT: Duration = Duration::from_secs(2);

/// A connection of the victim: its descriptor there, and the test's end of it.
fn connect(victim: &mut Victim) -> (i32, TcpStream) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let client = TcpStream::connect(address).expect("the victim listens");
    let answer = victim.ask_fields("accept");
    (answer["fd"].parse().expect("a number"), client)
}

/// Waits for time to pass, which is what the kernel measures.
fn pass(since: Instant, span: Duration) {
    thread::sleep(span.saturating_sub(since.elapsed()));
}

#[test]
fn the_silent_are_closed_and_who_speaks_is_not() {
    let mut victim = Victim::spawn("ends", &[]);
    let (silent, _client) = connect(&mut victim);
    let (busy, mut speaker) = connect(&mut victim);
    let begun = Instant::now();
    let before = Before::of(victim.pid());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                speaker.write_all(b"x").expect("the connection stands");
                thread::sleep(Duration::from_millis(20));
            }
        });
        let speaker_ends = Ending(&over);
        pass(begun, SILENT + Duration::from_millis(500));
        let pid = victim.pid_arg();
        let listed = fdclose(&["list", "--pid", &pid, "--idle-for", "2s", "--json"]);
        let acted = fdclose(&["--pid", &pid, "--idle-for", "2s", "--yes", "--json"]);
        let nothing = fdclose(&["--pid", &pid, "--idle-for", "1h", "--yes"]);
        drop(speaker_ends);

        let rows = listed.exits(0).json()["fds"].clone();
        let fds: Vec<i64> =
            rows.as_array().expect("a list").iter().filter_map(|row| row["fd"].as_i64()).collect();
        assert_eq!(fds, [i64::from(silent)], "neither the busy one nor the listener: {rows:#}");
        assert!(rows[0]["idle_ms"].as_u64() >= Some(2000), "{rows:#}");
        let document = acted.exits(0).json();
        assert_eq!(document["summary"]["done"], 1, "{document:#}");
        nothing.exits(1);
    });
    before.assert_lost_only(&[silent]);
    assert_ne!(evidence::link(victim.pid(), busy), None);
}

#[test]
fn more_than_are_asked_one_by_one_come_from_the_table_with_their_times() {
    let begun = Instant::now();
    let victim = Victim::spawn("close_wait", &["--count", "600"]);
    let pid = victim.pid_arg();
    let (early, late) = ("1ms", "1h");
    pass(begun, Duration::from_millis(5));
    fdclose(&["--pid", &pid, "--state", "close-wait", "--idle-for", late, "-n"]).exits(1);
    let run = fdclose(&["--pid", &pid, "--idle-for", early, "-n", "--json"]).exits(0);
    assert_eq!(run.json()["summary"]["would_do"], 600);
    assert!(run.stderr.is_empty(), "{run:#?}");
}

#[test]
fn what_nobody_tells_is_left_out_and_counted() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn("ends", &[]);
    let (fd, _client) = connect(&mut victim);
    let begun = Instant::now();
    let pid = victim.pid_arg();
    pass(begun, Duration::from_millis(5));
    let args = ["--pid", &pid, "--idle-for", "1ms", "--yes"];
    let run = fdclose_denied("pidfd_getfd,netlink", &args);
    run.exits(1).says(&["1 connection left out"]);
    assert_ne!(evidence::link(victim.pid(), fd), None);
    fdclose(&args).exits(0);
    assert_eq!(evidence::link(victim.pid(), fd), None);
}

#[test]
fn keepalive_is_for_the_silent_too() {
    let mut victim = Victim::spawn("ends", &[]);
    let (fd, _client) = connect(&mut victim);
    let begun = Instant::now();
    pass(begun, Duration::from_millis(5));
    let pid = victim.pid_arg();
    fdclose(&["keepalive", "--pid", &pid, "--idle-for", "1h", "-n"]).exits(1);
    // Before Linux 5.6 it is refused, for what was selected all the same.
    let status = if is_before(5, 6) { 2 } else { 0 };
    let run = fdclose(&["keepalive", "--pid", &pid, "--idle-for", "1ms", "-n", "--json"]).exits(status);
    assert_eq!(run.json()["targets"][0]["fd"], fd);
}
