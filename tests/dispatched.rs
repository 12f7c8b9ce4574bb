//! Threads whose system calls are dispatched back to them as SIGSYS (prctl(2), PR_SET_SYSCALL_USER_DISPATCH): an
//! injected call must be none of them.

mod common;

use common::cc::compile;
use common::kernel::is_before;
use common::{Before, Need, Run, Victim, evidence, fdclose, lacks, sys, wait_until};

/// Acts on a victim in `mode`, with this exit status; afterwards it has seen no signal, and its handler is still there.
#[track_caller]
fn run_on(mode: &str, status: i32) -> Option<Run> {
    if lacks(&[Need::Program("gcc"), Need::UserDispatch]) {
        return None;
    }
    let (program, _directory) = compile("gcc", &["-pthread"], "dispatched");
    let mut victim = Victim::spawn_program(&program, &[mode]);
    let (pid, fd): (u32, i32) = (victim.pid(), victim.value("fd"));
    let spins_alone = ["blocked", "masked", "allowed"].contains(&mode);
    if spins_alone {
        // Until then it may be on its way out of the call by which it said that it is ready.
        wait_until("spinning", || evidence::ticks_at_work(pid) >= 3);
    } else {
        wait_until("the call", || evidence::sits_in(pid, pid, libc::SYS_read));
    }
    let before = Before::of(pid);

    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string()]).exits(status);

    if status == 0 {
        before.assert_lost_only(&[fd]);
    } else {
        before.assert_untouched();
    }
    if spins_alone {
        // Had it been given a signal, it would wait for commands by now.
        wait_until("spinning on", || evidence::is_at_work(pid, pid));
        sys::kill(pid, libc::SIGUSR1);
    }
    assert_eq!(victim.ask("check"), "signals=0", "{mode}");
    Some(run)
}

#[test]
fn a_process_without_a_way_through_is_refused() {
    // Where the kernel does not tell (Linux 6.4), one that blocks SIGSYS loses its handler, as README.md says.
    for mode in if is_before(6, 4) { &["blocked"][..] } else { &["blocked", "masked"] } {
        let Some(run) = run_on(mode, 3) else { return };
        if is_before(6, 4) {
            // The kernel does not tell: it is tried, and the signal for it is taken back.
            run.one_error().says(&["raised a fault"]);
            continue;
        }
        run.one_error().says(&["PR_SET_SYSCALL_USER_DISPATCH"]).says(&["try again when a thread"]);
    }
}

#[test]
fn the_instruction_that_is_let_through_is_used() {
    run_on("waiting", if is_before(6, 4) { 3 } else { 0 });
}

#[test]
fn a_switch_that_lets_calls_through_is_no_obstacle() {
    run_on("allowed", 0);
}

#[test]
fn a_thread_without_dispatching_makes_the_call() {
    run_on("beside", 0);
}
