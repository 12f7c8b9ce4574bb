//! The harness itself: victims are what they say by the kernel's evidence, and evidence tells states apart. These
//! tests don't run fdclose.

mod common;

use common::evidence::{self, CLOSE_WAIT, ESTABLISHED, LISTEN};
use common::{Before, NOBODY, Need, Victim, lacks, sys, wait_until};

#[test]
fn close_wait_is_in_close_wait_and_serves() {
    let mut victim = Victim::spawn("close_wait", &["--count", "3"]);
    let before = Before::of(victim.pid());
    for (fd, inode) in victim.list::<i32>("fds").into_iter().zip(victim.list::<u64>("inodes")) {
        assert_eq!(evidence::socket_inode(victim.pid(), fd), inode);
        let row = evidence::tcp_of(victim.pid(), inode).expect("the kernel lists it");
        assert_eq!(row.state, CLOSE_WAIT);
        assert_eq!(row.local.port(), victim.value::<u16>("port"));
    }
    victim.serves();
    assert_eq!(victim.ask("check"), "open=3");
    wait_until("the echo connection's end", || evidence::threads(victim.pid()).len() == 2);
    before.assert_untouched();
    assert!(victim.end().success());
}

#[test]
fn holders_share_one_socket() {
    let forked = Victim::spawn("forked_holder", &[]);
    let (fd, inode): (i32, u64) = (forked.value("fd"), forked.value("inode"));
    let child: u32 = forked.value("child");
    assert_eq!(evidence::children(forked.pid()), [child]);
    for holder in [forked.pid(), child] {
        assert_eq!(evidence::numbers_of(holder, inode), [fd]);
    }
    let dups = Victim::spawn("dup_holder", &["--dups", "3"]);
    let mut fds: Vec<i32> = dups.list("fds");
    fds.sort_unstable();
    assert_eq!(evidence::numbers_of(dups.pid(), dups.value("inode")), fds);
    assert_eq!(fds.len(), 4);
}

#[test]
fn a_forked_child_dies_with_its_parent() {
    let victim = Victim::spawn("forked_holder", &[]);
    let child: u32 = victim.value("child");
    drop(victim);
    wait_until("the child's end", || evidence::status(child, child).is_none_or(|status| status.state == 'Z'));
}

#[test]
fn blocked_is_blocked_in_the_call_it_names() {
    let calls = ["read", "poll", "ppoll", "select", "epoll_wait", "futex", "sigtimedwait", "recv", "accept"];
    for call in calls {
        let mut victim = Victim::spawn("blocked", &[call]);
        let (tid, nr): (u32, i64) = (victim.value("tid"), victim.value("nr"));
        wait_until(call, || evidence::current_call(victim.pid(), tid) == Some(nr));
        assert_eq!(victim.returned(), None);
        victim.ask("wake");
        let returned = victim.wait_returned();
        assert_eq!(returned.errno, 0, "{call}: {returned:?}");
        assert_eq!(victim.ask("check"), "open=1");
        assert!(victim.end().success());
    }
    let timed = ["poll", "epoll_wait", "nanosleep", "sleep_until", "io_getevents", "futex", "recv"];
    for call in timed {
        let mut victim = Victim::spawn("blocked", &[call, "--timeout-ms", "50"]);
        assert!(victim.wait_returned().elapsed_us >= 50_000, "{call}");
    }
}

#[test]
fn kinds_are_what_they_are_called() {
    let victim = Victim::spawn("kinds", &[]);
    let descriptors = evidence::descriptors(victim.pid());
    let wanted = [
        ("pipe_r", "pipe:["),
        ("unix_a", "socket:["),
        ("udp", "socket:["),
        ("deleted", " (deleted)"),
        ("eventfd", "anon_inode:[eventfd"),
        ("epoll", "anon_inode:[eventpoll]"),
        ("timerfd", "anon_inode:[timerfd]"),
        ("signalfd", "anon_inode:[signalfd]"),
        ("inotify", "inotify"),
        ("memfd", "/memfd:victim"),
    ];
    for (name, link) in wanted {
        let is = &descriptors[&victim.value(name)];
        assert!(is.contains(link), "{name} is {is}");
    }
    let row_of =
        |name| evidence::tcp_of(victim.pid(), evidence::socket_inode(victim.pid(), victim.value(name)));
    assert_eq!(row_of("listen").expect("a row").state, LISTEN);
    assert_eq!(row_of("server").expect("a row").state, ESTABLISHED);
    if victim.ready().contains_key("server6") {
        let row = row_of("server6").expect("a row");
        assert!(row.local.is_ipv6() && row.local.ip().is_loopback(), "{row:?}");
    }
}

#[test]
fn evidence_tells_traced_stopped_and_zombie() {
    let tracer = Victim::spawn("traced", &[]);
    let held: u32 = tracer.value("tracee");
    assert_eq!(evidence::status(held, held).expect("it lives").tracer, tracer.pid());

    let mut stopped = Victim::spawn("close_wait", &[]);
    sys::kill(stopped.pid(), libc::SIGSTOP);
    wait_until("a report", || sys::job_control_report(stopped.pid()) == Some(libc::CLD_STOPPED));
    assert_eq!(evidence::state(stopped.pid()), 'T');
    assert_eq!(sys::job_control_report(stopped.pid()), None);
    sys::kill(stopped.pid(), libc::SIGCONT);
    wait_until("a report", || sys::job_control_report(stopped.pid()) == Some(libc::CLD_CONTINUED));
    stopped.ask("check");

    stopped.kill();
    wait_until("a zombie", || evidence::state(stopped.pid()) == 'Z');
}

#[test]
fn busy_works_on_and_leaks_on_demand() {
    let mut victim = Victim::spawn("busy", &["--threads", "12"]);
    let fields = victim.ask_fields("check");
    let before = evidence::descriptors(victim.pid()).len();
    assert_eq!(fields["fds"], before.to_string());
    for command in ["leak socket", "leak pipe", "leak eventfd"] {
        let (fd, _) = victim.leak(command);
        assert!(evidence::link(victim.pid(), fd).is_some());
    }
    assert_eq!(evidence::descriptors(victim.pid()).len(), before + 3);
    victim.serves();
    victim.ask("check");
}

#[test]
fn signals_arrive_in_order_and_what_is_pending_stays() {
    let mut victim = Victim::spawn("signals", &["--count", "1"]);
    let signal = victim.value("realtime");
    for number in 0..500 {
        while !sys::queue(victim.pid(), signal, number) {
            std::thread::yield_now();
        }
    }
    wait_until("every signal", || victim.ask("check") == "realtime=500 standard=0");
    assert_ne!(victim.ask("kept"), "");
}

#[test]
fn spinner_spins_and_swapper_swaps() {
    let mut spinner = Victim::spawn("spinner", &["--threads", "2"]);
    spinner.ask("reset");
    assert!(spinner.ask_fields("check")["gap_ns"].parse::<u64>().expect("a number") > 0);
    let mut swapper = Victim::spawn("swapper", &[]);
    wait_until("swaps", || swapper.ask_fields("check")["swaps"] != "0");
}

#[test]
fn a_victim_runs_as_somebody_else() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(NOBODY, "close_wait", &[]);
    let proc = std::fs::metadata(format!("/proc/{}", victim.pid())).expect("it lives");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&proc), NOBODY);
    victim.serves();
    assert_eq!(victim.ask("check"), "open=1");
    let undumpable = Victim::spawn_as(NOBODY, "undumpable", &[]);
    let proc = std::fs::metadata(format!("/proc/{}/fd", undumpable.pid())).expect("it lives");
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&proc),
        0,
        "an undumpable process belongs to root in /proc"
    );
}
