//! Tens of thousands of TCP sockets: what fdclose takes to list them, beside `ss` and `lsof`, and to find out who holds
//! them, beside a loop of readdir and readlink over the same entries.
//!
//!     cargo bench --bench list
//!
//! The sockets (`benches/c/many_sockets.c`) are in a network namespace of the benchmark's own and held by 20 processes.
//! The peers take turns in random order, round by round, and print to nowhere; before, each has shown once that it tells
//! of every socket. It takes about two minutes, and needs root, a C compiler and `ss`; `lsof` runs only twice.
//!
//! Figures are medians, and only their ratios mean anything on another machine.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

mod list_support;

use list_support::cc;
use list_support::peers::{Peer, Peers, threads};
use list_support::report::{self, Measured};
use list_support::start::Benchmark;
use list_support::victim::Victim;

/// How often `lsof` runs.
const FEW: usize = 2;

/// So many sockets, who lists them, and how often, after one run that does not count.
struct Scene {
    sockets: usize,
    processes: usize,
    peers: &'static [Peer],
    rounds: usize,
}

const FULL: &[Scene] = &[
    Scene { sockets: 10_000, processes: 20, peers: &[Peer::Sockets, Peer::Holders], rounds: 21 },
    Scene {
        sockets: 50_000,
        processes: 20,
        peers: &[Peer::Sockets, Peer::SsPlain, Peer::SsInfo, Peer::Holders, Peer::SsHolders, Peer::Lsof],
        rounds: 21,
    },
    Scene {
        sockets: 200_000,
        processes: 20,
        peers: &[Peer::Sockets, Peer::Holders, Peer::Map, Peer::ReadLinks],
        rounds: 11,
    },
];
/// For `cargo test --benches`, which only asks whether the benchmark works.
const TRIAL: &[Scene] = &[
    Scene {
        sockets: 1_000,
        processes: 4,
        peers: &[Peer::Sockets, Peer::SsPlain, Peer::SsInfo, Peer::Holders, Peer::SsHolders, Peer::Lsof],
        rounds: 1,
    },
    Scene { sockets: 2_000, processes: 4, peers: &[Peer::Holders, Peer::Map, Peer::ReadLinks], rounds: 1 },
];

fn main() -> ExitCode {
    Benchmark { name: "list", needs_root: true }.run(FULL, TRIAL, bench)
}

fn bench(scenes: &[Scene]) -> Result<()> {
    let victim = cc::build("many_sockets")?;
    let peers = Peers::find(cc::build("read_links")?);
    enter_namespace()?;
    println!("fdclose  {}, which shows idle times in every listing", peers.fdclose.display());
    println!("C loop   readdir and readlink over all of /proc/*/fd, on {} threads", threads());
    if !peers.has_lsof {
        println!("lsof     not installed");
    }
    if cfg!(debug_assertions) {
        println!("WARNING  fdclose is not optimised in this build: its figures mean nothing");
    }
    let mut measured = Vec::new();
    let mut order = Order(0x9e37_79b9_7f4a_7c15);
    for scene in scenes {
        let victim = Victim::start(&victim, scene.processes, scene.sockets)?;
        measured.push(measure(&peers, scene, &victim, &mut order)?);
    }
    report::print(&measured);
    Ok(())
}

fn measure(peers: &Peers, scene: &Scene, victim: &Victim, order: &mut Order) -> Result<Measured> {
    let mut measured = Measured::new(scene.sockets);
    let mut turns = scene.peers.to_vec();
    turns.retain(|peer| *peer != Peer::Lsof || peers.has_lsof);
    // Round 0, which warms the caches.
    for peer in &turns {
        peers.check(*peer, victim)?;
    }
    for round in 1..=scene.rounds {
        turns.retain(|peer| *peer != Peer::Lsof || round <= FEW);
        order.shuffle(&mut turns);
        for peer in &turns {
            let run = peers.run(*peer, victim)?;
            measured.add(*peer, run.wall, run.peak_kib);
        }
    }
    Ok(measured)
}

/// Random enough that no peer always runs after the same other one (xorshift).
struct Order(u64);

impl Order {
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let other = usize::try_from(self.0 % (last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

/// Goes where no other connections are: those of a busy machine would be listed, too.
fn enter_namespace() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace (root is needed)")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("cannot run ip")?;
    ensure!(status.success(), "the loopback interface does not come up: {status}");
    Ok(())
}
