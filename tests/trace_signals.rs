//! The tracer itself, among signals: whatever moment it comes and goes in, even by its death, none is lost, doubled or
//! reordered.

mod common;

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, Victim, evidence, sys, wait_until};
use fdclose::ids::Tid;
use fdclose::trace::{Deadline, Seized, Stop, Stopped, Waited, on_tracer_thread, prepare_process};

const CYCLES: u32 = 3_000;

fn tid_of(victim: &Victim) -> Tid {
    Tid::new(victim.pid().cast_signed()).expect("a pid is a tid")
}

fn queue(victim: u32, signal: i32, number: usize) {
    while !sys::queue(victim, signal, number) {
        thread::yield_now();
    }
}

/// To the stop that was asked for; signals on the way are handed on.
fn to_interrupt(mut running: Seized) -> Stopped {
    loop {
        match running.wait(Deadline::after(PATIENCE)).expect("it can be waited for") {
            Waited::Stopped(stopped) if stopped.stop() == Stop::Interrupt => return stopped,
            Waited::Stopped(stopped) => running = stopped.run().expect("it can run on"),
            other => panic!("{other:?}"),
        }
    }
}

/// One visit, of five kinds.
fn visit(tid: Tid, kind: u32) {
    let seized = Seized::seize(tid).expect("it can be attached to");
    if kind > 0 {
        seized.interrupt().expect("it can be asked to stop");
    }
    match kind {
        // Leaves in whatever stop comes first, mostly before a signal.
        0 | 1 => {
            let first = seized.wait(Deadline::after(Duration::from_millis(1)));
            match first.expect("it can be waited for") {
                Waited::Stopped(stopped) => stopped.detach().expect("it can be let go"),
                Waited::Late(_) => {}
                Waited::Gone => panic!("it is gone"),
            }
        }
        2 => to_interrupt(seized).detach().expect("it can be let go"),
        3 => {
            let running = to_interrupt(seized).run().expect("it can run on");
            running.interrupt().expect("it can be asked to stop");
            drop(to_interrupt(running));
        }
        // Leaves with the stop not even looked at.
        _ => {}
    }
}

#[test]
fn no_visit_loses_a_signal() {
    prepare_process().expect("this process can trace");
    let mut victim = Victim::spawn("signals", &["--count", "1"]);
    let (pid, signal, tid) = (victim.pid(), victim.value("realtime"), tid_of(&victim));
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                queue(pid, signal, sent);
                sent += 1;
                // Not always pending: the thread is to be found asleep, too.
                if sent % 8 == 0 {
                    thread::sleep(Duration::from_micros(200));
                }
            }
            sent
        });
        let orderly = (0..CYCLES).all(|cycle| {
            // What it did not let go of, a visitor's thread lets go of as it ends: a little after it is seen to have ended.
            let untraced = || evidence::status(pid, pid).is_some_and(|status| status.tracer == 0);
            while !untraced() && !sender.is_finished() {
                thread::yield_now();
            }
            on_tracer_thread(|_| visit(tid, cycle % 5), || ()).is_ok_and(|visit| visit.is_ok())
        });
        over.store(true, Ordering::Relaxed);
        assert!(orderly, "a visit failed");
        sender.join().expect("it only sends")
    });
    assert!(sent > CYCLES as usize, "{sent}");
    let all = format!("realtime={sent} standard=0");
    wait_until("every signal", || victim.ask("check") == all);
    evidence::assert_untraced(pid);
}

/// By this the test starts itself as a tracer that dies.
const TRACEE: &str = "FDCLOSE_TEST_TRACEE";

/// Not a test of its own: dies with a signal of its tracee in its hands.
#[test]
fn a_tracer_that_dies() {
    let Ok(tracee) = env::var(TRACEE) else { return };
    let tid = tracee.parse().ok().and_then(Tid::new).expect("a tid");
    let seized = Seized::seize(tid).expect("it can be attached to");
    match seized.wait(Deadline::after(PATIENCE)) {
        Ok(Waited::Stopped(stopped)) if matches!(stopped.stop(), Stop::SignalDelivery(_)) => {
            sys::kill(std::process::id(), libc::SIGKILL);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_death_of_the_tracer_loses_no_signal() {
    const DEATHS: usize = 100;
    let mut victim = Victim::spawn("signals", &["--count", "1"]);
    let (pid, signals) = (victim.pid(), [victim.value("realtime"), victim.value("standard")]);
    let program = env::current_exe().expect("this program");
    for number in 0..DEATHS {
        for signal in signals {
            let mut tracer = Command::new(&program)
                .args(["--exact", "a_tracer_that_dies"])
                .env(TRACEE, pid.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("it starts");
            wait_until("the tracer", || evidence::status(pid, pid).is_some_and(|status| status.tracer != 0));
            queue(pid, signal, number);
            let end = tracer.wait().expect("it is ours");
            assert_eq!(end.signal(), Some(libc::SIGKILL), "{end}");
        }
    }
    let all = format!("realtime={DEATHS} standard={DEATHS}");
    wait_until("every signal", || victim.ask("check") == all);
}
