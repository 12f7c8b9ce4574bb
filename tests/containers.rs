//! Containers, made of what they are made of: namespaces, a bounding set, a filter on system calls. fdclose inside with its
//! target, outside of it, and with too little.

mod common;

use std::fs;
use std::path::PathBuf;

use common::kernel::is_before;
use common::{
    Before, NOBODY, Need, Run, Victim, evidence, fdclose, fdclose_as, fdclose_denied, fdclose_through,
    fdclose_without, lacks, outcome,
};

/// What a container has for itself, here with a user namespace, in which it is root.
const APART: [&str; 12] = [
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount",
    "--mount-proc",
    "--net",
    "--ipc",
    "--uts",
    "sh",
    "-c",
];
/// Its first process, which has the victim as its child.
const INIT: &str = "ip link set lo up && \"$0\" \"$@\"; exit $?";

/// What Docker's default profile denies to who has no CAP_SYS_PTRACE, as far as fdclose asks for it.
const DEFAULT_PROFILE: &str = "kcmp,pidfd_getfd,setns";

struct Container {
    victim: Victim,
    /// The victim's number on the host.
    pid: u32,
}

/// A victim with a connection in CLOSE-WAIT inside; `None` where that can't be had.
fn container() -> Option<Container> {
    if lacks(&[Need::Root, Need::Program("unshare"), Need::Program("nsenter"), Need::Program("ip")]) {
        return None;
    }
    let victim = Victim::spawn_unshared(&[&APART[..], &[INIT]].concat(), "close_wait");
    let child = |pid: u32| {
        let children = evidence::children(pid);
        let [child] = children[..] else { panic!("the children of {pid}: {children:?}") };
        child
    };
    let pid = child(child(victim.pid()));
    assert!(victim.value::<u32>("pid") < pid, "it has a number of its own inside");
    Some(Container { victim, pid })
}

impl Container {
    /// Runs fdclose inside, through these words.
    fn inside(&self, through: &[&str], args: &[&str]) -> Run {
        let pid = self.pid.to_string();
        let enter = ["nsenter", "--target", &pid, "--user", "--pid", "--mount", "--net", "--ipc", "--uts"];
        fdclose_through(&[&enter[..], through].concat(), args)
    }

    fn assert_closed(mut self, run: &Run, before: &Before) {
        let (fd, inode): (i32, u64) = (self.victim.value("fds"), self.victim.value("inodes"));
        let document = run.json();
        let target = outcome(&document, fd);
        assert_eq!(
            (&target["outcome"], &target["connection"]),
            (&"done".into(), &"ended".into()),
            "{target:#}"
        );
        before.assert_lost_only(&[fd]);
        assert_eq!(evidence::tcp_of(self.pid, inode), None, "the kernel has it no more");
        assert_eq!(self.victim.ask("check"), "open=0");
    }
}

/// A refusal without a trace, with what is in the way and what to do about it.
#[track_caller]
fn assert_refused(run: Run, why: &str, hint: &str, before: &Before) {
    let run = run.exits(2);
    run.one_error();
    let said = run.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(why) && said.contains(hint), "{run:#?}");
    before.assert_untouched();
}

#[test]
fn inside_with_its_target() {
    let Some(container) = container() else { return };
    let before = Before::of(container.pid);
    let (pid, inode): (String, String) = (container.victim.value("pid"), container.victim.value("inodes"));
    let listed = container.inside(&[], &["list", "--state", "close-wait", "--json"]).exits(0).json();
    assert_eq!(listed["fds"].as_array().map(Vec::len), Some(1), "{listed:#}");
    assert_eq!(listed["fds"][0]["pid"].to_string(), pid);
    let run = container.inside(&[], &["--pid", &pid, "--inode", &inode, "--json"]).exits(0);
    container.assert_closed(&run, &before);
}

#[test]
fn from_the_host_into_one() {
    let Some(container) = container() else { return };
    let before = Before::of(container.pid);
    let pid = container.pid.to_string();
    let args = ["--pid", &pid, "--state", "close-wait", "--yes", "--json"];
    let run = fdclose(&args).exits(0);
    container.assert_closed(&run, &before);
}

#[test]
fn without_the_capability_it_says_what_to_add() {
    let Some(container) = container() else { return };
    let before = Before::of(container.pid);
    let (pid, fd): (String, String) = (container.victim.value("pid"), container.victim.value("fds"));
    let less = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"];
    let run = container.inside(&less, &["--pid", &pid, "--fd", &fd]);
    assert_refused(run, "(its bounding set)", "docker run --cap-add SYS_PTRACE", &before);
}

#[test]
fn an_ordinary_user_outside_of_containers_is_told_of_root_alone() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let run = fdclose_as(NOBODY, &["--pid", &victim.pid_arg(), "--fd", &victim.value::<String>("fds")]);
    assert!(!run.stderr.contains("docker"), "{run:#?}");
    assert_refused(run, "it belongs to user 0", "run fdclose as root or as user 0", &before);
}

#[test]
fn under_a_profile_that_denies_ptrace_it_says_so() {
    let victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let run = fdclose_denied("ptrace", &["--pid", &victim.pid_arg(), "--fd", &victim.value::<String>("fds")]);
    assert_refused(run, "a seccomp filter around fdclose", "--cap-add SYS_PTRACE", &before);
}

/// Its processes have the filter that fdclose has, and it could close nothing in them.
#[test]
fn under_the_default_profile_it_says_what_keeps_it_from_others_under_one() {
    if lacks(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let mut victim = Victim::spawn("confined", &["filter"]);
    let before = Before::of(victim.pid());
    let args = ["--pid", &victim.pid_arg(), "--fd", &victim.value::<String>("fd")];
    let run = fdclose_denied(DEFAULT_PROFILE, &args);
    assert_refused(run, "a filter is around fdclose itself", "--security-opt seccomp=unconfined", &before);
    let run = fdclose_without("sys_admin", &args);
    assert_refused(run, "CAP_SYS_ADMIN is beyond", "--cap-add SYS_ADMIN", &before);
    // What needs no call of its own, but a copy of the descriptor.
    let (pid, inode): (u32, u64) = (victim.pid(), victim.value("inode"));
    let shutdown = [&args[..], &["--method", "shutdown", "--json"]].concat();
    if is_before(5, 6) {
        let run = fdclose_denied("kcmp,setns", &shutdown);
        assert_eq!(run.exits(2).json()["targets"][0]["outcome"], "refused");
        before.assert_untouched();
        return;
    }
    let document = fdclose_denied("kcmp,setns", &shutdown);
    assert_eq!(document.exits(0).json()["targets"][0]["connection"], "ended");
    assert_eq!(evidence::tcp_of(pid, inode), None);
    assert_eq!(victim.ask("check"), "");
}

#[test]
fn the_default_profile_is_enough_for_who_has_none() {
    let mut victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let fd: i32 = victim.value("fds");
    fdclose_denied(DEFAULT_PROFILE, &["--pid", &victim.pid_arg(), "--fd", &fd.to_string()]).exits(0);
    before.assert_lost_only(&[fd]);
    assert_eq!(victim.ask("check"), "open=0");
}

/// Kubernetes is asked by a validator (.ci/run); this, whether fdclose takes the words.
#[test]
fn the_arguments_of_the_manifest_are_accepted_and_touch_nothing() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging/kubernetes/fdclose-watch.yaml");
    let text = fs::read_to_string(path).expect("it is there");
    let from = text.lines().skip_while(|line| line.trim() != "args:").skip(1);
    let words = from.map_while(|line| line.trim().strip_prefix("- "));
    let words: Vec<&str> = words.filter(|word| !word.starts_with("--metrics=")).collect();
    assert!(words.first() == Some(&"watch") && words.contains(&"--dry-run"), "{words:?}");
    // One process that is none ends it at once.
    let run = fdclose(&[&words[..], &["--pid", "2147483647"]].concat()).exits(1);
    run.one_error().says(&["there is no process"]);
}

/// That these are enough is tried with the unit's (tests/packaging.rs).
#[test]
fn the_manifest_has_the_capabilities_of_the_unit_and_no_more() {
    let packaging = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let text = |name| fs::read_to_string(packaging.join(name)).expect("it is there");
    let (unit, manifest) = (text("fdclose-watch.service"), text("kubernetes/fdclose-watch.yaml"));
    let of_unit = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a set");
    let of_unit: Vec<&str> =
        of_unit.split(' ').map(|name| name.strip_prefix("CAP_").expect("a capability")).collect();
    let added = manifest.lines().find_map(|line| line.trim().strip_prefix("add: [")?.strip_suffix(']'));
    assert_eq!(added.expect("some are added").split(", ").collect::<Vec<_>>(), of_unit);
    assert!(manifest.contains("drop: [ALL]"), "{manifest}");
}
