//! A victim in a frozen control group: left as it was and named, and it goes on correctly once it is thawed.

mod common;

use common::cgroup::{Freezer, Version};
use common::{Before, Need, Victim, evidence, fdclose, fdclose_while, lacks, outcome, wait_until};

fn lacks_freezer(version: Version) -> bool {
    lacks(&[Need::Root, Need::Freezer(version)])
}

#[track_caller]
fn a_frozen_process_is_refused(version: Version) {
    // The freezer of version 1 itself, with no fdclose about, has epoll_wait return EINTR.
    let calls: &[&str] =
        if version == Version::V1 { &["read", "poll"] } else { &["read", "poll", "epoll_wait"] };
    for call in calls {
        let mut victim = Victim::spawn("blocked", &[*call]);
        let (tid, nr): (u32, i64) = (victim.value("tid"), victim.value("nr"));
        wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
        let before = Before::of(victim.pid());
        let freezer = Freezer::around(version, victim.pid());
        freezer.freeze();
        let arguments =
            ["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode"), "--timeout", "1s"];
        for _ in 0..2 {
            let run = fdclose(&arguments);
            assert!(matches!(run.status, Some(2 | 3)), "{call}: {run:#?}");
            run.one_error().says(&["frozen", "thaw"]);
            evidence::assert_untraced(victim.pid());
        }
        freezer.thaw();
        wait_until("the call again", || evidence::sits_in(victim.pid(), tid, nr));
        before.assert_untouched();
        // What was put off is not done later on.
        assert!(victim.returned().is_none(), "{call} came back");
        fdclose(&arguments).exits(0);
        before.assert_lost_only(&[victim.value("fd")]);
        victim.ask("wake");
        let returned = victim.wait_returned();
        assert_eq!((returned.value, returned.errno), (if *call == "read" { 5 } else { 1 }, 0), "{call}");
    }
}

#[test]
fn a_process_frozen_by_version_2_is_refused() {
    if !lacks_freezer(Version::V2) {
        a_frozen_process_is_refused(Version::V2);
    }
}

#[test]
fn a_process_frozen_by_version_1_is_refused() {
    if !lacks_freezer(Version::V1) {
        a_frozen_process_is_refused(Version::V1);
    }
}

/// Freezes the victim while fdclose is at work on it.
#[track_caller]
fn freezing_during_a_batch_harms_nothing(version: Version) {
    let mut victim = Victim::spawn("churn", &["--leaks", "600"]);
    let fds: Vec<i32> = victim.list("fds");
    let range = format!("{}-{}", fds[0], fds[fds.len() - 1]);
    let pid = victim.pid();
    let freezer = Freezer::around(version, pid);
    let traced = || evidence::status(pid, pid).is_some_and(|status| status.tracer != 0);
    let arguments = [
        "--pid",
        &victim.pid_arg(),
        "--fd",
        &range,
        "--kind",
        "eventfd",
        "--yes",
        "--max-pause",
        "1ms",
        "--timeout",
        "1s",
        "--json",
    ];
    let run = fdclose_while(&arguments, || {
        wait_until("fdclose at work", traced);
        freezer.ask_to_freeze();
        wait_until("fdclose to give up", || !traced());
    });
    freezer.thaw();
    evidence::assert_untraced(pid);
    assert!(matches!(run.status, Some(0 | 2 | 3)), "{run:#?}");
    // Done is what it says was done, and nothing else.
    let document = run.json();
    for fd in &fds {
        let target = outcome(&document, *fd);
        assert_eq!(target["outcome"] == "done", evidence::link(pid, *fd).is_none(), "{target:#}");
    }
    victim.ask("check");
    fdclose(&["--pid", &victim.pid_arg(), "--fd", &range, "--kind", "eventfd", "--yes"]);
    assert!(fds.iter().all(|fd| evidence::link(pid, *fd).is_none()), "the rest");
    victim.ask("check");
}

#[test]
fn freezing_by_version_2_during_a_batch_harms_nothing() {
    if !lacks_freezer(Version::V2) {
        freezing_during_a_batch_harms_nothing(Version::V2);
    }
}

#[test]
fn freezing_by_version_1_during_a_batch_harms_nothing() {
    if !lacks_freezer(Version::V1) {
        freezing_during_a_batch_harms_nothing(Version::V1);
    }
}
