//! How busy the machine is: on a loaded one a thread may stand still without any help.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::wait::Ending;

/// Does `work`, and tells how long a thread that has nothing to do with it was kept from running meanwhile, at most.
pub(crate) fn with_lag<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let ticker = scope.spawn(|| {
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        });
        let end = Ending(&over);
        let result = work();
        drop(end);
        (result, ticker.join().expect("it only looks at the clock"))
    })
}
