//! The thread that works, and the one that watches over it.
//!
//! What is done to a process is done on a thread of its own, which ends with it: the kernel then lets go of all that it
//! still traces, also of what can't be stopped. Meanwhile the first thread looks for signs of life ([`crate::watchdog`])
//! and reaps ([`crate::trace::Roll`]).

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid as Raw;

use crate::ids::Pid;
use crate::report::ActionReport;
use crate::trace::signals::Held;
use crate::trace::{REAP_EVERY, Roll, spend_this_thread};
use crate::watchdog::Watch;

/// Who is told of a system call that hangs.
#[derive(Clone, Copy)]
pub struct Oversight<'a> {
    /// So much silence about a process is too much.
    pub limit: Duration,
    /// Is meant to end fdclose. Told is what was done, if all was by then.
    pub on_hang: &'a dyn Fn(Pid, Option<&ActionReport>),
    /// Called now and then, on the first thread.
    pub meanwhile: &'a dyn Fn(),
}

/// Does `work` on a thread that is spent on it ([`spend_this_thread`]). Signals to this process are for that thread
/// meanwhile; they are held back here until the guard is dropped. To be called once, while there is one thread only.
///
/// # Errors
/// No thread can be had. The inner error is the payload of a panic.
pub fn on_work_thread<T: Send>(
    oversight: Oversight<'_>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<(thread::Result<T>, Held)> {
    let (held, roll) = (Held::hold_all()?, Roll::default());
    // Before there is anything to watch over: the work asks whether it is watched ([`crate::worker::is_possible`]), and
    // may do so before this thread gets a processor again.
    let watch = Watch::begin(oversight.limit);
    let (done, ended) = mpsc::channel();
    let result = thread::scope(|scope| {
        let (for_work, before) = (roll.clone(), held.before());
        // The name that a worker process has from it.
        let worker = start_here(|prepare| {
            thread::Builder::new().name("fdclose".into()).spawn_scoped(scope, move || {
                // Dropped at the end, by a panic too.
                let _done: mpsc::Sender<()> = done;
                prepare();
                before.apply();
                spend_this_thread(for_work);
                work()
            })
        })?;
        look_on(oversight, watch, &ended, || roll.reap());
        io::Result::Ok(worker.join())
    })?;
    Ok((result, held))
}

/// Does `work` on another thread, for whatever is left to do after [`on_work_thread`]. Where none can be had, it is done
/// here, with nobody watching. The error is the payload of a panic.
///
/// # Errors
/// None of its own.
pub fn on_another_thread<T: Send>(
    oversight: Oversight<'_>,
    work: impl FnOnce() -> T + Send,
) -> thread::Result<T> {
    let watch = Watch::begin(oversight.limit);
    let (done, ended) = mpsc::channel::<()>();
    let (mut work, mut result) = (Some(work), None);
    let (to_do, told) = (&mut work, &mut result);
    thread::scope(|scope| {
        let started = thread::Builder::new().spawn_scoped(scope, move || {
            let _done = done;
            *told = to_do.take().map(|work| work());
        });
        started.map_or(Ok(()), |worker| {
            look_on(oversight, watch, &ended, || ());
            worker.join()
        })
    })?;
    Ok(match (result, work) {
        (Some(result), _) => result,
        (None, Some(work)) => work(),
        (None, None) => unreachable!("it was taken to be done, and what it returned is kept"),
    })
}

/// Looks for signs of life until the other end of `ended` is dropped.
fn look_on(oversight: Oversight<'_>, mut watch: Watch, ended: &mpsc::Receiver<()>, reap: impl Fn()) {
    while ended.recv_timeout(REAP_EVERY) == Err(RecvTimeoutError::Timeout) {
        reap();
        if let Some(pid) = watch.look() {
            (oversight.on_hang)(pid, None);
        }
        (oversight.meanwhile)();
    }
}

/// Has a thread start on the processor that this one is on and is about to leave. The kernel would look for the least
/// busy one, which on a busy machine is one where somebody computes, and the new thread then waits for its turn there:
/// seen with two processors and one thread at work, up to 4 ms (Linux 6.18). `start` is given what the thread has to do
/// first.
fn start_here<T>(start: impl FnOnce(Box<dyn FnOnce() + Send>) -> T) -> T {
    let this = Raw::from_raw(0);
    let pin = || -> Result<CpuSet, Errno> {
        let (all, mut here) = (sched_getaffinity(this)?, CpuSet::new());
        here.set(sched_getcpu()?)?;
        sched_setaffinity(this, &here)?;
        Ok(all)
    };
    // It is only about time.
    let Ok(all) = pin() else { return start(Box::new(|| ())) };
    // A set that was allowed before is refused only if the processors that are allowed have been changed meanwhile, and
    // then the kernel has set others.
    let started = start(Box::new(move || {
        let _ = sched_setaffinity(this, &all);
    }));
    let _ = sched_setaffinity(this, &all);
    started
}
