//! What `watch` has seen and done, as Prometheus reads it (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::net::TcpState;
use crate::report::{ActionReport, Outcome, Summary};

pub mod feed;
pub mod http;
pub mod server;

/// The upper bounds of the buckets of pauses, in microseconds.
const PAUSE_BOUNDS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000, 10_000_000];

/// How long pauses were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pauses {
    /// How many were not above each bound, and above the one before.
    counts: [u64; PAUSE_BOUNDS.len()],
    longer: u64,
    sum_us: u64,
}

impl Pauses {
    fn note(&mut self, micros: u64) {
        let bucket = PAUSE_BOUNDS.iter().position(|bound| micros <= *bound);
        *bucket.and_then(|at| self.counts.get_mut(at)).unwrap_or(&mut self.longer) += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
    }
}

/// Counted since the beginning, but for what is said to be of the last run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    runs: u64,
    failed_runs: u64,
    outcomes: Summary,
    pauses: Pauses,
    /// Of the last run: the connections of the processes that are watched.
    connections: BTreeMap<TcpState, usize>,
    /// Of the last run: those that were idle for long enough.
    idle: usize,
    /// Of the last run, in seconds since 1970.
    ended_at: u64,
    took: Duration,
}

impl Metrics {
    /// What a run found.
    pub fn found(&mut self, connections: impl Iterator<Item = TcpState>, idle: usize) {
        self.connections = TcpState::ALL.iter().map(|state| (*state, 0)).collect();
        for state in connections {
            *self.connections.entry(state).or_default() += 1;
        }
        self.idle = idle;
    }

    /// What a run did.
    pub fn did(&mut self, report: &ActionReport) {
        let new = Summary::of(report.targets.iter().map(|target| target.outcome));
        let sum = &mut self.outcomes;
        sum.matched += new.matched;
        sum.done += new.done;
        sum.failed += new.failed;
        sum.refused += new.refused;
        sum.changed += new.changed;
        sum.gone += new.gone;
        sum.would_do += new.would_do;
        report.processes.iter().for_each(|process| self.pauses.note(process.paused_us_max));
    }

    /// That a run is over, with or without success.
    pub fn ended(&mut self, succeeded: bool, at: u64, took: Duration) {
        self.runs += 1;
        self.failed_runs += u64::from(!succeeded);
        (self.ended_at, self.took) = (at, took);
    }

    /// How many connections were closed.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.outcomes.done
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        family(f, "connections", "gauge", "TCP sockets of the watched processes at the last run, by state")?;
        for (state, count) in &self.connections {
            writeln!(f, "fdclose_connections{{state=\"{state}\"}} {count}")?;
        }
        let gauges =
            [("idle_connections", "Those of them that had been idle for long enough", self.idle as u64)];
        let of = |outcome| match outcome {
            Outcome::Done => self.outcomes.done,
            Outcome::Gone => self.outcomes.gone,
            Outcome::Changed => self.outcomes.changed,
            Outcome::Refused => self.outcomes.refused,
            Outcome::Failed => self.outcomes.failed,
            Outcome::WouldDo => self.outcomes.would_do,
        } as u64;
        for (name, help, value) in gauges {
            single(f, name, "gauge", help, value)?;
        }
        for (name, help, value) in [
            ("closed_total", "Connections closed", of(Outcome::Done)),
            ("failed_total", "Connections that could not be closed", of(Outcome::Failed)),
            ("refused_total", "Connections not to be touched, counted at each run", of(Outcome::Refused)),
            ("left_alone_total", "Connections whose peer came back right before", of(Outcome::Changed)),
            ("gone_total", "Connections that the process closed itself right before", of(Outcome::Gone)),
            ("would_close_total", "Connections that a dry run would have closed", of(Outcome::WouldDo)),
            ("runs_total", "Runs", self.runs),
            ("failed_runs_total", "Runs in which something could not be looked at or done", self.failed_runs),
        ] {
            single(f, name, "counter", help, value)?;
        }
        single(f, "last_run_timestamp_seconds", "gauge", "When the last run ended", self.ended_at)?;
        family(f, "last_run_seconds", "gauge", "How long the last run took")?;
        writeln!(f, "fdclose_last_run_seconds {}", self.took.as_secs_f64())?;
        family(
            f,
            "pause_seconds",
            "histogram",
            "The longest pause of a process at each run that stopped it",
        )?;
        let mut so_far = 0;
        for (bound, count) in PAUSE_BOUNDS.iter().zip(self.pauses.counts) {
            so_far += count;
            let le = Duration::from_micros(*bound).as_secs_f64();
            writeln!(f, "fdclose_pause_seconds_bucket{{le=\"{le}\"}} {so_far}")?;
        }
        let all = so_far + self.pauses.longer;
        writeln!(f, "fdclose_pause_seconds_bucket{{le=\"+Inf\"}} {all}")?;
        let sum = Duration::from_micros(self.pauses.sum_us).as_secs_f64();
        writeln!(f, "fdclose_pause_seconds_sum {sum}\nfdclose_pause_seconds_count {all}")
    }
}

fn family(f: &mut fmt::Formatter<'_>, name: &str, sort: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP fdclose_{name} {help}.\n# TYPE fdclose_{name} {sort}")
}

fn single(f: &mut fmt::Formatter<'_>, name: &str, sort: &str, help: &str, value: u64) -> fmt::Result {
    family(f, name, sort, help)?;
    f.write_fmt(format_args!("fdclose_{name} {value}"))?;
    f.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use crate::report::{ProcessReport, sample};

    #[test]
    fn what_prometheus_reads() {
        let mut metrics = Metrics::default();
        metrics.found([TcpState::CloseWait, TcpState::CloseWait, TcpState::Listen].into_iter(), 2);
        let pause = |paused_us_max| ProcessReport { paused_us_max, ..sample::process() };
        let targets = vec![sample::tcp_target(), sample::tcp_target(), sample::refused_target(1)];
        let processes = vec![pause(50), pause(51), pause(143), pause(20_000_000)];
        metrics.did(&ActionReport::new(Method::Close, false, targets, processes));
        metrics.ended(true, 1_700_000_000, Duration::from_millis(12));
        insta::assert_snapshot!(metrics.to_string());
    }
}
