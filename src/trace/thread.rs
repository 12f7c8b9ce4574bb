//! The thread that traces. The kernel takes ptrace requests from the attaching thread alone, and detaches what it still
//! traces when it ends.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::{Roll, sys};

thread_local! {
    /// Where another thread reaps for this one, which ends after its surgery.
    static SPENT: RefCell<Option<Roll>> = const { RefCell::new(None) };
}

/// After this long, threads of the target that have ended are reaped from outside the tracer's thread; see [`Roll`].
pub const REAP_EVERY: Duration = Duration::from_millis(20);

/// Runs `surgery` on a thread made for it. When that thread ends, however it ends, the kernel detaches whatever it
/// still traces (`exit_ptrace`): also threads that can't be detached because they never stopped. `meanwhile` runs beside
/// it, on the calling thread.
///
/// # Errors
/// The payload of a panic inside `surgery`, or the reason no thread could be started.
pub fn on_tracer_thread<T: Send>(
    surgery: impl FnOnce(&Roll) -> T + Send,
    meanwhile: impl FnOnce(),
) -> io::Result<thread::Result<T>> {
    let roll = Roll::default();
    let (done, ended) = mpsc::channel();
    thread::scope(|scope| {
        let for_tracer = roll.clone();
        let tracer = thread::Builder::new().name("tracer".into()).spawn_scoped(scope, move || {
            // Dropped when the surgery is over, by a panic too.
            let _done: mpsc::Sender<()> = done;
            // The mask is inherited; this is for callers that did not prepare their process. Without it, waiting
            // only takes longer.
            let _ = sys::block_sigchld();
            surgery(&for_tracer)
        })?;
        meanwhile();
        while ended.recv_timeout(REAP_EVERY) == Err(RecvTimeoutError::Timeout) {
            roll.reap();
        }
        Ok(tracer.join())
    })
}

/// This thread ends after its next surgery by [`on_this_thread`], and until then another one reaps what is on `roll`,
/// every [`REAP_EVERY`].
pub fn spend_this_thread(roll: Roll) {
    SPENT.set(Some(roll));
}

/// As [`on_tracer_thread`], without a new thread if this one is [spent](spend_this_thread) on it. `before` then runs first.
///
/// On arm64 there is always a new one: some threads of a target are let go by its end, which must not wait for what comes
/// after the surgery (tracee/taken_back.rs).
///
/// # Errors
/// As [`on_tracer_thread`].
pub fn on_this_thread<T: Send>(
    surgery: impl FnOnce(&Roll) -> T + Send,
    before: impl FnOnce(),
) -> io::Result<thread::Result<T>> {
    let ends_late = cfg!(target_arch = "aarch64");
    let spent = SPENT.take().filter(|_| !ends_late);
    let Some(roll) = spent else { return on_tracer_thread(surgery, before) };
    before();
    // What a panic leaves behind is not looked at again.
    Ok(catch_unwind(AssertUnwindSafe(|| surgery(&roll))))
}
