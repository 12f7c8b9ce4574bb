//! How many threads work on a survey: as many as there are CPUs. More would only be in each other's way.

use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads would only wait for each other in the kernel, and take CPUs from others.
const MOST_THREADS: usize = 4;

/// How many more may be started. The first, which there always is, does not count.
static FREE: OnceLock<AtomicUsize> = OnceLock::new();

/// Of a thread that was started, while it has work.
#[derive(Debug)]
pub(super) struct Place(());

/// Room for one more thread, if there is some.
pub(super) fn join() -> Option<Place> {
    // Asking for the number of CPUs reads files: not before there is much to do.
    let free = FREE.get_or_init(|| {
        AtomicUsize::new(thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS) - 1)
    });
    let taken = free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1));
    taken.ok().map(|_| Place(()))
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(free) = FREE.get() {
            free.fetch_add(1, Ordering::Relaxed);
        }
    }
}
