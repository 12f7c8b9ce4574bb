//! The target doesn't notice: threads in user code, and one whose call was on the very descriptor that is closed. All
//! other calls are in `restart_matrix`, signals in `signal_storm`.

mod common;

use common::evidence;
use common::{Victim, fdclose, wait_until};

/// The stop makes the call start over, and it then finds its descriptor gone: so it ends, and the connection with it.
#[test]
fn a_thread_blocked_on_the_closed_socket_sees_its_end() {
    let mut victim = Victim::spawn("blocked", &["recv_leak"]);
    let (tid, nr, inode): (u32, i64, u64) = (victim.value("tid"), victim.value("nr"), victim.value("inode"));
    wait_until("the call", || evidence::current_call(victim.pid(), tid) == Some(nr));
    let row = evidence::tcp_of(victim.pid(), inode).expect("a row");
    fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]).exits(0);
    let returned = victim.wait_returned();
    assert_eq!((returned.value, returned.errno), (-1, libc::EBADF), "{returned:?}");
    assert_eq!(evidence::link(victim.pid(), victim.value("fd")), None);
    evidence::assert_untraced(victim.pid());
    // The victim holds the other end too, so the closed one may stay in FIN-WAIT-2, but nobody's any more.
    wait_until("the socket's end", || {
        !evidence::tcp_rows(victim.pid()).iter().any(|now| now.inode == inode && now.local == row.local)
    });
    assert_eq!(victim.ask("check"), "open=0");
}

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
