//! What packagers install, checked by the programs it is for.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Need, lacks};

/// The unit with the program under test instead of the installed one.
fn unit(directory: &Path) -> String {
    let text = fs::read_to_string("packaging/fdclose-watch.service").expect("it is there");
    let here = text.replace("/usr/bin/fdclose", env!("CARGO_BIN_EXE_fdclose"));
    assert_ne!(text, here);
    let path = directory.join("fdclose-watch.service");
    fs::write(&path, here).expect("it can be written");
    path.into_os_string().into_string().expect("a path of letters")
}

#[test]
fn the_unit_is_sound_and_hardened() {
    if lacks(&[Need::Program("systemd-analyze")]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = unit(directory.path());
    let checked =
        Command::new("systemd-analyze").args(["verify", "--man=no", &unit]).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && !said.contains("fdclose-watch"), "{said}");
    // Tenths of a point of exposure: 92 and more is what systemd calls unsafe, and root with ptrace can't be near 0.
    let rated = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=45", &unit])
        .output();
    let rated = rated.expect("it runs");
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
}

#[test]
fn the_arguments_of_the_unit_are_accepted_and_touch_nothing() {
    let text = fs::read_to_string("packaging/fdclose-watch.service").expect("it is there");
    let arguments = text.lines().find_map(|line| line.strip_prefix("Environment=\"FDCLOSE_WATCH_ARGS="));
    let arguments = arguments.and_then(|rest| rest.strip_suffix('"')).expect("there are defaults");
    let mut words: Vec<&str> = arguments.split(' ').collect();
    assert!(words.contains(&"--dry-run"), "nothing is closed before somebody has said what: {arguments}");
    // One process that is none ends it at once.
    words.extend(["--pid", "2147483647"]);
    common::fdclose(&[&["watch"], &words[..]].concat()).exits(1).one_error().says(&["has ended"]);
}
