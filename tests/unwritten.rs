//! A result that can't be written: standard error says so, and whether something was done all the same.

mod common;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;

use common::kernel::is_before;
use common::{Before, Run, Victim, evidence, start_fdclose_into, wait_until};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

const WHY: &str = "can't write to standard output: No space left on device";

/// Runs fdclose with a full disk for its standard output.
#[track_caller]
fn on_a_full_disk(args: &[&str]) -> Run {
    let full = File::options().write(true).open("/dev/full").expect("there is /dev/full");
    let run = start_fdclose_into(full, args).finish().exits(3);
    run.says(&[WHY]);
    assert!(!run.stderr.contains("os error"), "{run:#?}");
    run
}

#[test]
fn a_close_is_said_to_be_done() {
    for form in [&[][..], &["--json"], &["--explain", "--json"]] {
        let mut victim = Victim::spawn("close_wait", &[]);
        let (pid, inode) = (victim.pid_arg(), victim.value::<String>("inodes"));
        let run = on_a_full_disk(&[&["--pid", &pid, "--inode", &inode], form].concat());
        run.one_error().says(&["has been acted on all the same: closed 1 of 1\nhint: 'fdclose list'"]);
        assert_eq!(victim.ask("check"), "open=0");
    }
}

#[test]
fn what_failed_is_told_even_if_the_document_is_lost() {
    let victim = Victim::spawn("close_wait", &["--count", "2"]);
    let (pid, fds) = (victim.pid_arg(), victim.list::<i32>("fds"));
    let both = format!("0,{}", fds[0]);
    let run = on_a_full_disk(&["--pid", &pid, "--fd", &both, "--json"]);
    run.says(&["fd 0 of"]).says(&["closed 1 of 2"]);
    assert_eq!(evidence::link(victim.pid(), fds[0]), None);
}

#[test]
fn where_nothing_was_done_nothing_was_touched() {
    let victim = Victim::spawn("close_wait", &[]);
    let before = Before::of(victim.pid());
    let (pid, inode) = (victim.pid_arg(), victim.value::<String>("inodes"));
    let one = ["--pid", &pid, "--inode", &inode];
    // What is explained is told before anything is done: that it can't be is the end.
    for more in [&["--dry-run"][..], &["--dry-run", "--json"], &["--explain"]] {
        let run = on_a_full_disk(&[&one[..], more].concat());
        run.one_error().says(&["; nothing was touched"]);
        assert!(!run.stderr.contains("acted on"), "{run:#?}");
    }
    before.assert_untouched();
}

#[test]
fn each_command_says_what_it_can_not_write() {
    let victim = Victim::spawn("close_wait", &[]);
    let pid = victim.pid_arg();
    for args in [
        &["list", "--pid", &pid][..],
        &["list", "--pid", &pid, "--json"],
        &["list", "--pid", &pid, "--watch", "100ms"],
        &["list", "--no-holders"],
        &["doctor"],
        &["doctor", "--json"],
        &["demo"],
        &["--help"],
        &["list", "--help"],
        &["--version"],
        &["generate", "man"],
        &["generate", "completions", "bash"],
    ] {
        on_a_full_disk(args).one_error();
    }
}

#[test]
fn keepalive_is_said_to_be_set() {
    let mut victim = Victim::spawn("ends", &[]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, victim.value("port")));
    let _client = TcpStream::connect(address).expect("the victim listens");
    let fd = victim.ask_fields("accept")["fd"].clone();
    let pid = victim.pid_arg();
    let one = ["keepalive", "--pid", &pid, "--fd", &fd, "--idle", "100s"];
    if is_before(5, 6) {
        return;
    }
    on_a_full_disk(&[&one[..], &["--dry-run"]].concat()).one_error().says(&["; nothing was touched"]);
    on_a_full_disk(&one).one_error().says(&["acted on all the same: keepalive is on for 1 of 1\nhint:"]);
}

#[test]
fn watch_says_it_and_goes_on() {
    let victim = Victim::spawn("close_wait", &[]);
    let (pid, fd) = (victim.pid_arg(), victim.value::<i32>("fds"));
    let full = File::options().write(true).open("/dev/full").expect("there is /dev/full");
    let args = ["watch", "--pid", &pid, "--state", "close-wait", "--idle-for", "1ms", "--every", "100ms"];
    let watching = start_fdclose_into(full, &args);
    wait_until("the close", || evidence::link(victim.pid(), fd).is_none());
    drop(victim);
    let run = watching.finish().exits(1);
    run.says(&[&format!("{WHY}; the lines of this look are lost")]);
    assert!(!run.stderr.contains("os error"), "{run:#?}");
}

/// A refusal is told once, but not before it could be written.
#[test]
fn watch_tells_what_got_lost_when_there_is_room_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let _client = TcpStream::connect(listener.local_addr().expect("its address")).expect("it listens");
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    for end in [reader.as_fd(), writer.as_fd()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("the pipe is ours");
    }
    while writer.write(&[b' '; 4096]).is_ok() {}
    // The test is an ancestor of fdclose, which is not touched.
    let pid = std::process::id().to_string();
    let args =
        ["watch", "--pid", &pid, "--state", "established", "--idle-for", "1ms", "--every", "100ms", "-n"];
    let mut watching = start_fdclose_into(writer, &args);
    let mut stderr = BufReader::new(watching.take_stderr());
    let mut said = String::new();
    while !said.contains("the lines of this look are lost") {
        assert_ne!(stderr.read_line(&mut said).expect("text"), 0, "it ended: {said}");
    }
    let mut told = String::new();
    wait_until("the refusal", || {
        let mut bytes = [0; 4096];
        let read = reader.read(&mut bytes).unwrap_or(0);
        told.push_str(&String::from_utf8_lossy(&bytes[..read]));
        told.contains(r#""outcome":"refused""#)
    });
    assert!(told.contains("an ancestor of fdclose"), "{told}");
}

#[test]
fn that_nobody_reads_on_is_no_error() {
    let victim = Victim::spawn("close_wait", &[]);
    let pid = victim.pid_arg();
    for args in [&["list", "--pid", &pid][..], &["--pid", &pid, "--fd", "3", "-n", "--force"], &["--help"]] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let run = start_fdclose_into(writer, args).finish().exits(0);
        assert!(run.stderr.is_empty(), "{run:#?}");
    }
}
