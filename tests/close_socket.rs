//! The main job: a leaked socket is freed in a process that runs on.

mod common;

use common::before::assert_connection_ended;
use common::evidence::{self, CLOSE_WAIT};
use common::{Before, Victim, fdclose, outcome};

#[test]
fn a_close_wait_socket_named_by_inode_is_freed() {
    let mut victim = Victim::spawn("close_wait", &["--count", "3"]);
    let (fds, inodes): (Vec<i32>, Vec<u64>) = (victim.list("fds"), victim.list("inodes"));
    let row = evidence::tcp_of(victim.pid(), inodes[1]).expect("the leak is listed");
    let before = Before::of(victim.pid());

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes[1].to_string()]).exits(0);

    before.assert_lost_only(&[fds[1]]);
    assert_connection_ended(victim.pid(), row);
    for kept in [inodes[0], inodes[2]] {
        assert_eq!(evidence::tcp_of(victim.pid(), kept).map(|row| row.state), Some(CLOSE_WAIT));
    }
    assert_eq!(victim.ask("check"), "open=2");
    victim.serves();
    assert!(run.stdout.contains(&format!("closed 1 of 1: fd {} of", fds[1])), "{run:#?}");
}

#[test]
fn the_document_agrees_with_the_kernel() {
    let victim = Victim::spawn("close_wait", &[]);
    let (fds, inodes): (Vec<i32>, Vec<u64>) = (victim.list("fds"), victim.list("inodes"));
    let row = evidence::tcp_of(victim.pid(), inodes[0]).expect("the leak is listed");

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes[0].to_string(), "--json"]).exits(0);

    assert_eq!(evidence::link(victim.pid(), fds[0]), None);
    assert_connection_ended(victim.pid(), row);
    let document = run.json();
    let target = outcome(&document, fds[0]);
    assert_eq!(target["outcome"], "done");
    assert_eq!(target["fd_freed"], true);
    assert_eq!(target["connection"], "ended");
    assert_eq!(target["state"], "CLOSE-WAIT");
    assert_eq!(target["local"], row.local.to_string());
    assert_eq!(target["peer"], row.peer.to_string());
    for (count, expected) in [("matched", 1), ("done", 1), ("failed", 0)] {
        assert_eq!(document["summary"][count], expected, "{count}");
    }
}

#[test]
fn several_inodes_are_freed_at_once() {
    let mut victim = Victim::spawn("close_wait", &["--count", "5"]);
    let (fds, inodes): (Vec<i32>, Vec<String>) = (victim.list("fds"), victim.list("inodes"));
    let before = Before::of(victim.pid());

    fdclose(&[
        "--pid",
        &victim.pid_arg(),
        "--inode",
        &inodes[0],
        "--inode",
        &inodes[2],
        "--inode",
        &inodes[4],
    ])
    .exits(0);

    before.assert_lost_only(&[fds[0], fds[2], fds[4]]);
    assert_eq!(victim.ask("check"), "open=2");
}

#[test]
fn every_close_wait_socket_of_a_process_is_freed_by_state() {
    let mut victim = Victim::spawn("close_wait", &["--count", "40"]);
    let before = Before::of(victim.pid());

    let run = fdclose(&["--pid", &victim.pid_arg(), "--state", "close-wait", "--yes", "--json"]).exits(0);

    before.assert_lost_only(&victim.list("fds"));
    assert_eq!(run.json()["summary"]["done"], 40);
    assert_eq!(victim.ask("check"), "open=0");
    victim.serves();
}

#[test]
fn state_names_are_taken_in_any_spelling() {
    for spelling in ["CLOSE-WAIT", "close_wait", "Close-Wait"] {
        let mut victim = Victim::spawn("close_wait", &[]);
        fdclose(&["--pid", &victim.pid_arg(), "--state", spelling, "--yes"]).exits(0);
        assert_eq!(victim.ask("check"), "open=0", "{spelling}");
    }
}

#[test]
fn the_peer_selects_one_of_many() {
    let mut victim = Victim::spawn("close_wait", &["--count", "4"]);
    let (fds, inodes): (Vec<i32>, Vec<u64>) = (victim.list("fds"), victim.list("inodes"));
    let row = evidence::tcp_of(victim.pid(), inodes[3]).expect("the leak is listed");
    let before = Before::of(victim.pid());

    fdclose(&["--pid", &victim.pid_arg(), "--peer", &row.peer.to_string(), "--yes"]).exits(0);

    before.assert_lost_only(&[fds[3]]);
    assert_eq!(victim.ask("check"), "open=3");
}

#[test]
fn selectors_of_different_sorts_all_have_to_match() {
    let mut victim = Victim::spawn("close_wait", &["--count", "2"]);
    let (fds, inodes): (Vec<String>, Vec<String>) = (victim.list("fds"), victim.list("inodes"));
    let before = Before::of(victim.pid());

    fdclose(&["--pid", &victim.pid_arg(), "--fd", &fds[0], "--inode", &inodes[1]]).exits(1);
    fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes[0], "--state", "established"]).exits(1);
    before.assert_untouched();

    fdclose(&["--pid", &victim.pid_arg(), "--fd", &fds[0], "--inode", &inodes[0], "--state", "close-wait"])
        .exits(0);
    assert_eq!(victim.ask("check"), "open=1");
}

#[test]
fn an_inode_nobody_holds_matches_nothing() {
    let victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg(), "--inode", "18446744073709551615"]).exits(1);
    before.assert_untouched();
}

#[test]
fn a_dry_run_says_what_would_be_done_and_touches_nothing() {
    let mut victim = Victim::spawn("close_wait", &["--count", "2"]);
    let (fds, inodes): (Vec<i32>, Vec<String>) = (victim.list("fds"), victim.list("inodes"));
    let before = Before::of(victim.pid());

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes[0], "--dry-run", "--json"]).exits(0);

    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=2");
    let document = run.json();
    assert_eq!(document["dry_run"], true);
    assert_eq!(outcome(&document, fds[0])["outcome"], "would-do");
    assert_eq!(document["summary"]["matched"], 1);
    assert_eq!(document["summary"]["done"], 0);
}

#[test]
fn a_busy_multi_threaded_process_loses_only_the_leak() {
    let mut victim = Victim::spawn("busy", &["--threads", "16"]);
    let (fd, inode) = victim.leak("leak socket");
    let row = evidence::tcp_of(victim.pid(), inode).expect("the leak is listed");
    // One of its threads opens and closes files of these kinds all the time; the victim itself checks the others.
    let lasting = || {
        let mut all = evidence::descriptors(victim.pid());
        all.retain(|_, target| target != "/dev/null" && target != "anon_inode:[eventfd]");
        all
    };
    let mut left = lasting();

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string(), "--json"]).exits(0);

    left.remove(&fd);
    assert_eq!(lasting(), left);
    evidence::assert_untraced(victim.pid());
    assert_connection_ended(victim.pid(), row);
    victim.ask("check");
    victim.serves();
    let process = &run.json()["processes"][0];
    assert_eq!(process["pid"], victim.pid());
    assert!(process["threads"].as_u64() >= Some(18), "{process}");
}
