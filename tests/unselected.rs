//! What was asked for by its number and is there, but is left out by another selector: that is said, and what it is.

mod common;

use common::{Before, Victim, evidence, fdclose};

#[test]
fn what_is_open_is_not_said_to_be_closed() {
    let victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let (pid, fd, inode): (_, String, String) =
        (victim.pid_arg(), victim.value("fds"), victim.value("inodes"));
    let number = inode.parse().expect("a number");
    let row = evidence::tcp_of(victim.pid(), number).expect("it is open");
    let ends = format!("CLOSE-WAIT {} -> {}", row.local, row.peer);
    let is_open = format!("fd {fd} of close_wait ({pid}) is open ({ends}");
    let by_fd = ["--pid", &pid, "--fd", &fd];
    let by_inode = ["--pid", &pid, "--inode", &inode];
    for (named, more, culprits) in [
        (&by_fd, &["--state", "listen"][..], "--state does not"),
        (&by_fd, &["--kind", "pipe"], "--kind does not"),
        (&by_fd, &["--deleted"], "--deleted does not"),
        (&by_fd, &["--comm", "nginx"], "--comm does not"),
        (&by_fd, &["--inode", "1"], "--inode does not"),
        (&by_fd, &["--state", "close-wait", "--peer", "192.0.2.1"], "--peer does not"),
        (&by_fd, &["--state", "listen", "--peer", "192.0.2.1"], "--state and --peer do not"),
        (&by_inode, &["--idle-for", "1h"], "--idle-for does not"),
        (&by_inode, &["--kind", "udp"], "--kind does not"),
        (&by_inode, &["--local", "192.0.2.1"], "--local does not"),
    ] {
        for command in [&[][..], &["list"]] {
            let run = fdclose(&[command, &named[..], more].concat()).exits(1);
            run.one_error().says(&[&is_open]);
            run.says(&[&format!("), but {culprits} select it")]);
            assert!(!run.stderr.contains("has no"), "{run:#?}");
        }
    }
    // Whoever has it, and whatever it is.
    let run = fdclose(&["--inode", &inode, "--comm", "nginx", "--dry-run"]).exits(1);
    run.one_error().says(&[&is_open]).says(&["--comm does not select it"]);
    let run = fdclose(&["--pid", &pid, "--fd", "0", "--kind", "tcp"]).exits(1);
    let standard_input = evidence::link(victim.pid(), 0).expect("it is open");
    run.one_error().says(&[&format!("is open ({standard_input}), but --kind does not select it")]);
    before.assert_untouched();
}

#[test]
fn several_are_told_in_one_line() {
    let victim = Victim::spawn("dup_holder", &["--dups", "2"]);
    let (pid, inode): (_, String) = (victim.pid_arg(), victim.value("inode"));
    let run = fdclose(&["--pid", &pid, "--inode", &inode, "--state", "listen,estab"]).exits(1);
    run.one_error()
        .says(&["3 such descriptors are open (first fd "])
        .says(&["but --state selects none of them"]);
}

#[test]
fn what_is_not_open_is_said_to_be_so() {
    let victim = Victim::spawn("close_wait", &[]);
    let (pid, own) = (victim.pid_arg(), std::process::id());
    for (args, words) in [
        (
            &["--pid", &pid, "--fd", "500,600-610", "--state", "listen"][..],
            "has no such descriptor open: 500, 600-610",
        ),
        (&["--pid", &pid, "--inode", "1", "--state", "listen"], "has no descriptor to inode 1"),
        (&["--pid", &pid, "--inode", "1", "--fd", "500"], "has no such descriptor open: 500"),
        (&["--pid", &format!("{pid},{own}"), "--fd", "2000000"], "none of these processes"),
        (&["--comm", "close_wait", "--fd", "2000000", "--dry-run"], "no process of that name"),
        (&["--inode", "1", "--dry-run"], "no process that could be looked into"),
    ] {
        fdclose(args).exits(1).says(&[words]);
    }
}
