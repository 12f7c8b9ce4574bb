//! fdclose is killed by SIGKILL at any instant, and its target goes on as if nothing had been.
//!
//! The instants are spread evenly over what an undisturbed run takes, which is measured first; and, separately, over
//! what is left of it from each place of the surgery on, where a debug build stops itself to be aimed at. After each
//! kill the target must be untraced and run, and its own checks must hold: of registers, results of calls, deadlines,
//! signals, records, descriptors. `FDCLOSE_TEST_KILLS=10000` for the long form: so many kills of each sort.

mod common;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::evidence;
use common::instants::{self, instant, spin_until};
use common::kernel::is_before;
use common::sys;
use common::{Started, Victim, start_fdclose_with, wait_until};

/// As many threads as do work of every kind.
const OF_EVERY_KIND: &[&str] = &["--threads", "14"];
/// The same but for epoll_wait(2), which a stop ends with EINTR: that is taken back as soon as the thread is stopped, and
/// not before. Where the process that operates is itself killed, it may be too late for it (README, Limits).
const BUT_EPOLL: &[&str] = &["--threads", "13", "--no-epoll"];
/// Descriptors of one batch.
const BATCH: usize = 80;
/// In the order they are come by.
const PLACES: [&str; 5] = ["stopped", "loaded", "entered", "left", "restored"];
const PLACES_OF_BATCH: [&str; 4] = ["stopped", "chained", "through", "restored"];
/// Without copies of descriptors (Linux 5.6) there are no chains.
const WITHOUT_CHAINS: [&str; 3] = ["stopped", "left", "restored"];
/// Undisturbed runs that are measured; a little more than the median counts, so that kills reach behind the end of most.
const MEASURED: usize = 9;

/// One test at a time: each keeps the processors busy, and a target that gets none can't be operated on.
static TURN: Mutex<()> = Mutex::new(());

/// How often fdclose is killed for `task`: of either sort of test so many times, half of them in batches; half as often
/// again at a replacement, which goes the same way; and a tenth as often it is the worker.
fn kills(task: Task, short: usize) -> usize {
    let all = instants::kills(short);
    match task {
        Task::Single | Task::Batch => all / 2,
        Task::Replacement => all / 4,
        Task::Worker => all / 10,
    }
}

/// What fdclose is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// One close, which the command makes itself.
    Single,
    /// Many, made by a worker.
    Batch,
    /// Many, and the worker is to be killed.
    Worker,
    /// One is replaced, by four calls instead of one. The victim may be left with a socket too many.
    Replacement,
}

/// Whom the SIGKILL is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// The process that the user has started.
    Command,
    /// Its whole process group, as a terminal would.
    Group,
    /// The process that operates.
    Surgeon,
}

struct Patient {
    victim: Victim,
    task: Task,
    /// Leaked and still there.
    open: usize,
}

impl Task {
    /// Whether the command operates itself.
    fn is_single(self) -> bool {
        matches!(self, Self::Single | Self::Replacement)
    }
}

impl Patient {
    fn new(task: Task) -> Self {
        let kinds = if task == Task::Batch { OF_EVERY_KIND } else { BUT_EPOLL };
        Self { victim: Victim::spawn("busy", kinds), task, open: 0 }
    }

    /// Starts fdclose on leaks made for it.
    fn start(&mut self, variables: &[(&str, &str)]) -> Started {
        let count = if self.task.is_single() { 1 } else { BATCH };
        let fields = self.victim.ask_fields(&format!("leaks {count}"));
        self.open = count;
        let inodes = &fields["inodes"];
        let method = if self.task == Task::Replacement { "replace" } else { "close" };
        let args = ["--pid", &self.victim.pid_arg(), "--inode", inodes, "--method", method];
        start_fdclose_with(&args, variables)
    }

    /// How long a run takes from the instant `begin` tells.
    fn length(
        &mut self,
        variables: &[(&str, &str)],
        begin: impl Fn(&mut Started) -> Option<Instant>,
    ) -> Duration {
        let run = |_| {
            let mut started = self.start(variables);
            let from = begin(&mut started);
            started.ended_by(libc::SIGKILL);
            from.map_or(Duration::ZERO, |from| from.elapsed())
        };
        let mut lengths: Vec<Duration> = (0..MEASURED).map(run).collect();
        lengths.sort_unstable();
        lengths[MEASURED / 2].mul_f64(1.2)
    }

    /// Proves that the victim noticed nothing; how many leaks were closed.
    fn examine(&mut self, round: usize) -> usize {
        let pid = self.victim.pid();
        wait_until("the end of all tracing", || {
            let statuses = evidence::threads(pid).into_iter().filter_map(|tid| evidence::status(pid, tid));
            statuses.into_iter().all(|status| status.tracer == 0 && !"tT".contains(status.state))
        });
        self.victim.ask("check");
        if round.is_multiple_of(50) {
            self.victim.serves();
        }
        let open = self.victim.ask_fields("leaks 0")["open"].parse::<usize>().expect("a number");
        self.open - open
    }
}

/// Kills it; whether it was in time.
fn kill(mut started: Started, aim: Aim, surgeon: Option<sys::Pidfd>) -> bool {
    match aim {
        Aim::Command => started.kill(),
        Aim::Group => sys::kill_group_of(started.pid()),
        Aim::Surgeon => surgeon.expect("it was found").kill(),
    }
    match aim {
        Aim::Command | Aim::Group => started.ended_by(libc::SIGKILL),
        // The command lives, and says what happened.
        Aim::Surgeon => started.lost_its_worker(),
    }
}

/// What came of it, for the figures.
#[derive(Default)]
struct Tally {
    killed: usize,
    late: usize,
    untouched: usize,
    partly: usize,
    closed: usize,
}

impl Tally {
    fn count(&mut self, killed: bool, closed: usize, of: usize) {
        *(if killed { &mut self.killed } else { &mut self.late }) += 1;
        match closed {
            _ if !killed => {}
            0 => self.untouched += 1,
            closed if closed == of => self.closed += 1,
            _ => self.partly += 1,
        }
    }

    fn tell(&self, what: &str, length: Duration, began: Instant) {
        println!(
            "{what}: {} kills over {length:?}: {} with nothing closed, {} with a part, {} with all; {} came after \
             the end; no victim harmed; {:?}",
            self.killed,
            self.untouched,
            self.partly,
            self.closed,
            self.late,
            began.elapsed()
        );
    }
}

/// Over the whole run, from its start.
fn spread(task: Task, what: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let mut patient = Patient::new(task);
    let length = patient.length(&[], |_| Some(Instant::now()));
    let (mut tally, wanted) = (Tally::default(), kills(task, 500));
    let mut round = 0;
    while tally.killed < wanted {
        let started = patient.start(&[]);
        let at = Instant::now() + instant(round, wanted, length);
        spin_until(at);
        let killed = kill(started, if round.is_multiple_of(2) { Aim::Command } else { Aim::Group }, None);
        let closed = patient.examine(round);
        tally.count(killed, closed, patient.open);
        round += 1;
    }
    tally.tell(what, length, began);
    assert!(tally.untouched > 0, "no kill came before the surgery");
    assert!(patient.victim.end().success());
}

/// From each place of the surgery on.
fn aimed(task: Task, what: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let mut patient = Patient::new(task);
    let places: &[&str] = match task.is_single() {
        true => &PLACES,
        false if is_before(5, 6) => &WITHOUT_CHAINS,
        false => &PLACES_OF_BATCH,
    };
    let stopped = |started: &mut Started| {
        let surgeon = started.wait_until_stopped()?;
        assert_eq!(surgeon == started.pid(), task.is_single(), "who operates");
        // Taken while it is stopped: by its number, somebody else might be killed later.
        let held = sys::Pidfd::open(surgeon);
        let now = Instant::now();
        sys::kill(surgeon, libc::SIGCONT);
        Some((now, held))
    };
    let each = kills(task, 100).div_ceil(places.len());
    for place in places {
        let (mut tally, mut round, mut missed) = (Tally::default(), 0, 0);
        let variables = [("FDCLOSE_TEST_STOP_AT", *place)];
        let length = patient.length(&variables, |started| stopped(started).map(|(from, _)| from));
        while tally.killed < each {
            let mut started = patient.start(&variables);
            let Some((from, surgeon)) = stopped(&mut started) else {
                // A busy machine. It says so itself, and that is no harm; but it must not be the rule.
                assert!(!started.ended_by(libc::SIGKILL), "nobody killed it");
                missed += 1;
                assert!(missed <= MEASURED + each, "it does not come by {place}");
                patient.examine(round);
                continue;
            };
            spin_until(from + instant(round, each, length));
            let aim = match (task, round % 2) {
                (Task::Worker, _) => Aim::Surgeon,
                (_, 0) => Aim::Command,
                _ => Aim::Group,
            };
            let killed = kill(started, aim, Some(surgeon));
            let closed = patient.examine(round);
            tally.count(killed, closed, patient.open);
            round += 1;
        }
        tally.tell(&format!("{what}, from {place} on"), length, began);
    }
    assert!(patient.victim.end().success());
}

#[test]
fn killed_at_any_instant_of_a_close() {
    spread(Task::Single, "one close");
}

#[test]
fn killed_at_any_instant_of_a_batch() {
    spread(Task::Batch, "a batch");
}

#[test]
fn killed_at_any_instant_of_a_replacement() {
    spread(Task::Replacement, "one replacement");
}

#[test]
fn killed_in_the_surgery_of_a_replacement() {
    aimed(Task::Replacement, "one replacement");
}

#[test]
fn killed_in_the_surgery_of_a_close() {
    aimed(Task::Single, "one close");
}

#[test]
fn killed_in_the_surgery_of_a_batch() {
    aimed(Task::Batch, "a batch");
}

#[test]
fn a_worker_killed_in_the_surgery_of_a_batch() {
    aimed(Task::Worker, "a batch's worker");
}
