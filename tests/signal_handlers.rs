//! A signal that is really handled while fdclose operates ends a call with EINTR exactly where it would have without
//! fdclose, and lets it go on where it would have gone on.
//!
//! fdclose is itself stopped while it has the victim stopped, so that the signal comes in the middle of the surgery.

mod common;

use common::evidence;
use common::{Started, Victim, start_fdclose, sys, wait_until};

const CLOSES: usize = 40;

/// What a handled signal does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The call is made again, whatever SA_RESTART says, or only with it (signal(7)).
    Restarts,
    Interrupts,
}
use Effect::{Interrupts, Restarts};

/// A call, how it is made, what a handler with and without SA_RESTART does to it, and what it returns when woken.
type Row = (&'static str, Option<&'static str>, [Effect; 2], i64);

const ROWS: &[Row] = &[
    ("read_pipe", None, [Restarts, Interrupts], 5),
    ("recv", None, [Restarts, Interrupts], 5),
    ("accept", None, [Restarts, Interrupts], 0),
    ("connect_unix", None, [Restarts, Interrupts], 0),
    ("futex", None, [Restarts, Interrupts], 0),
    ("wait4", None, [Restarts, Interrupts], 7),
    ("setlkw", None, [Restarts, Interrupts], 0),
    ("mq_receive", None, [Restarts, Interrupts], 5),
    ("open_fifo", None, [Restarts, Interrupts], 0),
    ("recv", Some("600000"), [Interrupts; 2], 5),
    ("send", Some("600000"), [Interrupts; 2], 1),
    ("accept", Some("600000"), [Interrupts; 2], 0),
    ("futex", Some("600000"), [Interrupts; 2], 0),
    ("poll", None, [Interrupts; 2], 1),
    ("poll", Some("600000"), [Interrupts; 2], 1),
    ("ppoll_const", Some("600000"), [Interrupts; 2], 1),
    ("pselect", Some("600000"), [Interrupts; 2], 1),
    ("epoll_wait", None, [Interrupts; 2], 1),
    ("epoll_wait", Some("600000"), [Interrupts; 2], 1),
    ("epoll_pwait", None, [Interrupts; 2], 1),
    ("nanosleep", Some("600000"), [Interrupts; 2], 0),
    ("sleep_until", Some("600000"), [Interrupts; 2], 0),
    ("sigtimedwait", None, [Interrupts; 2], libc::SIGUSR1 as i64),
    ("sigtimedwait", Some("600000"), [Interrupts; 2], libc::SIGUSR1 as i64),
    ("semop", None, [Interrupts; 2], 0),
    ("semtimedop", Some("600000"), [Interrupts; 2], 0),
    ("msgrcv", None, [Interrupts; 2], 256),
    ("io_getevents", None, [Interrupts; 2], 1),
    ("io_uring_enter", None, [Interrupts; 2], 0),
    // A call of its own on x86 alone.
    #[cfg(target_arch = "x86_64")]
    ("pause", None, [Interrupts; 2], 0),
];

/// Runs fdclose on one of the leaks and stops it while it has the victim's thread stopped; `None` when it was too fast.
fn stopped_in_surgery(victim: &Victim, fd: i32) -> Option<Started> {
    let (pid, tid): (u32, u32) = (victim.pid(), victim.value("tid"));
    let is_stopped = || evidence::status(pid, tid).is_some_and(|status| status.state == 't');
    let mut run = start_fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string()]);
    let mut over = false;
    wait_until("a stop or fdclose's end", || {
        over = run.is_over();
        over || is_stopped()
    });
    if !over {
        sys::kill(run.pid(), libc::SIGSTOP);
        wait_until("fdclose's stop or its end", || {
            over = run.is_over();
            over || run.is_stopped()
        });
    }
    if !over && is_stopped() {
        return Some(run);
    }
    if !over {
        sys::kill(run.pid(), libc::SIGCONT);
    }
    run.finish().exits(0);
    None
}

#[track_caller]
fn handles(call: &str, limit: Option<&str>, restart: bool, effect: Effect, value: i64) {
    let (handler, leaks) = (if restart { "restart" } else { "plain" }, CLOSES.to_string());
    let mut args = vec![call, "--leaks", &leaks, "--handler", handler];
    args.extend(limit.iter().flat_map(|limit| ["--timeout-ms", limit]));
    let mut victim = Victim::spawn("blocked", &args);
    let (pid, tid, nr) = (victim.pid(), victim.value("tid"), victim.value("nr"));
    let fds: Vec<i32> = victim.list("fds");
    let mut stopped = None;
    for fd in fds {
        let mut back = None;
        wait_until("the call", || {
            back = victim.returned();
            back.is_some() || evidence::sits_in(pid, tid, nr)
        });
        assert_eq!(back, None, "{call} {limit:?} {handler} came back by itself");
        stopped = stopped_in_surgery(&victim, fd);
        if stopped.is_some() {
            break;
        }
    }
    let run = stopped.unwrap_or_else(|| panic!("{call}: never in time"));
    sys::kill_thread(pid, tid, libc::SIGUSR2);
    sys::kill(run.pid(), libc::SIGCONT);
    run.finish().exits(0);
    evidence::assert_untraced(pid);
    let expected = if effect == Interrupts {
        (-1, libc::EINTR)
    } else {
        // In its call again, with the handler behind it.
        wait_until("the call again", || {
            let status = evidence::status(pid, tid).expect("the victim lives");
            status.pending == [0; 2] && evidence::sits_in(pid, tid, nr)
        });
        assert_eq!(victim.returned(), None, "{call} came back");
        victim.ask("wake");
        (value, 0)
    };
    let returned = victim.wait_returned();
    assert_eq!((returned.value, returned.errno), expected, "{call} {limit:?} {handler}: {returned:?}");
    assert_eq!(victim.ask("handled"), "1", "{call} {limit:?} {handler}");
}

#[test]
fn a_handler_with_sa_restart_interrupts_only_what_it_would_have() {
    for (call, limit, [effect, _], value) in ROWS {
        handles(call, *limit, true, *effect, *value);
    }
}

#[test]
fn a_handler_without_sa_restart_interrupts_only_what_it_would_have() {
    for (call, limit, [_, effect], value) in ROWS {
        handles(call, *limit, false, *effect, *value);
    }
}
