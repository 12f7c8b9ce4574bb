//! The target doesn't notice: whatever call a thread sits in, the call returns what it would have returned.
//!
//! One table of calls. Each row is a victim whose thread sits in the call while fdclose closes ten other descriptors, one
//! after the other, each time after the thread is back in its call. Every row runs twice: fdclose makes its calls in
//! the waiting thread itself, or in another one and only stops the waiting one.

mod common;

use std::collections::VecDeque;
use std::env;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::evidence;
use common::kernel::runs_before;
use common::{Before, Need, Victim, fdclose, lacks, wait_until};

/// So many victims at a time, unless `FDCLOSE_TEST_VICTIMS` says otherwise: they sleep most of it.
static VICTIMS: LazyLock<usize> = LazyLock::new(|| given("FDCLOSE_TEST_VICTIMS", 16));

/// So many runs of fdclose at a time.
const RUNS: usize = 2;

/// How often each victim is operated on: `FDCLOSE_TEST_CLOSES`, or ten times.
static CLOSES: LazyLock<usize> = LazyLock::new(|| given("FDCLOSE_TEST_CLOSES", 10));

fn given(variable: &str, else_this: usize) -> usize {
    env::var(variable).map_or(else_this, |text| text.parse().expect("a number"))
}

/// The time of a wait that ends by itself. Some of it is over when the first close comes, so that a call which began anew
/// would come back much too late, and the closes are done well before the end.
const LIMIT: Duration = Duration::from_secs(4);
const FIRST_CLOSE_AFTER: Duration = Duration::from_millis(1_500);

/// What no waking takes that long: the time of a wait that has one, but is woken before.
const LONG: Duration = Duration::from_secs(600);

/// So late may a call be. The machine may be busy.
const LATE: Duration = Duration::from_millis(250);

/// How a wait ends, and what the call returns then.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Woken after the last close.
    Woken,
    /// By its time, as if nothing had happened.
    Deadline,
    /// By its time, but the kernel counts that again from each stop.
    StartsOver,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    call: &'static str,
    limit: Option<Duration>,
    end: End,
    value: i64,
    errno: i32,
}

/// Waits for ever, and returns `value` when it is woken.
const fn woken(call: &'static str, value: i64) -> Row {
    Row { call, limit: None, end: End::Woken, value, errno: 0 }
}

/// Is ended by a signal that is handled.
const fn signalled(call: &'static str) -> Row {
    Row { call, limit: None, end: End::Woken, value: -1, errno: libc::EINTR }
}

/// Would end by its time, but is woken before. The kernel goes other ways with these than without a limit.
const fn woken_in_time(call: &'static str, value: i64) -> Row {
    Row { call, limit: Some(LONG), end: End::Woken, value, errno: 0 }
}

/// Ends by its time, with 0 or an errno.
const fn on_time(call: &'static str, errno: i32) -> Row {
    let value = if errno == 0 { 0 } else { -1 };
    Row { call, limit: Some(LIMIT), end: End::Deadline, value, errno }
}

/// The same, where the kernel lets the call begin anew with all its time.
const fn starts_over(call: &'static str, errno: i32) -> Row {
    Row { end: End::StartsOver, ..on_time(call, errno) }
}

const ROWS: &[Row] = &[
    starts_over("epoll_wait", 0),
    starts_over("epoll_pwait", 0),
    starts_over("epoll_pwait2", 0),
    starts_over("ppoll_const", 0),
    starts_over("pselect_const", 0),
    starts_over("sigtimedwait", libc::EAGAIN),
    starts_over("semtimedop", libc::EAGAIN),
    starts_over("io_getevents", 0),
    starts_over("io_pgetevents", 0),
    starts_over("io_uring_enter", libc::ETIME),
    starts_over("recv", libc::EAGAIN),
    starts_over("recvmsg", libc::EAGAIN),
    starts_over("recvmmsg", libc::EAGAIN),
    starts_over("read_rcvtimeo", libc::EAGAIN),
    starts_over("send", libc::EAGAIN),
    starts_over("send_tcp", libc::EAGAIN),
    starts_over("accept", libc::EAGAIN),
    starts_over("connect_unix", libc::EAGAIN),
    // EINPROGRESS if it had not begun anew.
    starts_over("connect_tcp", libc::EALREADY),
    on_time("poll", 0),
    on_time("ppoll", 0),
    on_time("select", 0),
    on_time("pselect", 0),
    on_time("nanosleep", 0),
    on_time("clock_nanosleep", 0),
    on_time("sleep_until", 0),
    on_time("futex", libc::ETIMEDOUT),
    on_time("futex_bitset", libc::ETIMEDOUT),
    on_time("futex_waitv", libc::ETIMEDOUT),
    on_time("mq_receive", libc::ETIMEDOUT),
    on_time("mq_send", libc::ETIMEDOUT),
    Row { value: 8, ..on_time("read_timerfd", 0) },
    woken("read", 5),
    woken("read_pipe", 5),
    woken("read_fifo", 5),
    woken("read_socket", 5),
    woken("read_tty", 5),
    woken("read_inotify", 16),
    woken("read_eventfd", 8),
    woken("read_signalfd", 128),
    woken("readv", 5),
    woken("splice", 5),
    woken("write_pipe", 1),
    woken("recv", 5),
    woken("recvmsg", 5),
    woken("recvmmsg", 1),
    woken("send", 1),
    woken("send_tcp", 1),
    woken("accept", 0),
    woken("accept_old", 0),
    woken("connect_unix", 0),
    woken("connect_tcp", 0),
    woken("poll", 1),
    woken("ppoll", 1),
    woken("select", 1),
    woken("pselect", 1),
    woken("epoll_wait", 1),
    woken("epoll_pwait", 1),
    woken("epoll_pwait2", 1),
    woken("futex", 0),
    woken("futex_bitset", 0),
    woken("futex_waitv", 0),
    // A call of its own on x86 alone.
    #[cfg(target_arch = "x86_64")]
    signalled("pause"),
    signalled("sigsuspend"),
    woken("sigtimedwait", libc::SIGUSR1 as i64),
    woken("semop", 0),
    woken("msgrcv", 256),
    woken("msgsnd", 0),
    woken("mq_receive", 5),
    woken("mq_send", 0),
    woken("wait4", 7),
    woken("waitid", 7),
    woken("flock", 0),
    woken("setlkw", 0),
    woken("ofd_setlkw", 0),
    woken("open_fifo", 0),
    woken("io_getevents", 1),
    woken("io_pgetevents", 1),
    woken("io_uring_enter", 0),
    woken("ioctl", 0),
    woken("getdents", 0),
    woken("fallocate", 0),
    woken_in_time("poll", 1),
    woken_in_time("ppoll", 1),
    woken_in_time("ppoll_const", 1),
    woken_in_time("pselect", 1),
    woken_in_time("pselect_const", 1),
    woken_in_time("epoll_wait", 1),
    woken_in_time("epoll_pwait2", 1),
    woken_in_time("futex", 0),
    woken_in_time("sigtimedwait", libc::SIGUSR1 as i64),
    woken_in_time("semtimedop", 0),
    woken_in_time("io_getevents", 1),
    woken_in_time("io_uring_enter", 0),
    woken_in_time("recv", 5),
    woken_in_time("recvmsg", 5),
    woken_in_time("read_rcvtimeo", 5),
    woken_in_time("send", 1),
    woken_in_time("accept", 0),
    woken_in_time("connect_unix", 0),
];

/// Whose calls fdclose makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The waiting thread's own.
    Surgical,
    /// Another thread's.
    Bystander,
}

impl Row {
    /// How late it was, where a time ends it. Panics when it isn't as expected.
    fn run(&self, role: Role, runs: &Gate) -> Option<Duration> {
        let mut args = vec![self.call.to_owned(), "--leaks".into(), CLOSES.to_string()];
        if let Some(limit) = self.limit {
            args.extend(["--timeout-ms".into(), limit.as_millis().to_string()]);
        }
        if role == Role::Bystander {
            args.push("--aside".into());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut victim = Victim::spawn("blocked", &args);
        self.wait_until_in(&mut victim);
        // A thread that is still being made has other signals blocked.
        wait_until("every thread's call", || {
            let pid = victim.pid();
            evidence::threads(pid).into_iter().all(|tid| {
                let is_caller = tid == victim.value::<u32>("tid") && !self.is_one_call();
                is_caller || evidence::current_call(pid, tid).is_some()
            })
        });
        if !matches!(self.end, End::Woken) {
            victim.stays_blocked_for(FIRST_CLOSE_AFTER);
        }
        let fds: Vec<i32> = victim.list("fds");
        let before = Before::of(victim.pid());
        let mut last = Instant::now();
        for fd in &fds {
            runs.pass(|| fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string()]).exits(0));
            last = Instant::now();
            self.wait_until_in(&mut victim);
        }
        if self.is_one_call() {
            before.assert_lost_only(&fds);
        }
        let mut latest = LIMIT + LATE;
        if matches!(self.end, End::Woken) {
            victim.ask("wake");
            latest = Duration::MAX;
        }
        let returned = victim.wait_returned();
        assert_eq!((returned.value, returned.errno), (self.value, self.errno), "{returned:?}");
        assert_eq!(victim.ask("check"), "open=1");
        if matches!(self.end, End::Woken) {
            return None;
        }
        let elapsed = Duration::from_micros(returned.elapsed_us);
        let late = elapsed.checked_sub(LIMIT).unwrap_or_else(|| panic!("too early: {elapsed:?}"));
        if matches!(self.end, End::StartsOver) {
            // The call can't have begun later than that. A socket's time is rounded up by as much as an eighth.
            latest = elapsed.saturating_sub(last.elapsed()) + LIMIT * 9 / 8 + LATE;
        }
        assert!(elapsed <= latest, "too late: {elapsed:?}");
        Some(late)
    }

    /// Whether the thread makes one call only.
    fn is_one_call(&self) -> bool {
        !["getdents", "fallocate"].contains(&self.call)
    }

    /// Waits until the thread sits in its call. It must not have come back from it.
    fn wait_until_in(&self, victim: &mut Victim) {
        let (pid, tid, nr) = (victim.pid(), victim.value("tid"), victim.value("nr"));
        let mut returned = None;
        wait_until("the call", || {
            returned = victim.returned();
            returned.is_some() || !self.is_one_call() || evidence::sits_in(pid, tid, nr)
        });
        assert_eq!(returned, None, "the call came back");
    }
}

/// Lets a few through at a time.
struct Gate(Vec<Mutex<()>>);

impl Gate {
    fn new(wide: usize) -> Self {
        Self((0..wide).map(|_| Mutex::new(())).collect())
    }

    fn pass<T>(&self, run: impl FnOnce() -> T) -> T {
        // A victim that failed while it was inside is no reason to keep others out.
        let free = self.0.iter().find_map(|lane| lane.try_lock().ok());
        let _inside = free.unwrap_or_else(|| {
            self.0.first().expect("a lane").lock().unwrap_or_else(PoisonError::into_inner)
        });
        run()
    }
}

/// What is known to show EINTR to a thread that is stopped (README, Limits).
fn shows_eintr(row: &Row) -> bool {
    match row.call {
        "ioctl" => runs_before(6, 6),
        "fallocate" => cfg!(target_arch = "aarch64") && runs_before(6, 9),
        _ => false,
    }
}

#[test]
fn no_call_notices() {
    let begun = Instant::now();
    // System V objects outlive a victim that is killed, so they are made in a namespace of its own; in a process with
    // several threads that takes CAP_SYS_ADMIN (unshare(2)).
    let is_system_v = |row: &Row| ["semop", "semtimedop", "msgrcv", "msgsnd"].contains(&row.call);
    let lacks_root = lacks(&[Need::Root]);
    let can_run = |(row, role): &(&Row, Role)| !(lacks_root && is_system_v(row) && *role == Role::Bystander);
    let rows = || ROWS.iter().filter(|row| !shows_eintr(row));
    let victims = rows().flat_map(|row| [(row, Role::Surgical), (row, Role::Bystander)]);
    let queue: VecDeque<_> = victims.filter(can_run).collect();
    let (wanted, queue) = (queue.len(), Mutex::new(queue));
    let (runs, results) = (Gate::new(RUNS), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..*VICTIMS {
            scope.spawn(|| {
                while let Some((row, role)) = { queue.lock().expect("no panic inside").pop_front() } {
                    let result = catch_unwind(AssertUnwindSafe(|| row.run(role, &runs)));
                    results.lock().expect("no panic inside").push((row, role, result));
                }
            });
        }
    });
    let results = results.into_inner().expect("no panic inside");
    let mut table = String::new();
    let mut failed = 0;
    for (row, role, result) in &results {
        let what = match result {
            Ok(None) => "woken".to_owned(),
            Ok(Some(late)) => format!("{:.1} ms late", late.as_secs_f64() * 1e3),
            Err(panic) => {
                failed += 1;
                let text = panic.downcast_ref::<String>().map(String::as_str);
                format!("FAILED: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
            }
        };
        let limit = if row.limit.is_some() { "finite" } else { "infinite" };
        let (role, end) = (format!("{role:?}"), format!("{:?}", row.end));
        writeln!(table, "{:16} {limit:9} {role:10} {end:11} {what}", row.call).expect("a String");
    }
    let rows = rows().count();
    writeln!(
        table,
        "{rows} rows, {} victims, {} closes each; {failed} failed; {:.1} s",
        results.len(),
        *CLOSES,
        begun.elapsed().as_secs_f64()
    )
    .expect("a String");
    // Past the test runner's capture: the figures are wanted of a test that passes, too.
    std::io::stderr().write_all(table.as_bytes()).expect("standard error is open");
    assert_eq!((results.len(), failed), (wanted, 0), "rows failed");
}
