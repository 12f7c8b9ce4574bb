//! Victims in other namespaces, and fdclose in one where numbers mean something else.

mod common;

use common::{Before, Need, Victim, evidence, fdclose, fdclose_unshared, lacks};

#[test]
fn a_process_in_other_namespaces_is_a_target_like_any_other() {
    if lacks(&[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let alone = ["--mount", "--net", "--uts", "--ipc", "--user", "--map-root-user"];
    for namespaces in alone[..4].chunks(1).chain([&alone[..4], &alone[4..], &alone[..]]) {
        let mut victim = Victim::spawn_unshared(namespaces, "spinner");
        let before = Before::of(victim.pid());
        fdclose(&["--pid", &victim.pid_arg(), "--fd", &victim.value::<String>("fd")]).exits(0);
        before.assert_lost_only(&[victim.value("fd")]);
        victim.ask("check");
    }
}

#[test]
fn a_process_in_another_pid_namespace_has_the_number_it_has_here() {
    if lacks(&[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let mut victim = Victim::spawn_unshared(&["--pid", "--mount", "--fork", "--kill-child"], "spinner");
    let children = evidence::children(victim.pid());
    let [inside] = children[..] else { panic!("the children of unshare: {children:?}") };
    assert_eq!(victim.value::<u32>("pid"), 1);
    let before = Before::of(inside);
    fdclose(&["--pid", &inside.to_string(), "--fd", &victim.value::<String>("fd")]).exits(0);
    before.assert_lost_only(&[victim.value("fd")]);
    victim.ask("check");
}

#[test]
fn the_proc_of_another_pid_namespace_is_not_believed() {
    if lacks(&[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let mut victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let run = fdclose_unshared(
        &["--pid", "--fork"],
        &["--pid", &victim.pid_arg(), "--inode", &victim.value::<String>("inodes")],
    );
    assert_eq!(run.status, Some(2), "{run:#?}");
    run.one_error().says(&["/proc"]).says(&["namespace"]);
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=1");
}
