//! The tables and verdicts that `one_close` prints.

use std::time::Duration;

use super::stats::Quartiles;

/// The wall times and pauses of one peer, in the order they were measured.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) wall: Vec<Duration>,
    pub(crate) pause: Vec<Duration>,
}

/// All that was measured on a victim of `threads` threads.
pub(crate) struct Measured {
    pub(crate) threads: usize,
    pub(crate) fdclose: Samples,
    pub(crate) floor: Samples,
    pub(crate) gdb: Samples,
    pub(crate) nobody: Samples,
}

/// One figure of every peer. Whoever did not run has none.
struct Row {
    work: &'static str,
    threads: usize,
    fdclose: Option<Quartiles>,
    floor: Option<Quartiles>,
    gdb: Option<Quartiles>,
    nobody: Option<Quartiles>,
}

const WALL: &str = "whole command";
const PAUSE: &str = "largest pause";

/// What the project holds itself to; a missed target is reported, and fails nothing.
struct Target {
    work: &'static str,
    /// The only number of threads it is meant for, or any.
    threads: Option<usize>,
    limit: Limit,
}

enum Limit {
    /// At most one part in so many of gdb's.
    PartOfGdb(f64),
    /// At most so many times the floor's.
    TimesFloor(f64),
}

const TARGETS: [Target; 4] = [
    Target { work: WALL, threads: None, limit: Limit::PartOfGdb(80.0) },
    Target { work: WALL, threads: None, limit: Limit::TimesFloor(2.5) },
    Target { work: PAUSE, threads: Some(1), limit: Limit::PartOfGdb(300.0) },
    Target { work: PAUSE, threads: None, limit: Limit::TimesFloor(1.5) },
];

/// Prints everything.
pub(crate) fn print(measured: &[Measured]) {
    let rows: Vec<Row> = measured
        .iter()
        .map(|m| row(WALL, m, |samples| &samples.wall))
        .chain(measured.iter().map(|m| row(PAUSE, m, |samples| &samples.pause)))
        .collect();
    print_medians(&rows);
    print_spread(&rows);
    print_verdicts(&rows);
    if rows.iter().any(too_noisy) {
        println!(
            "\nWARNING  the machine is busy: nobody's pause is more than half of the floor's, and the figures mean little"
        );
    }
}

/// Whether the spinning thread lost its CPU about as much to others as to the floor.
fn too_noisy(row: &Row) -> bool {
    row.work == PAUSE && ratio(row.nobody, row.floor).is_some_and(|ratio| ratio > 0.5)
}

fn row(work: &'static str, measured: &Measured, figure: fn(&Samples) -> &Vec<Duration>) -> Row {
    let of = |samples| Quartiles::of(figure(samples));
    Row {
        work,
        threads: measured.threads,
        fdclose: of(&measured.fdclose),
        floor: of(&measured.floor),
        gdb: of(&measured.gdb),
        nobody: of(&measured.nobody),
    }
}

fn print_medians(rows: &[Row]) {
    println!(
        "\n{:<14}{:>8}{:>10}{:>10}{:>10}{:>10}{:>15}{:>13}",
        "medians, ms", "threads", "fdclose", "floor", "gdb", "nobody", "fdclose/floor", "gdb/fdclose"
    );
    for row in rows {
        println!(
            "{:<14}{:>8}{:>10}{:>10}{:>10}{:>10}{:>15}{:>13}",
            row.work,
            row.threads,
            median(row.fdclose),
            median(row.floor),
            median(row.gdb),
            median(row.nobody),
            ratio(row.fdclose, row.floor).map_or_else(missing, |ratio| format!("{ratio:.2}")),
            ratio(row.gdb, row.fdclose).map_or_else(missing, |ratio| format!("{ratio:.0}")),
        );
    }
    println!("nobody: a program that starts and ends; what the machine alone does to both figures");
}

fn print_spread(rows: &[Row]) {
    println!(
        "\n{:<14}{:>8}{:>18}{:>18}{:>20}{:>18}",
        "quartiles, ms", "threads", "fdclose", "floor", "gdb", "nobody"
    );
    for row in rows {
        println!(
            "{:<14}{:>8}{:>18}{:>18}{:>20}{:>18}",
            row.work,
            row.threads,
            spread(row.fdclose),
            spread(row.floor),
            spread(row.gdb),
            spread(row.nobody),
        );
    }
}

fn print_verdicts(rows: &[Row]) {
    println!();
    for target in &TARGETS {
        for row in rows {
            if row.work == target.work && target.threads.is_none_or(|threads| threads == row.threads) {
                println!("{}", verdict(&target.limit, row));
            }
        }
    }
}

fn verdict(limit: &Limit, row: &Row) -> String {
    let threads = format!("{} thread{}", row.threads, if row.threads == 1 { "" } else { "s" });
    let (aim, reached) = match *limit {
        Limit::PartOfGdb(parts) => (
            format!("<= 1/{parts} of gdb's"),
            ratio(row.gdb, row.fdclose).map(|ratio| (ratio >= parts, format!("1/{ratio:.0}"))),
        ),
        Limit::TimesFloor(times) => (
            format!("<= {times} x floor's"),
            ratio(row.fdclose, row.floor).map(|ratio| (ratio <= times, format!("{ratio:.2} x"))),
        ),
    };
    let (word, figure) = match reached {
        Some((true, figure)) => ("met", figure),
        Some((false, figure)) => ("MISSED", figure),
        None => ("not measured", missing()),
    };
    format!("{:<14}{threads:>11}   {aim:<17}{figure:>9}   {word}", row.work)
}

fn ratio(of: Option<Quartiles>, to: Option<Quartiles>) -> Option<f64> {
    Some(of?.times(&to?))
}

fn median(figure: Option<Quartiles>) -> String {
    figure.map_or_else(missing, |quartiles| milliseconds(quartiles.median))
}

fn spread(figure: Option<Quartiles>) -> String {
    figure.map_or_else(missing, |quartiles| {
        format!("{} - {}", milliseconds(quartiles.first), milliseconds(quartiles.third))
    })
}

fn milliseconds(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    format!("{milliseconds:.*}", if milliseconds < 10.0 { 3 } else { 1 })
}

fn missing() -> String {
    "-".to_owned()
}
