//! Programs unlike those rustc makes: 32 bits, no C library or another one, calls made in strange ways, no vDSO or a false one.

mod common;

use std::path::Path;

use common::cc::compile;
use common::{Before, Need, Victim, evidence, fdclose, lacks, wait_until};

const BARE: [&str; 4] = ["-nostdlib", "-static", "-fno-stack-protector", "-fno-builtin"];
const BARE_32: [&str; 6] =
    ["-m32", "-fno-pie", "-nostdlib", "-static", "-fno-stack-protector", "-fno-builtin"];

/// Closes the leak and tries it nine more times, while the victim sits in a call that must not notice.
#[track_caller]
fn sits_undisturbed(program: &Path, arguments: &[&str]) {
    let mut victim = Victim::spawn_program(program, arguments);
    let (pid, fd, nr): (u32, i32, i64) = (victim.pid(), victim.value("fd"), victim.value("nr"));
    if arguments[0] == "spin" {
        wait_until("no call", || evidence::is_at_work(pid, pid));
    } else {
        wait_until("the call", || evidence::current_call(pid, pid) == Some(nr));
    }
    let before = Before::of(pid);
    let target = ["--pid", &victim.pid_arg(), "--fd", &fd.to_string()];

    fdclose(&target).exits(0);

    before.assert_lost_only(&[fd]);
    assert!(victim.returned().is_none(), "{arguments:?}: the call came back");
    let finite = arguments[0] == "nanosleep";
    if !finite {
        victim.ask("wake");
    }
    let returned = victim.wait_returned();
    let expected = match arguments[0] {
        "read" => 5,
        "nanosleep" => 0,
        _ => 1,
    };
    assert_eq!((returned.value, returned.errno), (expected, 0), "{arguments:?}: {returned:?}");
    if finite {
        let late = returned.elapsed_us.checked_sub(2_000_000).expect("no earlier than asked for");
        assert!(late < 250_000, "{arguments:?}: {late} us late");
        assert_eq!(victim.ask("wake"), "");
    }
    evidence::assert_untraced(pid);
}

#[test]
fn a_32_bit_process_is_undisturbed() {
    if lacks(&[Need::Compiler32]) {
        return;
    }
    let (program, _directory) = compile("gcc", &BARE_32, "bare");
    for way in ["own", "vdso"] {
        for call in ["read", "poll", "epoll", "nanosleep", "spin"] {
            sits_undisturbed(&program, &[call, way]);
        }
    }
}

/// There is no way for such a thread to come to itself if fdclose is killed: those who ask for more words are told.
#[test]
fn that_a_process_has_no_insurance_is_said() {
    if lacks(&[Need::Compiler32, Need::Program("gcc")]) {
        return;
    }
    for (flags, insured) in [(&BARE_32[..], false), (&["-pthread"], true)] {
        let (program, arguments) = if insured { ("plain", &[][..]) } else { ("bare", &["read", "own"][..]) };
        let (program, _directory) = compile("gcc", flags, program);
        let mut victim = Victim::spawn_program(&program, arguments);
        let fd = if insured { victim.leak("leak").0 } else { victim.value("fd") };
        let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "-v"]).exits(0);
        assert_eq!(run.stdout.contains("had no insurance"), !insured, "{run:#?}");
    }
}

#[test]
fn a_32_bit_process_without_a_vdso_is_undisturbed() {
    if lacks(&[Need::Compiler32]) {
        return;
    }
    let (program, _directory) = compile("gcc", &BARE_32, "bare");
    for call in ["read", "epoll", "spin"] {
        sits_undisturbed(&program, &[call, "own", "novdso"]);
    }
}

#[test]
fn a_static_process_without_a_library_is_undisturbed() {
    if lacks(&[Need::Program("gcc")]) {
        return;
    }
    let (program, _directory) = compile("gcc", &BARE, "bare");
    for call in ["read", "poll", "epoll", "nanosleep", "spin"] {
        sits_undisturbed(&program, &[call, "own"]);
    }
}

#[test]
fn a_64_bit_process_that_makes_32_bit_calls_is_undisturbed() {
    if lacks(&[Need::Program("gcc")]) {
        return;
    }
    let (program, _directory) = compile("gcc", &BARE, "bare");
    for call in ["read", "poll", "epoll", "nanosleep", "spin"] {
        sits_undisturbed(&program, &[call, "int80"]);
    }
}

#[test]
fn a_missing_or_false_vdso_is_no_obstacle() {
    if lacks(&[Need::Program("gcc")]) {
        return;
    }
    let (program, _directory) = compile("gcc", &BARE, "bare");
    for quirk in ["novdso", "fakevdso"] {
        for (call, way) in [("read", "own"), ("epoll", "own"), ("epoll", "int80"), ("spin", "own")] {
            sits_undisturbed(&program, &[call, way, quirk]);
        }
    }
}

/// PTRACE_SETREGS refuses a segment selector with privilege level 0, which user code may load all the same.
#[test]
fn a_segment_selector_that_ptrace_refuses_is_no_obstacle() {
    if lacks(&[Need::Program("gcc"), Need::Compiler32]) {
        return;
    }
    for flags in [&BARE[..], &BARE_32] {
        let (program, _directory) = compile("gcc", flags, "bare");
        for call in ["read", "epoll"] {
            sits_undisturbed(&program, &[call, "own", "ds"]);
        }
    }
}

/// With a C library and three threads, in each way to link it.
#[track_caller]
fn is_freed_and_goes_on(compiler: &str, flags: &[&str]) {
    let (program, _directory) = compile(compiler, &[flags, &["-pthread"]].concat(), "plain");
    let mut victim = Victim::spawn_program(&program, &[]);
    for _ in 0..3 {
        let (fd, _) = victim.leak("leak");
        let before = Before::of(victim.pid());
        fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string()]).exits(0);
        before.assert_lost_only(&[fd]);
        victim.ask("check");
    }
}

#[test]
fn every_way_to_link_a_c_program_will_do() {
    if lacks(&[Need::Program("gcc")]) {
        return;
    }
    for flags in [&["-pie", "-fPIE"][..], &["-no-pie"], &["-static"], &["-static-pie", "-fPIE"]] {
        is_freed_and_goes_on("gcc", flags);
    }
}

#[test]
fn a_musl_program_will_do() {
    if lacks(&[Need::Program("musl-gcc")]) {
        return;
    }
    for flags in [&["-static"][..], &["-pie", "-fPIE"]] {
        is_freed_and_goes_on("musl-gcc", flags);
    }
}
