//! Every wrong flag, number, address or name: one clear line, exit status 2, and nothing is touched.

mod common;

use std::net::TcpListener;

use common::evidence::LISTEN;
use common::{Before, NOBODY, Need, Victim, evidence, fdclose, fdclose_as, lacks};

/// What to add to `--pid P --inode N`, and a word the message must have.
const WRONG: [(&[&str], &str); 41] = [
    (&["--bogus"], "--bogus"),
    (&["-Z"], "-Z"),
    (&["frobnicate"], "frobnicate"),
    (&["--pid", "abc"], "--pid"),
    (&["--pid", ""], "--pid"),
    (&["--pid", "0"], "--pid"),
    (&["--pid=-1"], "--pid"),
    (&["--pid", "99999999999"], "--pid"),
    (&["--pid", "1x"], "--pid"),
    (&["--pid"], "--pid"),
    (&["--inode", "abc"], "--inode"),
    (&["--inode", ""], "--inode"),
    (&["--inode=-5"], "--inode"),
    (&["--inode", "18446744073709551616"], "--inode"),
    (&["--inode", "0x10"], "--inode"),
    (&["--fd", "a-b"], "--fd"),
    (&["--fd", "5-3"], "--fd"),
    (&["--fd", "3-"], "--fd"),
    (&["--fd=-1"], "--fd"),
    (&["--fd", "2147483648"], "--fd"),
    (&["--fd", "3-4-5"], "--fd"),
    (&["--fd", ""], "--fd"),
    (&["--state", "closing-time"], "--state"),
    (&["--state", ""], "--state"),
    (&["--local", "1.2.3.4.5"], "--local"),
    (&["--local", "1.2.3.4:99999"], "--local"),
    (&["--local", ":"], "--local"),
    (&["--local", ""], "--local"),
    (&["--local", "[::1"], "--local"),
    (&["--peer", "10.0.0.0/33"], "--peer"),
    (&["--peer", "[::1]:http"], "--peer"),
    (&["--peer", "::/129"], "--peer"),
    (&["--peer", "example.invalid"], "--peer"),
    (&["--kind", "socketry"], "--kind"),
    (&["--method", "magic"], "--method"),
    (&["--timeout", "soon"], "--timeout"),
    (&["--timeout", "-1s"], "--timeout"),
    (&["--max-pause", "short"], "--max-pause"),
    (&["--color", "mauve"], "--color"),
    (&["--json=yes"], "--json"),
    (&["--deleted=maybe"], "--deleted"),
];

#[test]
fn each_wrong_word_is_one_clear_error_and_touches_nothing() {
    let mut victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let (pid, inode) = (victim.pid_arg(), victim.value::<String>("inodes"));
    for (wrong, word) in WRONG {
        // What is right stands last, so that a flag without its value can't take it: it begins with a dash.
        let args = [wrong, &["--pid", &pid, "--inode", &inode]].concat();
        let run = fdclose(&args).exits(2);
        run.one_error();
        let first = run.stderr.lines().next().unwrap_or_default();
        assert!(first.contains(word), "{wrong:?}: {run:#?}");
        assert_eq!(run.stdout, "", "{wrong:?}");
    }
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=1");
}

#[test]
fn the_same_words_are_wrong_for_list() {
    for (wrong, _) in
        WRONG.iter().filter(|(wrong, _)| wrong[0].starts_with("--pid") || wrong[0].starts_with("--local"))
    {
        fdclose(&[&["list"], *wrong].concat()).exits(2).one_error();
    }
}

#[test]
fn acting_without_any_selector_is_refused() {
    for args in [&[] as &[&str], &["--yes"], &["--dry-run"], &["--json"]] {
        fdclose(args).exits(2).one_error();
    }
}

#[test]
fn a_pid_alone_does_not_close_everything() {
    let mut victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg()]).exits(2).one_error();
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=1");
}

/// What a tired engineer types: said is what is wrong and what to do next, and nothing is touched.
#[test]
fn slips_are_told_with_a_way_out() {
    let mut victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let (pid, inode) = (victim.pid_arg(), victim.value::<String>("inodes"));
    let (listener, gone) = (TcpListener::bind("127.0.0.1:0").expect("a port is free"), pid_of_nobody());
    let taken = listener.local_addr().expect("it is bound").to_string();
    let not_of_a_network = format!("/proc/{pid}/ns/mnt");
    let listening = evidence::tcp_rows(victim.pid())
        .into_iter()
        .find(|row| row.state == LISTEN && !evidence::numbers_of(victim.pid(), row.inode).is_empty())
        .expect("the victim listens")
        .inode
        .to_string();
    let watch = ["watch", "--pid", &pid, "--idle-for", "1h"];
    for (args, status, words) in [
        (&[&watch[..], &["--metrics", &taken]].concat()[..], 2, &["has that port", "ss -ltnp"][..]),
        (&[&watch[..], &["--metrics", "192.0.2.1:1"]].concat(), 2, &["no such address", "ip address"]),
        (&["watch", "--pid", &gone, "--idle-for", "1h"], 1, &["there is no process"]),
        (&["watch", "--idle-for", "1h"], 2, &["every idle connection", "--state close-wait"]),
        (&["watch", "--idle-for", "1h", "--kind", "tcp", "--netns", "all"], 2, &["every idle connection"]),
        (&["watch", "--json"], 2, &["fdclose watch --help"]),
        (&["list", "--netns", &not_of_a_network], 2, &["is no network namespace", "ip netns"]),
        (&["list", "--netns", "/proc/self/nothing"], 2, &["can't open", "ip netns"]),
        (&["--pid", &pid, "--inode", &listening, "--method", "reset"], 2, &["not connected", "fdclose list"]),
        (&["--pid", &pid, "--inode", &inode, "--signal", "TERM"], 2, &["--method kill only"]),
        (&["--pid", &pid, "--state", "close-wait"], 2, &["1 descriptor of 1 process)", "--dry-run"]),
        (&["--pid", &pid, "--kind", "udp", "--state", "close-wait"], 2, &["--kind leaves none"]),
    ] {
        let run = fdclose(args).exits(status);
        for word in words {
            run.says(&[word]);
        }
        run.one_error();
        assert!(!run.stderr.contains("os error"), "{run:#?}");
    }
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=1");
}

#[test]
fn an_ordinary_user_is_told_what_a_namespace_takes() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn("close_wait", &[]);
    let run = fdclose_as(NOBODY, &["list", "--netns", &victim.pid_arg()]).exits(2);
    run.one_error().says(&["run fdclose as root"]);
}

#[test]
fn a_kernel_thread_is_not_said_to_be_fit_for_a_close() {
    if lacks(&[Need::KernelThreads]) {
        return;
    }
    let document = fdclose(&["doctor", "--pid", "2", "--json"]).exits(0).json();
    let refusal = document["target"]["refusal"].as_str().expect("a reason");
    assert!(refusal.contains("kernel thread"), "{document:#}");
    assert_eq!(document["advice"]["method"], serde_json::Value::Null);
}

/// A number that no process has.
fn pid_of_nobody() -> String {
    let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").expect("there is a /proc");
    // Numbers are below it.
    most.trim().to_owned()
}
