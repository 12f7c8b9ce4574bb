//! Threads inside restartable sequences (rseq(2)): none of them is led away from it.

mod common;

use common::cc::compile;
use common::{Before, Need, Victim, evidence, fdclose, lacks, sys, wait_until};

const ROUNDS: usize = 10;

/// Acts on a victim again and again; how often that was refused.
#[track_caller]
fn refusals(arguments: &[&str]) -> usize {
    let (program, _directory) = compile("gcc", &["-pthread"], "sequence");
    let mut refusals = 0;
    for _ in 0..ROUNDS {
        let mut victim = Victim::spawn_program(&program, arguments);
        let (pid, fd): (u32, i32) = (victim.pid(), victim.value("fd"));
        // It says that it is ready a few instructions too early; after three clock ticks at work it is inside.
        wait_until("the sequence", || evidence::ticks_at_work(pid) >= 3);
        let before = Before::of(pid);

        let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string()]);

        if run.status == Some(0) {
            before.assert_lost_only(&[fd]);
        } else {
            run.exits(3).one_error().says(&["inside a restartable sequence"]);
            before.assert_untouched();
            refusals += 1;
        }
        sys::kill(pid, libc::SIGUSR1);
        let aborts = victim.ask_fields("check")["aborts"].parse::<u64>().expect("a number");
        assert!(aborts > 0, "the kernel never noticed that the thread was stopped inside of it");
    }
    refusals
}

#[test]
fn a_thread_inside_of_one_is_left_there() {
    if lacks(&[Need::Program("gcc"), Need::Rseq]) {
        return;
    }
    // On a busy machine the thread may be stopped on its way out of an earlier stop: the kernel has then ended the
    // sequence already, and the thread is as good as any.
    let refusals = refusals(&[]);
    println!("refused {refusals} of {ROUNDS}");
    assert!(refusals > 0, "never seen inside");
}

#[test]
fn another_thread_makes_the_call() {
    if lacks(&[Need::Program("gcc"), Need::Rseq]) {
        return;
    }
    assert_eq!(refusals(&["beside"]), 0);
}
