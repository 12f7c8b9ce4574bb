//! What is selected of hundreds of sockets is what would be selected of a few: fdclose asks few one by one, and looks for many
//! in the kernel's tables.

mod common;

use common::kernel::is_before;
use common::{Before, Victim, evidence, fdclose, fdclose_denied, wait_until};

/// More than are asked one by one.
const MANY: usize = 600;

fn leaks(victim: &Victim) -> Vec<i32> {
    victim.list("fds")
}

/// Such are in no table.
#[test]
fn those_that_have_ended_are_selected() {
    if is_before(5, 6) {
        // No copy of a descriptor can be had, and nothing else tells of them.
        return;
    }
    let victim = Victim::spawn("close_wait", &["--count", &MANY.to_string()]);
    let (pid, fds) = (victim.pid_arg(), leaks(&victim));
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &pid, "--state", "close-wait", "--method", "shutdown", "--yes"]).exits(0);
    before.assert_untouched();
    wait_until("no table has them", || {
        evidence::tcp_rows(victim.pid()).iter().all(|row| row.state != evidence::CLOSE_WAIT)
    });
    let listed = fdclose(&["list", "--pid", &pid, "--state", "unconn", "--json"]).exits(0).json();
    assert_eq!(listed["fds"].as_array().map(Vec::len), Some(MANY));
    // The listener is left alone.
    let kinds = fdclose(&["--pid", &pid, "--kind", "tcp", "--dry-run", "--json"]).json();
    assert_eq!((&kinds["summary"]["would_do"], &kinds["summary"]["refused"]), (&MANY.into(), &1.into()));
    fdclose(&["--pid", &pid, "--state", "unconn", "--yes"]).exits(0);
    before.assert_lost_only(&fds);
}

/// /proc/net/tcp does not tell for how long they have been idle, but each of them does.
#[test]
fn the_idle_are_selected_without_sock_diag() {
    if is_before(5, 6) {
        return;
    }
    let mut victim = Victim::spawn("close_wait", &["--count", &MANY.to_string()]);
    let (pid, fds) = (victim.pid_arg(), leaks(&victim));
    let before = Before::of(victim.pid());
    let args = ["--pid", &pid, "--state", "close-wait", "--idle-for"];
    fdclose_denied("netlink", &[&args[..], &["1h", "--yes"]].concat()).exits(1);
    before.assert_untouched();
    let listed =
        fdclose_denied("netlink", &["list", "--pid", &pid, "--idle-for", "1ms", "--json"]).exits(0).json();
    assert_eq!(listed["fds"].as_array().map(Vec::len), Some(MANY));
    fdclose_denied("netlink", &[&args[..], &["1ms", "--yes"]].concat()).exits(0);
    before.assert_lost_only(&fds);
    assert_eq!(victim.ask("check"), "open=0");
}
