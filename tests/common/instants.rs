//! Instants to kill at, spread over a run.

use std::env;
use std::hint;
use std::time::{Duration, Instant};

/// How often fdclose is killed: `FDCLOSE_TEST_KILLS`, or `short`.
pub(crate) fn kills(short: usize) -> usize {
    env::var("FDCLOSE_TEST_KILLS").map_or(short, |text| text.parse().expect("a number"))
}

/// Evenly spread from nothing to `length`, and not in their order, so that slow changes of the machine fall on all.
pub(crate) fn instant(round: usize, rounds: usize, length: Duration) -> Duration {
    // 7,919 is prime: every step from 0 to `rounds` - 1 comes once, as long as it does not divide it.
    let step = (round * 7_919) % rounds;
    let [step, rounds] = [step, rounds].map(|number| u32::try_from(number).expect("not that many kills"));
    length * step / rounds
}

/// The instant is what matters: nothing else than looking at the clock is exact enough.
pub(crate) fn spin_until(instant: Instant) {
    while Instant::now() < instant {
        hint::spin_loop();
    }
}
