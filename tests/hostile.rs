//! Targets that lie about themselves: nothing of it reaches the terminal raw, breaks a document or misleads.

mod common;

use common::{Before, Run, Victim, fdclose, outcome};

const NAMES: [&str; 5] = ["escape", "newline", "parens", "utf8", "json"];

/// Proves that a text is printable, line ends apart.
#[track_caller]
fn assert_tame(text: &str) {
    let wild = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(wild, None, "in {text:?}");
}

#[track_caller]
fn assert_tame_run(run: &Run) {
    assert_tame(&run.stdout);
    assert_tame(&run.stderr);
}

#[test]
fn a_hostile_name_is_listed_tamely() {
    for name in NAMES {
        let victim = Victim::spawn("hostile_comm", &[name]);
        let run = fdclose(&["list", "--pid", &victim.pid_arg(), "--color", "never"]).exits(0);
        assert_tame_run(&run);
        let inode: String = victim.value("inode");
        let rows: Vec<&str> = run.stdout.lines().filter(|line| line.contains(&inode)).collect();
        assert_eq!(rows.len(), 1, "{name}: {run:#?}");
        assert!(rows[0].contains(&victim.pid_arg()), "{name}: the row was broken up: {run:#?}");
    }
}

#[test]
fn a_process_with_a_hostile_name_is_freed_all_the_same() {
    for name in NAMES {
        let mut victim = Victim::spawn("hostile_comm", &[name]);
        let before = Before::of(victim.pid());
        let run =
            fdclose(&["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode")]).exits(0);
        before.assert_lost_only(&[victim.value("fd")]);
        assert_tame_run(&run);
        assert_eq!(victim.ask("check"), "open=0");
    }
}

#[test]
fn a_hostile_name_does_not_break_the_document() {
    for name in NAMES {
        let victim = Victim::spawn("hostile_comm", &[name]);
        let args = ["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode"), "--json"];
        let run = fdclose(&args).exits(0);
        let document = run.json();
        let target = outcome(&document, victim.value("fd"));
        assert_eq!(target["pid"], victim.pid(), "{name}");
        assert!(target["comm"].as_str().is_some_and(|comm| !comm.is_empty()), "{name}: {target:#}");
        assert_tame_run(&run);
    }
}
