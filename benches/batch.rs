//! Thousands of leaked sockets in one process: what fdclose takes to close them all, beside the process's own loop,
//! beside a tracer that stops once for each call, and beside `ss -K`, which leaves the descriptors.
//!
//!     cargo bench --bench batch
//!
//! The victim (`benches/c/batch_victim.c`) is made anew for each run, in a network namespace of its own, and checked
//! afterwards: all that leaked must be closed, and nothing else. The peers take turns round by round. Wall times
//! are from runs in which the victim's threads wait, as an idle server's do, pauses from runs in which one of them
//! computes and watches the clock. It needs root, a C compiler and `ss`.
//!
//! Figures are medians, and only their ratios mean anything on another machine.

use std::process::ExitCode;

use anyhow::Result;

mod batch_support;

use batch_support::cc;
use batch_support::peers::{Peer, Peers};
use batch_support::report::{self, Measured};
use batch_support::start::Benchmark;
use batch_support::victim::Layout;

/// How many sockets the victims have, and how often each peer runs, after one run that does not count. 19,000 is the
/// most that a limit of 20,000 descriptors leaves room for.
const FULL: &[(usize, usize)] = &[(1_000, 11), (10_000, 5), (19_000, 3)];
/// For `cargo test --benches`, which only asks whether the benchmark works.
const TRIAL: &[(usize, usize)] = &[(600, 1)];

fn main() -> ExitCode {
    Benchmark { name: "batch", needs_root: true }.run(FULL, TRIAL, bench)
}

fn bench(sizes: &[(usize, usize)]) -> Result<()> {
    let peers = Peers::find(cc::build("batch_victim")?, cc::build("one_stop_per_call")?);
    println!("own loop   the victim closes them itself and takes the time of that alone");
    println!("fdclose    {} --pid PID --state close-wait --yes --json", peers.fdclose.display());
    println!("one stop   a bare C tracer that stops once for each call and checks nothing");
    println!("ss -K      ends the connections and leaves the descriptors");
    if cfg!(debug_assertions) {
        println!("WARNING    fdclose is not optimised in this build: its figures mean nothing");
    }
    for &(sockets, rounds) in sizes {
        let mut measured = Vec::new();
        for layout in [Layout::Contiguous, Layout::EveryOther] {
            measured.push(measure(&peers, sockets, layout, rounds)?);
        }
        // At once: the next size takes minutes.
        report::print(&measured);
    }
    Ok(())
}

fn measure(peers: &Peers, sockets: usize, layout: Layout, rounds: usize) -> Result<Measured> {
    let mut measured = Measured::new(sockets, layout, rounds);
    peers.note_descriptors(sockets, layout)?;
    // Round 0 warms the caches.
    for round in 0..=rounds {
        let mut turns = Peer::ALL;
        turns.rotate_left(round % Peer::ALL.len());
        for peer in turns {
            let run = peers.run(peer, sockets, layout)?;
            if round > 0 {
                measured.add(peer, &run);
            }
        }
    }
    Ok(measured)
}
