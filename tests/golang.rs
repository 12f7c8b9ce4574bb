//! A server in Go, whose goroutines have stacks of their own making, move between threads and are preempted by signals.

mod common;

use common::before::assert_connection_ended;
use common::cc::compile_go;
use common::kernel::is_before;
use common::{Need, Victim, evidence, fdclose, fdclose_dying_at, lacks, outcome, wait_until};

/// What can be lost by a kill is lost soon: a wrong register makes the runtime end the process.
const PLACES: [&str; 5] = ["stopped", "loaded", "entered", "left", "restored"];

/// The victim's own count of one kind.
#[track_caller]
fn count(victim: &mut Victim, key: &str) -> u64 {
    victim.ask_fields("check")[key].parse().expect("a number")
}

/// Waits until it has collected garbage and worked on for a while, all of it checked.
#[track_caller]
fn goes_on(victim: &mut Victim) {
    let (collections, rounds) = (count(victim, "collections"), count(victim, "rounds"));
    wait_until("more collections and rounds", || {
        count(victim, "collections") >= collections + 3 && count(victim, "rounds") >= rounds + 100
    });
    victim.serves();
    evidence::assert_untraced(victim.pid());
}

#[test]
fn fifty_leaks_are_closed_under_a_busy_runtime() {
    if lacks(&[Need::Program("go")]) {
        return;
    }
    let (program, _directory) = compile_go("server");
    let mut victim = Victim::spawn_program(&program, &[]);
    for _ in 0..50 {
        let (fd, inode) = victim.leak("leak raw");
        let row = evidence::tcp_of(victim.pid(), inode).expect("a connection");
        assert_eq!(row.state, evidence::CLOSE_WAIT);
        let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string(), "--json"]).exits(0);
        assert_eq!(evidence::link(victim.pid(), fd), None);
        assert_connection_ended(victim.pid(), row);
        let document = run.json();
        assert_eq!(outcome(&document, fd)["connection"], "ended");
        // The runtime waits in epoll_pwait(2), whose thread is not insured where its signal mask can't be had.
        assert!(document["processes"][0]["insured"] == true || is_before(3, 11), "{document:#}");
        victim.ask("check");
    }
    goes_on(&mut victim);
}

/// The runtime goes on to believe in a descriptor that it knows: the program gets an error from it, and no more.
#[test]
fn a_descriptor_that_the_runtime_knows_is_an_error_to_use() {
    if lacks(&[Need::Program("go")]) {
        return;
    }
    let (program, _directory) = compile_go("server");
    let mut victim = Victim::spawn_program(&program, &[]);
    let leaks: Vec<(i32, u64)> = (0..10).map(|_| victim.leak("leak tracked")).collect();
    for (fd, inode) in &leaks {
        fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]).exits(0);
        assert_eq!(evidence::link(victim.pid(), *fd), None);
    }
    for (fd, _) in &leaks {
        let error = victim.ask(&format!("use {fd}"));
        assert!(error.ends_with("bad_file_descriptor"), "{error}");
    }
    goes_on(&mut victim);
}

#[test]
fn it_survives_the_death_of_fdclose() {
    // Where signal masks can't be had, the runtime's thread in epoll_pwait(2) has no insurance.
    if lacks(&[Need::Program("go")]) || is_before(3, 11) {
        return;
    }
    let (program, _directory) = compile_go("server");
    for _ in 0..12 {
        // What a killed fdclose leaves behind takes room that is not used again: not more than a few in one process.
        let mut victim = Victim::spawn_program(&program, &[]);
        for place in PLACES {
            let (_, inode) = victim.leak("leak raw");
            fdclose_dying_at(place, &["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]);
            victim.ask("check");
        }
        goes_on(&mut victim);
    }
}
