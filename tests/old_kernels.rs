//! What fdclose does where the kernel lacks something: assumed (`--assume-kernel`), and taken away by a filter on system
//! calls. `tests/old-kernels` runs the other tests so.

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use common::cc::compile;
use common::kernel::assumed;
use common::{
    Before, NOBODY, Need, Run, Victim, evidence, fdclose, fdclose_as, fdclose_through, lacks, outcome,
    start_fdclose_with, victim_path, wait_until,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Runs fdclose as on this kernel, whatever is assumed otherwise: of an option that is given twice, the last counts.
#[track_caller]
fn on(version: &str, args: &[&str]) -> Run {
    fdclose(&[&["--assume-kernel", version], args].concat())
}

/// The descriptor of its leak, and how it is selected.
fn leaked(victim: &Victim) -> (i32, [String; 4]) {
    let selected = ["--pid".to_owned(), victim.pid_arg(), "--inode".to_owned(), victim.value("inode")];
    (victim.value("fd"), selected)
}

#[test]
fn a_version_is_two_numbers() {
    for wrong in ["3", "4.4.1", "x.y", ""] {
        on(wrong, &["list"]).exits(2).one_error().says(&["--assume-kernel"]);
    }
    let help = fdclose(&["--help"]).exits(0).stdout;
    assert!(!help.contains("assume"), "it is for tests: {help}");
}

/// A thread waits where it would be convenient to work with; without kcmp(2) it is not known whose descriptors it has.
#[test]
fn without_kcmp_the_thread_that_was_looked_at_makes_the_call() {
    for how in ["private", "shared"] {
        let mut victim = Victim::spawn("tables", &[how]);
        let fd: i32 = victim.value("fd");
        let before = Before::of(victim.pid());
        let run = on("3.4", &["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--json"]).exits(0);
        assert_eq!(outcome(&run.json(), fd)["outcome"], "done");
        before.assert_lost_only(&[fd]);
        assert_eq!(victim.ask("check"), "open=0", "{how}");
    }
}

#[test]
fn what_epoll_watches_is_told_as_far_as_the_kernel_does() {
    // By kcmp(2), by inode in fdinfo, by number, not at all.
    for (version, is_told) in [("4.13", true), ("4.12", true), ("3.8", true), ("3.7", false)] {
        let mut victim = Victim::spawn("ends", &[]);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
        let _client = TcpStream::connect(address).expect("the victim listens");
        let fd: String = victim.ask_fields("accept")["fd"].clone();
        let run = on(version, &["--pid", &victim.pid_arg(), "--fd", &fd, "--dry-run"]).exits(0);
        assert_eq!(run.stderr.contains("still watches"), is_told, "{version}: {run:#?}");
    }
}

#[test]
fn what_the_kernel_does_not_offer_is_refused_in_plain_words() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let _client = TcpStream::connect(address).expect("the victim listens");
    let (pid, fd) = (victim.pid_arg(), victim.ask_fields("accept")["fd"].clone());
    let before = Before::of(victim.pid());
    let run = on("4.4", &["--pid", &pid, "--fd", &fd, "--method", "destroy"]).exits(2);
    run.one_error().says(&["not supported by this kernel (Linux 4.5 and"]).says(&["--method reset"]);
    let run = on("5.5", &["keepalive", "--pid", &pid, "--fd", &fd]).exits(2);
    run.one_error().says(&["makes no copies of descriptors (pidfd_getfd, Linux 5.6)"]);
    before.assert_untouched();

    for mode in ["strict", "filter"] {
        let mut victim = Victim::spawn("confined", &[mode]);
        let before = Before::of(victim.pid());
        let (_, selected) = leaked(&victim);
        let run = on("4.2", &selected.each_ref().map(String::as_str)).exits(2);
        run.one_error().says(&["seccomp"]).says(&["Linux 4.3"]);
        before.assert_untouched();
        assert_eq!(victim.ask("check"), "", "{mode}");
    }
}

#[test]
fn processes_of_32_bits_have_no_socket_calls_before_4_3() {
    if lacks(&[Need::Root, Need::Compiler32]) {
        return;
    }
    let flags = ["-m32", "-fno-pie", "-nostdlib", "-static", "-fno-stack-protector", "-fno-builtin"];
    let (program, _directory) = compile("gcc", &flags, "bare");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("it has one")).expect("a connection");
    // For the victim to inherit.
    fcntl(&client, FcntlArg::F_SETFD(FdFlag::empty())).expect("it is open");
    let victim = Victim::spawn_program(&program, &["read", "own"]);
    wait_until("the call", || evidence::current_call(victim.pid(), victim.pid()).is_some());
    let (pid, fd) = (victim.pid_arg(), client.as_raw_fd().to_string());
    let before = Before::of(victim.pid());
    for (method, call) in [("shutdown", "shutdown(2)"), ("replace", "socket(2)")] {
        let run = on("4.2", &["--pid", &pid, "--fd", &fd, "--method", method]).exits(2);
        run.one_error().says(&[&format!("no {call} of its own for 32-bit processes (Linux 4.3)")]);
        before.assert_untouched();
    }
}

/// The process has its own state back when fdclose dies, also where the kernel does not tell the blocked signals.
#[test]
fn the_blocked_signals_are_read_in_proc() {
    let victim = Victim::spawn("blocked", &["read"]);
    let (tid, nr): (u32, i64) = (victim.value("tid"), victim.value("nr"));
    wait_until("the call", || evidence::sits_in(victim.pid(), tid, nr));
    let (_, selected) = leaked(&victim);
    let args = [&selected.each_ref().map(String::as_str)[..], &["--json"]].concat();
    assert_eq!(on("3.10", &args).exits(0).json()["processes"][0]["insured"], true);
}

/// Before there was a file system for them, namespaces were files of procfs, and could be told from others only by
/// trying.
#[test]
fn a_namespace_may_be_a_file_of_procfs() {
    if lacks(&[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let victim = Victim::spawn_unshared(&["--net"], "spinner");
    let path = format!("/proc/{}/ns/net", victim.pid());
    let list = |path: &str| on("3.18", &["list", "--netns", path, "--json"]);
    // There are no sockets in it.
    list(&path).exits(1).says(&["nothing matched"]);
    list(&format!("/proc/{}/stat", victim.pid())).exits(2).one_error();
    list("/etc/passwd").exits(2).one_error();
}

#[test]
fn signals_go_to_a_number_that_was_looked_at() {
    let mut victim = Victim::spawn("ends", &[]);
    let (pid, fd): (String, String) = (victim.pid_arg(), victim.value("listener"));
    let args = ["--pid", &pid, "--fd", &fd, "--force", "--yes", "--method", "kill"];
    let run = on("5.2", &[&args[..], &["--signal", "WINCH", "--timeout", "50ms"]].concat()).exits(3);
    run.says(&["still runs"]);
    assert_eq!(victim.ask(&format!("events {fd}")), "events=0", "it serves on");
    on("5.2", &args).exits(0);
    assert_eq!(evidence::state(victim.pid()), 'Z', "it has ended");
}

/// A record is made of each fallback, in the directory that is named, and under the option alone.
#[test]
fn fallbacks_are_recorded_for_tests_alone() {
    let records = tempfile::tempdir().expect("a temporary directory");
    let path = records.path().to_str().expect("text").to_owned();
    let names = || -> Vec<String> {
        let entries = fs::read_dir(records.path()).expect("it is ours").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let own = std::process::id().to_string();
    let record = |args: &[&str]| {
        start_fdclose_with(args, &[("FDCLOSE_TEST_FALLBACKS", &path)]).finish().exits(0);
    };
    if assumed().is_empty() {
        record(&["list", "--pid", &own]);
        assert_eq!(names(), [""; 0]);
    }
    record(&["--assume-kernel", "5.2", "list", "--pid", &own]);
    assert!(names().iter().any(|name| name.starts_with("process-by-status.")), "{:?}", names());
    let known = fdclose(&["generate", "fallbacks"]).exits(0).stdout;
    let known: Vec<&str> = known.lines().filter_map(|line| line.split('\t').next()).collect();
    for name in names() {
        let (name, _) = name.split_once('.').expect("a name and a pid");
        assert!(known.contains(&name), "{name} of {known:?}");
    }
}

/// The real thing: no system call is there that came after Linux 3.10.
#[test]
fn nothing_newer_than_3_10_is_needed() {
    if lacks(&[Need::Root]) {
        return;
    }
    let old_kernel = victim_path("old_kernel").to_str().expect("text").to_owned();
    let old = |args: &[&str]| fdclose_through(&[&old_kernel, "3.10"], args);
    let mut victim = Victim::spawn("close_wait", &["--count", "20"]);
    let (pid, fds): (String, Vec<i32>) = (victim.pid_arg(), victim.list("fds"));
    let before = Before::of(victim.pid());
    let listed = old(&["list", "--pid", &pid, "--state", "close-wait", "--json"]).exits(0).json();
    assert_eq!(listed["fds"].as_array().map(Vec::len), Some(20), "{listed:#}");
    old(&["--pid", &pid, "--fd", &fds[0].to_string()]).exits(0);
    before.assert_lost_only(&fds[..1]);
    old(&["--pid", &pid, "--fd", &fds[1].to_string(), "--method", "shutdown"]).exits(0);
    let document = old(&["--pid", &pid, "--state", "close-wait", "--yes", "--json"]).exits(0).json();
    // The one that was shut down is in that state no more.
    assert_eq!(document["summary"]["done"], 18, "{document:#}");
    victim.ask("check");
    let report = old(&["doctor", "--json"]).exits(0).json();
    let works = |name: &str| {
        let mut checks = report["checks"].as_array().expect("a list").iter();
        checks.find(|check| check["name"] == name).expect("it is tried")["ok"] == true
    };
    // The child that a close is tried on has the filter, too.
    assert!(works("ptrace") && works("kcmp") && works("sock_diag"), "{report:#}");
    assert!(!works("pidfd_open") && !works("pidfd_getfd") && !works("close_range"), "{report:#}");
}

#[test]
fn an_ordinary_user_is_served_as_well() {
    if lacks(&[Need::Root]) {
        return;
    }
    let mut victim = Victim::spawn_as(NOBODY, "close_wait", &[]);
    let inode: String = victim.value("inodes");
    let args = ["--assume-kernel", "3.4", "--pid", &victim.pid_arg(), "--inode", &inode];
    fdclose_as(NOBODY, &args).exits(0);
    assert_eq!(victim.ask("check"), "open=0");
}
