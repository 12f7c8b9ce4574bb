//! `/proc/PID/maps`, and what is taken for a stack.
#![no_main]

use fdclose::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::stacks(bytes);
});
