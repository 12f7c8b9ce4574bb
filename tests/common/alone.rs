//! A test in a pid namespace of its own.

use std::env;
use std::process::{Command, Stdio};

use super::{Need, lacks};

const INSIDE: &str = "FDCLOSE_TEST_INSIDE";

/// Runs `test`, the one this is called from, among its own processes only, of which the test's is the first: there every
/// process can be looked into, as on a host of one's own. In a container the first one's often can't. Needs root.
#[track_caller]
pub(crate) fn alone(test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    if lacks(&[Need::Root]) {
        return;
    }
    let name = std::thread::current().name().expect("a test's thread is named after it").to_owned();
    let unshare = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut command = Command::new("unshare");
    command.args(unshare).arg(env::current_exe().expect("a running program has a path"));
    // What is said of a lacking need goes to stderr, past every capture.
    command.args([&name, "--exact", "--nocapture"]).env(INSIDE, "1").stderr(Stdio::inherit());
    let inside = command.output().expect("unshare starts");
    // As this test's own output: the inner harness's count of tests is nobody's result.
    print!("{}", String::from_utf8_lossy(&inside.stdout));
    assert!(inside.status.success(), "failed inside: {}", inside.status);
}
