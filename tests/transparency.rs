//! The target doesn't notice: threads in user code. Calls are in `restart_matrix` and `waiters`, signals in
//! `signal_storm`.

mod common;

use common::evidence;
use common::{Victim, fdclose};

#[test]
fn registers_survive_in_user_code() {
    let mut victim = Victim::spawn("spinner", &["--threads", "4"]);
    for _ in 0..20 {
        let (fd, inode) = victim.leak("leak");
        fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--inode", &inode.to_string()])
            .exits(0);
        assert_eq!(evidence::link(victim.pid(), fd), None);
    }
    evidence::assert_untraced(victim.pid());
    victim.ask("check");
}
