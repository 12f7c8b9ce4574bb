//! SIGTERM, SIGINT and SIGHUP at any instant: fdclose ends by the signal; what it had begun it has finished and told, and
//! what it tells is true.

mod common;

use std::hint;
use std::time::{Duration, Instant};

use common::evidence;
use common::kernel::is_before;
use common::sys;
use common::{Victim, start_fdclose};

const ROUNDS: u32 = 24;

#[track_caller]
fn ended_at_any_instant(signal: i32, count: usize) {
    let mut victim = Victim::spawn("busy", &["--threads", "6"]);
    let pid = victim.pid_arg();
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        let leaks: Vec<(i32, u64)> = (0..count).map(|_| victim.leak("leak socket")).collect();
        let inodes = leaks.iter().map(|(_, inode)| inode.to_string()).collect::<Vec<_>>().join(",");
        let begun = Instant::now();
        let started = start_fdclose(&["--pid", &pid, "--inode", &inodes, "--json"]);
        // The first ones only measure. The instant is what matters, so the clock is looked at all the time.
        let measures = round < 3;
        if !measures {
            let at = begun + longest.mul_f64(f64::from(round - 2) / f64::from(ROUNDS - 2));
            while Instant::now() < at {
                hint::spin_loop();
            }
            sys::kill(started.pid(), signal);
        }
        let (run, by) = started.finish_with_signal();
        if measures {
            longest = longest.max(begun.elapsed());
        }
        assert!(by == Some(signal) || matches!(run.status, Some(0 | 3)), "{signal}: {by:?}, {run:#?}");
        evidence::assert_untraced(victim.pid());
        victim.ask("check");
        let told = if run.stdout.is_empty() {
            assert_eq!(by, Some(signal), "it said nothing: {run:#?}");
            Vec::new()
        } else {
            run.json()["targets"].as_array().expect("a list").clone()
        };
        let open = evidence::descriptors(victim.pid());
        for (fd, inode) in leaks {
            let freed = told.iter().any(|target| target["inode"] == inode && target["fd_freed"] == true);
            let is_open = open.get(&fd) == Some(&format!("socket:[{inode}]"));
            assert_eq!(freed, !is_open, "descriptor {fd}: {run:#?}");
        }
    }
    victim.serves();
}

#[test]
fn sigterm_at_any_instant_of_a_close() {
    ended_at_any_instant(libc::SIGTERM, 1);
}

#[test]
fn sigterm_at_any_instant_of_a_batch() {
    ended_at_any_instant(libc::SIGTERM, 80);
}

#[test]
fn sigint_at_any_instant_of_a_batch() {
    ended_at_any_instant(libc::SIGINT, 80);
}

#[test]
fn sighup_at_any_instant_of_a_batch() {
    ended_at_any_instant(libc::SIGHUP, 80);
}

/// A panic is a bug in fdclose; the target does not pay for it.
#[test]
fn a_panic_at_any_place_leaves_the_target_well() {
    let mut victim = Victim::spawn("busy", &["--threads", "13", "--no-epoll"]);
    for (count, places) in [
        (1, &["stopped", "loaded", "entered", "left", "restored"][..]),
        // Without copies of descriptors (Linux 5.6) there are no chains.
        (20, if is_before(5, 6) { &["left"] } else { &["stopped", "chained", "through", "restored"] }),
    ] {
        for place in places {
            let fields = victim.ask_fields(&format!("leaks {count}"));
            let arguments = ["--pid", &victim.pid_arg(), "--inode", &fields["inodes"]];
            let started = common::start_fdclose_with(&arguments, &[("FDCLOSE_TEST_PANIC_AT", place)]);
            started.finish().exits(4).says(&["a test wants this panic"]).says(&["bug in fdclose"]);
            evidence::assert_untraced(victim.pid());
            victim.ask("check");
        }
    }
    victim.serves();
}
