//! A socket with more than one holder: descriptors are freed where asked, and who still has one is said.

mod common;

use common::before::assert_connection_ended;
use common::evidence::{self, CLOSE_WAIT};
use common::{Before, Victim, fdclose, outcome};

#[test]
fn the_other_process_keeps_the_connection_and_is_named() {
    let mut victim = Victim::spawn("forked_holder", &[]);
    let (fd, inode, child): (i32, u64, u32) =
        (victim.value("fd"), victim.value("inode"), victim.value("child"));
    let (parent_before, child_before) = (Before::of(victim.pid()), Before::of(child));

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string(), "--json"]).exits(0);

    parent_before.assert_lost_only(&[fd]);
    child_before.assert_untouched();
    assert_eq!(evidence::tcp_of(child, inode).map(|row| row.state), Some(CLOSE_WAIT));
    assert_eq!(victim.ask("check"), "parent=closed child=open");
    let document = run.json();
    let target = outcome(&document, fd);
    assert_eq!(target["fd_freed"], true);
    assert_eq!(target["connection"], "remains");
    assert_eq!(
        target["holders"],
        serde_json::json!([{"pid": child, "tid": null, "comm": "forked_holder", "fd": fd}])
    );
}

#[test]
fn without_a_pid_every_holder_is_meant() {
    let mut victim = Victim::spawn("forked_holder", &[]);
    let (fd, inode, child): (i32, u64, u32) =
        (victim.value("fd"), victim.value("inode"), victim.value("child"));
    let row = evidence::tcp_of(child, inode).expect("a row");
    let (parent_before, child_before) = (Before::of(victim.pid()), Before::of(child));

    let run = fdclose(&["--inode", &inode.to_string(), "--yes", "--json"]).exits(0);

    parent_before.assert_lost_only(&[fd]);
    child_before.assert_lost_only(&[fd]);
    assert_connection_ended(child, row);
    assert_eq!(victim.ask("check"), "parent=closed child=closed");
    let document = run.json();
    assert_eq!(document["summary"]["done"], 2);
    for target in document["targets"].as_array().expect("a list") {
        assert_eq!(target["connection"], "ended", "{document:#}");
    }
}

#[test]
fn all_holders_are_meant_where_that_is_asked_for() {
    let mut victim = Victim::spawn("forked_holder", &[]);
    let (fd, inode, child): (i32, u64, u32) =
        (victim.value("fd"), victim.value("inode"), victim.value("child"));
    let row = evidence::tcp_of(child, inode).expect("a row");
    let (parent_before, child_before) = (Before::of(victim.pid()), Before::of(child));
    let (pid, fd_arg) = (victim.pid_arg(), fd.to_string());
    let one = ["--pid", &pid, "--fd", &fd_arg, "--all-holders", "--json"];

    // More than was named is touched only when that was agreed to.
    fdclose(&one).exits(2);
    let dry = fdclose(&[&one[..], &["--dry-run"]].concat()).exits(0).json();
    assert_eq!(dry["summary"]["would_do"], 2, "{dry:#}");
    parent_before.assert_untouched();
    child_before.assert_untouched();

    let run = fdclose(&[&one[..], &["--yes"]].concat()).exits(0).json();

    assert_eq!(run["summary"]["done"], 2, "{run:#}");
    parent_before.assert_lost_only(&[fd]);
    child_before.assert_lost_only(&[fd]);
    assert_connection_ended(child, row);
    assert_eq!(victim.ask("check"), "parent=closed child=closed");
}

#[test]
fn an_inode_frees_every_number_of_the_process() {
    let mut victim = Victim::spawn("dup_holder", &["--dups", "3"]);
    let (fds, inode): (Vec<i32>, u64) = (victim.list("fds"), victim.value("inode"));
    let row = evidence::tcp_of(victim.pid(), inode).expect("a row");
    let before = Before::of(victim.pid());

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string(), "--json"]).exits(0);

    before.assert_lost_only(&fds);
    assert_connection_ended(victim.pid(), row);
    assert_eq!(victim.ask("check"), "open=");
    let document = run.json();
    assert_eq!(document["summary"]["done"], 4);
    for fd in fds {
        assert_eq!(outcome(&document, fd)["connection"], "ended", "{document:#}");
    }
}

#[test]
fn one_number_of_several_leaves_the_connection() {
    let mut victim = Victim::spawn("dup_holder", &["--dups", "2"]);
    let (fds, inode): (Vec<i32>, u64) = (victim.list("fds"), victim.value("inode"));
    let before = Before::of(victim.pid());

    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fds[1].to_string(), "--json"]).exits(0);

    before.assert_lost_only(&[fds[1]]);
    assert_eq!(evidence::tcp_of(victim.pid(), inode).map(|row| row.state), Some(CLOSE_WAIT));
    assert_eq!(victim.ask("check"), format!("open={},{}", fds[0], fds[2]));
    let document = run.json();
    let target = outcome(&document, fds[1]);
    assert_eq!((&target["fd_freed"], &target["connection"]), (&true.into(), &"remains".into()));
    let mut holders: Vec<i64> = target["holders"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|holder| holder["fd"].as_i64())
        .collect();
    holders.sort_unstable();
    let mut kept = [i64::from(fds[0]), i64::from(fds[2])];
    kept.sort_unstable();
    assert_eq!(holders, kept);
}

/// Three descriptors of one socket are three that are closed, and one connection that ends.
#[test]
fn a_connection_counts_once_however_many_descriptors_it_has() {
    let victim = Victim::spawn("dup_holder", &["--dups", "2"]);
    let (pid, inode): (String, String) = (victim.pid_arg(), victim.value("inode"));
    let run = fdclose(&["--pid", &pid, "--inode", &inode]).exits(0);
    assert!(run.stdout.contains("closed 3 of 3 descriptors of 1 process; 1 connection ended"), "{run:#?}");

    let victim = Victim::spawn("dup_holder", &["--dups", "2"]);
    let (pid, fds): (String, Vec<i32>) = (victim.pid_arg(), victim.list("fds"));
    let run = fdclose(&["--pid", &pid, "--fd", &format!("{},{}", fds[0], fds[1])]).exits(0);
    assert!(run.stdout.contains("closed 2 of 2 descriptors of 1 process; 1 connection remains"), "{run:#?}");

    // The same of two processes.
    let victim = Victim::spawn("forked_holder", &[]);
    let (pid, inode): (String, String) = (victim.pid_arg(), victim.value("inode"));
    let run = fdclose(&["--pid", &pid, "--inode", &inode, "--all-holders", "--yes"]).exits(0);
    assert!(run.stdout.contains("closed 2 of 2 descriptors of 2 processes; 1 connection ended"), "{run:#?}");
}
