//! `kill`: the process is sent a signal, through a pidfd, so that it can be no other.

use std::time::Duration;

use super::{Conduct, Item, ItemOutcome, Job, Operation};
use crate::proc::{FdDir, ProcError};
use crate::trace::{Deadline, Signal};

/// Where there are no pidfds to wait on (Linux 5.3), the process is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Does `job`, if at least one of its descriptors is still what it was.
pub(super) fn kill(job: &Job<'_>, signal: Signal, conduct: Conduct) -> Operation {
    let mut operation = Operation::new(job.items.len());
    let looked: Result<Vec<Option<ItemOutcome>>, ProcError> =
        job.process.fd_dir(job.table).map(|dir| job.items.iter().map(|item| changed(&dir, item)).collect());
    let looked = match looked {
        Ok(looked) => looked,
        Err(error) => {
            operation.fail(error);
            return operation;
        }
    };
    if looked.iter().any(Option::is_none) {
        let outcome = send_and_wait(job, signal, conduct.timeout);
        operation.outcomes = looked.into_iter().map(|seen| seen.unwrap_or_else(|| outcome.clone())).collect();
    } else {
        operation.outcomes = looked.into_iter().flatten().collect();
    }
    operation
}

/// What became of a descriptor that is not any more what was selected.
fn changed(dir: &FdDir, item: &Item) -> Option<ItemOutcome> {
    match dir.identity(item.fd) {
        Ok(Some(now)) if now == item.expected => None,
        Ok(Some(_)) => Some(ItemOutcome::Changed),
        Ok(None) => Some(ItemOutcome::Gone),
        Err(error) if error.is_gone() => Some(ItemOutcome::Gone),
        Err(error) => Some(ItemOutcome::Failed(error.to_string())),
    }
}

fn send_and_wait(job: &Job<'_>, signal: Signal, timeout: Duration) -> ItemOutcome {
    let deadline = Deadline::after(timeout);
    let ended = job.process.signal(signal.as_raw()).and_then(|pidfd| {
        let mut ended = false;
        while let (false, Some(left)) = (ended, deadline.remaining()) {
            ended = job.process.wait_for_end(pidfd.as_ref(), left, LOOK_EVERY)?;
        }
        Ok(ended)
    });
    match ended {
        Ok(true) => ItemOutcome::Done(None),
        Ok(false) => {
            ItemOutcome::Failed(format!("the signal was sent, but the process still runs after {timeout:?}"))
        }
        Err(error) if error.is_gone() => ItemOutcome::Gone,
        Err(ProcError::Denied { .. }) => ItemOutcome::Refused {
            why: "you may not send signals to this process".to_owned(),
            hint: "run fdclose as root or as the user it belongs to".to_owned(),
        },
        Err(error) => ItemOutcome::Failed(error.to_string()),
    }
}
