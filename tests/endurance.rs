//! A thousand closes in a row on one busy process.

mod common;

use common::evidence;
use common::{Victim, fdclose};

const CLOSES: usize = 1000;

#[test]
fn a_thousand_closes_leave_no_trace_in_a_busy_process() {
    let mut victim = Victim::spawn("busy", &["--threads", "10"]);
    let before = evidence::descriptors(victim.pid());
    let (threads_before, masks) = (evidence::threads(victim.pid()), masks(victim.pid()));
    let pid = victim.pid_arg();

    for round in 0..CLOSES {
        let (fd, inode) = victim.leak(["leak socket", "leak pipe", "leak eventfd"][round % 3]);
        let (fd, inode) = (fd.to_string(), inode.to_string());
        // Sockets by their inode, as people do; the others have none that is theirs alone.
        let selector = if round % 3 == 0 { ["--inode", &inode] } else { ["--fd", &fd] };
        fdclose(&["--pid", &pid, selector[0], selector[1]]).exits(0);
        assert_eq!(evidence::link(victim.pid(), fd.parse().expect("a number")), None, "round {round}");
        if round % 50 == 0 {
            victim.ask("check");
            victim.serves();
        }
    }

    victim.ask("check");
    victim.serves();
    common::wait_until("the echo connections' ends", || evidence::descriptors(victim.pid()) == before);
    evidence::assert_untraced(victim.pid());
    assert_eq!(self::masks(victim.pid()), masks);
    // Threads come and go in there, but those that stay are the ones that were there.
    let threads = evidence::threads(victim.pid());
    let lost = threads_before.iter().filter(|tid| !threads.contains(tid)).count();
    assert!(lost <= 1, "{lost} threads are gone: {threads_before:?}, {threads:?}");
    assert!(victim.end().success());
}

fn masks(pid: u32) -> [u64; 3] {
    evidence::status(pid, pid).expect("it lives").masks
}
