//! The class that control groups of version 1 give to sockets (net_cls) is not lost by a look, nor by what is done to others.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::kernel::is_before;
use common::{Need, Victim, evidence, fdclose, lacks, wait_until};

const CLASS: &str = "0x100001";

/// A group of net_cls, in a hierarchy that is mounted where nobody else sees it, and goes with this.
struct Classed {
    /// Lives in the mount namespace.
    keeper: Child,
    group: PathBuf,
}

impl Classed {
    #[track_caller]
    fn new() -> Self {
        let script = "mount -t cgroup -o net_cls none /mnt && echo mounted && read line";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().expect("unshare starts");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("it is piped")).read_line(&mut line).expect("text");
        assert_eq!(line, "mounted\n");
        let name = format!("fdclose-test-{}", std::process::id());
        let group = PathBuf::from(format!("/proc/{}/root/mnt", keeper.id())).join(name);
        fs::create_dir(&group).expect("root may make groups");
        let classed = Self { keeper, group };
        classed.give(CLASS);
        classed
    }

    #[track_caller]
    fn take(&self, pid: u32) {
        fs::write(self.group.join("cgroup.procs"), pid.to_string()).expect("it takes a process");
    }

    /// Gives its processes' sockets this class.
    #[track_caller]
    fn give(&self, class: &str) {
        fs::write(self.group.join("net_cls.classid"), class).expect("it takes a class");
    }

    /// Runs fdclose where the hierarchy is to be seen.
    #[track_caller]
    fn fdclose(&self, args: &[&str]) -> Output {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        let mut command = Command::new("nsenter");
        command.args([&namespace, env!("CARGO_BIN_EXE_fdclose")]).args(args).stdin(Stdio::null());
        command.output().expect("nsenter starts")
    }
}

impl Drop for Classed {
    fn drop(&mut self) {
        // The victim has been killed, but leaves its group a moment later.
        for pid in fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default().lines() {
            drop(fs::write(self.group.join("../cgroup.procs"), pid));
        }
        let removed = fs::remove_dir(&self.group);
        // The hierarchy goes with its last mount, but not while the kernel is not done with the group.
        let is_alone = || {
            let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
            let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            rows.any(|row| row.first() == Some(&"net_cls") && row.get(2) == Some(&"1"))
        };
        let begun = Instant::now();
        while !is_alone() && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
        drop(self.keeper.kill());
        drop(self.keeper.wait());
        assert!(removed.is_ok() || thread::panicking(), "{removed:?}");
    }
}

/// The class of the connection from `port`, by sock_diag(7).
#[track_caller]
fn class(port: u16) -> String {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(["-Htn", "--tos", "state", "established", &filter]).output();
    let text = String::from_utf8(output.expect("ss runs").stdout).expect("text");
    let class = text.split_whitespace().find_map(|word| word.strip_prefix("class_id:"));
    class.unwrap_or_else(|| panic!("no class: {text}")).to_owned()
}

#[test]
fn a_look_and_a_close_leave_the_others_in_their_class() {
    if lacks(&[Need::Root, Need::NetCls, Need::Program("ss"), Need::Program("nsenter")]) {
        return;
    }
    let classed = Classed::new();
    let mut victim = Victim::spawn("ends", &[]);
    classed.take(victim.pid());
    let port: u16 = victim.value("port");
    let mut connect = || {
        let client = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("it listens");
        let fd = victim.ask_fields("accept")["fd"].clone();
        (client, fd)
    };
    let ((_kept, fd), (_other, to_close)) = (connect(), connect());
    let pid = victim.pid_arg();
    assert_eq!(class(port), CLASS, "the kernel classes it");

    fdclose(&["list", "--pid", &pid]).exits(0);
    fdclose(&["--pid", &pid, "--idle-for", "1ms", "--dry-run"]).exits(0);
    assert_eq!(class(port), CLASS, "after a look");
    let refused = fdclose(&["keepalive", "--pid", &pid, "--fd", &fd]).exits(2);
    if !is_before(5, 6) {
        refused.one_error().says(&["net_cls or net_prio group of fdclose"]).says(&["same net_cls"]);
        let keepalive = ["keepalive", "--pid", &pid, "--fd", &fd];
        let refused = classed.fdclose(&keepalive);
        assert_eq!(refused.status.code(), Some(2), "it sees that the classes differ: {refused:?}");
        assert_eq!(class(port), CLASS, "after what was refused");
        classed.give("0");
        let done = classed.fdclose(&keepalive);
        assert_eq!(done.status.code(), Some(0), "it sees that they do not: {done:?}");
        classed.give(CLASS);
    }
    fdclose(&["--pid", &pid, "--fd", &to_close]).exits(0);
    wait_until("its end", || evidence::link(victim.pid(), to_close.parse().expect("a number")).is_none());
    assert_eq!(class(port), CLASS, "after the rest");

    // A number may refer to another connection by then: that shows only on the copy. In a stop, it can be compared before.
    let run = fdclose(&["--pid", &pid, "--fd", &fd, "--method", "shutdown", "--json"]).exits(0).json();
    assert_eq!(run["processes"].as_array().expect("a list").len(), 1, "it was not stopped: {run:#}");
}
