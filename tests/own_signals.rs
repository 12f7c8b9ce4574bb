//! Signals a victim raises by its own instructions, in the middle of being operated on: each reaches it once.

mod common;

use common::kernel::is_before;
use common::{Need, Victim, evidence, fdclose, lacks};

#[track_caller]
fn every_trap_reaches_its_handler(how: &str) {
    let mut victim = Victim::spawn("traps", &[how]);
    let fds: Vec<i32> = victim.list("fds");
    let raised = |victim: &mut Victim| victim.ask_fields("check")["raised"].parse::<u64>().expect("a number");
    let mut before = 0;
    for chunk in fds.chunks(10) {
        let range = format!("{}-{}", chunk[0], chunk[chunk.len() - 1]);
        let arguments = ["--pid", &victim.pid_arg(), "--fd", &range, "--kind", "eventfd", "--yes"];
        if how == "seccomp" && is_before(4, 3) {
            fdclose(&arguments).exits(2).says(&["can't be suspended"]);
            assert!(raised(&mut victim) > before, "it stands still");
            return evidence::assert_untraced(victim.pid());
        }
        fdclose(&arguments).exits(0);
        let now = raised(&mut victim);
        assert!(now > before, "it stands still");
        before = now;
    }
    assert!(fds.iter().all(|fd| evidence::link(victim.pid(), *fd).is_none()));
    evidence::assert_untraced(victim.pid());
}

#[test]
fn every_breakpoint_reaches_its_handler() {
    every_trap_reaches_its_handler("int3");
}

#[test]
fn every_filtered_call_reaches_its_handler() {
    // Only CAP_SYS_ADMIN takes a filter out of force.
    if lacks(&[Need::Root]) {
        return;
    }
    every_trap_reaches_its_handler("seccomp");
}
