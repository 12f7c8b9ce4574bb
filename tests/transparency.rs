//! The target doesn't notice: whatever call its thread sits in, the call returns what it would have returned.

mod common;

use std::time::Duration;

use common::evidence;
use common::{Before, Victim, fdclose, sys, wait_until};

/// Closes the victim's leak while its main thread sits in its call, and sees it sit there again.
#[track_caller]
fn close_while_blocked(victim: &mut Victim) {
    let (pid, tid, nr): (u32, u32, i64) = (victim.pid(), victim.value("tid"), victim.value("nr"));
    wait_until("the call", || evidence::current_call(pid, tid) == Some(nr));
    let before = Before::of(pid);

    fdclose(&["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode")]).exits(0);

    let mut returned = None;
    wait_until("the call again", || {
        returned = victim.returned();
        returned.is_some() || evidence::sits_in(pid, tid, nr)
    });
    assert_eq!(returned, None, "the call came back");
    before.assert_lost_only(&[victim.value("fd")]);
}

/// A call that waits for ever: it must go on waiting, and return `value` when it is woken.
#[track_caller]
fn goes_on_waiting(call: &str, value: i64) {
    let mut victim = Victim::spawn("blocked", &[call]);
    close_while_blocked(&mut victim);
    victim.ask("wake");
    let returned = victim.wait_returned();
    assert_eq!((returned.value, returned.errno), (value, 0), "{call}: {returned:?}");
    assert_eq!(victim.ask("check"), "open=0");
}

/// A call with a timeout: it must time out as it would have, not before its time. Where the kernel lets it keep its
/// deadline, it must also not be late: the close comes when half of the time is over, so that a call which had begun
/// anew would take one and a half times as long.
#[track_caller]
fn times_out(call: &str, value: i64, errno: i32, keeps_deadline: bool) {
    let timeout = Duration::from_secs(3);
    let mut victim = Victim::spawn("blocked", &[call, "--timeout-ms", &timeout.as_millis().to_string()]);
    victim.stays_blocked_for(timeout / 2);
    close_while_blocked(&mut victim);
    let returned = victim.wait_returned();
    assert_eq!((returned.value, returned.errno), (value, errno), "{call}: {returned:?}");
    let elapsed = Duration::from_micros(returned.elapsed_us);
    assert!(elapsed >= timeout, "{call} came back after {elapsed:?}");
    assert!(!keeps_deadline || elapsed < timeout * 5 / 4, "{call} came back after {elapsed:?}");
    assert_eq!(victim.ask("check"), "open=0");
}

#[test]
fn read_goes_on() {
    goes_on_waiting("read", 5);
}

#[test]
fn poll_goes_on() {
    goes_on_waiting("poll", 1);
}

#[test]
fn ppoll_goes_on_with_its_mask() {
    goes_on_waiting("ppoll", 1);
}

#[test]
fn select_goes_on() {
    goes_on_waiting("select", 1);
}

#[test]
fn epoll_wait_goes_on() {
    goes_on_waiting("epoll_wait", 1);
}

#[test]
fn futex_goes_on() {
    goes_on_waiting("futex", 0);
}

#[test]
fn recv_goes_on() {
    goes_on_waiting("recv", 5);
}

#[test]
fn accept_goes_on() {
    goes_on_waiting("accept", 0);
}

#[test]
fn sigtimedwait_goes_on() {
    goes_on_waiting("sigtimedwait", i64::from(libc::SIGUSR1));
}

#[test]
fn poll_keeps_its_deadline() {
    times_out("poll", 0, 0, true);
}

#[test]
fn nanosleep_keeps_its_deadline() {
    times_out("nanosleep", 0, 0, true);
}

#[test]
fn an_absolute_sleep_keeps_its_deadline() {
    times_out("sleep_until", 0, 0, true);
}

#[test]
fn futex_keeps_its_deadline() {
    times_out("futex", -1, libc::ETIMEDOUT, true);
}

#[test]
fn epoll_wait_times_out() {
    times_out("epoll_wait", 0, 0, false);
}

#[test]
fn select_times_out() {
    times_out("select", 0, 0, false);
}

#[test]
fn recv_with_a_timeout_times_out() {
    times_out("recv", -1, libc::EAGAIN, false);
}

#[test]
fn sigtimedwait_times_out() {
    times_out("sigtimedwait", -1, libc::EAGAIN, false);
}

#[test]
fn io_getevents_times_out() {
    times_out("io_getevents", 0, 0, false);
}

/// The stop makes the call start over, and it then finds its descriptor gone: so it ends, and the connection with it.
#[test]
fn a_thread_blocked_on_the_closed_socket_sees_its_end() {
    let mut victim = Victim::spawn("blocked", &["recv_leak"]);
    let (tid, nr, inode): (u32, i64, u64) = (victim.value("tid"), victim.value("nr"), victim.value("inode"));
    wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
    let row = evidence::tcp_of(victim.pid(), inode).expect("a row");
    fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]).exits(0);
    let returned = victim.wait_returned();
    assert_eq!((returned.value, returned.errno), (-1, libc::EBADF), "{returned:?}");
    assert_eq!(evidence::link(victim.pid(), victim.value("fd")), None);
    evidence::assert_untraced(victim.pid());
    // The victim holds the other end too, so the closed one may stay in FIN-WAIT-2, but nobody's any more.
    wait_until("the socket's end", || {
        !evidence::tcp_rows(victim.pid()).iter().any(|now| now.inode == inode && now.local == row.local)
    });
    assert_eq!(victim.ask("check"), "open=0");
}

#[test]
fn registers_survive_in_user_code() {
    let mut victim = Victim::spawn("spinner", &["--threads", "4"]);
    for _ in 0..20 {
        let (fd, inode) = victim.leak("leak");
        fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--inode", &inode.to_string()])
            .exits(0);
        assert_eq!(evidence::link(victim.pid(), fd), None);
    }
    evidence::assert_untraced(victim.pid());
    victim.ask("check");
}

#[test]
fn no_signal_is_lost_doubled_or_reordered() {
    const SIGNALS: usize = 20_000;
    let mut victim = Victim::spawn("signals", &["--count", "16"]);
    let (pid, signal) = (victim.pid(), victim.value("signal"));
    let fds: Vec<i32> = victim.list("fds");
    let before = Before::of(pid);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for number in 0..SIGNALS {
                while !sys::queue(pid, signal, number) {
                    std::thread::yield_now();
                }
            }
        });
        for fd in &fds {
            fdclose(&["--pid", &pid.to_string(), "--fd", &fd.to_string()]).exits(0);
        }
        sender.join().expect("every signal was sent");
    });
    let all = format!("received={SIGNALS}");
    wait_until("every signal", || victim.ask("check") == all);
    before.assert_lost_only(&fds);
}
