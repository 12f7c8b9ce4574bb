//! Every wrong flag, number, address or name: one clear line, exit status 2, and nothing is touched.

mod common;

use common::{Before, Victim, fdclose};

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
