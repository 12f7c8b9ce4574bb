//! What packagers install, checked by the programs it is for.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::kernel::is_before;
use common::{NOBODY, Need, Victim, fdclose, fdclose_denied, fdclose_through, lacks};

/// What systemd makes of filters on system calls (systemd.exec(5), "Sandboxing" and "System Call Filtering").
const FILTERS: [&str; 16] = [
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictFileSystems",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallLog",
];

fn text(name: &str) -> String {
    fs::read_to_string(Path::new("packaging").join(name)).expect("it is there")
}

/// Checks the unit, with the program under test instead of the installed one, and that it is exposed no more than so
/// many tenths of a point: 92 and more is what systemd calls unsafe, and root with ptrace can't be near 0.
#[track_caller]
fn assert_sound(unit: &str, most: u32) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("fdclose-watch.service");
    let here = unit.replace("/usr/bin/fdclose", env!("CARGO_BIN_EXE_fdclose"));
    assert_ne!(unit, here);
    fs::write(&path, here).expect("it can be written");
    let checked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
    let checked = checked.expect("it runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && !said.contains("fdclose-watch"), "{said}");
    let threshold = format!("--threshold={most}");
    let rated =
        Command::new("systemd-analyze").args(["security", "--offline=true", &threshold]).arg(&path).output();
    let rated = rated.expect("it runs");
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
}

#[test]
fn the_unit_is_sound_and_hardened() {
    if lacks(&[Need::Program("systemd-analyze")]) {
        return;
    }
    let unit = text("fdclose-watch.service");
    assert_sound(&unit, 70);
    // As if it were one file: what is given again is added.
    let filters = text("fdclose-watch.service.d/filters.conf");
    let install = unit.find("[Install]").expect("it can be installed");
    assert_sound(&format!("{}{filters}{}", &unit[..install], &unit[install..]), 45);
}

#[test]
fn no_filter_on_system_calls_is_around_the_unit_as_it_comes() {
    let unit = text("fdclose-watch.service");
    let filters = text("fdclose-watch.service.d/filters.conf");
    let given = |text: &str, name: &str| text.lines().any(|line| line.starts_with(&format!("{name}=")));
    for name in FILTERS {
        assert!(!given(&unit, name), "{name} keeps fdclose from acting on processes that have a filter");
    }
    for line in filters.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
        let name = line.split('=').next().unwrap_or_default();
        assert!(
            FILTERS.contains(&name) || name == "SystemCallErrorNumber",
            "{name} could be in the unit itself"
        );
    }
}

#[test]
fn the_capabilities_of_the_unit_are_enough() {
    if lacks(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let unit = text("fdclose-watch.service");
    let capabilities =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a set");
    let names = capabilities.split(' ').map(|name| name.strip_prefix("CAP_").expect("a capability"));
    let set = names.fold("-all".to_owned(), |set, name| set + ",+" + &name.to_lowercase());
    let setpriv = ["setpriv", "--no-new-privs", "--bounding-set", &set];
    let document = fdclose_through(&setpriv, &["doctor", "--json"]).exits(0).json();
    let checks = document["checks"].as_array().expect("a list");
    let passed = |name: &str| checks.iter().any(|check| check["name"] == name && check["ok"] == true);
    for (name, is_there) in [
        ("close", true),
        ("ptrace of others", true),
        ("pidfd_getfd", !is_before(5, 6)),
        ("seccomp suspension", !is_before(4, 3)),
        ("network namespaces", true),
    ] {
        assert_eq!(passed(name), is_there, "{name}: {document:#}");
    }
    assert!(!passed("raw sockets"), "others are given up: {document:#}");
    for mut victim in [Victim::spawn_as(NOBODY, "close_wait", &[]), Victim::spawn("close_wait", &[])] {
        let inode = victim.value::<u64>("inodes").to_string();
        let run =
            fdclose_through(&setpriv, &["--pid", &victim.pid_arg(), "--inode", &inode, "--json"]).exits(0);
        assert_eq!(run.json()["targets"][0]["connection"], "ended");
        assert_eq!(victim.ask("check"), "open=0");
    }
    let confined = Victim::spawn("confined", &["filter"]);
    let (pid, fd): (String, String) = (confined.pid_arg(), confined.value("fd"));
    let args = ["--pid", &pid, "--fd", &fd];
    // Why the unit has no filter.
    fdclose_denied("kcmp", &args).exits(2).one_error().says(&["seccomp"]);
    fdclose_through(&setpriv, &args).exits(if is_before(4, 3) { 2 } else { 0 });
}

#[test]
fn the_man_page_is_sound() {
    if lacks(&[Need::Program("groff")]) {
        return;
    }
    let page = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = fdclose(&["generate", "man"]).exits(0);
    fs::write(page.path(), &run.stdout).expect("it can be written");
    let shown = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-P-cbou"]).arg(page.path()).output();
    let shown = shown.expect("it runs");
    assert!(shown.status.success() && shown.stderr.is_empty(), "{}", String::from_utf8_lossy(&shown.stderr));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for words in
        ["--max-per-run <N>", "--user-timeout <TIME>", "every process that was named, or whose namespace was"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn the_arguments_of_the_unit_are_accepted_and_touch_nothing() {
    let text = text("fdclose-watch.service");
    let arguments = text.lines().find_map(|line| line.strip_prefix("Environment=\"FDCLOSE_WATCH_ARGS="));
    let arguments = arguments.and_then(|rest| rest.strip_suffix('"')).expect("there are defaults");
    let mut words: Vec<&str> = arguments.split(' ').collect();
    assert!(words.contains(&"--dry-run"), "nothing is closed before somebody has said what: {arguments}");
    // One process that is none ends it at once.
    words.extend(["--pid", "2147483647"]);
    fdclose(&[&["watch"], &words[..]].concat()).exits(1).one_error().says(&["there is no process"]);
}
