//! How a benchmark starts and ends.

use std::env;
use std::process::ExitCode;

use anyhow::Result;

/// What a benchmark needs.
#[derive(Clone, Copy)]
pub(crate) struct Benchmark {
    pub(crate) name: &'static str,
    pub(crate) needs_root: bool,
}

impl Benchmark {
    /// Runs `bench` on `full`, or on `trial` where it is only asked whether the benchmark works (`cargo test
    /// --benches`); that is left out where root is needed and lacking.
    pub(crate) fn run<T>(self, full: T, trial: T, bench: fn(T) -> Result<()>) -> ExitCode {
        let name = self.name;
        // cargo passes this for `cargo bench` only.
        let is_bench = env::args().any(|argument| argument == "--bench");
        if !is_bench && self.needs_root && !nix::unistd::geteuid().is_root() {
            println!("{name}: skipped, it needs root");
            return ExitCode::SUCCESS;
        }
        match bench(if is_bench { full } else { trial }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{name}: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}
