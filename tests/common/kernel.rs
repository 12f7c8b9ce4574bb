//! The kernel that fdclose is to assume (`--assume-kernel`), for all that the tests start: that of
//! `FDCLOSE_TEST_ASSUME_KERNEL`. `tests/old-kernels` sets it.
//!
//! It is fdclose that does without what came later; the victims and the tests themselves have the kernel that there is.

use std::{env, fs};

/// What every fdclose is started with.
pub(crate) fn assumed() -> Vec<String> {
    assumed_kernel().map(|version| vec!["--assume-kernel".to_owned(), version]).unwrap_or_default()
}

/// Whether fdclose does without what came with this kernel.
pub(crate) fn is_before(major: u32, minor: u32) -> bool {
    assumed_kernel().is_some_and(|version| {
        let (of, minor_of) = version.split_once('.').expect("a version is X.Y");
        let number = |text: &str| text.parse::<u32>().expect("a version is X.Y");
        (number(of), number(minor_of)) < (major, minor)
    })
}

/// Whether the kernel there is came before this one.
pub(crate) fn runs_before(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has a release");
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse::<u32>().expect("a number"));
    let mut next = || numbers.next().expect("a release is X.Y...");
    (next(), next()) < (major, minor)
}

fn assumed_kernel() -> Option<String> {
    env::var("FDCLOSE_TEST_ASSUME_KERNEL").ok().filter(|version| !version.is_empty())
}
