//! `fdclose demo` shows the leak, closes it and shows that the process still serves.

mod common;

use common::{NOBODY, Need, Run, fdclose, fdclose_as, lacks};

#[track_caller]
fn shows_the_leak_and_its_end(run: Run) {
    let run = run.exits(0);
    assert!(run.stdout.contains("CLOSE-WAIT"), "{run:#?}");
    assert!(run.stdout.chars().all(|c| !c.is_control() || c == '\n'), "{run:#?}");
    assert_eq!(run.stdout.lines().find(|line| line.chars().count() > 80), None, "{run:#?}");
}

#[test]
fn the_demo_works() {
    shows_the_leak_and_its_end(fdclose(&["demo"]));
}

#[test]
fn the_demo_needs_no_root() {
    if lacks(&[Need::Root]) {
        return;
    }
    shows_the_leak_and_its_end(fdclose_as(NOBODY, &["demo"]));
}
