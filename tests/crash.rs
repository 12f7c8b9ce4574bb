//! fdclose is killed at every place of its surgery, and the target goes on as if nothing had been.
//!
//! The places are exact: a debug build kills itself there.

mod common;

use common::evidence;
use common::kernel::is_before;
use common::{Victim, fdclose, fdclose_dying_at, wait_until};

/// In the order they are come by: before anything is done, with the call loaded, inside of it, behind it, and with the
/// thread's own registers back.
const PLACES: [&str; 5] = ["stopped", "loaded", "entered", "left", "restored"];

/// Each place for a thread in `call`: it goes on waiting, and returns `value` when it is woken.
#[track_caller]
fn survives_in(call: &str, value: i64) {
    survives_at(&PLACES, call, value);
}

#[track_caller]
fn survives_at(places: &[&str], call: &str, value: i64) {
    for place in places {
        let mut victim = Victim::spawn("blocked", &[call]);
        let (pid, tid, nr): (u32, u32, i64) = (victim.pid(), victim.value("tid"), victim.value("nr"));
        wait_until("the call", || evidence::current_call(pid, tid) == Some(nr));

        fdclose_dying_at(place, &["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode")]);

        wait_until("its tracer's end", || {
            evidence::threads(pid).iter().all(|tid| evidence::status(pid, *tid).is_none_or(|s| s.tracer == 0))
        });
        let mut returned = None;
        wait_until("the call again", || {
            returned = victim.returned();
            returned.is_some() || evidence::sits_in(pid, tid, nr)
        });
        assert_eq!(returned, None, "{call}, {place}: the call came back");
        victim.ask("wake");
        let returned = victim.wait_returned();
        assert_eq!((returned.value, returned.errno), (value, 0), "{call}, {place}: {returned:?}");
        // Closed or not, depending on the place, but nothing else.
        let open = victim.ask("check");
        assert!(["open=0", "open=1"].contains(&open.as_str()), "{call}, {place}: {open}");
    }
}

#[test]
fn a_read_survives() {
    survives_in("read", 5);
}

#[test]
fn a_poll_survives() {
    survives_in("poll", 1);
}

#[test]
fn a_ppoll_with_a_mask_survives() {
    if is_before(3, 11) {
        // The mask that it has after the call is not to be found out: that it is not insured is told.
        let victim = Victim::spawn("blocked", &["ppoll"]);
        let run =
            fdclose(&["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode"), "--json"]);
        assert_eq!(run.exits(0).json()["processes"][0]["insured"], false);
        return survives_at(&["stopped", "restored"], "ppoll", 1);
    }
    survives_in("ppoll", 1);
}

#[test]
fn an_epoll_wait_survives() {
    survives_in("epoll_wait", 1);
}

#[test]
fn a_futex_survives() {
    survives_in("futex", 0);
}

#[test]
fn an_accept_survives() {
    survives_in("accept", 0);
}

#[test]
fn registers_and_vectors_of_user_code_survive() {
    for place in PLACES {
        for threads in ["1", "4"] {
            let mut victim = Victim::spawn("spinner", &["--threads", threads]);
            let (_, inode) = victim.leak("leak");
            fdclose_dying_at(place, &["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]);
            victim.ask("check");
        }
    }
}

#[test]
fn a_busy_process_survives() {
    for _ in 0..4 {
        let mut victim = Victim::spawn("busy", &["--threads", "8"]);
        for place in PLACES {
            let (_, inode) = victim.leak("leak socket");
            fdclose_dying_at(place, &["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]);
            victim.ask("check");
            victim.serves();
        }
    }
}

/// A chain of closes, run without a stop in between, ends by itself when nobody waits for its end.
#[test]
fn a_process_in_the_middle_of_a_batch_survives() {
    // Without copies of descriptors (Linux 5.6) there are no chains.
    let places = if is_before(5, 6) { &["left", "restored"] } else { &["chained", "through"] };
    for place in places {
        let mut victim = Victim::spawn("close_wait", &["--count", "40"]);
        let pid = victim.pid_arg();
        fdclose_dying_at(place, &["--pid", &pid, "--state", "close-wait", "--yes"]);
        wait_until("its tracer's end", || {
            let (pid, mut threads) = (victim.pid(), evidence::threads(victim.pid()).into_iter());
            threads.all(|tid| evidence::status(pid, tid).is_none_or(|status| status.tracer == 0))
        });
        // The chain may still be running, or wait for a processor.
        // On a busy machine the slice may have been cut short: then it is the first of several chains.
        wait_until("the chain's end", || victim.ask("check") != "open=40");
        victim.ask("check");
        victim.serves();
    }
}
