//! The tables and verdicts that `batch` prints.

use std::time::Duration;

use super::peers::{Peer, Run};
use super::stats::Quartiles;
use super::victim::Layout;

/// All that was measured on one kind of victim.
pub(crate) struct Measured {
    sockets: usize,
    layout: Layout,
    rounds: usize,
    own: Vec<Duration>,
    fdclose: Vec<Duration>,
    one_stop: Vec<Duration>,
    ss: Vec<Duration>,
    /// With a thread of the target computing.
    fdclose_computing: Vec<Duration>,
    /// Pauses as that thread saw them, and as fdclose told.
    seen_sum: Vec<Duration>,
    seen_largest: Vec<Duration>,
    /// Without what it waited for a processor.
    stopped_sum: Vec<Duration>,
    told_sum: Vec<Duration>,
    told_largest: Vec<Duration>,
    one_stop_largest: Vec<Duration>,
    peak_kib: u64,
}

impl Measured {
    pub(crate) fn new(sockets: usize, layout: Layout, rounds: usize) -> Self {
        Self {
            sockets,
            layout,
            rounds,
            own: Vec::new(),
            fdclose: Vec::new(),
            one_stop: Vec::new(),
            ss: Vec::new(),
            fdclose_computing: Vec::new(),
            seen_sum: Vec::new(),
            seen_largest: Vec::new(),
            stopped_sum: Vec::new(),
            told_sum: Vec::new(),
            told_largest: Vec::new(),
            one_stop_largest: Vec::new(),
            peak_kib: 0,
        }
    }

    pub(crate) fn add(&mut self, peer: Peer, run: &Run) {
        let walls = match peer {
            Peer::Own => &mut self.own,
            Peer::Fdclose => &mut self.fdclose,
            Peer::OneStopPerCall => &mut self.one_stop,
            Peer::Ss => &mut self.ss,
        };
        walls.push(run.wall);
        let Some(computing) = &run.computing else { return };
        if peer == Peer::OneStopPerCall {
            self.one_stop_largest.push(computing.gaps.largest);
            return;
        }
        self.peak_kib = self.peak_kib.max(run.peak_kib);
        self.fdclose_computing.push(computing.wall);
        self.seen_sum.push(computing.gaps.sum);
        self.seen_largest.push(computing.gaps.largest);
        self.stopped_sum.push(computing.gaps.sum.saturating_sub(computing.gaps.waited));
        self.told_sum.extend(computing.told.map(|(sum, _)| sum));
        self.told_largest.extend(computing.told.map(|(_, largest)| largest));
    }

    fn name(&self) -> String {
        format!("{:>6} {:<11}", self.sockets, self.layout)
    }

    /// How many times the own loop's median that of `samples` is.
    fn times_own(&self, samples: &[Duration]) -> Option<f64> {
        Some(Quartiles::of(samples)?.times(&Quartiles::of(&self.own)?))
    }
}

/// Prints everything.
pub(crate) fn print(measured: &[Measured]) {
    println!("\nclosing them all, medians in ms (and times the own loop)");
    print_table(
        measured,
        &[
            ("own loop", |m| &m.own),
            ("fdclose", |m| &m.fdclose),
            ("computing", |m| &m.fdclose_computing),
            ("one stop", |m| &m.one_stop),
            ("ss -K", |m| &m.ss),
        ],
    );
    println!("computing: fdclose with a thread of the target that never waits");
    println!("\npauses, medians in ms (and times the own loop)");
    print_table(
        measured,
        &[
            ("told, sum", |m| &m.told_sum),
            ("stopped, sum", |m| &m.stopped_sum),
            ("seen, sum", |m| &m.seen_sum),
            ("told, largest", |m| &m.told_largest),
            ("seen, largest", |m| &m.seen_largest),
            ("one stop", |m| &m.one_stop_largest),
        ],
    );
    println!(
        "told by fdclose; seen by a thread that computes and loses its CPU also to others; stopped: seen, less"
    );
    println!("what the kernel says that this thread waited for a CPU");
    println!("\nquartiles, ms");
    for m in measured {
        println!(
            "{}  own loop {}   fdclose {}   told, sum {}   told, largest {}",
            m.name(),
            spread(&m.own),
            spread(&m.fdclose),
            spread(&m.told_sum),
            spread(&m.told_largest),
        );
    }
    println!("\nmost memory of fdclose, MiB, and rounds");
    for m in measured {
        println!("{}  {:>4}  {:>3}", m.name(), m.peak_kib.div_ceil(1024), m.rounds);
    }
    println!();
    measured.iter().for_each(print_verdicts);
}

type Column = (&'static str, fn(&Measured) -> &Vec<Duration>);

fn print_table(measured: &[Measured], columns: &[Column]) {
    print!("{:>6} {:<11}", "", "");
    for (name, _) in columns {
        print!("{name:>17}");
    }
    println!();
    for m in measured {
        print!("{}", m.name());
        for (_, samples) in columns {
            let samples = samples(m);
            let median =
                Quartiles::of(samples).map_or_else(missing, |quartiles| milliseconds(quartiles.median));
            let times = m.times_own(samples).map_or_else(missing, |times| format!("({times:.2})"));
            print!("{median:>10}{times:>7}");
        }
        println!();
    }
}

/// What the project holds itself to; a missed target is reported, and fails nothing.
fn print_verdicts(m: &Measured) {
    verdict(m, "whole command", "<= 1.3 x own loop", m.times_own(&m.fdclose), 1.3, "x");
    verdict(m, "all pauses", "<= 0.3 x own loop", m.times_own(&m.told_sum), 0.3, "x");
    if m.sockets == 10_000 {
        let largest = Quartiles::of(&m.told_largest).map(|quartiles| quartiles.median.as_secs_f64() * 1e3);
        verdict(m, "largest pause", "< 5 ms", largest, 5.0, "ms");
    }
}

fn verdict(m: &Measured, work: &str, aim: &str, reached: Option<f64>, limit: f64, unit: &str) {
    let judged = match reached {
        Some(figure) if figure <= limit => "met",
        Some(_) => "MISSED",
        None => "not measured",
    };
    let figure = reached.map_or_else(missing, |figure| format!("{figure:.2} {unit}"));
    println!("{}  {work:<14}{aim:<18}{figure:>9}   {judged}", m.name());
}

fn spread(samples: &[Duration]) -> String {
    Quartiles::of(samples).map_or_else(missing, |quartiles| {
        format!("{} - {}", milliseconds(quartiles.first), milliseconds(quartiles.third))
    })
}

fn milliseconds(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    format!("{milliseconds:.*}", if milliseconds < 10.0 { 2 } else { 1 })
}

fn missing() -> String {
    "-".to_owned()
}
