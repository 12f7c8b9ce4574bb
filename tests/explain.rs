//! `--explain`: what was found of each descriptor before it is acted on, and what follows, as the kernel has it.

mod common;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use common::calls::{EPOLL_WAIT, POLL};
use common::{Before, Need, Victim, evidence, fdclose, lacks, skip, sys, wait_until};
use serde_json::{Value, json};

/// The reasoning about the one process that is selected.
#[track_caller]
fn process(document: &Value) -> &Value {
    let [process] = document["explanation"]["processes"].as_array().expect("a list").as_slice() else {
        panic!("{document:#}")
    };
    process
}

/// What is said of its descriptor `fd`.
#[track_caller]
fn of(document: &Value, fd: i32) -> &Value {
    let fds = process(document)["fds"].as_array().expect("a list");
    fds.iter().find(|found| found["fd"] == fd).unwrap_or_else(|| panic!("no {fd} in {document:#}"))
}

#[test]
fn other_holders_are_named_and_nothing_is_touched() {
    let victim = Victim::spawn("forked_holder", &[]);
    let (fd, inode, child): (i32, u64, u32) =
        (victim.value("fd"), victim.value("inode"), victim.value("child"));
    let (before, child_before) = (Before::of(victim.pid()), Before::of(child));
    let (pid, inode) = (victim.pid_arg(), inode.to_string());
    let args = ["--pid", &pid, "--inode", &inode, "--explain", "--dry-run"];
    let document = fdclose(&[&args[..], &["--json"]].concat()).exits(0).json();
    let held = json!([{"pid": child, "tid": null, "comm": "forked_holder", "fd": fd}]);
    let found = of(&document, fd);
    assert_eq!((&found["holders"], &found["refusal"]), (&held, &Value::Null), "{document:#}");
    assert_eq!((&found["watched_by"], &found["calls"]), (&json!([]), &json!([])));
    assert_eq!(process(&document)["process"]["pid"], victim.pid());
    let shown = fdclose(&args).exits(0).stdout;
    assert!(shown.contains(&format!("held as well by forked_holder ({child}) fd {fd}")), "{shown}");
    before.assert_untouched();
    child_before.assert_untouched();
    // Who does not ask for it is not told.
    let document = fdclose(&["--pid", &pid, "--inode", &inode, "--dry-run", "--json"]).exits(0).json();
    assert_eq!(document["explanation"], Value::Null);
}

#[test]
fn a_thread_that_waits_is_named_and_the_close_is_done() {
    let mut victim = Victim::spawn("blocked", &["recv@tcp4", "--aside"]);
    let (fd, tid, nr): (i32, u32, i64) = (victim.value("fd"), victim.value("tid"), victim.value("nr"));
    wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
    let (pid, fd_arg) = (victim.pid_arg(), fd.to_string());
    let args = ["--pid", &pid, "--fd", &fd_arg, "--explain", "--json"];
    let document = fdclose(&args).exits(0).json();
    assert_eq!(of(&document, fd)["calls"], json!([{"tid": tid, "call": "recvfrom"}]), "{document:#}");
    assert_eq!(document["targets"][0]["outcome"], "done");
    // The end of the stream, or EBADF where fdclose may not look into every process for other holders.
    victim.wait_returned();
}

/// The kernel says which call a thread is in, and its memory what for.
#[test]
fn who_waits_for_one_among_others_is_named() {
    if lacks(&[Need::TraceOthers]) {
        return;
    }
    for (wait, call) in [
        ("poll@tcp4", POLL),
        ("poll_out@pipe", POLL),
        ("select@tcp4", "pselect6"),
        ("select_out@pipe", "pselect6"),
        ("epoll_wait@tcp4", EPOLL_WAIT),
    ] {
        let victim = Victim::spawn("blocked", &[wait, "--aside", "--leaks", "1"]);
        let (fd, tid, nr): (i32, u32, i64) = (victim.value("fd"), victim.value("tid"), victim.value("nr"));
        let other: i32 = victim.value("fds");
        wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
        // The thread that takes commands blocks all signals while it is being made.
        let is_made = |tid: u32| evidence::status(victim.pid(), tid).is_none_or(|now| now.masks[0] == 0);
        wait_until("the threads", || evidence::threads(victim.pid()).into_iter().all(is_made));
        let (pid, fds) = (victim.pid_arg(), format!("{fd},{other}"));
        let args = ["--pid", &pid, "--fd", &fds, "--explain", "--dry-run"];
        let named = |call: &str| {
            let document = fdclose(&[&args[..], &["--json"]].concat()).exits(0).json();
            assert_eq!(
                of(&document, fd)["calls"],
                json!([{"tid": tid, "call": call}]),
                "{wait}, in call {:?}: {document:#}",
                evidence::current_call(victim.pid(), tid)
            );
            assert_eq!(of(&document, other)["calls"], json!([]), "{wait}: {document:#}");
        };
        let before = Before::of(victim.pid());
        named(call);
        let shown = fdclose(&args).exits(0).stdout;
        assert!(shown.contains(&format!("thread {tid} waits in {call} on it")), "{wait}: {shown}");
        before.assert_untouched();
        // Once it was stopped, the kernel goes on with poll, not ppoll, as restart_syscall(2); its arguments are still there.
        if call == "poll" {
            sys::kill(victim.pid(), libc::SIGSTOP);
            wait_until("the stop", || evidence::state(victim.pid()) == 'T');
            sys::kill(victim.pid(), libc::SIGCONT);
            let restarted = Some(libc::SYS_restart_syscall);
            wait_until("the restart", || evidence::current_call(victim.pid(), tid) == restarted);
            named(call);
        }
    }
}

#[test]
fn the_advice_is_for_the_descriptors_that_are_meant() {
    if lacks(&[Need::TraceOthers]) {
        return;
    }
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let _client = TcpStream::connect(address).expect("the victim listens");
    let watched: i32 = victim.ask_fields("accept")["fd"].parse().expect("a number");
    let listener: i32 = victim.value("listener");
    let pid = victim.pid_arg();
    let explained = |fd: i32, more: &[&str]| {
        let fd_arg = fd.to_string();
        let args = ["--pid", &pid, "--fd", &fd_arg, "--explain", "--dry-run", "--json"];
        let run = fdclose(&[&args[..], more].concat());
        let document = run.json();
        (process(&document)["advice"]["method"].clone(), of(&document, fd).clone())
    };
    let (method, found) = explained(watched, &[]);
    assert_eq!((&method, found["watched_by"].as_array().map(Vec::len)), (&json!("shutdown"), Some(1)));
    let args = ["--pid", &pid, "--fd", &watched.to_string(), "--explain", "-n"];
    let shown = fdclose(&args).exits(0).stdout;
    let epoll = &found["watched_by"][0];
    // Two methods, of which each is said whose it is, and what is watched is named where the advice says so.
    let asked = format!(": asked for: --method close; watched by epoll instance {epoll}; ");
    assert!(shown.contains(&asked) && shown.contains("\nBest here: --method shutdown: "), "{shown}");
    assert!(shown.contains("close only what is not named as watched\n"), "{shown}");
    let general = fdclose(&["doctor", "--pid", &pid]).exits(0).stdout;
    for way in ["'--explain --dry-run' names what is", "watched_by in 'fdclose list --json'"] {
        assert!(general.contains(way), "{general}");
    }
    let (method, found) = explained(listener, &[]);
    assert_eq!((&method, &found["watched_by"]), (&json!("close"), &json!([])), "{found:#}");
    assert!(found["refusal"].as_str().is_some_and(|why| why.contains("listening")), "{found:#}");
    assert_eq!(explained(listener, &["--force"]).1["refusal"], Value::Null);

    let ring = Victim::spawn("unseen", &["file"]);
    if let Some(reason) = ring.ready().get("skipped") {
        return skip(reason);
    }
    let (fd, keeper): (i32, i32) = (ring.value("fd"), ring.value("keeper"));
    if !evidence::names_registered(ring.pid(), keeper, ring.value("inode")) {
        return skip("the kernel does not name the sockets that are registered with an io_uring");
    }
    let (pid, fd_arg) = (ring.pid_arg(), fd.to_string());
    let args = ["--pid", &pid, "--fd", &fd_arg, "--explain", "-n"];
    let document = fdclose(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(of(&document, fd)["registered_with"], json!([keeper]));
    assert_eq!(process(&document)["advice"]["method"], "shutdown");
    let shown = fdclose(&args).stdout;
    assert!(shown.contains(&format!("registered with io_uring {keeper}")), "{shown}");
    assert!(shown.contains("Best here: --method shutdown"), "{shown}");
}
