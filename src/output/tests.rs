//! What people get to see, as snapshots.

use super::style::Palette;
use super::table::Row;
use super::{Layout, failures, result, sanitize, summary, table};
use crate::ids::Inode;
use crate::method::Method;
use crate::report::{ActionReport, ConnectionFate, Outcome, TargetReport, WaitEnd, sample};

fn plain(width: Option<usize>) -> Layout {
    Layout { width, palette: Palette::new(false) }
}

fn list(width: Option<usize>) -> String {
    let fds = sample::list_awkward();
    let mut out = Vec::new();
    table::write(fds.into_iter().map(Row::from), &plain(width), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn both(report: &ActionReport, layout: &Layout) -> String {
    let mut out = Vec::new();
    result::write(report, false, layout, &mut out).unwrap();
    out.extend_from_slice(b"--- stderr\n");
    failures::write(report, layout, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn action(targets: Vec<TargetReport>) -> ActionReport {
    ActionReport::new(Method::Close, false, targets, vec![sample::process()])
}

#[test]
fn list_at_80_columns() {
    insta::assert_snapshot!(list(Some(80)));
}

#[test]
fn list_of_the_usual_leak_at_80_columns() {
    let fd = sample::list_fd();
    let mut out = Vec::new();
    table::write(std::iter::once(Row::from(fd)), &plain(Some(80)), &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn list_at_200_columns() {
    insta::assert_snapshot!(list(Some(200)));
}

#[test]
fn list_at_40_columns() {
    insta::assert_snapshot!(list(Some(40)));
}

#[test]
fn list_without_a_terminal_has_one_line_each() {
    let shown = list(None);
    assert_eq!(shown.lines().count(), 1 + sample::list_awkward().len());
    insta::assert_snapshot!(shown);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in 76..220 {
        for line in list(Some(width)).lines() {
            assert!(sanitize::columns(line) <= width, "{width}: {line}");
            assert_eq!(line, line.trim_end());
        }
    }
}

#[test]
fn pid_fd_inode_and_endpoints_never_go() {
    for width in [1, 20, 40, 60, 80, 100] {
        let shown = list(Some(width));
        for text in ["4194304", "1048575", "4294967295", "[2001:db8:85a3:1111:2222:8a2e:370:7335]:65535"] {
            assert!(shown.contains(text), "{width}: {text}");
        }
    }
}

#[test]
fn an_empty_table_has_no_heading() {
    let mut out = Vec::new();
    table::write(std::iter::empty(), &plain(Some(80)), &mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn a_summary_at_80_columns() {
    let shown = |layout| {
        let mut out = Vec::new();
        summary::write(&sample::list_report(vec![sample::list_fd()]), &layout, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    insta::assert_snapshot!(shown(plain(Some(80))));
    let colored = shown(Layout { width: Some(80), palette: Palette::new(true) });
    insta::assert_snapshot!("a_summary_in_color", colored.escape_debug());
    let mut out = Vec::new();
    summary::write(&sample::list_report(vec![]), &plain(Some(80)), &mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn one_closed() {
    insta::assert_snapshot!(both(&action(vec![sample::tcp_target()]), &plain(Some(80))));
}

#[test]
fn one_closed_in_color() {
    let layout = Layout { width: Some(80), palette: Palette::new(true) };
    insta::assert_snapshot!(both(&action(vec![sample::tcp_target()]), &layout).escape_debug());
}

#[test]
fn one_closed_that_others_hold() {
    let target = TargetReport {
        connection: ConnectionFate::Remains,
        holders: (0..10).map(|n| sample::holder(99 + n, 5)).collect(),
        ..sample::tcp_target()
    };
    insta::assert_snapshot!(both(&action(vec![target]), &plain(Some(80))));
}

#[test]
fn one_closed_that_threads_waited_on() {
    let waiters =
        [WaitEnd::Ebadf, WaitEnd::Ebadf, WaitEnd::Pollnval].map(|end| sample::waiter(1240, "read", end));
    let target = TargetReport { waiters: waiters.to_vec(), ..sample::tcp_target() };
    insta::assert_snapshot!(both(&action(vec![target]), &plain(Some(80))));
}

#[test]
fn one_closed_by_the_process_when_woken() {
    let waiters = vec![sample::waiter(1240, "recvfrom", WaitEnd::Woken)];
    let target = TargetReport { waiters, closed_by_process: true, ..sample::tcp_target() };
    insta::assert_snapshot!(both(&action(vec![target.clone()]), &plain(Some(80))));
    insta::assert_snapshot!(both(&action(vec![target.clone(), target]), &plain(Some(80))));
}

#[test]
fn one_hostile_file() {
    insta::assert_snapshot!(both(&action(vec![sample::file_target()]), &plain(Some(80))));
}

#[test]
fn one_refused() {
    let report = ActionReport::new(Method::Close, false, vec![sample::refused_target(9)], Vec::new());
    insta::assert_snapshot!(both(&report, &plain(Some(80))));
}

#[test]
fn one_without_insurance() {
    let mut report = action(vec![sample::tcp_target()]);
    report.processes[0].insured = false;
    let verbose = |verbose| {
        let mut out = Vec::new();
        result::write(&report, verbose, &plain(Some(80)), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    insta::assert_snapshot!(verbose(true), @r"
    closed 1 of 1: fd 12 of nginx (1234), CLOSE-WAIT 127.0.0.1:8888 ->
      127.0.0.1:49416; connection ended; paused 0.14 ms
      nginx (1234) had no insurance: had fdclose been killed during the call, a
      thread of it would have run on with wrong registers, or been ended by its
      seccomp filter
    ");
    assert!(!verbose(false).contains("insurance"));
}

#[test]
fn several_with_every_outcome() {
    let with = |outcome| TargetReport { outcome, ..sample::tcp_target() };
    let held = TargetReport {
        connection: ConnectionFate::Remains,
        holders: vec![sample::holder(99, 5)],
        ..sample::tcp_target()
    };
    let mut targets = vec![held, sample::file_target(), with(Outcome::Gone), with(Outcome::Changed)];
    targets.push(TargetReport { error: Some("\x1b[2J".to_owned()), ..with(Outcome::Failed) });
    targets.extend([5, 6, 7, 9].map(sample::refused_target));
    insta::assert_snapshot!(both(&action(targets), &plain(Some(80))));
}

#[test]
fn a_dry_run() {
    let target = TargetReport { outcome: Outcome::WouldDo, fd_freed: false, ..sample::tcp_target() };
    let one = ActionReport::new(Method::Close, true, vec![target.clone()], Vec::new());
    let two = ActionReport::new(Method::Close, true, vec![target.clone(), target], Vec::new());
    let layout = plain(Some(80));
    insta::assert_snapshot!(both(&one, &layout) + "\n" + &both(&two, &layout));
}

#[test]
fn ten_thousand() {
    let target = |inode| TargetReport { inode: Some(Inode(inode)), ..sample::tcp_target() };
    let mut targets: Vec<TargetReport> = (43_000..53_000).map(target).collect();
    targets.extend((0..3000).map(|n| sample::refused_target(n * 2)));
    let shown = both(&action(targets), &plain(Some(80)));
    assert_eq!(shown.lines().count(), 47, "heading, 40 rows, more, sum on two lines, separator, error, hint");
    insta::assert_snapshot!(shown.lines().skip(40).collect::<Vec<_>>().join("\n"));
}
