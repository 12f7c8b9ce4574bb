//! What the kernel offers: the one place that knows which of its services are newer than Linux 3.4, how a kernel
//! without one answers, and what is done instead.
//!
//! Nothing is concluded from a version number, as distributions add new services to old kernels (RHEL 7's 3.10 has
//! PTRACE_GETSIGMASK of 3.11, and lacks NSpid of 4.1 as the original does): a service is asked for when it is needed,
//! by [`ask`], and one that the kernel has said not to have is not asked for again. Each use then goes another way
//! ([`Fallback`]) or says plainly what is lacking ([`Feature`]'s words).
//!
//! For tests alone, [`assume`] makes everything that came later than a version be lacking, so that the other ways are
//! gone on any kernel. That is the hidden option `--assume-kernel X.Y`.

mod fallback;
mod feature;
mod sys;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;

pub use fallback::Fallback;
pub use feature::{Feature, Version};
pub(crate) use sys::{MissingPage, close_range_of_nothing, io_uring, register_files};

/// The features known to be lacking, a bit each. Nothing hangs on the order in which threads see it.
static LACKING: AtomicU64 = AtomicU64::new(0);

/// Makes `call`, which takes `feature`, unless the kernel is known to lack it: then the answer is the one that the
/// kernel would give.
///
/// # Errors
/// What `call` answers.
pub fn ask<T>(feature: Feature, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    if !has(feature) {
        return Err(feature.answer_without());
    }
    let answer = call();
    // The other answers of kernels without a service are also those to a wrong use of it, and are judged by who asks.
    if feature.answer_without() == Errno::ENOSYS && matches!(answer, Err(Errno::ENOSYS)) {
        LACKING.fetch_or(feature.bit(), Relaxed);
    }
    answer
}

/// Whether nothing is known against `feature`.
#[must_use]
pub fn has(feature: Feature) -> bool {
    LACKING.load(Relaxed) & feature.bit() == 0
}

/// From now on, everything that came later than `version` is lacking. Before there is a second thread.
pub fn assume(version: Version) {
    let later = Feature::ALL.iter().filter(|feature| feature.since() > version);
    LACKING.fetch_or(later.fold(0, |bits, feature| bits | feature.bit()), Relaxed);
    fallback::record();
}

/// Notes that `fallback` is taken, which matters under [`assume`] alone. There may be other reasons to go that way;
/// those don't count.
pub fn fall_back(fallback: Fallback) {
    if !has(fallback.feature()) {
        fallback::note(fallback);
    }
}
