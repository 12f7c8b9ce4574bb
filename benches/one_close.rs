//! One close, beside gdb and beside the floor: the wall time of the whole command, and the largest pause of
//! a thread of the target that spins in user code.
//!
//!     cargo bench --bench one_close
//!
//! The peers take turns round by round on the same victim (`benches/c/victim.c`), each closing one socket in
//! CLOSE-WAIT, so that whatever else the machine does falls on all of them; nothing is pinned to a CPU, as
//! nothing is in use. After every run the kernel is asked whether the descriptor is gone; if it is not, the
//! benchmark stops. The floor (`benches/c/floor.c`) stops all threads, closes, and checks nothing.
//!
//! Figures are medians, and only their ratios mean anything on another machine.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

mod support;

use support::cc;
use support::peers::{Peer, Peers};
use support::report::{self, Measured, Samples};
use support::start::Benchmark;
use support::victim::Victim;

/// How many threads the victims have.
const THREADS: [usize; 3] = [1, 8, 64];
/// How many leaked sockets a victim holds at any time: a few, so that finding one is not the work measured.
const LEAKS: usize = 16;

/// How often each peer runs on each victim, after one run that does not count.
#[derive(Clone, Copy)]
struct Rounds {
    all: usize,
    /// gdb takes a few hundred times as long as the others.
    gdb: usize,
}

const FULL: Rounds = Rounds { all: 301, gdb: 15 };
/// For `cargo test --benches`, which only asks whether the benchmark works.
const TRIAL: Rounds = Rounds { all: 2, gdb: 1 };

fn main() -> ExitCode {
    Benchmark { name: "one_close", needs_root: false }.run(FULL, TRIAL, bench)
}

fn bench(rounds: Rounds) -> Result<()> {
    let victim = cc::build("victim")?;
    let peers = Peers::find(cc::build("floor")?);
    println!("fdclose  {} --pid PID --inode INODE", peers.fdclose.display());
    println!("floor    a bare C injector that stops every thread and checks nothing");
    match &peers.gdb {
        Some(version) => println!("gdb      gdb -batch -nx -p PID -ex 'p (int)close(FD)'   ({version})"),
        None => println!("gdb      not installed: its column stays empty"),
    }
    println!("rounds   {} each, gdb {}; {LEAKS} sockets in CLOSE-WAIT", rounds.all, rounds.gdb);
    if cfg!(debug_assertions) {
        println!("WARNING  fdclose is not optimised in this build: its figures mean nothing");
    }
    let measured = THREADS
        .iter()
        .map(|&threads| measure(&victim, threads, &peers, rounds))
        .collect::<Result<Vec<_>>>()?;
    report::print(&measured);
    Ok(())
}

fn measure(program: &Path, threads: usize, peers: &Peers, rounds: Rounds) -> Result<Measured> {
    let mut victim = Victim::start(program, threads, LEAKS)?;
    let mut measured = Measured {
        threads,
        fdclose: Samples::default(),
        floor: Samples::default(),
        gdb: Samples::default(),
        nobody: Samples::default(),
    };
    let gdb_every = rounds.all / rounds.gdb;
    let mut floors_wall = Duration::ZERO;
    // Round 0 warms the caches.
    for round in 0..=rounds.all {
        let gdb_is_due = round == 0 || (round % gdb_every == 0 && measured.gdb.wall.len() < rounds.gdb);
        let mut turns = vec![Peer::Floor, Peer::Fdclose, Peer::Nobody];
        // So that no peer always runs right after gdb, which leaves the caches cold.
        turns.rotate_left(round % 3);
        if peers.gdb.is_some() && gdb_is_due {
            turns.push(Peer::Gdb);
        }
        for peer in turns {
            let run = peers.run(peer, &mut victim, floors_wall)?;
            let samples = match peer {
                Peer::Fdclose => &mut measured.fdclose,
                Peer::Floor => &mut measured.floor,
                Peer::Gdb => &mut measured.gdb,
                Peer::Nobody => &mut measured.nobody,
            };
            if peer == Peer::Floor {
                floors_wall = run.wall;
            }
            if round > 0 {
                samples.wall.push(run.wall);
                samples.pause.push(run.pause);
            }
        }
    }
    Ok(measured)
}
