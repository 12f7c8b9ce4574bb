//! Threads that wait for a page of memory which nobody supplies for now.

mod common;

use std::io::{BufRead as _, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use common::kernel::is_before;
use common::{Before, Victim, command, evidence, fdclose, fdclose_while, skip, wait_until};

/// A victim whose thread waits for its page; `None` where that can't be had.
#[track_caller]
fn waiting(way: &str) -> Option<Victim> {
    let victim = Victim::spawn("page_waiter", &[way]);
    if let Some(reason) = victim.ready().get("skipped") {
        skip(&format!("userfaultfd: {reason}"));
        return None;
    }
    let (pid, tid): (u32, u32) = (victim.pid(), victim.value("tid"));
    // A fault in a thread's own code shows as no call.
    let call = match way {
        "touch" => -1,
        "timeout" => libc::SYS_epoll_pwait2,
        "decoy" => libc::SYS_futex,
        #[cfg(target_arch = "x86_64")]
        "poll" => libc::SYS_poll,
        _ => libc::SYS_sendto,
    };
    wait_until("the wait for the page", || evidence::current_call(pid, tid) == Some(call));
    Some(victim)
}

#[track_caller]
fn close_leak(victim: &Victim, timeout: &str) -> common::Run {
    fdclose(&["--pid", &victim.pid_arg(), "--fd", &victim.value::<String>("fd"), "--timeout", timeout])
}

#[test]
fn a_thread_that_waits_for_a_page_in_its_own_code_goes_on_waiting() {
    let Some(mut victim) = waiting("touch") else { return };
    let before = Before::of(victim.pid());
    close_leak(&victim, "5s").exits(0);
    before.assert_lost_only(&[victim.value("fd")]);
    assert_eq!(victim.ask("check"), "done=0");
    victim.ask("supply");
    wait_until("the page", || victim.ask("check") == "done=1");
}

#[test]
fn a_thread_that_waits_for_a_page_inside_a_call_is_refused_in_time() {
    let Some(mut victim) = waiting("send") else { return };
    let before = Before::of(victim.pid());
    let begun = Instant::now();
    let run = close_leak(&victim, "500ms").exits(3);
    let took = begun.elapsed();
    run.one_error().says(&["can't be stopped"]).says(&[&victim.value::<String>("tid")]);
    assert!(took < Duration::from_secs(5), "{took:?}");
    before.assert_untouched();
    victim.ask("supply");
    wait_until("the page", || victim.ask("check") == "done=1");
    close_leak(&victim, "5s").exits(0);
    before.assert_lost_only(&[victim.value("fd")]);
}

/// It was asked to stop, and gets there when fdclose has given up on its process: it is about to wait then, and would
/// return EINTR.
#[test]
fn a_thread_that_stops_late_sees_no_eintr() {
    let Some(mut victim) = waiting("timeout") else { return };
    let (pid, tid): (u32, u32) = (victim.pid(), victim.value("tid"));
    let before = Before::of(pid);
    let fd: String = victim.value("fd");
    let traced = || evidence::status(pid, tid).is_some_and(|status| status.tracer != 0);
    let run = fdclose_while(&["--pid", &pid.to_string(), "--fd", &fd, "--timeout", "100ms"], || {
        wait_until("the tracer", traced);
        // The other threads are let go when it is given up: the main thread answers.
        let given_up = Instant::now() + Duration::from_millis(400);
        wait_until("fdclose to give up", || Instant::now() > given_up);
        assert!(traced(), "not waited for");
        victim.ask("supply");
    });
    run.exits(3);
    before.assert_untouched();
    wait_until("epoll_pwait2", || evidence::sits_in(pid, tid, libc::SYS_epoll_pwait2));
    assert_eq!(victim.ask("check"), "done=0");
}

/// To read its memory hangs, and nothing but SIGKILL ends that.
#[test]
fn a_process_whose_memory_hangs_is_given_up() {
    let Some(mut victim) = waiting("decoy") else { return };
    let before = Before::of(victim.pid());
    let begun = Instant::now();
    let run = close_leak(&victim, "500ms").exits(3);
    let took = begun.elapsed();
    run.one_error().says(&["does not come back"]).says(&[&victim.pid_arg()]);
    assert!(took < Duration::from_secs(20), "{took:?}");
    before.assert_untouched();
    victim.ask("supply");
    close_leak(&victim, "5s").exits(0);
    before.assert_lost_only(&[victim.value("fd")]);
    victim.ask("check");
}

/// Whoever asks a socket waits for a thread that hangs with its lock, and not even SIGKILL ends that: it is told.
#[test]
fn a_process_whose_socket_hangs_is_told_of_however_it_was_selected() {
    if is_before(5, 6) {
        // No socket is asked there.
        return;
    }
    for selected_by in ["--pid", "--comm"] {
        let Some(mut victim) = waiting("send") else { return };
        let (before, pid) = (Before::of(victim.pid()), victim.pid_arg());
        let who = if selected_by == "--pid" { &pid } else { "page_waiter" };
        let mut fdclose = command()
            .args([selected_by, who, "--kind", "tcp", "--dry-run", "--timeout", "500ms"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("fdclose starts");
        let told = first_line(fdclose.stderr.take().expect("a pipe"));
        let told = told.recv_timeout(Duration::from_secs(20));
        before.assert_untouched();
        victim.ask("supply");
        let status = fdclose.wait().expect("fdclose ends");
        let told = told.expect("a line, while it hangs");
        assert!(told.contains("does not come back") && told.contains(&pid), "{selected_by}: {told}");
        assert_eq!(status.code(), Some(3), "{selected_by}");
    }
}

/// What a thread polls for is read from the memory of its process, and that hangs.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_process_that_hangs_while_it_is_explained_is_given_up() {
    let Some(mut victim) = waiting("poll") else { return };
    let before = Before::of(victim.pid());
    let (pid, fd) = (victim.pid_arg(), victim.value::<String>("fd"));
    let begun = Instant::now();
    let run = fdclose(&["--pid", &pid, "--fd", &fd, "--explain", "--dry-run", "--timeout", "500ms"]).exits(3);
    let took = begun.elapsed();
    run.one_error().says(&["does not come back"]).says(&[&pid]);
    assert!(took < Duration::from_secs(20), "{took:?}");
    before.assert_untouched();
    victim.ask("supply");
}

/// Another process hangs with the lock of the socket, from after the close on: the look at what became of the connection
/// waits for it.
#[test]
fn a_socket_that_hangs_while_the_close_is_looked_at_is_told_of() {
    if is_before(5, 6) {
        // No socket is asked there.
        return;
    }
    for json in [false, true] {
        hang_the_look(json);
    }
}

fn hang_the_look(json: bool) {
    let mut victim = Victim::spawn("hanging_holder", &[]);
    if let Some(reason) = victim.ready().get("skipped") {
        skip(&format!("userfaultfd: {reason}"));
        return;
    }
    let (holder, other): (u32, u32) = (victim.pid(), victim.value("other"));
    let (pid, fd): (String, String) = (other.to_string(), victim.value("fd"));
    let before = Before::of(other);
    let mut fdclose = command()
        .args(["--pid", &pid, "--fd", &fd, "--timeout", "500ms"])
        .args(json.then_some("--json"))
        .env("FDCLOSE_TEST_STOP_AT", "restored")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("fdclose starts");
    let number = fdclose.id();
    wait_until("the end of the surgery", || {
        evidence::status(number, number).is_some_and(|status| status.state == 'T')
    });
    victim.ask("hang");
    let hangs = |tid| evidence::current_call(holder, tid) == Some(libc::SYS_sendto);
    wait_until("the hang", || evidence::threads(holder).into_iter().any(hangs));
    common::sys::kill(number, libc::SIGCONT);
    let told = first_line(fdclose.stderr.take().expect("a pipe"));
    let report = first_line(fdclose.stdout.take().expect("a pipe"));
    let told = told.recv_timeout(Duration::from_secs(20));
    let report = report.recv_timeout(Duration::from_secs(20));
    before.assert_lost_only(&[victim.value("fd")]);
    victim.ask("supply");
    let status = fdclose.wait().expect("fdclose ends");
    let told = told.expect("a line, while it hangs");
    assert!(told.contains("does not come back") && told.contains(&pid), "{told}");
    assert!(told.contains("acted on") && told.contains("closed 1 of 1"), "{told}");
    let report = report.expect("the report, while it hangs");
    if json {
        let report: serde_json::Value = serde_json::from_str(&report).expect("a document");
        let target = &report["targets"][0];
        assert_eq!(target["outcome"], "done", "{report:#}");
        assert_eq!(target["fd_freed"], true, "{report:#}");
        assert_eq!(target["connection"], "unknown", "{report:#}");
    } else {
        assert!(report.starts_with("closed 1 of 1: fd ") && report.contains("not seen to end"), "{report}");
    }
    assert_eq!(status.code(), Some(3));
}

/// To be waited for: the stream stays open while a thread of its process hangs.
fn first_line(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map(|_| tell.send(line))
    });
    told
}
