//! The right descriptor or none: a number that refers to something else by the time the target is stopped is left.

mod common;

use common::{Need, Victim, evidence, fdclose, fdclose_before_5_6, lacks, wait_until};

const ROUNDS: u32 = 150;

#[test]
fn a_number_that_keeps_changing_is_closed_only_while_it_is_the_wanted_file() {
    keeps_changing("close");
}

#[test]
fn a_number_that_keeps_changing_is_replaced_only_while_it_is_the_wanted_file() {
    keeps_changing("replace");
}

fn keeps_changing(method: &str) {
    let mut victim = Victim::spawn("swapper", &[]);
    let [fd, wanted]: [String; 2] = ["fd", "wanted"].map(|key| victim.value(key));
    let args = ["--pid", &victim.pid_arg(), "--fd", &fd, "--inode", &wanted, "--method", method, "--json"];
    let (mut done, mut changed) = (0, 0);
    for _ in 0..ROUNDS {
        let run = fdclose(&args);
        match run.status {
            // It referred to the other file already when it was selected.
            Some(1) => continue,
            Some(0 | 3) => {}
            other => panic!("{other:?}: {run:#?}"),
        }
        let document = run.json();
        // The place itself; a look at the wanted file under its other number is no business of this test.
        let targets = document["targets"].as_array().expect("a list");
        for target in targets {
            match target["outcome"].as_str() {
                Some("done") => done += 1,
                Some("changed" | "gone") => {
                    changed += 1;
                    assert_ne!(target["fd_freed"], true, "{target:#}");
                }
                other => panic!("{other:?}: {document:#}"),
            }
        }
        evidence::assert_untraced(victim.pid());
    }
    // The victim's own check fails if the number was ever closed or replaced while it stood for the other file.
    let fields = victim.ask_fields("check");
    let taken: u32 = fields["taken"].parse().expect("a number");
    assert!(taken <= done, "{taken} closes seen, {done} said");
    assert!(done > 0 && changed > 0, "the race never went both ways: {done} done, {changed} changed");
}

/// Where the process itself makes the call.
#[test]
fn a_number_that_keeps_changing_is_shut_down_only_while_it_is_the_wanted_file() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut done = 0;
    for _ in 0..ROUNDS / 3 {
        let mut victim = Victim::spawn("swapper", &[]);
        let [fd, wanted]: [String; 2] = ["fd", "wanted"].map(|key| victim.value(key));
        let args = ["--pid", &victim.pid_arg(), "--fd", &fd, "--inode", &wanted, "--method", "shutdown"];
        let run = fdclose_before_5_6(&args);
        assert!(matches!(run.status, Some(0 | 1 | 3)), "{run:#?}");
        let is_shut_down = run.stdout.starts_with("shut down 1 of 1");
        done += u32::from(is_shut_down);
        // The two are the ends of one connection: the other one has seen the end of this one, and not been ended.
        let state = || evidence::tcp_of(victim.pid(), victim.value("other")).map(|row| row.state);
        let expected = if is_shut_down { evidence::CLOSE_WAIT } else { evidence::ESTABLISHED };
        wait_until("the state of the other", || state() == Some(expected));
        victim.ask("check");
    }
    assert!(done > 0, "it was never the wanted file");
}

#[test]
fn two_threads_fighting_over_a_number_are_not_disturbed() {
    let mut victim = Victim::spawn("swapper", &["--racing"]);
    let [fd, wanted]: [String; 2] = ["fd", "wanted"].map(|key| victim.value(key));
    let args = ["--pid", &victim.pid_arg(), "--fd", &fd, "--inode", &wanted];
    for _ in 0..ROUNDS / 3 {
        let run = fdclose(&args);
        assert!(matches!(run.status, Some(0 | 1 | 3)), "{run:#?}");
        evidence::assert_untraced(victim.pid());
    }
    victim.ask("check");
}
