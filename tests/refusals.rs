//! What fdclose refuses, with the exact cause, and without touching anything.

mod common;

use std::io;
use std::os::fd::AsRawFd as _;

use common::evidence::{self, LISTEN};
use common::kernel::is_before;
use common::{Before, NOBODY, Need, Victim, confined, fdclose, fdclose_as, lacks, wait_until};

#[test]
fn standard_descriptors_need_force() {
    let mut victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    for fd in ["0", "1", "2", "0-2"] {
        fdclose(&["--pid", &victim.pid_arg(), "--fd", fd]).exits(2).one_error().says(&["--force"]);
        before.assert_untouched();
    }
    fdclose(&["--pid", &victim.pid_arg(), "--fd", "2", "--force"]).exits(0);
    before.assert_lost_only(&[2]);
    victim.ask("check");
}

#[test]
fn a_listening_socket_needs_force() {
    let victim = Victim::spawn("close_wait", &[]);
    let port: u16 = victim.value("port");
    let mut rows = evidence::tcp_rows(victim.pid()).into_iter();
    let row = rows.find(|row| row.state == LISTEN && row.local.port() == port).expect("the service listens");
    let before = Before::of(victim.pid());

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &row.inode.to_string()]).exits(2);

    run.one_error().says(&["listen"]).says(&["--force"]);
    before.assert_untouched();
    victim.serves();
}

#[test]
fn a_listening_socket_of_any_address_family_needs_force() {
    if lacks(&[Need::Vsock]) {
        return;
    }
    let victim = Victim::spawn("kinds", &[]);
    let before = Before::of(victim.pid());
    let fd: i32 = victim.value("vsock");
    let run =
        |more: &[&str]| fdclose(&[&["--pid", &victim.pid_arg(), "--fd", &fd.to_string()], more].concat());
    // No table has it: it tells of itself, through a copy.
    if is_before(5, 6) {
        run(&["--dry-run"]).exits(0);
        return;
    }
    run(&[]).exits(2).one_error().says(&["listen"]).says(&["--force"]);
    before.assert_untouched();
    run(&["--force"]).exits(0);
    before.assert_lost_only(&[fd]);
}

#[test]
fn process_1_needs_force() {
    // Only ever as a dry run: if the refusal failed, nothing must happen to the machine.
    let run = fdclose(&["--pid", "1", "--fd", "3-65535", "--dry-run"]);
    assert_eq!(run.status, Some(2), "{run:#?}");
    run.one_error().says(&["pid 1", "process 1", "init"]);
}

#[test]
fn an_ancestor_needs_force() {
    // This process is fdclose's parent.
    let (reader, _writer) = io::pipe().expect("a pipe");
    let ours = std::process::id();
    let run = fdclose(&["--pid", &ours.to_string(), "--fd", &reader.as_raw_fd().to_string()]).exits(2);
    run.one_error().says(&["ancestor", "parent"]).says(&["--force"]);
    assert!(evidence::link(ours, reader.as_raw_fd()).is_some_and(|link| link.starts_with("pipe:")));
}

#[test]
fn a_broad_selection_without_a_terminal_needs_yes() {
    let mut victim = Victim::spawn("close_wait", &["--count", "2"]);
    let before = Before::of(victim.pid());
    let run = fdclose(&["--pid", &victim.pid_arg(), "--state", "close-wait"]).exits(2);
    run.one_error().says(&["--yes"]);
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=2");
}

#[test]
fn a_process_that_is_gone_is_called_gone() {
    let victim = Victim::spawn("close_wait", &[]);
    let (pid, inode) = (victim.pid_arg(), victim.value::<String>("inodes"));
    victim.end();
    let run = fdclose(&["--pid", &pid, "--inode", &inode]);
    assert!(matches!(run.status, Some(1..=3)), "{run:#?}");
    run.one_error().says(&[&pid]).says(&["gone", "no such process", "no process"]);
}

#[test]
fn a_zombie_is_called_a_zombie() {
    let mut victim = Victim::spawn("close_wait", &[]);
    let inode: String = victim.value("inodes");
    victim.kill();
    wait_until("a zombie", || evidence::state(victim.pid()) == 'Z');
    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode]);
    assert!(matches!(run.status, Some(1..=3)), "{run:#?}");
    run.one_error().says(&[&victim.pid_arg()]).says(&["zombie"]);
}

#[test]
fn a_kernel_thread_is_called_a_kernel_thread() {
    if lacks(&[Need::KernelThreads]) {
        return;
    }
    let run = fdclose(&["--pid", "2", "--fd", "3"]);
    assert!(matches!(run.status, Some(1..=3)), "{run:#?}");
    run.one_error().says(&["kernel"]);
}

#[test]
fn a_traced_process_is_left_to_its_tracer_which_is_named() {
    let mut victim = Victim::spawn("traced", &[]);
    let tracee: u32 = victim.value("tracee");
    let descriptors = evidence::descriptors(tracee);
    let run = fdclose(&["--pid", &tracee.to_string(), "--inode", &victim.value::<String>("inode")]);
    assert!(matches!(run.status, Some(2 | 3)), "{run:#?}");
    run.one_error().says(&["traced"]).says(&[&victim.pid_arg()]);
    assert_eq!(evidence::descriptors(tracee), descriptors);
    assert_eq!(evidence::status(tracee, tracee).map(|status| status.tracer), Some(victim.pid()));
    assert_eq!(victim.ask("check"), "tracee=open");
}

#[test]
fn the_tracers_name_is_told() {
    let victim = Victim::spawn("traced", &[]);
    let run =
        fdclose(&["--pid", &victim.value::<String>("tracee"), "--inode", &victim.value::<String>("inode")]);
    let told = format!("{}{}", run.stdout, run.stderr);
    // "traced" alone is in the message anyway, so look for the name beside the number.
    let pid = victim.pid_arg();
    assert!(told.lines().any(|line| line.contains(&pid) && line.matches("traced").count() >= 2), "{run:#?}");
}

#[test]
fn another_users_process_is_refused_by_name() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let run = fdclose_as(NOBODY, &["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inodes")]);
    assert_eq!(run.status, Some(2), "{run:#?}");
    run.one_error().says(&["user", "CAP_SYS_PTRACE"]);
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=1");
}

#[test]
fn an_undumpable_process_is_refused_by_name() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(NOBODY, "undumpable", &[]);
    let before = Before::of(victim.pid());
    let run = fdclose_as(NOBODY, &["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode")]);
    assert_eq!(run.status, Some(2), "{run:#?}");
    run.one_error().says(&["dumpable"]);
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=1");
}

#[test]
fn root_may_act_on_an_undumpable_process_of_another_user() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(NOBODY, "undumpable", &[]);
    let before = Before::of(victim.pid());
    fdclose(&["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode")]).exits(0);
    before.assert_lost_only(&[victim.value("fd")]);
    assert_eq!(victim.ask("check"), "open=0");
}

#[test]
fn an_ordinary_user_may_act_on_a_process_of_their_own() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(NOBODY, "close_wait", &[]);
    let before = Before::of(victim.pid());
    fdclose_as(NOBODY, &["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inodes")]).exits(0);
    before.assert_lost_only(&victim.list("fds"));
    assert_eq!(victim.ask("check"), "open=0");
    victim.serves();
}

#[test]
fn a_process_under_seccomp_survives() {
    confined::acts_or_refuses("close", |_, before, fd| before.assert_lost_only(&[fd]));
}

/// Its filter is in force again when fdclose is killed, for the call and for the way back.
#[test]
fn a_process_under_seccomp_is_not_said_to_be_insured() {
    if lacks(&[Need::Root]) || is_before(4, 3) {
        return;
    }
    let insured = |victim: &Victim, which: &[&str]| {
        let run = fdclose(&[&["--pid", &victim.pid_arg(), "--yes", "--json"], which].concat()).exits(0);
        run.json()["processes"][0]["insured"].clone()
    };
    for mode in ["strict", "filter"] {
        // One, and a chain of them.
        let mut victim = Victim::spawn("confined", &[mode, "--more", "20"]);
        let fd = victim.value::<String>("fd");
        for which in [["--fd", &fd], ["--kind", "unix"]] {
            assert_eq!(insured(&victim, &which), false, "{mode}: {which:?}");
        }
        let left = victim.list::<i32>("fds").into_iter().any(|fd| evidence::link(victim.pid(), fd).is_some());
        assert!(!left, "{mode}");
        assert_eq!(victim.ask("check"), "", "{mode}");
    }
    let victim = Victim::spawn("close_wait", &["--count", "1"]);
    assert!(insured(&victim, &["--state", "close-wait"]) == true || is_before(3, 11));
}

#[test]
fn an_ordinary_user_is_told_of_seccomp() {
    if lacks(&[Need::Root]) {
        return;
    }
    for mode in ["strict", "filter"] {
        let mut victim = Victim::spawn_as(NOBODY, "confined", &[mode]);
        let before = Before::of(victim.pid());
        let run =
            fdclose_as(NOBODY, &["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inode")]);
        assert_eq!(run.status, Some(2), "{mode}: {run:#?}");
        run.one_error().says(&["seccomp"]);
        before.assert_untouched();
        assert_eq!(victim.ask("check"), "", "{mode}");
    }
}

/// It enters strict mode when it sees the first of its descriptors closed, while the others are still to be.
#[test]
fn seccomp_entered_in_the_middle_of_a_batch_kills_nobody() {
    for user in [None, Some(NOBODY)] {
        if user.is_some() && lacks(&[Need::Root]) {
            return;
        }
        let spawn = || match user {
            None => Victim::spawn("confined", &["late"]),
            Some(user) => Victim::spawn_as(user, "confined", &["late"]),
        };
        let mut victim = spawn();
        let fds: Vec<i32> = victim.list("fds");
        let range = format!("{}-{}", fds[0], fds[fds.len() - 1]);
        let pid = victim.pid_arg();
        let arguments =
            ["--pid", &pid, "--fd", &range, "--kind", "eventfd", "--yes", "--max-pause", "1ms", "--json"];
        let run = match user {
            None => fdclose(&arguments),
            Some(user) => fdclose_as(user, &arguments),
        };
        assert!(matches!(run.status, Some(0 | 2 | 3)), "{run:#?}");
        assert_eq!(victim.ask("check"), "", "{user:?}");
        let document = run.json();
        for fd in fds {
            let closed = common::outcome(&document, fd)["outcome"] == "done";
            assert_eq!(closed, evidence::link(victim.pid(), fd).is_none(), "{fd}: {run:#?}");
        }
        evidence::assert_untraced(victim.pid());
    }
}
