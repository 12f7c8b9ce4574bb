//! The tables and verdicts that `list` prints.

use std::time::Duration;

use super::peers::Peer;
use super::stats::Quartiles;

/// All that was measured with so many sockets.
pub(crate) struct Measured {
    pub(crate) sockets: usize,
    samples: Vec<(Peer, Vec<Duration>, u64)>,
}

impl Measured {
    pub(crate) fn new(sockets: usize) -> Self {
        Self { sockets, samples: Vec::new() }
    }

    pub(crate) fn add(&mut self, peer: Peer, wall: Duration, peak_kib: u64) {
        match self.samples.iter_mut().find(|(other, ..)| *other == peer) {
            Some((_, walls, peak)) => {
                walls.push(wall);
                *peak = (*peak).max(peak_kib);
            }
            None => self.samples.push((peer, vec![wall], peak_kib)),
        }
    }

    fn of(&self, peer: Peer) -> Option<(Quartiles, usize, u64)> {
        let (_, walls, peak) = self.samples.iter().find(|(other, ..)| *other == peer)?;
        Some((Quartiles::of(walls)?, walls.len(), *peak))
    }

    fn times(&self, one: Peer, other: Peer) -> Option<f64> {
        Some(self.of(one)?.0.times(&self.of(other)?.0))
    }

    /// Microseconds.
    fn per_socket(&self, peer: Peer) -> Option<f64> {
        let sockets = u32::try_from(self.sockets).ok()?;
        Some(self.of(peer)?.0.median.as_secs_f64() * 1e6 / f64::from(sockets))
    }
}

const NAMES: [(Peer, &str); 8] = [
    (Peer::Sockets, "fdclose list --no-holders"),
    (Peer::SsPlain, "ss -tn"),
    (Peer::SsInfo, "ss -tni"),
    (Peer::Holders, "fdclose list"),
    (Peer::SsHolders, "ss -tnp"),
    (Peer::Lsof, "lsof -nP -iTCP"),
    (Peer::Map, "fdclose --inode N --dry-run"),
    (Peer::ReadLinks, "readdir and readlink in C"),
];

/// Of which figures the project holds itself to at most so much; a missed one is reported, and fails nothing.
const RATIOS: [(&str, Peer, Peer, f64); 4] = [
    ("without holders, of ss -tn", Peer::Sockets, Peer::SsPlain, 0.8),
    ("with idle times, of ss -tni", Peer::Sockets, Peer::SsInfo, 0.4),
    ("with holders, of ss -tnp", Peer::Holders, Peer::SsHolders, 0.25),
    ("map of holders, of the C loop", Peer::Map, Peer::ReadLinks, 1.2),
];
/// MiB, at the most sockets.
const MOST_MEMORY: f64 = 64.0;
/// The cost of a socket among the most, as a multiple of that among the fewest.
const MOST_GROWTH: f64 = 1.2;

/// Prints everything.
pub(crate) fn print(measured: &[Measured]) {
    println!(
        "\n{:>8}  {:<29}{:>11}  {:^17}{:>9}{:>8}",
        "sockets", "", "median ms", "quartiles", "MiB", "rounds"
    );
    for m in measured {
        for (peer, name) in NAMES {
            let Some((quartiles, rounds, peak_kib)) = m.of(peer) else { continue };
            let [median, first, third] = [quartiles.median, quartiles.first, quartiles.third]
                .map(|duration| duration.as_secs_f64() * 1e3);
            let spread = format!("{first:.1} - {third:.1}");
            let peak = mib(peak_kib);
            println!("{:>8}  {name:<29}{median:>11.1}  {spread:^17}{peak:>9.1}{rounds:>8}", m.sockets);
        }
    }
    println!();
    for m in measured {
        for (work, one, other, limit) in RATIOS {
            if let Some(ratio) = m.times(one, other) {
                verdict(&format!("{} sockets {work}", m.sockets), ratio, limit, "x");
            }
        }
        if let Some(ratio) = m.times(Peer::Lsof, Peer::Holders) {
            println!("{:<46}{ratio:>8.1} x", format!("{} sockets lsof, of fdclose list", m.sockets));
        }
    }
    let by_size = |m: &&Measured| m.sockets;
    let (Some(few), Some(many)) = (measured.iter().min_by_key(by_size), measured.iter().max_by_key(by_size))
    else {
        return;
    };
    for (peer, name) in [(Peer::Sockets, "without holders"), (Peer::Holders, "with holders")] {
        if let Some((.., peak_kib)) = many.of(peer) {
            verdict(&format!("{} sockets {name}, memory", many.sockets), mib(peak_kib), MOST_MEMORY, "MiB");
        }
        if let (Some(cost_of_few), Some(cost_of_many)) = (few.per_socket(peer), many.per_socket(peer)) {
            let work = format!("cost of one {name}, {} to {}", few.sockets, many.sockets);
            verdict(&work, cost_of_many / cost_of_few, MOST_GROWTH, "x");
        }
        let costs: Vec<String> = measured
            .iter()
            .filter_map(|m| Some(format!("{:.2} us of {}", m.per_socket(peer)?, m.sockets)))
            .collect();
        println!("  one socket {name}: {}", costs.join(", "));
    }
}

fn mib(kib: u64) -> f64 {
    u32::try_from(kib).map_or(f64::INFINITY, f64::from) / 1024.0
}

fn verdict(work: &str, reached: f64, limit: f64, unit: &str) {
    let judged = if reached <= limit { "met" } else { "MISSED" };
    println!("{work:<46}{reached:>8.2} {unit:<4} <= {limit:<5} {judged}");
}
