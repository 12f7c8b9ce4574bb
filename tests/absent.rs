//! What was named by a single number and is not there: told of like a process that is not there, and the rest is done.

mod common;

use common::kernel::is_before;
use common::{Before, Victim, fdclose};

/// A descriptor number above every limit, and the number of no inode.
const NO_FD: &str = "2000000";
const NO_INODE: &str = "18446744073709551615";

#[test]
fn a_number_that_is_not_there_is_told_of_and_the_rest_is_done() {
    for (option, value, none, words) in [
        ("--fd", "fds", NO_FD, format!("has no such descriptor open: {NO_FD}")),
        ("--inode", "inodes", NO_INODE, format!("has no descriptor to inode {NO_INODE}")),
        ("--pid", "", "4194305", "there is no process 4194305".to_owned()),
    ] {
        let victim = Victim::spawn("close_wait", &[]);
        let before = Before::of(victim.pid());
        let (pid, fd): (_, i32) = (victim.pid_arg(), victim.value("fds"));
        let with = |more: &str| if more.is_empty() { none.to_owned() } else { format!("{more},{none}") };
        let named = match option {
            "--pid" => vec!["--fd".to_owned(), fd.to_string(), "--pid".to_owned(), with(&pid)],
            _ => vec!["--pid".to_owned(), pid, option.to_owned(), with(&victim.value::<String>(value))],
        };
        let named: Vec<&str> = named.iter().map(String::as_str).collect();

        // A listing has what it could list.
        let list = fdclose(&[&["list", "--json"], &named[..]].concat()).exits(0);
        list.one_error().says(&[&words]);
        assert_eq!(list.json()["fds"].as_array().map(Vec::len), Some(1));
        let dry = fdclose(&[&["--dry-run"], &named[..]].concat()).exits(3);
        dry.one_error().says(&[&words]);
        // Without copies of descriptors keepalive is refused.
        let status = if is_before(5, 6) { 2 } else { 3 };
        let keepalive = fdclose(&[&["keepalive", "--dry-run", "--idle", "1m"], &named[..]].concat());
        keepalive.exits(status).says(&[&words]);
        before.assert_untouched();

        let run = fdclose(&[&["--json"], &named[..]].concat()).exits(3);
        run.one_error().says(&[&words]);
        assert_eq!(run.json()["summary"]["done"], 1);
        before.assert_lost_only(&[fd]);
    }
}

/// Whoever has it: nobody does, as far as that can be seen.
#[test]
fn an_inode_that_nobody_has_is_told_of_without_a_process_too() {
    let victim = Victim::spawn("close_wait", &[]);
    let inodes = format!("{},{NO_INODE}", victim.value::<String>("inodes"));
    let run = fdclose(&["--inode", &inodes, "--dry-run"]).exits(3);
    run.says(&[&format!("no process that could be looked into has a descriptor to inode {NO_INODE}")]);
}

#[test]
fn many_that_are_not_there_are_counted() {
    let victim = Victim::spawn("close_wait", &[]);
    let none: Vec<String> = (2_000_000..2_000_020).map(|fd| fd.to_string()).collect();
    let fds = format!("{},{}", victim.value::<String>("fds"), none.join(","));
    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fds, "--dry-run"]).exits(3);
    run.says(&["has no such descriptor open: 2000007"]).says(&["has no such descriptor open: 12 others"]);
    assert!(!run.stderr.contains("2000008"), "{run:#?}");
}

#[test]
fn what_is_there_is_not_missed() {
    let victim = Victim::spawn("close_wait", &["--count", "2"]);
    let (pid, fds, inodes): (_, Vec<i32>, Vec<u64>) =
        (victim.pid_arg(), victim.list("fds"), victim.list("inodes"));
    let range = format!("{},2000000-2000010", fds[0]);
    let standard = format!("{},0", fds[0]);
    let both = format!("{},{}", inodes[0], inodes[1]);
    let first = fds[0].to_string();
    for args in [
        // A range may have gaps.
        &["--fd", &range][..],
        // Another selector leaves it out.
        &["--fd", &standard, "--state", "close-wait"],
        &["--inode", &both, "--fd", &first],
    ] {
        for command in [&["--dry-run"][..], &["list"]] {
            let run = fdclose(&[command, &["--pid", &pid], args].concat()).exits(0);
            assert!(!run.stderr.contains("error:"), "{run:#?}");
        }
    }
}
