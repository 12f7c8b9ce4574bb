//! The socket tables in `/proc/PID/net`.
#![no_main]

use fdclose::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::table(bytes);
});
