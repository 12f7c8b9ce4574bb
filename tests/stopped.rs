//! A stopped process stays stopped, and its parent hears nothing of fdclose.

mod common;

use common::evidence;
use common::{Before, Victim, fdclose, sys, wait_until};

/// Stops the victim and takes the report of it, as its shell would.
#[track_caller]
fn stop(victim: &Victim) {
    sys::kill(victim.pid(), libc::SIGSTOP);
    wait_until("a report", || sys::job_control_report(victim.pid()) == Some(libc::CLD_STOPPED));
    wait_until("every thread to stop", || {
        let threads = evidence::threads(victim.pid());
        threads
            .iter()
            .all(|tid| evidence::status(victim.pid(), *tid).is_none_or(|status| status.state == 'T'))
    });
}

/// Lets it go on and takes the report of that.
#[track_caller]
fn resume(victim: &Victim) {
    sys::kill(victim.pid(), libc::SIGCONT);
    let mut report = None;
    wait_until("a report", || {
        report = sys::job_control_report(victim.pid());
        report.is_some()
    });
    assert_eq!(report, Some(libc::CLD_CONTINUED));
    assert_eq!(sys::job_control_report(victim.pid()), None, "a second report");
}

#[test]
fn a_stopped_process_is_freed_of_its_leak_and_stays_stopped() {
    let mut victim = Victim::spawn("close_wait", &["--count", "2"]);
    stop(&victim);
    let (fds, inodes): (Vec<i32>, Vec<String>) = (victim.list("fds"), victim.list("inodes"));
    let before = Before::of(victim.pid());

    fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes[0]]).exits(0);

    before.assert_lost_only(&[fds[0]]);
    assert_eq!(evidence::state(victim.pid()), 'T');
    assert_eq!(sys::job_control_report(victim.pid()), None, "its parent was told of a stop or of its end");
    resume(&victim);
    assert_eq!(victim.ask("check"), "open=1");
    victim.serves();
}

#[test]
fn a_stopped_process_is_freed_of_many_leaks_at_once() {
    let mut victim = Victim::spawn("close_wait", &["--count", "200"]);
    stop(&victim);
    let fds: Vec<i32> = victim.list("fds");
    let before = Before::of(victim.pid());

    let run = fdclose(&["--pid", &victim.pid_arg(), "--state", "close-wait", "--yes"]).exits(0);

    assert!(!run.stdout.contains("failed"), "{run:#?}");
    before.assert_lost_only(&fds);
    assert_eq!(evidence::state(victim.pid()), 'T');
    assert_eq!(sys::job_control_report(victim.pid()), None, "its parent was told of a stop or of its end");
    resume(&victim);
    assert_eq!(victim.ask("check"), "open=0");
    victim.serves();
}

#[test]
fn a_stopped_multi_threaded_process_stays_stopped_in_every_thread() {
    let mut victim = Victim::spawn("busy", &["--threads", "9"]);
    let (fd, inode) = victim.leak("leak socket");
    stop(&victim);
    let before = Before::of(victim.pid());

    fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]).exits(0);

    before.assert_lost_only(&[fd]);
    assert_eq!(sys::job_control_report(victim.pid()), None, "its parent was told of a stop or of its end");
    resume(&victim);
    victim.ask("check");
    victim.serves();
}

#[test]
fn a_process_stopped_in_a_call_goes_on_waiting_once_resumed() {
    let mut victim = Victim::spawn("blocked", &["poll"]);
    let (tid, nr): (u32, i64) = (victim.value("tid"), victim.value("nr"));
    wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
    stop(&victim);
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode")]).exits(0);
    before.assert_lost_only(&[victim.value("fd")]);
    resume(&victim);
    wait_until("the call again", || evidence::sits_in(victim.pid(), tid, nr));
    victim.ask("wake");
    let returned = victim.wait_returned();
    assert_eq!((returned.value, returned.errno), (1, 0), "{returned:?}");
}
