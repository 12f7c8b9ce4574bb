//! `doctor`: what it says works when it works, does not when it is forbidden, and touches nobody.

mod common;

use std::path::Path;

use common::{
    Before, NOBODY, Need, Victim, evidence, fdclose, fdclose_as, fdclose_denied, fdclose_through, lacks,
    wait_until,
};
use serde_json::Value;

/// Whether the check `name` is passed.
#[track_caller]
fn passes(document: &Value, name: &str) -> bool {
    let checks = document["checks"].as_array().expect("a list");
    let found = checks.iter().find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {document:#}"));
    assert!(found["evidence"].as_str().is_some_and(|text| !text.is_empty()), "{found:#}");
    found["ok"].as_bool().expect("a truth")
}

#[test]
fn what_is_forbidden_does_not_work_and_the_rest_does() {
    if lacks(&[Need::Root]) {
        return;
    }
    let free = fdclose(&["doctor", "--json"]).exits(0).json();
    assert_eq!(
        (&free["schema"], &free["command"], &free["target"]),
        (&1.into(), &"doctor".into(), &Value::Null)
    );
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel has a version");
    assert_eq!(free["kernel"], release.trim());
    // What a call that is denied takes with it. A filter around fdclose forbids to suspend others' in any case, and is
    // around its child as well.
    let always = ["no filter around fdclose", "seccomp suspension", "close"];
    let denials: [(&str, &[&str]); 8] = [
        ("kcmp", &["kcmp"]),
        ("pidfd_getfd", &["pidfd_getfd"]),
        ("pidfd_open", &["pidfd_open", "pidfd_getfd"]),
        ("process_vm_readv", &["process_vm"]),
        ("ptrace", &["ptrace"]),
        ("netlink", &["sock_diag", "SOCK_DESTROY", "network namespaces"]),
        ("setns", &["network namespaces"]),
        ("close_range", &["close_range"]),
    ];
    let names: Vec<&str> = free["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    for (denied, lost) in denials {
        let document = fdclose_denied(denied, &["doctor", "--json"]).exits(0).json();
        for name in &names {
            let wanted = passes(&free, name) && !lost.contains(name) && !always.contains(name);
            assert_eq!(passes(&document, name), wanted, "{name} without {denied}: {document:#}");
        }
    }
    assert!(passes(&free, "close") && passes(&free, "kcmp") && passes(&free, "raw sockets"), "{free:#}");
    assert_eq!(free["advice"]["method"], "close");
    let document = fdclose_denied("kcmp", &["doctor", "--json"]).exits(0).json();
    assert_eq!(document["advice"]["method"], "close", "others need not have that filter: {document:#}");
    let document = fdclose_denied("ptrace", &["doctor", "--json"]).exits(0).json();
    let wanted = if passes(&free, "SOCK_DESTROY") { "destroy".into() } else { Value::Null };
    assert_eq!(document["advice"]["method"], wanted, "{document:#}");
}

#[test]
fn an_ordinary_user_is_told_what_is_lacking() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let document = fdclose_as(NOBODY, &["doctor", "--pid", &victim.pid_arg(), "--json"]).exits(0).json();
    for name in ["TCP_REPAIR", "SOCK_DESTROY", "raw sockets", "network namespaces", "seccomp suspension"] {
        assert!(!passes(&document, name), "{name}: {document:#}");
    }
    assert!(passes(&document, "close"), "of a child: {document:#}");
    assert!(document["target"]["refusal"].as_str().is_some_and(|why| why.contains("user 0")), "{document:#}");
    assert_eq!(document["advice"]["method"], Value::Null);
    assert_eq!(document["target"]["descriptors"], Value::Null);
    before.assert_untouched();
}

/// CAP_NET_ADMIN alone ends connections, but not by descriptors that fdclose may not see.
#[test]
fn who_may_not_look_is_told_of_what_needs_no_look() {
    if lacks(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let victim = Victim::spawn("close_wait", &[]);
    let pid = victim.pid_arg();
    let user = NOBODY.to_string();
    let ids = ["--reuid", &user, "--regid", &user, "--clear-groups"];
    let capabilities = ["--inh-caps", "+net_admin", "--ambient-caps", "+net_admin"];
    let setpriv = [&["setpriv"], &ids[..], &capabilities].concat();
    // What would be refused is not recommended.
    fdclose_through(&setpriv, &["--pid", &pid, "--fd", "3", "--method", "destroy"])
        .exits(2)
        .says(&["can't look into process"]);
    let document = fdclose_through(&setpriv, &["doctor", "--pid", &pid, "--json"]).exits(0).json();
    let advice = &document["advice"];
    assert_eq!((&advice["method"], &document["target"]["descriptors"]), (&Value::Null, &Value::Null));
    let why = advice["why"].as_str().expect("a reason");
    assert!(why.contains("run fdclose as root") && why.contains("`ss --kill`"), "{why}");
    let shown = fdclose_through(&setpriv, &["doctor", "--pid", &pid]).exits(0).stdout;
    assert!(shown.contains("\nits descriptors can't be looked at\n"), "{shown}");
    assert!(shown.contains("\nBest here: none: fdclose may not look into the process"), "{shown}");
}

#[test]
fn no_method_is_recommended_where_nothing_is_to_be_closed() {
    let mut victim = Victim::spawn("close_wait", &[]);
    victim.kill();
    wait_until("a zombie", || evidence::state(victim.pid()) == 'Z');
    let mut nobodies = vec![(victim.pid_arg(), "it is a zombie")];
    if !lacks(&[Need::KernelThreads]) {
        nobodies.push(("2".to_owned(), "it is a kernel thread"));
    }
    for (pid, why) in nobodies {
        let document = fdclose(&["doctor", "--pid", &pid, "--json"]).exits(0).json();
        let (target, advice) = (&document["target"], &document["advice"]);
        assert_eq!((&advice["method"], &target["descriptors"]), (&Value::Null, &0.into()), "{document:#}");
        assert!(target["refusal"].as_str().is_some_and(|refusal| refusal.contains(why)), "{document:#}");
        let shown = fdclose(&["doctor", "--pid", &pid]).exits(0).stdout;
        assert!(shown.contains(&format!("\nBest here: none: there is nothing to close: {why}")), "{shown}");
    }
    let victim = Victim::spawn("zombie_leader", &[]);
    let document = fdclose(&["doctor", "--pid", &victim.pid_arg(), "--json"]).exits(0).json();
    assert_eq!(document["advice"]["method"], "close", "others of its threads live: {document:#}");
}

#[test]
fn each_kind_of_process_is_told_apart_and_left_alone() {
    if lacks(&[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let look = |pid: u32| {
        let before = Before::of(pid);
        let document = fdclose(&["doctor", "--pid", &pid.to_string(), "--json"]).exits(0).json();
        before.assert_untouched();
        let threads = evidence::threads(pid).len();
        assert_eq!(
            (&document["target"]["pid"], &document["target"]["threads"]),
            (&pid.into(), &threads.into())
        );
        document
    };
    let plain = Victim::spawn("dup_holder", &[]);
    let document = look(plain.pid());
    let target = &document["target"];
    assert_eq!(
        (&target["architecture"], &target["refusal"]),
        (&std::env::consts::ARCH.into(), &Value::Null),
        "{target:#}"
    );
    assert_eq!((&target["seccomp"], &target["runtime"]), (&"disabled".into(), &Value::Null), "{target:#}");
    assert_eq!(target["other_namespaces"], serde_json::json!([]));
    assert_eq!(document["advice"]["method"], "close", "{document:#}");

    let looping = Victim::spawn("ends", &[]);
    let document = look(looping.pid());
    assert!(document["target"]["epoll_instances"].as_u64() >= Some(1), "{document:#}");
    assert_eq!(document["advice"]["method"], "shutdown", "{document:#}");

    let confined = Victim::spawn("confined", &["filter"]);
    assert_eq!(look(confined.pid())["target"]["seccomp"], "filter");

    let apart = Victim::spawn_unshared(&["--net", "--mount"], "spinner");
    assert_eq!(look(apart.pid())["target"]["other_namespaces"], serde_json::json!(["net", "mnt"]));

    let victim = Victim::spawn("traced", &[]);
    let pid: u32 = victim.value("tracee");
    let document = fdclose(&["doctor", "--pid", &pid.to_string(), "--json"]).exits(0).json();
    let tracer = evidence::status(pid, pid).expect("it lives").tracer;
    assert_ne!(tracer, 0);
    assert_eq!(document["target"]["tracer"], tracer, "{document:#}");
    assert!(
        document["target"]["refusal"].as_str().is_some_and(|why| why.contains("already traced")),
        "{document:#}"
    );
}

#[test]
fn runtimes_and_rings_are_known_by_what_is_mapped() {
    if lacks(&[Need::TraceOthers, Need::Program("python3")]) {
        return;
    }
    let program = "print('ready x=1', flush=True)\nimport sys\nsys.stdin.read()";
    let python = Victim::spawn_program(Path::new("python3"), &["-c", program]);
    let document = fdclose(&["doctor", "--pid", &python.pid_arg(), "--json"]).exits(0).json();
    assert_eq!(document["target"]["runtime"], "python", "{document:#}");
    assert!(document["target"]["runtime_risk"].is_string());

    let ring = Victim::spawn("sqpoll", &[]);
    if let Some(reason) = ring.ready().get("skipped") {
        return common::skip(reason);
    }
    let document = fdclose(&["doctor", "--pid", &ring.pid_arg(), "--json"]).exits(0).json();
    let rings = document["target"]["io_urings"].as_array().expect("a list").clone();
    let by_kernel =
        evidence::descriptors(ring.pid()).into_iter().filter(|(_, link)| link == "anon_inode:[io_uring]");
    let wanted: Vec<i32> = by_kernel.map(|(fd, _)| fd).collect();
    assert!(!wanted.is_empty());
    assert_eq!(
        rings.iter().filter_map(|ring| ring["fd"].as_i64()).collect::<Vec<_>>(),
        wanted.iter().map(|fd| i64::from(*fd)).collect::<Vec<_>>()
    );
    assert!(rings.iter().all(|ring| ring["registered_files"] == 0), "{rings:?}");
    let shown = fdclose(&["doctor", "--pid", &ring.pid_arg()]).exits(0).stdout;
    assert!(shown.contains(&format!("io_uring at fd {}: no registered files", wanted[0])), "{shown}");
}

#[test]
fn it_leaves_nothing_behind_and_needs_a_process_that_is_there() {
    fdclose(&["doctor", "--pid", "2147483647"]).exits(1).one_error().says(&["no process 2147483647"]);
    let own = std::process::id().to_string();
    for several in [&["--pid", "2147483647", "--pid", &own][..], &["--pid", &format!("{own},{own}")]] {
        let run = fdclose(&[&["doctor"], several].concat()).exits(2);
        run.one_error().says(&["doctor looks at one process: give one --pid"]);
        assert_eq!(run.stdout, "", "{run:#?}");
    }
    let run = fdclose(&["doctor"]).exits(0);
    assert!(run.stderr.is_empty(), "{run:#?}");
    assert!(run.stdout.starts_with("Linux ") && run.stdout.contains("\nBest here: "), "{run:#?}");
    // The child ends before its parent does. Other tests may have theirs at this moment: those are not orphans.
    let is_one = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"doctor-subject")
    };
    assert_eq!(evidence::children(1).into_iter().find(is_one), None);
}
